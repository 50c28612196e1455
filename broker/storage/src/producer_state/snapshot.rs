//! Kafka's `.snapshot` files, version 1: all that is known of producers at an offset.

use super::{BATCHES_A_PRODUCER, MAX_PRODUCERS, ProducedBatch, ProducerState, ProducerStates};
use crate::record_batch::BatchError;
use std::collections::VecDeque;

const VERSION: i16 = 1;
const HEADER_BYTES: usize = 10;
/// Where the CRC ends and what it covers begins.
const CRC_END: usize = 6;
const ENTRY_BYTES: usize = 46;
/// Largest snapshot file that is read.
pub(crate) const MAX_SNAPSHOT_BYTES: u64 = (HEADER_BYTES + ENTRY_BYTES * BATCHES_A_PRODUCER * MAX_PRODUCERS) as u64;
/// What stands in the place of an offset or a sequence that is not there.
const NONE: i64 = -1;
/// A producer that has written no batch in its epoch, only ended a transaction.
const NO_BATCH: ProducedBatch =
    ProducedBatch { last_sequence: -1, last_offset: NONE, offset_delta: 0, timestamp_ms: NONE };

impl ProducerStates {
    /// A snapshot file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut producer_ids: Vec<i64> = self.producers.keys().copied().collect();
        producer_ids.sort_unstable();
        let mut entries = Vec::new();
        let mut count = 0i32;
        for (producer_id, state) in producer_ids.iter().filter_map(|id| Some((id, self.producers.get(id)?))) {
            let none = ProducedBatch { timestamp_ms: state.timestamp_ms, ..NO_BATCH };
            let batches = state.batches.iter().chain(state.batches.is_empty().then_some(&none));
            for batch in batches {
                encode_entry(&mut entries, *producer_id, state, batch);
                count += 1;
            }
        }
        let covered = [&count.to_be_bytes()[..], &entries].concat();
        let mut out = Vec::with_capacity(HEADER_BYTES + entries.len());
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&crc32c::crc32c(&covered).to_be_bytes());
        out.extend_from_slice(&covered);
        out
    }

    /// What a snapshot file holds; expiry counts from `now_ms` on.
    pub fn decode(file: &[u8], now_ms: i64) -> Result<Self, BatchError> {
        let malformed = || BatchError::new("not a producer snapshot");
        let (version, rest) = file.split_first_chunk().ok_or_else(malformed)?;
        let (crc, covered) = rest.split_first_chunk().ok_or_else(malformed)?;
        debug_assert_eq!(file.len() - covered.len(), CRC_END);
        if i16::from_be_bytes(*version) != VERSION {
            return Err(BatchError::new(format!("producer snapshot of version {}", i16::from_be_bytes(*version))));
        }
        if crc32c::crc32c(covered) != u32::from_be_bytes(*crc) {
            return Err(BatchError::new("the producer snapshot's CRC does not fit"));
        }
        let (count, mut rest) = covered.split_first_chunk().ok_or_else(malformed)?;
        let mut states = Self::default();
        for _ in 0..i32::from_be_bytes(*count) {
            let entry = Entry::decode(&mut rest).ok_or_else(malformed)?;
            states.take(entry, now_ms);
        }
        Ok(states)
    }

    /// Entries of one producer follow one another, oldest first; the last one counts.
    fn take(&mut self, entry: Entry, now_ms: i64) {
        let state = self.producers.entry(entry.producer_id).or_insert_with(|| entry.state());
        let batches = std::mem::take(&mut state.batches);
        *state = ProducerState { batches, last_seen_ms: now_ms, ..entry.state() };
        if entry.batch.last_offset >= 0 {
            state.push(entry.batch);
        }
        if let Some(first_offset) = state.transaction_first_offset {
            self.transactions.begin(first_offset, entry.producer_id);
        }
    }
}

/// One entry of the file.
struct Entry {
    producer_id: i64,
    epoch: i16,
    batch: ProducedBatch,
    coordinator_epoch: i32,
    transaction_first_offset: i64,
}

impl Entry {
    fn decode(rest: &mut &[u8]) -> Option<Self> {
        Some(Self {
            producer_id: i64::from_be_bytes(take(rest)?),
            epoch: i16::from_be_bytes(take(rest)?),
            batch: ProducedBatch {
                last_sequence: i32::from_be_bytes(take(rest)?),
                last_offset: i64::from_be_bytes(take(rest)?),
                offset_delta: i32::from_be_bytes(take(rest)?),
                timestamp_ms: i64::from_be_bytes(take(rest)?),
            },
            coordinator_epoch: i32::from_be_bytes(take(rest)?),
            transaction_first_offset: i64::from_be_bytes(take(rest)?),
        })
    }

    /// All but the batches.
    fn state(&self) -> ProducerState {
        ProducerState {
            epoch: self.epoch,
            batches: VecDeque::new(),
            timestamp_ms: self.batch.timestamp_ms,
            coordinator_epoch: self.coordinator_epoch,
            transaction_first_offset: (self.transaction_first_offset >= 0).then_some(self.transaction_first_offset),
            last_seen_ms: 0,
        }
    }
}

fn encode_entry(out: &mut Vec<u8>, producer_id: i64, state: &ProducerState, batch: &ProducedBatch) {
    out.extend_from_slice(&producer_id.to_be_bytes());
    out.extend_from_slice(&state.epoch.to_be_bytes());
    out.extend_from_slice(&batch.last_sequence.to_be_bytes());
    out.extend_from_slice(&batch.last_offset.to_be_bytes());
    out.extend_from_slice(&batch.offset_delta.to_be_bytes());
    out.extend_from_slice(&batch.timestamp_ms.to_be_bytes());
    out.extend_from_slice(&state.coordinator_epoch.to_be_bytes());
    out.extend_from_slice(&state.transaction_first_offset.unwrap_or(NONE).to_be_bytes());
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
