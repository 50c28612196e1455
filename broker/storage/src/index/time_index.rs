//! `.timeindex`: the highest timestamp so far and the batch that brought it.
//!
//! An entry says: no record up to this offset (that of the batch's last record, relative, u32) is younger than this
//! timestamp (i64). It is written beside an offset index entry, and once more when the segment is sealed, if the
//! maximum has grown since; so the last entry bears the segment's highest timestamp.

use super::{IndexEntry, IndexFile};
use crate::{StorageError, segment::FileKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub timestamp_ms: i64,
    pub relative_last_offset: u32,
}

pub(crate) type TimeIndex = IndexFile<TimeEntry, 12>;

impl IndexEntry<12> for TimeEntry {
    const FILE: FileKind = FileKind::TimeIndex;

    fn encode(self) -> [u8; 12] {
        let mut out = [0; 12];
        let (timestamp, offset) = out.split_at_mut(8);
        timestamp.copy_from_slice(&self.timestamp_ms.to_be_bytes());
        offset.copy_from_slice(&self.relative_last_offset.to_be_bytes());
        out
    }

    fn decode([a, b, c, d, e, f, g, h, i, j, k, l]: [u8; 12]) -> Self {
        Self {
            timestamp_ms: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            relative_last_offset: u32::from_be_bytes([i, j, k, l]),
        }
    }
}

impl TimeIndex {
    /// The last entry at or before `timestamp_ms`.
    pub fn floor(&self, timestamp_ms: i64) -> Result<Option<TimeEntry>, StorageError> {
        self.last_where(|entry| entry.timestamp_ms <= timestamp_ms)
    }

    /// Adds the entry unless its timestamp brings nothing new.
    pub fn push_if_newer(&mut self, entry: TimeEntry) {
        if self.last().is_none_or(|last| last.timestamp_ms < entry.timestamp_ms) {
            self.push(entry);
        }
    }
}
