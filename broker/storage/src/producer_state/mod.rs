//! What the log knows of idempotent producers (KIP-98), and its snapshots.
//!
//! Per producer id: the epoch and the last five batches, so that a batch sent again is recognised and answered with
//! the offset of its first time. Snapshots are Kafka's `.snapshot` files, version 1; where Kafka keeps one batch a producer, ours
//! hold up to five entries for the same producer, oldest first (Kafka reads them and keeps the last).

#[cfg(test)]
mod tests;

use crate::{
    AppendError, Origin,
    record_batch::{BatchError, BatchHeader},
};
use std::collections::{HashMap, VecDeque};

/// Batches remembered a producer: a client has at most five in flight.
const BATCHES_A_PRODUCER: usize = 5;
/// Producers remembered a partition; beyond it those silent for longest are forgotten, a tenth at a time.
const MAX_PRODUCERS: usize = 100_000;
/// How often the log looks for silent producers (Kafka's `producer.id.expiration.check.interval.ms`).
pub(crate) const EXPIRY_CHECK_INTERVAL_MS: i64 = 600_000;

const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_HEADER: usize = 10;
/// Where the CRC ends and what it covers begins.
const SNAPSHOT_CRC_START: usize = 6;
const SNAPSHOT_ENTRY: usize = 46;
/// Largest snapshot file that is read.
pub(crate) const MAX_SNAPSHOT_BYTES: u64 =
    (SNAPSHOT_HEADER + SNAPSHOT_ENTRY * BATCHES_A_PRODUCER * MAX_PRODUCERS) as u64;

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

#[derive(Debug, Clone, PartialEq, Eq)]
struct ProducerState {
    epoch: i16,
    /// Oldest first, all of this epoch.
    batches: VecDeque<ProducedBatch>,
    /// The broker's clock when it last wrote, or when the log was opened.
    last_seen_ms: i64,
}

/// All producers of one partition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerStates {
    producers: HashMap<i64, ProducerState>,
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

    pub fn last_records(&self) -> LastRecords {
        let last = |state: &ProducerState| (state.epoch, state.batches.back().map(|batch| batch.last_offset));
        LastRecords { producers: self.producers.iter().map(|(id, state)| (*id, last(state))).collect() }
    }

    /// Whether the batch may be appended; the earlier one if it is there already.
    pub fn check(&self, header: &BatchHeader, origin: Origin) -> Result<Option<ProducedBatch>, AppendError> {
        let Some(state) = self.producers.get(&header.producer_id) else { return Ok(None) };
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        if epoch < state.epoch {
            return Err(AppendError::InvalidProducerEpoch { producer_id, current: state.epoch, got: epoch });
        }
        // A gateway in this process passes on its clients' sequences; what the process itself writes has none.
        if origin != Origin::Client && header.base_sequence < 0 {
            return Ok(None);
        }
        if epoch > state.epoch {
            return in_sequence(header, 0).map(|()| None);
        }
        if let Some(earlier) = state.find(header) {
            return Ok(Some(earlier));
        }
        match state.batches.back() {
            Some(last) => in_sequence(header, sequence_add(last.last_sequence, 1)).map(|()| None),
            None => Ok(None),
        }
    }

    /// Takes note of a batch that is in the log; its offsets are placed.
    pub fn record(&mut self, header: &BatchHeader, now_ms: i64) {
        if !header.has_producer_id() {
            return;
        }
        self.make_room(header.producer_id);
        let state =
            self.producers.entry(header.producer_id).or_insert_with(|| ProducerState::new(header.producer_epoch));
        if state.epoch != header.producer_epoch {
            *state = ProducerState::new(header.producer_epoch);
        }
        state.last_seen_ms = now_ms;
        // Markers end a transaction; they bear no sequence.
        if header.is_control() {
            return;
        }
        state.push(ProducedBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp_ms: header.max_timestamp,
        });
    }

    /// Forgets producers silent for `expiration_ms`.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, state| now_ms.saturating_sub(state.last_seen_ms) < expiration_ms);
    }

    fn make_room(&mut self, newcomer: i64) {
        if self.producers.len() < MAX_PRODUCERS || self.producers.contains_key(&newcomer) {
            return;
        }
        let mut seen: Vec<(i64, i64)> = self.producers.iter().map(|(id, state)| (state.last_seen_ms, *id)).collect();
        seen.sort_unstable();
        for (_, producer_id) in seen.into_iter().take(MAX_PRODUCERS / 10) {
            self.producers.remove(&producer_id);
        }
    }

    /// A snapshot file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut producer_ids: Vec<i64> = self.producers.keys().copied().collect();
        producer_ids.sort_unstable();
        let mut entries = Vec::new();
        let mut count = 0i32;
        for (producer_id, state) in producer_ids.iter().filter_map(|id| Some((id, self.producers.get(id)?))) {
            for batch in &state.batches {
                encode_entry(&mut entries, *producer_id, state.epoch, batch);
                count += 1;
            }
        }
        let covered = [&count.to_be_bytes()[..], &entries].concat();
        let mut out = Vec::with_capacity(SNAPSHOT_HEADER + entries.len());
        out.extend_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
        out.extend_from_slice(&crc32c::crc32c(&covered).to_be_bytes());
        out.extend_from_slice(&covered);
        out
    }

    /// What a snapshot file holds; expiry counts from `now_ms` on.
    pub fn decode(file: &[u8], now_ms: i64) -> Result<Self, BatchError> {
        let malformed = || BatchError::new("not a producer snapshot");
        let (version, rest) = file.split_first_chunk().ok_or_else(malformed)?;
        let (crc, covered) = rest.split_first_chunk().ok_or_else(malformed)?;
        debug_assert_eq!(file.len() - covered.len(), SNAPSHOT_CRC_START);
        if i16::from_be_bytes(*version) != SNAPSHOT_VERSION {
            return Err(BatchError::new(format!("producer snapshot of version {}", i16::from_be_bytes(*version))));
        }
        if crc32c::crc32c(covered) != u32::from_be_bytes(*crc) {
            return Err(BatchError::new("the producer snapshot's CRC does not fit"));
        }
        let (count, mut rest) = covered.split_first_chunk().ok_or_else(malformed)?;
        let mut states = Self::default();
        for _ in 0..i32::from_be_bytes(*count) {
            let (producer_id, epoch, batch) = decode_entry(&mut rest).ok_or_else(malformed)?;
            let state = states.producers.entry(producer_id).or_insert_with(|| ProducerState::new(epoch));
            state.epoch = epoch;
            state.last_seen_ms = now_ms;
            state.push(batch);
        }
        Ok(states)
    }
}

impl ProducerState {
    fn new(epoch: i16) -> Self {
        Self { epoch, batches: VecDeque::new(), last_seen_ms: 0 }
    }

    fn find(&self, header: &BatchHeader) -> Option<ProducedBatch> {
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

fn encode_entry(out: &mut Vec<u8>, producer_id: i64, epoch: i16, batch: &ProducedBatch) {
    /// No transaction coordinator has written, no transaction is open.
    const NO_COORDINATOR_EPOCH: i32 = -1;
    const NO_TRANSACTION: i64 = -1;
    out.extend_from_slice(&producer_id.to_be_bytes());
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&batch.last_sequence.to_be_bytes());
    out.extend_from_slice(&batch.last_offset.to_be_bytes());
    out.extend_from_slice(&batch.offset_delta.to_be_bytes());
    out.extend_from_slice(&batch.timestamp_ms.to_be_bytes());
    out.extend_from_slice(&NO_COORDINATOR_EPOCH.to_be_bytes());
    out.extend_from_slice(&NO_TRANSACTION.to_be_bytes());
}

fn decode_entry(rest: &mut &[u8]) -> Option<(i64, i16, ProducedBatch)> {
    let producer_id = i64::from_be_bytes(take(rest)?);
    let epoch = i16::from_be_bytes(take(rest)?);
    let batch = ProducedBatch {
        last_sequence: i32::from_be_bytes(take(rest)?),
        last_offset: i64::from_be_bytes(take(rest)?),
        offset_delta: i32::from_be_bytes(take(rest)?),
        timestamp_ms: i64::from_be_bytes(take(rest)?),
    };
    let _coordinator_epoch = take::<4>(rest)?;
    let _transaction_first_offset = take::<8>(rest)?;
    Some((producer_id, epoch, batch))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
