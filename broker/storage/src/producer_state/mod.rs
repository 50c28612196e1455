//! What the log knows of idempotent and transactional producers (KIP-98), and its snapshots.
//!
//! Per producer id: the epoch and the last five batches, so that a batch sent again is recognised and answered with
//! the offset of its first time; and where its open transaction began. Snapshots are Kafka's `.snapshot` files, version 1; where Kafka keeps one batch a producer, ours
//! hold up to five entries for the same producer, oldest first (Kafka reads them and keeps the last).

mod snapshot;
#[cfg(test)]
mod tests;
mod transactions;

use crate::{
    AbortedTransaction, AppendError, Origin,
    record_batch::{BatchHeader, EndTransactionMarker, TransactionResult},
};
use std::collections::{HashMap, VecDeque};
use transactions::Transactions;

pub(crate) use snapshot::MAX_SNAPSHOT_BYTES;

/// Batches remembered a producer: a client has at most five in flight.
const BATCHES_A_PRODUCER: usize = 5;
/// Producers remembered a partition; beyond it those silent for longest are forgotten, a tenth at a time.
const MAX_PRODUCERS: usize = 100_000;
/// How often the log looks for silent producers (Kafka's `producer.id.expiration.check.interval.ms`).
pub(crate) const EXPIRY_CHECK_INTERVAL_MS: i64 = 600_000;

/// No transaction coordinator has written.
const NO_COORDINATOR_EPOCH: i32 = -1;

/// A batch that an idempotent producer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducedBatch {
    pub last_sequence: i32,
    pub last_offset: i64,
    pub offset_delta: i32,
    pub timestamp_ms: i64,
}

impl ProducedBatch {
    pub fn base_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }

    fn first_sequence(&self) -> i32 {
        sequence_add(self.last_sequence, -self.offset_delta)
    }
}

/// A producer as tools are told of it (DescribeProducers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    pub producer_id: i64,
    pub epoch: i16,
    /// -1: none in this epoch.
    pub last_sequence: i32,
    pub last_timestamp_ms: i64,
    /// -1: no transaction of it has ended here.
    pub coordinator_epoch: i32,
    /// None: no transaction is open.
    pub transaction_first_offset: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ProducerState {
    epoch: i16,
    /// Oldest first, all of this epoch.
    batches: VecDeque<ProducedBatch>,
    /// Timestamp of what it wrote last.
    timestamp_ms: i64,
    /// Of the coordinator that ended its last transaction.
    coordinator_epoch: i32,
    /// First offset of its open transaction.
    transaction_first_offset: Option<i64>,
    /// The broker's clock when it last wrote, or when the log was opened.
    last_seen_ms: i64,
}

/// All producers of one partition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerStates {
    producers: HashMap<i64, ProducerState>,
    transactions: Transactions,
}

/// Of every producer the last batch in the log; compaction keeps it, at least its header, so that the sequence is not forgotten.
#[derive(Debug, Default)]
pub(crate) struct LastRecords {
    /// Epoch, and last offset of the last batch with data, by producer id.
    producers: HashMap<i64, (i16, Option<i64>)>,
}

impl LastRecords {
    /// Whether the batch is a producer's last one, or (without any) a marker that bears its epoch.
    pub fn is_last(&self, header: &BatchHeader) -> bool {
        match self.producers.get(&header.producer_id).filter(|_| header.has_producer_id()) {
            Some((_, Some(last_offset))) => header.last_offset() == *last_offset,
            Some((epoch, None)) => header.is_control() && header.producer_epoch == *epoch,
            None => false,
        }
    }
}

/// Sequence arithmetic: i32::MAX is followed by 0.
pub(crate) fn sequence_add(sequence: i32, delta: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(delta);
    i32::try_from(sum.rem_euclid(i64::from(i32::MAX) + 1)).unwrap_or(0)
}

impl ProducerStates {
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// By producer id.
    pub fn active(&self) -> Vec<ActiveProducer> {
        let mut all: Vec<_> = self.producers.iter().map(|(id, state)| state.describe(*id)).collect();
        all.sort_unstable_by_key(|producer| producer.producer_id);
        all
    }

    pub fn has_open_transaction(&self, producer_id: i64, epoch: i16) -> bool {
        self.producers.get(&producer_id).is_some_and(|state| state.is_open() && state.epoch == epoch)
    }

    pub fn last_records(&self) -> LastRecords {
        let last = |state: &ProducerState| (state.epoch, state.batches.back().map(|batch| batch.last_offset));
        LastRecords { producers: self.producers.iter().map(|(id, state)| (*id, last(state))).collect() }
    }

    /// Whether the batch may be appended; the earlier one if it is there already. `marker`: what a control batch says.
    pub fn check(
        &self,
        header: &BatchHeader,
        marker: Option<EndTransactionMarker>,
        origin: Origin,
    ) -> Result<Option<ProducedBatch>, AppendError> {
        let Some(state) = self.producers.get(&header.producer_id) else { return Ok(None) };
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        if epoch < state.epoch {
            return Err(AppendError::InvalidProducerEpoch { producer_id, current: state.epoch, got: epoch });
        }
        if header.is_control() {
            return state.check_coordinator(producer_id, marker).map(|()| None);
        }
        // A gateway in this process passes on its clients' sequences; what the process itself writes has none.
        if origin == Origin::Client || header.base_sequence >= 0 {
            if let Some(earlier) = state.find(header) {
                return Ok(Some(earlier));
            }
            state.check_sequence(header)?;
        }
        if state.transaction_first_offset.is_some() && !header.is_transactional() {
            let reason = "a transaction is open, but the batch is not part of it";
            return Err(AppendError::InvalidTransactionState { producer_id, reason });
        }
        Ok(None)
    }

    /// Takes note of a batch that is in the log; its offsets are placed. The transaction, if the batch aborts one.
    pub fn record(
        &mut self,
        header: &BatchHeader,
        marker: Option<EndTransactionMarker>,
        now_ms: i64,
    ) -> Option<AbortedTransaction> {
        if !header.has_producer_id() {
            return None;
        }
        self.make_room(header.producer_id);
        let state = self.producers.entry(header.producer_id).or_insert_with(|| ProducerState::new(header));
        state.take_epoch(header, now_ms);
        if header.is_control() {
            return self.end_transaction(header, marker?);
        }
        state.push(ProducedBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp_ms: header.max_timestamp,
        });
        if header.is_transactional() && state.transaction_first_offset.is_none() {
            state.transaction_first_offset = Some(header.base_offset);
            self.transactions.begin(header.base_offset, header.producer_id);
        }
        None
    }

    /// A marker without a transaction changes nothing for readers.
    fn end_transaction(&mut self, header: &BatchHeader, marker: EndTransactionMarker) -> Option<AbortedTransaction> {
        let state = self.producers.get_mut(&header.producer_id)?;
        state.coordinator_epoch = marker.coordinator_epoch;
        let first_offset = state.transaction_first_offset.take()?;
        let last_offset = header.base_offset;
        let last_stable_offset = self.transactions.end(first_offset, last_offset);
        let aborted =
            AbortedTransaction { producer_id: header.producer_id, first_offset, last_offset, last_stable_offset };
        (marker.result == TransactionResult::Abort).then_some(aborted)
    }

    /// Up to where every transaction is decided, by markers below `high_watermark`.
    pub fn last_stable_offset(&mut self, high_watermark: i64) -> i64 {
        self.transactions.last_stable_offset(high_watermark)
    }

    /// Forgets producers silent for `expiration_ms`, but none with an open transaction.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, state| state.is_open() || now_ms.saturating_sub(state.last_seen_ms) < expiration_ms);
    }

    fn make_room(&mut self, newcomer: i64) {
        if self.producers.len() < MAX_PRODUCERS || self.producers.contains_key(&newcomer) {
            return;
        }
        let idle = self.producers.iter().filter(|(_, state)| !state.is_open());
        let mut seen: Vec<(i64, i64)> = idle.map(|(id, state)| (state.last_seen_ms, *id)).collect();
        seen.sort_unstable();
        for (_, producer_id) in seen.into_iter().take(MAX_PRODUCERS / 10) {
            self.producers.remove(&producer_id);
        }
    }
}

impl ProducerState {
    fn new(header: &BatchHeader) -> Self {
        Self {
            epoch: header.producer_epoch,
            batches: VecDeque::new(),
            timestamp_ms: header.max_timestamp,
            coordinator_epoch: NO_COORDINATOR_EPOCH,
            transaction_first_offset: None,
            last_seen_ms: 0,
        }
    }

    /// A new epoch begins its own sequences; an open transaction stays open.
    fn take_epoch(&mut self, header: &BatchHeader, now_ms: i64) {
        if self.epoch != header.producer_epoch {
            self.epoch = header.producer_epoch;
            self.batches.clear();
        }
        self.timestamp_ms = header.max_timestamp;
        self.last_seen_ms = now_ms;
    }

    fn describe(&self, producer_id: i64) -> ActiveProducer {
        ActiveProducer {
            producer_id,
            epoch: self.epoch,
            last_sequence: self.batches.back().map_or(-1, |batch| batch.last_sequence),
            last_timestamp_ms: self.timestamp_ms,
            coordinator_epoch: self.coordinator_epoch,
            transaction_first_offset: self.transaction_first_offset,
        }
    }

    fn is_open(&self) -> bool {
        self.transaction_first_offset.is_some()
    }

    /// After another epoch's batches, or none of this one, sequences begin at 0.
    fn check_sequence(&self, header: &BatchHeader) -> Result<(), AppendError> {
        let last = self.batches.back().filter(|_| header.producer_epoch == self.epoch);
        in_sequence(header, last.map_or(0, |last| sequence_add(last.last_sequence, 1)))
    }

    fn check_coordinator(&self, producer_id: i64, marker: Option<EndTransactionMarker>) -> Result<(), AppendError> {
        match marker.map(|marker| marker.coordinator_epoch).filter(|epoch| *epoch < self.coordinator_epoch) {
            Some(got) => Err(AppendError::CoordinatorFenced { producer_id, current: self.coordinator_epoch, got }),
            None => Ok(()),
        }
    }

    fn find(&self, header: &BatchHeader) -> Option<ProducedBatch> {
        if header.producer_epoch != self.epoch {
            return None;
        }
        let range = (header.base_sequence, header.last_sequence());
        self.batches.iter().copied().find(|batch| (batch.first_sequence(), batch.last_sequence) == range)
    }

    fn push(&mut self, batch: ProducedBatch) {
        if self.batches.len() == BATCHES_A_PRODUCER {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
    }
}

fn in_sequence(header: &BatchHeader, expected: i32) -> Result<(), AppendError> {
    if header.base_sequence == expected {
        return Ok(());
    }
    let (producer_id, got) = (header.producer_id, header.base_sequence);
    Err(AppendError::OutOfOrderSequence { producer_id, expected, got })
}
