//! One partition's log: a chain of segments, the last of which is written.
//!
//! `Partition::append` comes here with whole batches, `Partition::read` with an offset. The log gives offsets, decides when
//! to roll, and says what is durable. It must never leave a hole: after a write that cannot be undone, or a failed
//! fsync, it is offline for writing until it is opened again.

mod append;
mod checkpointing;
mod cleaning;
mod closing;
mod config;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
mod doomed;
#[cfg(test)]
mod fault_tests;
mod outcome;
mod read;
mod retention;
#[cfg(test)]
mod retention_tests;
#[cfg(test)]
mod side_file_damage_tests;
mod slice;
mod start_offset;
mod sync;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tests_support;
mod time_search;
#[cfg(test)]
mod transaction_tests;
mod transactions;
mod validation;

pub use checkpointing::{CheckpointDone, CheckpointWork};
pub use closing::close_all;
pub use config::{Durability, LogConfig, StoredCompression};
pub use doomed::{DELETE_SUFFIX, Doomed};
pub use outcome::{AppendError, Appended, Origin, RecordError, RecordProblem};
pub use retention::{RemovedSegments, Retention};
pub use slice::LogSlice;
pub use start_offset::StartChange;
pub use sync::{SyncDone, SyncWork};

use crate::{
    StorageError,
    file_system::{FileSystem, write_unsynced},
    leader_epochs::{self, LeaderEpochs},
    producer_state::ProducerStates,
    recovery,
    segment::{Segment, SegmentFiles},
};
use cleaning::CleaningState;
use read::ReadCursors;
use std::{path::Path, sync::Arc};

/// Answer to a search by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampAndOffset {
    pub timestamp_ms: i64,
    pub offset: i64,
    pub leader_epoch: i32,
}

/// What opening a log had to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    pub segments: usize,
    /// Bytes scanned because the last stop was not clean.
    pub scanned_bytes: u64,
    /// Bytes cut off behind the last whole batch.
    pub truncated_bytes: u64,
}

/// What was appended since the last checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BehindCheckpoint {
    pub bytes: u64,
    /// The broker's clock at the first of these appends, ms since the epoch. What a start had to scan is as old as can be: the next
    /// crash, be it soon, shall not scan it again.
    pub since_ms: i64,
}

impl BehindCheckpoint {
    fn and(self, later: Option<Self>) -> Self {
        Self { bytes: self.bytes + later.map_or(0, |later| later.bytes), ..self }
    }
}

/// One partition's log.
#[derive(Debug)]
pub struct Log {
    file_system: Arc<dyn FileSystem>,
    dir: Arc<Path>,
    config: LogConfig,
    log_start_offset: i64,
    log_end_offset: i64,
    /// Oldest first; all before `active`.
    sealed: Vec<Segment>,
    active: Segment,
    /// When the active segment was begun, for batches without a timestamp.
    active_since_ms: i64,
    /// The active segment's random number, of which its share of `segment.jitter.ms` is made.
    roll_jitter: u64,
    leader_epochs: LeaderEpochs,
    /// The file does not say so yet: at the latest the first checkpoint writes it.
    leader_epochs_unwritten: bool,
    producers: ProducerStates,
    producers_checked_ms: i64,
    cursors: ReadCursors,
    /// Everything below is on stable storage.
    durable_offset: i64,
    unsynced_since_ms: Option<i64>,
    /// What readers had seen when durability became `fsync`.
    watermark_floor: i64,
    /// Offset of the snapshot that belongs to the last checkpoint.
    snapshot_offset: Option<i64>,
    checkpointed_segment: Option<i64>,
    /// Counts the segments made: changes of the directory's names, and up to which they are on stable storage (0: never synced).
    directory_changes: u64,
    directory_synced: u64,
    /// Something is behind the last checkpoint.
    dirty: bool,
    checkpoint_under_way: bool,
    /// Records that were appended since the last checkpoint.
    behind: Option<BehindCheckpoint>,
    cleaning: CleaningState,
    /// Why nothing may be written any more.
    offline: Option<String>,
}

impl Log {
    /// Opens the log in `dir` (created if missing); after an unclean stop scans from the last known good point
    /// and cuts a torn tail. `now_ms` is the broker's clock, ms since the epoch.
    pub fn open(
        file_system: Arc<dyn FileSystem>,
        dir: &Path,
        config: LogConfig,
        now_ms: i64,
    ) -> Result<(Log, Recovered), StorageError> {
        let dir: Arc<Path> = dir.into();
        let found = recovery::open(file_system.clone(), &dir, &config, now_ms)?;
        let dirty = found.is_dirty();
        let mut log = Log {
            file_system,
            dir,
            config,
            log_start_offset: found.log_start_offset,
            log_end_offset: found.log_end_offset,
            sealed: found.sealed,
            active: found.active,
            active_since_ms: now_ms,
            roll_jitter: random(),
            leader_epochs: found.leader_epochs,
            leader_epochs_unwritten: found.leader_epochs_unwritten,
            producers: found.producers,
            producers_checked_ms: now_ms,
            cursors: ReadCursors::default(),
            durable_offset: found.durable_offset,
            unsynced_since_ms: (found.durable_offset < found.log_end_offset).then_some(now_ms),
            watermark_floor: 0,
            snapshot_offset: found.snapshot_offset,
            directory_changes: 1,
            directory_synced: 0,
            checkpoint_under_way: false,
            dirty,
            behind: (found.recovered.scanned_bytes > 0)
                .then_some(BehindCheckpoint { bytes: found.recovered.scanned_bytes, since_ms: i64::MIN }),
            checkpointed_segment: found.checkpointed_segment,
            cleaning: CleaningState::new(found.first_dirty_offset),
            offline: None,
        };
        log.active.note_appended(now_ms);
        if log.config.durability == Durability::Fsync {
            log.flush()?;
        }
        Ok((log, found.recovered))
    }

    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset
    }

    /// Size of all segments in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.active.size() + self.sealed.iter().map(Segment::size).sum::<u64>()
    }

    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// New settings; they hold from the next append on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.watermark_floor = self.high_watermark();
        self.config = config;
    }

    /// The largest leader epoch not above `leader_epoch`, and the offset at which it ends; None if there is none.
    pub fn end_offset_for_leader_epoch(&self, leader_epoch: i32) -> Option<(i32, i64)> {
        self.leader_epochs.end_offset_for(leader_epoch, self.log_end_offset)
    }

    fn segment_files(&self, base_offset: i64) -> SegmentFiles {
        SegmentFiles { file_system: self.file_system.clone(), dir: self.dir.clone(), base_offset, suffix: "" }
    }

    fn write_leader_epochs(&mut self) -> Result<(), StorageError> {
        let path = self.dir.join(leader_epochs::FILE_NAME);
        write_unsynced(&*self.file_system, &path, self.leader_epochs.encode().as_bytes())?;
        self.leader_epochs_unwritten = false;
        Ok(())
    }

    fn check_online(&self) -> Result<(), StorageError> {
        match &self.offline {
            None => Ok(()),
            Some(reason) => Err(StorageError::Offline { path: self.dir.to_path_buf(), reason: reason.clone() }),
        }
    }

    /// Flushes, writes producer snapshot, and marks a clean end, so that the next open scans nothing.
    pub fn close(mut self) -> Result<(), StorageError> {
        self.checkpoint()
    }
}

fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
