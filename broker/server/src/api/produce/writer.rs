//! Appends the parts of one Produce request.
//!
//! Plain batches, and those of a transaction that is open on their partition, go into the log at once. The others are let in by
//! the transaction's coordinator all together: what a request adds to a transaction is one record of the coordinator, however many
//! partitions it names.

use super::batch;
use crate::{
    api::group_fields::shared,
    catalog::{Catalog, Topic},
    errors::RequestError,
    partition::{Accepted, Partition, UntilDurable},
    transactions::{self, Admission, Admitted, Transactions},
};
use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        ProduceRequest,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
};
use std::{collections::BTreeMap, sync::Arc};
use tifo_coordinator::{TransactionError, transaction::Producer};
use tifo_storage::{Appended, Origin, record_batch::BatchHeader};

/// First version of clients that know TRANSACTION_ABORTABLE (KIP-890).
const ABORTABLE_SINCE: i16 = 11;
/// First version of clients that leave it to the broker to add partitions to a transaction.
const ADDS_PARTITIONS_SINCE: i16 = 12;
/// First version of clients that know zstd.
const ZSTD_SINCE: i16 = 7;

pub struct Writer<'a> {
    pub catalog: &'a Catalog,
    pub transactions: &'a Transactions,
    pub now_ms: i64,
    pub request: &'a ProduceRequest,
    pub version: i16,
}

/// What became of one partition's batch.
pub struct Outcome {
    /// The topic's place in the request.
    pub at: usize,
    pub index: i32,
    pub topic: Option<Arc<Topic>>,
    pub result: Result<Appended, RequestError>,
    /// What is to be waited for before it is acknowledged.
    pub until_durable: Vec<UntilDurable>,
}

enum Begun {
    Appended(Accepted),
    Waits(Producer, Arc<Partition>, Bytes),
}

/// A batch that the coordinator of its transaction is to let in.
struct Waiting {
    /// Its outcome's place.
    place: usize,
    partition: Arc<Partition>,
    batch: Bytes,
}

impl Outcome {
    fn keep(&mut self, result: Result<Accepted, RequestError>) {
        self.result = result.map(|Accepted { appended, until_durable }| {
            self.until_durable.extend(until_durable);
            appended
        });
    }
}

impl Writer<'_> {
    /// In the order of the request.
    pub fn write(&self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        // One producer, unless the request was made up.
        let mut waiting: BTreeMap<(i64, i16), Vec<Waiting>> = BTreeMap::new();
        for (at, data) in self.request.topic_data.iter().enumerate() {
            let topic = self.topic(data);
            for data in &data.partition_data {
                let mut outcome = not_admitted_yet(at, data.index, topic.as_ref().ok());
                match self.begin(&topic, data) {
                    Ok(Begun::Appended(accepted)) => outcome.keep(Ok(accepted)),
                    Err(error) => outcome.keep(Err(error)),
                    Ok(Begun::Waits(Producer { id, epoch }, partition, batch)) => {
                        let place = outcomes.len();
                        waiting.entry((id, epoch)).or_default().push(Waiting { place, partition, batch });
                    }
                }
                outcomes.push(outcome);
            }
        }
        for ((id, epoch), waiting) in waiting {
            self.admit(Producer { id, epoch }, &waiting, &mut outcomes);
        }
        outcomes
    }

    fn topic(&self, data: &TopicProduceData) -> Result<Arc<Topic>, RequestError> {
        match self.version {
            13.. => self.catalog.topic_by_id(data.topic_id).ok_or(RequestError::UnknownTopicId),
            _ => self.catalog.topic(&data.name).ok_or(RequestError::UnknownTopicOrPartition),
        }
    }

    /// Appends what nobody has to let in.
    fn begin(
        &self,
        topic: &Result<Arc<Topic>, RequestError>,
        data: &PartitionProduceData,
    ) -> Result<Begun, RequestError> {
        let topic = match topic {
            Ok(topic) => topic,
            Err(RequestError::UnknownTopicId) => return Err(RequestError::UnknownTopicId),
            Err(_) => return Err(RequestError::UnknownTopicOrPartition),
        };
        if !matches!(self.request.acks, -1..=1) {
            return Err(RequestError::InvalidRequiredAcks);
        }
        let partition = topic.partition(data.index)?;
        let batch = batch::only_batch(data.records.clone().unwrap_or_default())?;
        if batch::is_zstd(&batch) && self.version < ZSTD_SINCE {
            return Err(RequestError::UnsupportedCompressionType);
        }
        if batch::is_transactional(&batch) {
            return self.begin_in_transaction(partition, batch);
        }
        self.append(partition, &batch).map(Begun::Appended)
    }

    fn begin_in_transaction(&self, partition: &Arc<Partition>, batch: Bytes) -> Result<Begun, RequestError> {
        if self.request.transactional_id.is_none() {
            return Err(RequestError::TransactionalIdAuthorizationFailed);
        }
        let Ok(BatchHeader { producer_id: id, producer_epoch: epoch, .. }) = BatchHeader::decode(&batch) else {
            // Refused for what it is.
            return self.append(partition, &batch).map(Begun::Appended);
        };
        match partition.append_to_open_transaction(&batch, id, epoch, self.now_ms)? {
            Some(accepted) => {
                count(&batch);
                Ok(Begun::Appended(accepted))
            }
            None => Ok(Begun::Waits(Producer { id, epoch }, partition.clone(), batch)),
        }
    }

    fn append(&self, partition: &Arc<Partition>, batch: &Bytes) -> Result<Accepted, RequestError> {
        let accepted = partition.append(batch, Origin::Client, self.now_ms)?;
        count(batch);
        Ok(accepted)
    }

    /// Appends what the coordinator lets in, before it decides anything else.
    fn admit(&self, producer: Producer, waiting: &[Waiting], outcomes: &mut [Outcome]) {
        let partitions = waiting.iter().map(|Waiting { partition, .. }| (partition.topic.clone(), partition.index));
        let admission = Admission {
            transactional_id: self.request.transactional_id.as_ref().map(|id| shared(id)).unwrap_or_default(),
            producer,
            partitions: partitions.collect(),
            adds_partitions: self.version >= ADDS_PARTITIONS_SINCE,
        };
        let append = |admitted: Admitted| {
            let append = |(waiting, admitted): (&Waiting, Result<(), TransactionError>)| {
                admitted.map_err(|error| self.not_admitted(error))?;
                self.append(&waiting.partition, &waiting.batch)
            };
            waiting.iter().zip(admitted).map(append).collect::<Vec<_>>()
        };
        let (appended, until_durable) = match self.transactions.admit(&admission, append) {
            Ok(done) => done,
            Err(error) => (waiting.iter().map(|_| Err(self.not_admitted(error))).collect(), None),
        };
        for (Waiting { place, .. }, result) in waiting.iter().zip(appended) {
            let Some(outcome) = outcomes.get_mut(*place) else { continue };
            outcome.keep(result);
            outcome.until_durable.extend(until_durable.clone().filter(|_| outcome.result.is_ok()));
        }
    }

    /// In words that the clients of this version understand, as Kafka finds them.
    fn not_admitted(&self, error: TransactionError) -> RequestError {
        RequestError::Transaction(match error {
            TransactionError::ProducerFenced => ResponseError::InvalidProducerEpoch,
            TransactionError::TransactionAbortable if self.version < ABORTABLE_SINCE => ResponseError::InvalidTxnState,
            TransactionError::ConcurrentTransactions if self.version >= ADDS_PARTITIONS_SINCE => {
                ResponseError::ConcurrentTransactions
            }
            TransactionError::ConcurrentTransactions
            | TransactionError::CoordinatorNotAvailable
            | TransactionError::NotCoordinator => ResponseError::NotEnoughReplicas,
            error => transactions::kind(error),
        })
    }
}

fn not_admitted_yet(at: usize, index: i32, topic: Option<&Arc<Topic>>) -> Outcome {
    let result = Err(RequestError::Transaction(ResponseError::NotEnoughReplicas));
    Outcome { at, index, topic: topic.cloned(), result, until_durable: Vec::new() }
}

fn count(batch: &Bytes) {
    metrics::counter!("tifo_broker_produced_bytes_total").increment(u64::try_from(batch.len()).unwrap_or(u64::MAX));
}
