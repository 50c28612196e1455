//! `.timeindex`: the highest timestamp so far and the batch that brought it.
//!
//! An entry says: no record up to this offset (that of the batch's last record, relative, u32) is younger than this
//! timestamp (i64). It is written beside an offset index entry, and once more when the segment is sealed, if the
//! maximum has grown since; so the last entry bears the segment's highest timestamp.

use crate::{StorageError, file_system::FileSystem, index_file::IndexFile};
use std::{path::PathBuf, sync::Arc};

pub(crate) const ENTRY_BYTES: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub timestamp_ms: i64,
    pub relative_last_offset: u32,
}

#[derive(Debug)]
pub(crate) struct TimeIndex {
    entries: IndexFile<ENTRY_BYTES>,
}

impl TimeIndex {
    pub fn empty(file_system: Arc<dyn FileSystem>, path: PathBuf) -> Self {
        Self { entries: IndexFile::empty(file_system, path) }
    }

    pub fn load(
        file_system: Arc<dyn FileSystem>,
        path: PathBuf,
        expected: Option<usize>,
    ) -> Result<Option<Self>, StorageError> {
        Ok(IndexFile::load(file_system, path, expected)?.map(|entries| Self { entries }))
    }

    /// The last entry at or before `timestamp_ms`.
    pub fn floor(&mut self, timestamp_ms: i64) -> Result<Option<TimeEntry>, StorageError> {
        let found = self.entries.last_where(|entry| decode(entry).timestamp_ms <= timestamp_ms)?;
        Ok(found.as_ref().map(decode))
    }

    pub fn last(&mut self) -> Result<Option<TimeEntry>, StorageError> {
        Ok(self.entries.last()?.as_ref().map(decode))
    }

    /// Adds the entry unless its timestamp brings nothing new.
    pub fn push_if_newer(&mut self, entry: TimeEntry) -> Result<(), StorageError> {
        if self.last()?.is_some_and(|last| last.timestamp_ms >= entry.timestamp_ms) {
            return Ok(());
        }
        self.entries.push(encode(entry))
    }

    pub fn entries(&mut self) -> &mut IndexFile<ENTRY_BYTES> {
        &mut self.entries
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

fn encode(entry: TimeEntry) -> [u8; ENTRY_BYTES] {
    let mut out = [0; ENTRY_BYTES];
    let (timestamp, offset) = out.split_at_mut(8);
    timestamp.copy_from_slice(&entry.timestamp_ms.to_be_bytes());
    offset.copy_from_slice(&entry.relative_last_offset.to_be_bytes());
    out
}

fn decode(bytes: &[u8; ENTRY_BYTES]) -> TimeEntry {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
    TimeEntry {
        timestamp_ms: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        relative_last_offset: u32::from_be_bytes([i, j, k, l]),
    }
}
