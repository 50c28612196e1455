//! `.txnindex`: the aborted transactions whose markers lie in the segment, in the order of the markers.
//!
//! Readers of committed records are told of them, so that they can leave out what was aborted. Unlike the other indexes it cannot
//! be checked by a look into the log: a missing entry would give aborted records to a reader. So a checkpoint bears a digest
//! of all of them; if the files do not fit it, recovery makes them anew from the log. A segment without any has no such file.

use super::{IndexEntry, IndexFile};
use crate::{
    StorageError,
    segment::{FileKind, SegmentFiles},
};
use std::sync::Arc;

const VERSION: i16 = 0;
const ENTRY_BYTES: usize = 34;

/// A transaction that was aborted on this partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    /// Of its first record.
    pub first_offset: i64,
    /// Of its marker.
    pub last_offset: i64,
    /// The last stable offset once the marker was there.
    pub last_stable_offset: i64,
}

/// What entries are there, in 16 bytes: how many, and the sum of their CRCs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AbortDigest {
    pub count: u64,
    pub sum: u64,
}

impl AbortDigest {
    pub fn plus(self, other: Self) -> Self {
        Self { count: self.count + other.count, sum: self.sum.wrapping_add(other.sum) }
    }

    fn add(&mut self, entry: AbortedTransaction) {
        let sum = u64::from(crc32c::crc32c(&entry.encode()));
        *self = self.plus(Self { count: 1, sum });
    }
}

#[derive(Debug)]
pub(crate) struct TransactionIndex {
    entries: IndexFile<AbortedTransaction, ENTRY_BYTES>,
    digest: AbortDigest,
}

impl TransactionIndex {
    pub fn empty(files: Arc<SegmentFiles>) -> Self {
        Self { entries: IndexFile::empty(files), digest: AbortDigest::default() }
    }

    /// The entries in the file, of which the first `expected` (if given) are taken. None: there is no such file, or not so many.
    pub fn load(files: Arc<SegmentFiles>, expected: Option<usize>) -> Result<Option<Self>, StorageError> {
        let Some(entries) = IndexFile::load(files, expected)? else { return Ok(None) };
        let mut digest = AbortDigest::default();
        entries.visit(|entry| {
            digest.add(entry);
            true
        })?;
        Ok(Some(Self { entries, digest }))
    }

    pub fn push(&mut self, entry: AbortedTransaction) {
        self.digest.add(entry);
        self.entries.push(entry);
    }

    /// Adds those that concern a reader of `from..to` to `found`; true if no later one can.
    pub fn collect(&self, from: i64, to: i64, found: &mut Vec<AbortedTransaction>) -> Result<bool, StorageError> {
        let mut is_complete = false;
        self.entries.visit(|entry| {
            if entry.last_offset >= from && entry.first_offset < to {
                found.push(entry);
            }
            is_complete = entry.last_stable_offset >= to;
            !is_complete
        })?;
        Ok(is_complete)
    }

    pub fn persist(&mut self) -> Result<(), StorageError> {
        self.entries.persist()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn digest(&self) -> AbortDigest {
        self.digest
    }
}

impl IndexEntry<ENTRY_BYTES> for AbortedTransaction {
    const FILE: FileKind = FileKind::TransactionIndex;

    fn encode(self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        let (version, fields) = out.split_at_mut(2);
        version.copy_from_slice(&VERSION.to_be_bytes());
        let values = [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset];
        for (place, value) in fields.chunks_exact_mut(8).zip(values) {
            place.copy_from_slice(&value.to_be_bytes());
        }
        out
    }

    /// A version that does not exist is no producer's, and so shows in the digest.
    fn decode(bytes: [u8; ENTRY_BYTES]) -> Self {
        let mut values = bytes
            .get(2..)
            .unwrap_or_default()
            .chunks_exact(8)
            .map(|value| value.first_chunk().map_or(-1, |value| i64::from_be_bytes(*value)));
        let mut next = || values.next().unwrap_or(-1);
        let producer_id = next();
        let is_known = bytes.first_chunk() == Some(&VERSION.to_be_bytes());
        Self {
            producer_id: if is_known { producer_id } else { i64::MIN },
            first_offset: next(),
            last_offset: next(),
            last_stable_offset: next(),
        }
    }
}
