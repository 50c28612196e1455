//! The transactional ids of one shard: what is durable, and the deadlines that follow from it.

use super::{
    ClientVersion, Outcome, Producer, TopicPartition, TransactionMetadata, TransactionState, TransactionalId,
    metadata::TransactionRecord,
};
use crate::{TransactionConfig, TransactionError, limits, timers::Timers};
use std::collections::{BTreeMap, BTreeSet};

/// How long a step of the timer that could not be written is put off.
const RETRY_MS: i64 = 1_000;

/// One shard of the transaction coordinator; see the head of this folder for how it is driven.
#[derive(Debug)]
pub struct TransactionCoordinator {
    pub(super) config: TransactionConfig,
    transactions: BTreeMap<TransactionalId, TransactionMetadata>,
    timers: Timers<TransactionalId>,
    /// Decided, and not yet taken by who writes the markers.
    prepared: BTreeSet<TransactionalId>,
}

/// What a request comes to: the reply holds once the record is in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<R> {
    pub record: Option<TransactionRecord>,
    pub reply: R,
}

/// Markers to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub transactional_id: TransactionalId,
    /// In whose name: with KIP-890 the epoch is already the next one, which ends what is still under way in the last.
    pub producer: Producer,
    pub outcome: Outcome,
    pub partitions: Vec<TopicPartition>,
}

impl<R> Decision<Result<R, TransactionError>> {
    pub(super) fn reply(reply: Result<R, TransactionError>) -> Self {
        Self { record: None, reply }
    }
}

impl TransactionCoordinator {
    /// An empty shard: first [`Self::replay`] every record of its partition, then requests.
    pub fn new(config: TransactionConfig) -> Self {
        Self { config, transactions: BTreeMap::new(), timers: Timers::new(), prepared: BTreeSet::new() }
    }

    /// Applies one durable fact, live after it was appended and at recovery alike.
    pub fn replay(&mut self, record: &TransactionRecord) {
        let id = &record.transactional_id;
        self.timers.cancel(id);
        self.prepared.remove(id);
        let Some(metadata) = &record.value else {
            self.transactions.remove(id);
            return;
        };
        if let Some(deadline_ms) = metadata.deadline_ms(self.config.id_expiration_ms) {
            self.timers.set(id.clone(), deadline_ms);
        }
        if metadata.state.prepared().is_some() {
            self.prepared.insert(id.clone());
        }
        self.transactions.insert(id.clone(), metadata.clone());
    }

    /// What was decided since the last call, or before the process began: its markers are the caller's to write.
    pub fn take_prepared(&mut self) -> Vec<Ending> {
        let taken = std::mem::take(&mut self.prepared);
        taken.iter().filter_map(|id| self.ending(id)).collect()
    }

    fn ending(&self, id: &TransactionalId) -> Option<Ending> {
        let metadata = self.transactions.get(id)?;
        let pairs = metadata.partitions.iter();
        let partitions = pairs.flat_map(|(topic, all)| all.iter().map(|partition| (topic.clone(), *partition)));
        Some(Ending {
            transactional_id: id.clone(),
            producer: metadata.producer,
            outcome: metadata.state.prepared()?,
            partitions: partitions.collect(),
        })
    }

    /// All markers of this ending are written. None: it is complete already.
    pub fn complete(&self, ending: &Ending, now_ms: i64) -> Option<TransactionRecord> {
        let metadata = self.transactions.get(&ending.transactional_id)?;
        let next = metadata.completed(now_ms).filter(|_| metadata.producer == ending.producer)?;
        Some(TransactionRecord { transactional_id: ending.transactional_id.clone(), value: Some(next) })
    }

    /// Lets time pass: transactions that take too long are aborted, ids that nobody used for long are forgotten.
    pub fn expire(&mut self, now_ms: i64) -> Vec<TransactionRecord> {
        let mut records = Vec::new();
        while let Some(id) = self.timers.pop_due(now_ms) {
            let Some(metadata) = self.transactions.get(&id) else { continue };
            let value = match metadata.state {
                TransactionState::Ongoing => Some(metadata.fenced(now_ms)),
                _ => None,
            };
            records.push(TransactionRecord { transactional_id: id, value });
        }
        records
    }

    /// Records of [`Self::expire`] could not be appended: they come again a little later.
    pub fn postpone(&mut self, records: &[TransactionRecord], now_ms: i64) {
        for record in records {
            self.timers.set(record.transactional_id.clone(), now_ms.saturating_add(RETRY_MS));
        }
    }

    /// When [`Self::expire`] is to be called next.
    pub fn next_deadline(&self) -> Option<i64> {
        self.timers.next_deadline()
    }

    /// The fewest records that make a fresh shard equal to this one.
    pub fn durable_records(&self) -> Vec<TransactionRecord> {
        let record = |(id, metadata): (&TransactionalId, &TransactionMetadata)| TransactionRecord {
            transactional_id: id.clone(),
            value: Some(metadata.clone()),
        };
        self.transactions.iter().map(record).collect()
    }

    pub fn get(&self, id: &str) -> Option<&TransactionMetadata> {
        self.transactions.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&TransactionalId, &TransactionMetadata)> {
        self.transactions.iter()
    }

    /// What is known of an id that a producer claims to have.
    pub(super) fn known(&self, id: &str) -> Result<&TransactionMetadata, TransactionError> {
        if id.is_empty() {
            return Err(TransactionError::InvalidRequest);
        }
        self.transactions.get(id).ok_or(TransactionError::InvalidProducerIdMapping)
    }

    pub(super) fn has_room(&self) -> bool {
        self.transactions.len() < limits::MAX_TRANSACTIONAL_IDS
    }
}

impl TransactionMetadata {
    /// The end of a transaction, or an abort of none, as the client asked for it.
    pub(super) fn ended(
        &self,
        outcome: Outcome,
        version: ClientVersion,
        next_producer_id: Option<i64>,
        now_ms: i64,
    ) -> (Self, Producer) {
        let next = self.prepared(outcome, version, next_producer_id, now_ms);
        let producer = next.producer_after();
        (next, producer)
    }
}
