//! Produce, key 0, versions 3-13; 0-13 is advertised, as Kafka does (an old librdkafka looks for 0), and 0-2 cost the
//! connection, as in Kafka.
//!
//! 3 (KIP-98): transactional id, record batches of format 2. 5 (KIP-207): log start offset. 6 (KIP-219): throttling is the
//! client's to do. 7 (KIP-110): zstd. 8 (KIP-467): record errors and a message. 9: flexible. 10 (KIP-951): the new leader.
//! 11, 12 (KIP-890): no change of the schema. 13 (KIP-516): topic ids.
//! A batch is stored as it came, unless the topic wants another codec. Appends happen in request order, before the handler
//! returns; what the topics' durability asks for is waited for behind it, whatever `acks` says but 0.
//! A transactional batch is let in by the transaction's coordinator unless its producer has the transaction open on the partition already:
//! from version 12 on the partition is added by that, before it must have been.

use super::{
    Answer, Api, Call, Closed, Context, Pending, bounds::*, group_fields::shared, ready, record_errors, versions,
};
use crate::{
    catalog::{Catalog, Topic},
    errors::RequestError,
    partition::{Accepted, Partition, UntilDurable},
    services::Services,
    transactions::{self, Admission, Transactions},
};
use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, ProduceRequest, ProduceResponse,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::StrBytes,
};
use std::sync::Arc;
use tifo_coordinator::{TransactionError, transaction::Producer};
use tifo_storage::{AppendError, Appended, Origin, record_batch::BatchHeader};

const PARTITION: Kind = Kind::Struct(&[field(INT32), field(Kind::NullableBytes)]);
const TOPIC: Kind =
    Kind::Struct(&[field(Kind::String).until(12), field(UUID).since(13), field(Kind::Array(&PARTITION))]);
const LAYOUT: Layout =
    Layout::new(9, &[field(Kind::NullableString), field(INT16), field(INT32), field(Kind::Array(&TOPIC))]);

pub const API: Api = Api {
    key: ApiKey::Produce,
    name: "Produce",
    advertised: versions(0, 13),
    served: versions(3, 13),
    request: LAYOUT,
    handle,
};

/// Batch length and what stands before it.
const BATCH_OVERHEAD_BYTES: usize = 12;
/// Where the attributes of a batch stand.
const ATTRIBUTES_POSITION: usize = 21;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CODEC_BITS: i16 = 7;
const ZSTD: i16 = 4;
/// First version of clients that know TRANSACTION_ABORTABLE (KIP-890).
const ABORTABLE_SINCE: i16 = 11;
/// First version of clients that leave it to the broker to add partitions to a transaction.
const ADDS_PARTITIONS_SINCE: i16 = 12;
/// First version of clients that know zstd.
const ZSTD_SINCE: i16 = 7;

fn handle(services: &Arc<Services>, call: Call) -> Pending {
    let context = call.context.clone();
    let request = match call.decode::<ProduceRequest>() {
        Ok(request) => request,
        Err(closed) => return ready(Answer::Close(closed)),
    };
    let writer = Writer {
        catalog: &services.catalog,
        transactions: &services.transactions,
        now_ms: services.clock.now_ms(),
        request: &request,
        version: context.version,
    };
    let mut written = Written::default();
    let responses: Vec<_> =
        (0..).zip(&request.topic_data).map(|(at, topic)| writer.topic(at, topic, &mut written)).collect();
    let (acks, Written { first_error, not_durable }) = (request.acks, written);
    if acks == 0 || not_durable.is_empty() {
        return ready(answer(&context, acks, responses, first_error));
    }
    Box::pin(async move { answer(&context, acks, when_durable(responses, not_durable).await, first_error) })
}

/// What is left to do once everything is appended.
#[derive(Default)]
struct Written {
    first_error: Option<RequestError>,
    /// Topic and partition within the request.
    not_durable: Vec<(usize, i32, UntilDurable)>,
}

/// Waits for the syncs; a partition whose sync failed answers so.
async fn when_durable(
    mut responses: Vec<TopicProduceResponse>,
    not_durable: Vec<(usize, i32, UntilDurable)>,
) -> Vec<TopicProduceResponse> {
    for (topic, index, until_durable) in not_durable {
        let Err(error) = until_durable.reached().await else { continue };
        let partitions = responses.get_mut(topic).into_iter().flat_map(|topic| &mut topic.partition_responses);
        for response in partitions.filter(|response| response.index == index) {
            *response = refused(index, &error, None);
        }
    }
    responses
}

fn answer(
    context: &Context,
    acks: i16,
    responses: Vec<TopicProduceResponse>,
    first_error: Option<RequestError>,
) -> Answer {
    match (acks, first_error) {
        (0, None) => Answer::Nothing,
        // Nobody reads an answer: closing is the only way to tell.
        (0, Some(error)) => Answer::Close(Closed::SilentProduceFailed(error.to_string())),
        _ => context.respond(&ProduceResponse::default().with_responses(responses)),
    }
}

/// Appends the parts of one request.
struct Writer<'a> {
    catalog: &'a Catalog,
    transactions: &'a Transactions,
    now_ms: i64,
    request: &'a ProduceRequest,
    version: i16,
}

impl Writer<'_> {
    fn topic(&self, at: usize, data: &TopicProduceData, written: &mut Written) -> TopicProduceResponse {
        let topic = match self.version {
            13.. => self.catalog.topic_by_id(data.topic_id).ok_or(RequestError::UnknownTopicId),
            _ => self.catalog.topic(&data.name).ok_or(RequestError::UnknownTopicOrPartition),
        };
        let partitions = data.partition_data.iter().map(|partition| {
            let appended = match &topic {
                Ok(topic) => self.append(at, topic, partition, written),
                Err(RequestError::UnknownTopicId) => Err(RequestError::UnknownTopicId),
                Err(_) => Err(RequestError::UnknownTopicOrPartition),
            };
            match appended {
                Ok(Accepted { appended, until_durable }) => {
                    written.not_durable.extend(until_durable.map(|until| (at, partition.index, until)));
                    accepted(partition.index, &appended)
                }
                Err(error) => {
                    tracing::debug!(topic = ?data.name, partition = partition.index, %error, "produce refused");
                    let response = refused(partition.index, &error, topic.as_ref().ok());
                    written.first_error.get_or_insert(error);
                    response
                }
            }
        });
        TopicProduceResponse::default()
            .with_name(data.name.clone())
            .with_topic_id(data.topic_id)
            .with_partition_responses(partitions.collect())
    }

    fn append(
        &self,
        at: usize,
        topic: &Arc<Topic>,
        data: &PartitionProduceData,
        written: &mut Written,
    ) -> Result<Accepted, RequestError> {
        if !matches!(self.request.acks, -1..=1) {
            return Err(RequestError::InvalidRequiredAcks);
        }
        let partition = topic.partition(data.index)?;
        let batch = only_batch(data.records.clone().unwrap_or_default())?;
        let attributes = attributes(&batch).unwrap_or(0);
        if attributes & CODEC_BITS == ZSTD && self.version < ZSTD_SINCE {
            return Err(RequestError::UnsupportedCompressionType);
        }
        let size = batch.len();
        let accepted = if attributes & TRANSACTIONAL_BIT == 0 {
            partition.append(&batch, Origin::Client, self.now_ms)?
        } else {
            let (accepted, admitted) = self.append_in_transaction(partition, &batch)?;
            written.not_durable.extend(admitted.map(|admitted| (at, data.index, admitted)));
            accepted
        };
        metrics::counter!("tifo_broker_produced_bytes_total").increment(u64::try_from(size).unwrap_or(u64::MAX));
        Ok(accepted)
    }
}

impl Writer<'_> {
    /// Appends a batch of a transaction; with what must be durable before it is acknowledged, besides the batch.
    fn append_in_transaction(
        &self,
        partition: &Arc<Partition>,
        batch: &Bytes,
    ) -> Result<(Accepted, Option<UntilDurable>), RequestError> {
        let id = self.request.transactional_id.as_ref().ok_or(RequestError::TransactionalIdAuthorizationFailed)?;
        let Ok(BatchHeader { producer_id, producer_epoch, .. }) = BatchHeader::decode(batch) else {
            // Refused for what it is.
            return partition.append(batch, Origin::Client, self.now_ms).map(|accepted| (accepted, None));
        };
        if let Some(accepted) = partition.append_to_open_transaction(batch, producer_id, producer_epoch, self.now_ms)? {
            return Ok((accepted, None));
        }
        let admission = Admission {
            transactional_id: shared(id),
            producer: Producer { id: producer_id, epoch: producer_epoch },
            partition: (partition.topic.clone(), partition.index),
            adds_partition: self.version >= ADDS_PARTITIONS_SINCE,
        };
        let append = || partition.append(batch, Origin::Client, self.now_ms);
        match self.transactions.admit(&admission, append) {
            Ok((appended, until_durable)) => Ok((appended?, until_durable)),
            Err(error) => Err(self.not_admitted(error)),
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

fn accepted(index: i32, appended: &Appended) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_message(None)
        .with_base_offset(appended.base_offset)
        .with_log_append_time_ms(appended.log_append_time_ms)
        .with_log_start_offset(appended.log_start_offset)
}

fn refused(index: i32, error: &RequestError, topic: Option<&Arc<Topic>>) -> PartitionProduceResponse {
    let (start, message) = details(error);
    let start = start.then(|| topic.and_then(|topic| topic.partition(index).ok()?.offsets().ok()));
    let response = PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(error.code())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(start.flatten().map_or(-1, |offsets| offsets.log_start_offset))
        .with_error_message(message.then(|| error.message()));
    match (error, topic) {
        (RequestError::Append(error), Some(topic)) => with_record_errors(response, error, topic, index),
        _ => response,
    }
}

fn with_record_errors(
    response: PartitionProduceResponse,
    error: &AppendError,
    topic: &Topic,
    index: i32,
) -> PartitionProduceResponse {
    match record_errors::describe(error, &topic.name, index) {
        None => response,
        Some((message, errors)) => {
            response.with_error_message(Some(StrBytes::from_string(message))).with_record_errors(errors)
        }
    }
}

/// What Kafka tells besides the code: the log start offset, and a message.
fn details(error: &RequestError) -> (bool, bool) {
    match error {
        RequestError::Append(AppendError::InvalidRecord(_) | AppendError::InvalidRecords { .. }) => (true, true),
        RequestError::Append(
            AppendError::OutOfOrderSequence { .. }
            | AppendError::InvalidProducerEpoch { .. }
            | AppendError::InvalidTransactionState { .. },
        ) => (true, false),
        RequestError::Transaction(ResponseError::InvalidTxnState | ResponseError::NotEnoughReplicas) => (false, true),
        _ => (false, false),
    }
}

/// The one batch that a partition's records must be; a cut-off rest behind it is ignored, as in Kafka.
fn only_batch(mut records: Bytes) -> Result<Bytes, RequestError> {
    let size = batch_size(&records).ok_or(RequestError::NotOneBatch)?;
    let rest = records.split_off(size);
    if batch_size(&rest).is_some() { Err(RequestError::NotOneBatch) } else { Ok(records) }
}

/// The size of the batch at the beginning, if all of it is there.
fn batch_size(records: &[u8]) -> Option<usize> {
    let length = records.get(8..BATCH_OVERHEAD_BYTES)?.first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    let size = length.checked_add(BATCH_OVERHEAD_BYTES)?;
    (size <= records.len()).then_some(size)
}

fn attributes(batch: &[u8]) -> Option<i16> {
    let attributes = batch.get(ATTRIBUTES_POSITION..)?.first_chunk::<2>()?;
    Some(i16::from_be_bytes(*attributes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn batch(length: i32, body: usize) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend(std::iter::repeat_n(0, body));
        bytes
    }

    #[test]
    fn exactly_one_whole_batch() {
        let whole = batch(10, 10);
        assert_eq!(only_batch(whole.clone().into()).unwrap().len(), 22);
        let half_behind = [&whole[..], &whole[..15]].concat();
        assert_eq!(only_batch(half_behind.into()).unwrap().len(), 22);
        for wrong in
            [vec![], vec![0; 7], batch(11, 10), batch(-1, 10), batch(i32::MAX, 10), [whole.clone(), whole].concat()]
        {
            assert_eq!(only_batch(wrong.into()).unwrap_err().code(), 87);
        }
    }
}
