//! What becomes of one batch. Pure: bytes in, a verdict out.
//!
//! A record stays if it is its key's newest (as far as the map knows) and bears a value, or is a tombstone whose time has not come. Records
//! behind what the map covers stay as they are. The first cleaning that finds only a tombstone left of a key writes the delete
//! horizon into its batch; a cleaning after that horizon drops it (KIP-534). Markers of transactions without data go the same way.
//! Records without a key have no place in a compacted log and are dropped. Rules and their order are Kafka's.

use super::{offset_map::OffsetMap, rebuild, rebuild::Remaining, transactions::Transactions};
use crate::{
    producer_state::LastRecords,
    record_batch::{BatchError, BatchHeader, RecordBatch, RecordRef},
};

/// What becomes of a batch.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It stays as it is, byte for byte.
    Keep,
    Drop,
    Replace(RecordBatch),
}

#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub map: &'a OffsetMap,
    pub producers: &'a LastRecords,
    pub transactions: &'a mut Transactions,
    pub now_ms: i64,
    pub delete_retention_ms: i64,
    pub max_decompressed_bytes: usize,
}

impl Filter<'_> {
    /// Takes the batches of the log in order. `is_last`: its offsets must stay, with or without records.
    pub fn judge(&mut self, batch: &RecordBatch, is_last: bool) -> Result<Verdict, BatchError> {
        let header = &batch.header;
        let is_discardable = self.transactions.observe(batch)?;
        let stays_empty = is_last || self.producers.is_last(header);
        let is_discarded = is_discardable && (!header.is_control() || self.is_past_horizon(header));
        if is_discarded || header.record_count == 0 {
            return emptied(batch, stays_empty);
        }
        if header.is_control() {
            return self.judge_marker(batch, is_discardable);
        }
        if header.base_offset > self.map.latest_offset() {
            return Ok(Verdict::Keep);
        }
        self.judge_records(batch, stays_empty)
    }

    /// A marker that may go gets its horizon first.
    fn judge_marker(&self, batch: &RecordBatch, is_discardable: bool) -> Result<Verdict, BatchError> {
        if !is_discardable || batch.header.delete_horizon_ms().is_some() {
            return Ok(Verdict::Keep);
        }
        let opened = batch.open(self.max_decompressed_bytes)?;
        let mut remaining = Remaining { records: Vec::new(), max_timestamp: batch.header.max_timestamp };
        for record in opened.iter_raw() {
            remaining.records.push(record?.0);
        }
        rebuild::with_records(batch, &remaining, Some(self.new_horizon())).map(Verdict::Replace)
    }

    fn judge_records(&self, batch: &RecordBatch, stays_empty: bool) -> Result<Verdict, BatchError> {
        let header = &batch.header;
        let opened = batch.open(self.max_decompressed_bytes)?;
        let mut remaining = Remaining { records: Vec::new(), max_timestamp: -1 };
        let (mut has_lost, mut has_tombstone) = (false, false);
        for record in opened.iter_raw() {
            let (raw, record) = record?;
            if !self.stays(header, &record) {
                has_lost = true;
                continue;
            }
            has_tombstone |= record.value.is_none() && record.offset <= self.map.latest_offset();
            remaining.max_timestamp = remaining.max_timestamp.max(record.timestamp_ms);
            remaining.records.push(raw);
        }
        if remaining.records.is_empty() {
            return emptied(batch, stays_empty);
        }
        let needs_horizon = has_tombstone && header.delete_horizon_ms().is_none();
        match needs_horizon {
            true => rebuild::with_records(batch, &remaining, Some(self.new_horizon())).map(Verdict::Replace),
            false if has_lost => rebuild::with_records(batch, &remaining, None).map(Verdict::Replace),
            false => Ok(Verdict::Keep),
        }
    }

    fn stays(&self, header: &BatchHeader, record: &RecordRef<'_>) -> bool {
        if record.offset > self.map.latest_offset() {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_newest = self.map.newest(key).is_none_or(|newest| record.offset >= newest);
        is_newest && (record.value.is_some() || !self.is_past_horizon(header))
    }

    fn is_past_horizon(&self, header: &BatchHeader) -> bool {
        header.delete_horizon_ms().is_some_and(|horizon_ms| horizon_ms <= self.now_ms)
    }

    fn new_horizon(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }
}

fn emptied(batch: &RecordBatch, stays: bool) -> Result<Verdict, BatchError> {
    match stays {
        false => Ok(Verdict::Drop),
        true if batch.header.record_count == 0 => Ok(Verdict::Keep),
        true => rebuild::empty(batch).map(Verdict::Replace),
    }
}
