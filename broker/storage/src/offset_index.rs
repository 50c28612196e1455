//! `.index`: from an offset to a byte position in the segment, one entry about every `index.interval.bytes`.
//!
//! An entry names a batch: the offset of its *last* record relative to the segment's base offset (u32) and the position
//! of its first byte (u32). Whoever looks up verifies that the batch there bears this last offset; so a damaged index
//! costs a rebuild, never a wrong answer.

use crate::{StorageError, file_system::FileSystem, index_file::IndexFile};
use std::{path::PathBuf, sync::Arc};

pub(crate) const ENTRY_BYTES: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub relative_last_offset: u32,
    pub position: u32,
}

#[derive(Debug)]
pub(crate) struct OffsetIndex {
    entries: IndexFile<ENTRY_BYTES>,
}

impl OffsetIndex {
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

    /// The last entry whose batch ends at or before `relative_offset`.
    pub fn floor(&mut self, relative_offset: u32) -> Result<Option<OffsetEntry>, StorageError> {
        let found = self.entries.last_where(|entry| decode(entry).relative_last_offset <= relative_offset)?;
        Ok(found.as_ref().map(decode))
    }

    /// The last entry whose batch begins at or before `position`.
    pub fn floor_by_position(&mut self, position: u32) -> Result<Option<OffsetEntry>, StorageError> {
        let found = self.entries.last_where(|entry| decode(entry).position <= position)?;
        Ok(found.as_ref().map(decode))
    }

    pub fn push(&mut self, entry: OffsetEntry) -> Result<(), StorageError> {
        self.entries.push(encode(entry))
    }

    pub fn entries(&mut self) -> &mut IndexFile<ENTRY_BYTES> {
        &mut self.entries
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

fn encode(entry: OffsetEntry) -> [u8; ENTRY_BYTES] {
    let mut out = [0; ENTRY_BYTES];
    let (offset, position) = out.split_at_mut(4);
    offset.copy_from_slice(&entry.relative_last_offset.to_be_bytes());
    position.copy_from_slice(&entry.position.to_be_bytes());
    out
}

fn decode(bytes: &[u8; ENTRY_BYTES]) -> OffsetEntry {
    let [a, b, c, d, e, f, g, h] = *bytes;
    OffsetEntry { relative_last_offset: u32::from_be_bytes([a, b, c, d]), position: u32::from_be_bytes([e, f, g, h]) }
}
