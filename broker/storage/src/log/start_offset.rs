//! Moving the log start offset: DeleteRecords and retention.
//!
//! In three steps, so that nobody waits under the log's lock for a disk: `plan_start` (locked), [`StartChange::persist`] (not
//! locked), `move_start` (locked). Nothing is told to readers and no file is removed before the new start is written: a start
//! after a crash drops the segments below it, in whatever order their names went. The caller lets one change at a time pass.

use super::Log;
use crate::{
    StorageError,
    file_system::{FileSystem, io_error, write_atomically, write_unsynced},
    start_offset::{self, FILE_NAME},
};
use std::{path::Path, sync::Arc};

/// A log start offset that is not in force yet.
#[derive(Debug)]
pub struct StartChange {
    file_system: Arc<dyn FileSystem>,
    dir: Arc<Path>,
    log_start_offset: i64,
    moves: bool,
}

impl StartChange {
    /// Whether it is another offset than the one in force.
    pub fn moves(&self) -> bool {
        self.moves
    }

    /// Writes it down: without `sync` it survives the death of the process, with it a power cut too.
    pub fn persist(&self, sync: bool) -> Result<(), StorageError> {
        let (path, content) = (self.dir.join(FILE_NAME), start_offset::encode(self.log_start_offset));
        if !sync {
            return write_unsynced(&*self.file_system, &path, content.as_bytes());
        }
        write_atomically(&*self.file_system, &path, content.as_bytes())?;
        self.file_system.sync_dir(&self.dir).map_err(io_error("sync", &self.dir))
    }
}

impl Log {
    /// The change that makes the log start at `offset`, or where it starts if that is later; never beyond the log's end.
    pub fn plan_start(&self, offset: i64) -> Result<StartChange, StorageError> {
        self.check_online()?;
        let log_start_offset = offset.min(self.log_end_offset).max(self.log_start_offset);
        let (file_system, dir) = (self.file_system.clone(), self.dir.clone());
        Ok(StartChange { file_system, dir, log_start_offset, moves: log_start_offset > self.log_start_offset })
    }

    /// From now on the log starts there. The change has been persisted.
    pub fn move_start(&mut self, change: &StartChange) -> Result<(), StorageError> {
        if change.log_start_offset <= self.log_start_offset {
            return Ok(());
        }
        self.log_start_offset = change.log_start_offset;
        self.dirty = true;
        if self.leader_epochs.truncate_from_start(self.log_start_offset) {
            self.write_leader_epochs()?;
        }
        Ok(())
    }
}
