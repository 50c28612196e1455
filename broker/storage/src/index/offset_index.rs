//! `.index`: from an offset to a byte position in the segment, one entry about every `index.interval.bytes`.
//!
//! An entry names a batch: the offset of its *last* record relative to the segment's base offset (u32) and the position
//! of its first byte (u32).

use super::{IndexEntry, IndexFile};
use crate::{StorageError, segment::FileKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub relative_last_offset: u32,
    pub position: u32,
}

pub(crate) type OffsetIndex = IndexFile<OffsetEntry, 8>;

impl IndexEntry<8> for OffsetEntry {
    const FILE: FileKind = FileKind::OffsetIndex;

    fn encode(self) -> [u8; 8] {
        let mut out = [0; 8];
        let (offset, position) = out.split_at_mut(4);
        offset.copy_from_slice(&self.relative_last_offset.to_be_bytes());
        position.copy_from_slice(&self.position.to_be_bytes());
        out
    }

    fn decode([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
        Self { relative_last_offset: u32::from_be_bytes([a, b, c, d]), position: u32::from_be_bytes([e, f, g, h]) }
    }
}

impl OffsetIndex {
    /// The last entry whose batch ends at or before `relative_offset`.
    pub fn floor(&self, relative_offset: u32) -> Result<Option<OffsetEntry>, StorageError> {
        self.last_where(|entry| entry.relative_last_offset <= relative_offset)
    }

    /// The last entry whose batch begins at or before `position`.
    pub fn floor_by_position(&self, position: u32) -> Result<Option<OffsetEntry>, StorageError> {
        self.last_where(|entry| entry.position <= position)
    }
}
