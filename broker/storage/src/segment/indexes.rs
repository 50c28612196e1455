//! The indexes of one segment, kept together: what an append adds to them, what a checkpoint remembers of them.

use super::SegmentFiles;
use crate::{
    StorageError,
    file_system::bytes,
    index::{OffsetEntry, OffsetIndex, TimeEntry, TimeIndex},
    record_batch::BatchHeader,
};
use std::sync::Arc;

/// The highest timestamp of a segment, and the last offset of the first batch that bears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaxTimestamp {
    pub timestamp_ms: i64,
    pub last_offset: i64,
}

/// What a checkpoint remembers of the segment it was taken in, beside its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct IndexState {
    pub offset_entries: usize,
    pub time_entries: usize,
    pub bytes_since_entry: u64,
    /// -1: none.
    pub max_timestamp: i64,
    pub max_timestamp_offset: i64,
    pub aborted_entries: usize,
}

#[derive(Debug)]
pub(super) struct Indexes {
    base_offset: i64,
    pub offset: OffsetIndex,
    pub time: TimeIndex,
    pub max_timestamp: Option<MaxTimestamp>,
    /// False: read from a file that may have lost its last entries.
    pub is_max_proven: bool,
    bytes_since_entry: u64,
}

impl Indexes {
    pub fn empty(files: &Arc<SegmentFiles>) -> Self {
        Self {
            base_offset: files.base_offset,
            offset: OffsetIndex::empty(files.clone()),
            time: TimeIndex::empty(files.clone()),
            max_timestamp: None,
            is_max_proven: true,
            bytes_since_entry: 0,
        }
    }

    /// From the files; None if they do not hold what `state` says or cannot be indexes.
    pub fn load(files: &Arc<SegmentFiles>, state: Option<IndexState>) -> Result<Option<Self>, StorageError> {
        let counts = state.map(|state| (state.offset_entries, state.time_entries)).unzip();
        let offset = OffsetIndex::load(files.clone(), counts.0)?;
        let time = TimeIndex::load(files.clone(), counts.1)?;
        let (Some(offset), Some(time)) = (offset, time) else { return Ok(None) };
        let base_offset = files.base_offset;
        let max_timestamp = match state {
            Some(state) if state.max_timestamp < 0 => None,
            Some(state) => {
                Some(MaxTimestamp { timestamp_ms: state.max_timestamp, last_offset: state.max_timestamp_offset })
            }
            None => time.last().map(|entry| MaxTimestamp {
                timestamp_ms: entry.timestamp_ms,
                last_offset: base_offset + i64::from(entry.relative_last_offset),
            }),
        };
        let bytes_since_entry = state.map_or(0, |state| state.bytes_since_entry);
        Ok(Some(Self { base_offset, offset, time, max_timestamp, is_max_proven: state.is_some(), bytes_since_entry }))
    }

    /// Kafka's rule: an entry for the batch that comes when more than the interval has passed since the last entry.
    pub fn note(&mut self, interval: u64, position: u64, header: &BatchHeader) {
        // A batch that compaction has emptied bears no record, whatever its header says.
        let has_time = header.max_timestamp >= 0 && header.record_count > 0;
        if has_time && self.max_timestamp.is_none_or(|max| header.max_timestamp > max.timestamp_ms) {
            let last_offset = header.last_offset();
            self.max_timestamp = Some(MaxTimestamp { timestamp_ms: header.max_timestamp, last_offset });
        }
        if self.bytes_since_entry > interval {
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            self.offset.push(OffsetEntry { relative_last_offset: self.relative(header.last_offset()), position });
            self.note_time();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += bytes(header.size());
    }

    fn note_time(&mut self) {
        let Some(max) = self.max_timestamp else { return };
        let relative_last_offset = self.relative(max.last_offset);
        self.time.push_if_newer(TimeEntry { timestamp_ms: max.timestamp_ms, relative_last_offset });
    }

    /// To the files, the highest timestamp included.
    pub fn persist(&mut self) -> Result<(), StorageError> {
        self.note_time();
        self.offset.persist()?;
        self.time.persist()
    }

    pub fn state(&self) -> IndexState {
        IndexState {
            offset_entries: self.offset.len(),
            time_entries: self.time.len(),
            bytes_since_entry: self.bytes_since_entry,
            max_timestamp: self.max_timestamp.map_or(-1, |max| max.timestamp_ms),
            max_timestamp_offset: self.max_timestamp.map_or(-1, |max| max.last_offset),
            aborted_entries: 0,
        }
    }

    /// How many entries the offset and the time index hold.
    pub fn entries(&self) -> (usize, usize) {
        (self.offset.len(), self.time.len())
    }

    /// The log rolls before an offset is out of an index's reach.
    fn relative(&self, offset: i64) -> u32 {
        u32::try_from(offset - self.base_offset).unwrap_or(u32::MAX)
    }
}
