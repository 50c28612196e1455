//! Which transactions a cleaning has walked into: aborted data are dropped, markers outlive their data.
//!
//! Fed with every batch of the log in order, below the last stable offset. A marker may go once no batch of its transaction is left
//! before it; the filter then gives it a delete horizon first (KIP-534), so that readers in the middle still learn the outcome.

use super::AbortedTransaction;
use crate::record_batch::{BatchError, BatchHeader, RecordBatch};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A control record is a few bytes; nobody compresses it.
const MAX_CONTROL_BYTES: usize = 1024;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// Not reached yet, by first offset; more than one may begin with the same batch only by mistake.
    coming: BTreeMap<(i64, i64), AbortedTransaction>,
    /// Producers of the aborted transactions that the walk is inside of, and whether a batch of theirs has been seen.
    aborted: HashMap<i64, bool>,
    /// Producers with data of a transaction that is not aborted.
    committed: HashSet<i64>,
}

impl Transactions {
    pub fn new(aborted: impl IntoIterator<Item = AbortedTransaction>) -> Self {
        let coming = aborted.into_iter().map(|one| ((one.first_offset, one.producer_id), one)).collect();
        Self { coming, ..Self::default() }
    }

    /// Takes note of the next batch of the log; true if it may be discarded: data of an aborted transaction, or the marker of a
    /// transaction that has no data left.
    pub fn observe(&mut self, batch: &RecordBatch) -> Result<bool, BatchError> {
        let header = &batch.header;
        self.reach(header.last_offset());
        if header.is_control() {
            return Ok(self.end(header, control_type(batch)?));
        }
        if !header.is_transactional() {
            return Ok(false);
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some(has_data) => *has_data = true,
            None => {
                self.committed.insert(header.producer_id);
            }
        }
        Ok(self.aborted.contains_key(&header.producer_id))
    }

    fn reach(&mut self, offset: i64) {
        while let Some(entry) = self.coming.first_entry().filter(|entry| entry.get().first_offset <= offset) {
            let transaction = entry.remove();
            self.aborted.entry(transaction.producer_id).or_insert(false);
        }
    }

    fn end(&mut self, header: &BatchHeader, kind: Option<i16>) -> bool {
        match kind {
            // Emptied by an earlier cleaning.
            None => true,
            Some(ABORT) => self.aborted.remove(&header.producer_id) != Some(true),
            Some(COMMIT) => !self.committed.remove(&header.producer_id),
            Some(_) => false,
        }
    }
}

/// What the control record says: key `version i16, type i16`. None: the batch is empty.
fn control_type(batch: &RecordBatch) -> Result<Option<i16>, BatchError> {
    let records = batch.open(MAX_CONTROL_BYTES)?;
    let Some(record) = records.iter().next().transpose()? else { return Ok(None) };
    let kind = record.key.and_then(|key| key.get(2..4)).and_then(|kind| kind.first_chunk());
    let kind = kind.ok_or_else(|| BatchError::new("a control record without a type"))?;
    Ok(Some(i16::from_be_bytes(*kind)))
}
