//! The files of one segment: their names, and the one list of them for everything that renames or removes a segment.
//!
//! All bear the segment's base offset in 20 digits. The `.log` decides whether the segment exists: it goes first when a
//! segment is removed, and comes last when one is put in place; side files without one are swept away at the next open.

use crate::{
    StorageError,
    file_system::{FileSystem, OpenFile, io_error, open, remove_if_there, suffixed},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What the files of a segment that is to be removed end with, as in Kafka; swept away at open.
pub(crate) const DELETED_FILE_SUFFIX: &str = ".deleted";

/// One of a segment's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FileKind {
    /// The record batches.
    Log,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    /// Producers known at the segment's base offset.
    Snapshot,
}

impl FileKind {
    /// Every file that a segment may have, the `.log` in front.
    pub const ALL: [Self; 5] = [Self::Log, Self::OffsetIndex, Self::TimeIndex, Self::TransactionIndex, Self::Snapshot];
    /// The segment without the producers known where it begins; the `.log` in front.
    pub const WITHOUT_SNAPSHOT: [Self; 4] = [Self::Log, Self::OffsetIndex, Self::TimeIndex, Self::TransactionIndex];
    /// Those that only help to read the `.log`, and mean nothing without it.
    pub const SIDE: [Self; 3] = [Self::OffsetIndex, Self::TimeIndex, Self::TransactionIndex];

    pub const fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::OffsetIndex => "index",
            Self::TimeIndex => "timeindex",
            Self::TransactionIndex => "txnindex",
            Self::Snapshot => "snapshot",
        }
    }

    /// `00000000000000000042.log`
    pub fn name(self, base_offset: i64) -> String {
        format!("{base_offset:020}.{}", self.extension())
    }

    /// The base offset, if `name` is that of a file of this kind.
    pub fn parse(self, name: &str) -> Option<i64> {
        let digits = name.strip_suffix(self.extension())?.strip_suffix('.')?;
        (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
    }

    /// Kind and base offset of a file, by its name.
    pub fn of(name: &str) -> Option<(Self, i64)> {
        Self::ALL.into_iter().find_map(|kind| Some((kind, kind.parse(name)?)))
    }
}

/// Where the files of one segment are.
#[derive(Debug, Clone)]
pub(crate) struct SegmentFiles {
    pub file_system: Arc<dyn FileSystem>,
    pub dir: Arc<Path>,
    pub base_offset: i64,
    /// What their names end with while the segment is not yet part of the log; empty otherwise.
    pub suffix: &'static str,
}

impl SegmentFiles {
    pub fn path(&self, kind: FileKind) -> PathBuf {
        self.named(kind, self.suffix)
    }

    /// The same files under names with another suffix.
    pub fn with_suffix(&self, suffix: &'static str) -> Self {
        Self { suffix, ..self.clone() }
    }

    fn named(&self, kind: FileKind, suffix: &str) -> PathBuf {
        suffixed(&self.dir.join(kind.name(self.base_offset)), suffix)
    }

    pub fn open(&self, kind: FileKind, create: bool) -> Result<OpenFile, StorageError> {
        let path = self.path(kind);
        open(&*self.file_system, &path, create).map_err(io_error("open", &path))
    }

    /// None if it does not exist.
    pub fn open_if_there(&self, kind: FileKind) -> Result<Option<OpenFile>, StorageError> {
        let path = self.path(kind);
        match open(&*self.file_system, &path, false) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("open", &path)(error)),
        }
    }

    /// Renames every file that is there from its name with suffix `from` to the one with `to` (`""`: its plain name), the `.log`,
    /// which must be there, last: the segment comes into being.
    pub fn rename_all(&self, from: &str, to: &str) -> Result<(), StorageError> {
        for kind in FileKind::ALL.into_iter().rev() {
            let (from, to) = (self.named(kind, from), self.named(kind, to));
            match self.file_system.rename(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && kind != FileKind::Log => {}
                renamed => renamed.map_err(io_error("rename", &from))?,
            }
        }
        Ok(())
    }

    /// Gives these files, as far as they are there, the names that a start after a crash sweeps away.
    pub fn mark_deleted(&self, kinds: &[FileKind]) -> Result<(), StorageError> {
        kinds.iter().try_for_each(|kind| {
            let (from, to) = (self.named(*kind, ""), self.named(*kind, DELETED_FILE_SUFFIX));
            match self.file_system.rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("rename", &from)(error)),
                _ => Ok(()),
            }
        })
    }

    /// Removes every file that is there and bears this suffix (`""`: its plain name).
    pub fn remove_all(&self, suffix: &str) -> Result<(), StorageError> {
        let paths = FileKind::ALL.into_iter().map(|kind| self.named(kind, suffix));
        paths.into_iter().try_for_each(|path| remove_if_there(&*self.file_system, &path))
    }
}
