//! Compaction (`cleanup.policy=compact`): of every key the newest record stays, offsets stay what they are.
//!
//! The server's cleaner calls [`clean`] for one log after the other. Its way: `plan` says what is dirty and whether it is due -> `pass`
//! reads the dirty part into the `offset_map` -> `filter` judges every batch from the log's start up to where the map reaches, group of
//! segments by group -> the survivors go into a new segment (`.cleaned`) -> `swap` puts it in the place of the old ones -> `checkpoint`
//! notes how far the log is clean. The log's lock is taken through [`LogDoor`] for moments only: to plan, to exchange segments.
//!
//! It must never touch the active segment nor anything from the segment of the log's checkpoint on (recovery starts there), nothing
//! above the last stable offset, and never lose the newest record of a key. Appends and reads go on meanwhile; whoever wants the
//! log for himself aborts it, and nothing has changed then but for the groups that were finished.

mod checkpoint;
mod filter;
#[cfg(test)]
mod model_tests;
mod offset_map;
mod pass;
mod plan;
mod rebuild;
mod source;
mod swap;
#[cfg(test)]
mod swap_tests;
mod throttle;
mod transactions;

pub use plan::Dirt;

pub(crate) use checkpoint::CleanerCheckpoint;
pub(crate) use plan::{Rules, SegmentFacts, dirt, is_due};
pub(crate) use swap::settle_leftovers;

use crate::{
    Doomed, Log, LogConfig, StorageError, file_system::FileSystem, producer_state::LastRecords, segment::SegmentFiles,
};
use std::{path::Path, sync::Arc};

/// How the cleaner gets at a log that others use.
pub trait LogDoor {
    /// Runs `act` under the partition's lock. None: the log is closed or deleted.
    fn with_log<T>(&self, act: impl FnOnce(&mut Log) -> T) -> Option<T>;
    /// Somebody wants the log for himself: the cleaning is to end soon. Asked before every batch.
    fn is_aborted(&self) -> bool;
    /// Takes files that were replaced and bear their last names, to be removed when they are due.
    fn doom(&self, doomed: Doomed);
}

/// Bounds of one cleaning. Kafka's names and defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CleanerSettings {
    /// `log.cleaner.dedupe.buffer.size`: most memory of the offset map; taken as far as the dirty part can fill it.
    pub dedupe_buffer_bytes: usize,
    /// `log.cleaner.io.buffer.size`: what is read, and what is written, at a time; a larger batch comes whole.
    pub io_buffer_bytes: usize,
    /// `log.cleaner.io.buffer.load.factor`: how far the map is filled.
    pub load_factor: f64,
    /// `log.cleaner.io.max.bytes.per.second`, read and written together.
    pub max_bytes_per_second: f64,
}

impl Default for CleanerSettings {
    fn default() -> Self {
        Self {
            dedupe_buffer_bytes: 128 << 20,
            io_buffer_bytes: 512 << 10,
            load_factor: 0.9,
            max_bytes_per_second: f64::MAX,
        }
    }
}

/// What a cleaning did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleaned {
    /// The log is clean up to here.
    pub end_offset: i64,
    pub bytes_read: u64,
    /// Size of the segments before and after.
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub keys: usize,
    pub map_bytes: usize,
}

/// Why a cleaning ended early. What was finished before stays.
#[derive(Debug, thiserror::Error)]
pub enum CleaningError {
    #[error("the cleaning was aborted")]
    Aborted,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A transaction that was aborted: what a line of the transaction index says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
}

impl From<(i64, i64)> for AbortedTransaction {
    fn from((producer_id, first_offset): (i64, i64)) -> Self {
        Self { producer_id, first_offset }
    }
}

/// Everything a cleaning needs to know of its log, taken at one moment.
#[derive(Debug)]
pub(crate) struct Job {
    pub file_system: Arc<dyn FileSystem>,
    pub dir: Arc<Path>,
    pub config: LogConfig,
    /// The sealed segments, oldest first.
    pub segments: Vec<SegmentFacts>,
    pub dirt: Dirt,
    pub producers: LastRecords,
    pub aborted: Vec<AbortedTransaction>,
}

impl Job {
    /// The files of one of its segments.
    fn files(&self, base_offset: i64) -> SegmentFiles {
        SegmentFiles { file_system: self.file_system.clone(), dir: self.dir.clone(), base_offset, suffix: "" }
    }
}

/// What is to be done for a log.
#[derive(Debug)]
pub(crate) enum CleaningStep {
    /// It is not due.
    Nothing,
    /// The last checkpoint lies in what is to be cleaned: take another one, then ask again.
    Checkpoint,
    Clean(Box<Job>),
}

/// Cleans the log once, as far as the map reaches, if it is due. None: it is not. Blocks for as long as it takes.
pub fn clean(door: &impl LogDoor, settings: &CleanerSettings, now_ms: i64) -> Result<Option<Cleaned>, CleaningError> {
    let ask = || door.with_log(|log| log.cleaning_job(now_ms)).ok_or(CleaningError::Aborted);
    let mut step = ask()??;
    if matches!(step, CleaningStep::Checkpoint) {
        take_checkpoint(door)?;
        step = ask()??;
    }
    let CleaningStep::Clean(job) = step else { return Ok(None) };
    let cleaned = pass::run(door, &job, settings, now_ms)?;
    CleanerCheckpoint { first_dirty_offset: cleaned.end_offset }.write(&*job.file_system, &job.dir)?;
    door.with_log(|log| log.note_cleaned(cleaned.end_offset)).ok_or(CleaningError::Aborted)?;
    Ok(Some(cleaned))
}

/// Writes and syncs without the lock.
fn take_checkpoint(door: &impl LogDoor) -> Result<(), CleaningError> {
    let work = door.with_log(|log| log.begin_checkpoint()).ok_or(CleaningError::Aborted)??;
    let Some(done) = work.map(|work| work.run()) else { return Ok(()) };
    Ok(door.with_log(|log| log.finish_checkpoint(done)).ok_or(CleaningError::Aborted)??)
}
