//! `cleaner-checkpoint`: up to which offset a log is clean. Tifo's own file.
//!
//! Kafka has one `cleaner-offset-checkpoint` for a whole data directory; here each compacted log has its own, so it goes where the
//! partition goes, and cleaning one log writes nothing that belongs to others. It is written when a cleaning has ended, after its last
//! exchange of segments. A lost or damaged one costs a cleaning of the whole log; one that claims too much (its segments
//! were lost) is recognised by the log's end at open, and would cost space, never a record.

use crate::{
    StorageError,
    file_system::{FileSystem, read_small, remove_if_there, write_atomically},
};
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CleanerCheckpoint {
    pub first_dirty_offset: i64,
}

impl CleanerCheckpoint {
    pub const FILE_NAME: &'static str = "cleaner-checkpoint";
    pub const MAX_BYTES: u64 = 1024;

    /// The checkpoint in `dir` if it is right and not beyond `log_end_offset`; a wrong one is removed.
    pub fn read(file_system: &dyn FileSystem, dir: &Path, log_end_offset: i64) -> Result<Option<Self>, StorageError> {
        let path = dir.join(Self::FILE_NAME);
        let content = match read_small(file_system, &path, Self::MAX_BYTES) {
            Ok(None) => return Ok(None),
            Ok(Some(content)) => content,
            Err(StorageError::Corrupt { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let checkpoint = Self::decode(&content).filter(|one| (0..=log_end_offset).contains(&one.first_dirty_offset));
        if checkpoint.is_none() {
            tracing::warn!(path = %path.display(), "the cleaner's checkpoint is not right: all of the log counts as dirty");
            remove_if_there(file_system, &path)?;
        }
        Ok(checkpoint)
    }

    pub fn write(&self, file_system: &dyn FileSystem, dir: &Path) -> Result<(), StorageError> {
        write_atomically(file_system, &dir.join(Self::FILE_NAME), self.encode().as_bytes())
    }

    fn encode(&self) -> String {
        let body = format!("version: 0\nfirst_dirty_offset: {}\n", self.first_dirty_offset);
        let crc = crc32c::crc32c(body.as_bytes());
        format!("{body}crc32c: {crc:08x}\n")
    }

    pub fn decode(file: &[u8]) -> Option<Self> {
        let (body, crc) = std::str::from_utf8(file).ok()?.strip_suffix('\n')?.rsplit_once("crc32c: ")?;
        let right = u32::from_str_radix(crc, 16).ok()? == crc32c::crc32c(body.as_bytes());
        let offset = body.strip_prefix("version: 0\nfirst_dirty_offset: ")?.strip_suffix('\n')?;
        right.then_some(Self { first_dirty_offset: offset.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{file_system::RealFileSystem, testing::temporary_dir};

    #[test]
    fn what_is_written_is_read_and_what_is_wrong_is_removed() {
        let dir = temporary_dir();
        let path = dir.path().join(CleanerCheckpoint::FILE_NAME);
        let checkpoint = CleanerCheckpoint { first_dirty_offset: 4711 };
        let read = |end| CleanerCheckpoint::read(&RealFileSystem, dir.path(), end).unwrap();
        assert_eq!(read(5000), None);
        checkpoint.write(&RealFileSystem, dir.path()).unwrap();
        assert_eq!(read(4711), Some(checkpoint));
        let good = std::fs::read(&path).unwrap();
        for (at, bit) in (0..good.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            std::fs::write(&path, bad).unwrap();
            // A CRC in capitals is as good.
            assert!(read(5000).is_none_or(|read| read == checkpoint));
        }
        checkpoint.write(&RealFileSystem, dir.path()).unwrap();
        assert_eq!(read(4710), None);
        assert!(!path.exists());
    }
}
