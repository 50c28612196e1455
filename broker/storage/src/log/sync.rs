//! Bringing the log to stable storage without holding up appends.
//!
//! A sync has three steps: [`Log::begin_sync`] says under the caller's lock what is to be synced, [`SyncWork::run`] does it without
//! the lock (appends and reads go on), [`Log::finish_sync`] notes under the lock what is durable now. Several may overlap. A failed
//! fsync is never tried again: the kernel has dropped what it could not write, so the log is offline until it is opened anew.

use super::Log;
use crate::{
    Durability, StorageError,
    file_system::{FileSystem, OpenFile, io_error, is_out_of_files},
    segment::Segment,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Files and directories to be synced, and up to which offset the log is durable then.
#[derive(Debug)]
pub struct SyncWork {
    file_system: Arc<dyn FileSystem>,
    files: Vec<OpenFile>,
    dirs: Vec<PathBuf>,
    /// Which changes of the directory's names are covered.
    directory_changes: u64,
    since_ms: Option<i64>,
    up_to: i64,
}

/// How a sync ended; to be told to the log.
#[derive(Debug)]
#[must_use = "the log does not know until finish_sync"]
pub struct SyncDone {
    up_to: i64,
    directory_changes: u64,
    since_ms: Option<i64>,
    pub(super) result: Result<(), StorageError>,
}

impl Log {
    /// Every record below this offset is on stable storage.
    pub fn durable_offset(&self) -> i64 {
        self.durable_offset
    }

    /// Below this offset readers may read: the log's end, or with [`Durability::Fsync`] its durable end. It never goes back.
    pub fn high_watermark(&self) -> i64 {
        match self.config.durability {
            Durability::PageCache => self.log_end_offset,
            Durability::Fsync => self.durable_offset.max(self.watermark_floor),
        }
    }

    /// Whether `flush.messages` is reached: the append that reached it is acknowledged after a sync.
    pub fn flush_is_due(&self) -> bool {
        self.log_end_offset - self.durable_offset >= self.config.flush_messages
    }

    /// Whether writing ended until the log is opened again.
    pub fn is_offline(&self) -> bool {
        self.offline.is_some()
    }

    /// Whether a segment was sealed and not synced.
    pub fn has_unsynced_segments(&self) -> bool {
        self.durable_offset < self.active.base_offset()
    }

    /// When the oldest record that is not durable was appended, by the broker's clock; None: all are, or are being synced.
    pub fn unsynced_since_ms(&self) -> Option<i64> {
        self.unsynced_since_ms
    }

    /// What is not durable yet; None if all is.
    pub fn begin_sync(&mut self) -> Result<Option<SyncWork>, StorageError> {
        self.check_online()?;
        if self.durable_offset >= self.log_end_offset {
            return Ok(None);
        }
        self.sync_work().map(Some)
    }

    pub(super) fn sync_work(&mut self) -> Result<SyncWork, StorageError> {
        let first = self.sealed.partition_point(|segment| self.end_of(segment) <= self.durable_offset);
        let active = Some(&self.active).filter(|_| self.durable_offset < self.log_end_offset);
        let unsynced = self.sealed.iter().skip(first).chain(active);
        let files = unsynced.map(Segment::file).collect::<Result<_, _>>()?;
        Ok(SyncWork {
            file_system: self.file_system.clone(),
            files,
            since_ms: self.unsynced_since_ms.take(),
            dirs: self.unsynced_dirs(),
            directory_changes: self.directory_changes,
            up_to: self.log_end_offset,
        })
    }

    /// After a segment was made: its name, and once the directory's own.
    fn unsynced_dirs(&self) -> Vec<PathBuf> {
        if self.directory_synced == self.directory_changes {
            return Vec::new();
        }
        let parent = self.dir.parent().filter(|_| self.directory_synced == 0);
        [Some(&*self.dir), parent].into_iter().flatten().map(Path::to_owned).collect()
    }

    /// Takes note of a sync. An error means that nothing more became durable; after a failed fsync the log is offline.
    pub fn finish_sync(&mut self, done: SyncDone) -> Result<(), StorageError> {
        match done.result {
            Ok(()) => {
                self.durable_offset = self.durable_offset.max(done.up_to);
                self.directory_synced = self.directory_synced.max(done.directory_changes);
                Ok(())
            }
            Err(error) => {
                self.unsynced_since_ms = done.since_ms.or(self.unsynced_since_ms);
                if !is_out_of_files(&error) {
                    self.offline.get_or_insert_with(|| format!("an earlier fsync failed: {error}"));
                }
                Err(error)
            }
        }
    }

    /// Everything to stable storage (fdatasync), all three steps at once.
    pub fn flush(&mut self) -> Result<(), StorageError> {
        match self.begin_sync()? {
            Some(work) => {
                let done = work.run();
                self.finish_sync(done)
            }
            None => Ok(()),
        }
    }
}

impl SyncWork {
    /// Blocks as long as the disk takes; to be called without the log's lock.
    pub fn run(self) -> SyncDone {
        let result = self.sync_all();
        SyncDone { up_to: self.up_to, directory_changes: self.directory_changes, since_ms: self.since_ms, result }
    }

    fn sync_all(&self) -> Result<(), StorageError> {
        for file in &self.files {
            self.file_system.sync_data(file).map_err(io_error("sync", &file.path))?;
        }
        for dir in &self.dirs {
            self.file_system.sync_dir(dir).map_err(io_error("sync", dir))?;
        }
        Ok(())
    }
}
