//! The cleaner's hold on a partition, and how others end it.
//!
//! While a log is being cleaned, whoever deletes or closes the partition asks for the end and waits for it: so no file is written or
//! renamed under a directory that has changed its meaning. The lock is taken before the log's, never the other way round.

use super::Partition;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use tifo_storage::{Cleaned, CleanerSettings, CleaningError, Doomed, Log, LogDoor};

/// May be cleaned at any time.
const AT_ONCE: i64 = i64::MIN;
/// Not before the next start.
const NOT_ANY_MORE: i64 = i64::MAX;

#[derive(Debug)]
pub(super) struct Cleaning {
    /// Held by the cleaner while it is at the log.
    at_work: Mutex<()>,
    is_aborted: AtomicBool,
    /// After a failure: when it may be tried again.
    not_before_ms: AtomicI64,
}

impl Default for Cleaning {
    fn default() -> Self {
        let not_before_ms = AtomicI64::new(AT_ONCE);
        Self { at_work: Mutex::default(), is_aborted: AtomicBool::new(false), not_before_ms }
    }
}

impl Cleaning {
    /// Returns once no cleaning is under way; none begins after that.
    pub fn end(&self) {
        self.is_aborted.store(true, Ordering::Release);
        let _finished = self.at_work.lock();
    }
}

impl Partition {
    /// Cleans the log once if it is due. Blocks for as long as it takes; reads and appends go on. `doom` is given the files that were
    /// replaced.
    pub fn clean(
        &self,
        settings: &CleanerSettings,
        now_ms: i64,
        doom: impl Fn(Doomed),
    ) -> Result<Option<Cleaned>, CleaningError> {
        let _at_work = self.cleaning.at_work.lock();
        tifo_storage::clean(&Door { partition: self, doom }, settings, now_ms)
    }

    /// When the cleaner may try again; i64::MAX: not before the next start.
    pub fn cleaning_not_before(&self) -> i64 {
        self.cleaning.not_before_ms.load(Ordering::Relaxed)
    }

    pub fn cleaning_failed(&self, again_ms: Option<i64>) {
        self.cleaning.not_before_ms.store(again_ms.unwrap_or(NOT_ANY_MORE), Ordering::Relaxed);
    }
}

/// What the cleaner sees of a partition.
struct Door<'a, F> {
    partition: &'a Partition,
    doom: F,
}

impl<F: Fn(Doomed)> LogDoor for Door<'_, F> {
    fn with_log<T>(&self, act: impl FnOnce(&mut Log) -> T) -> Option<T> {
        self.partition.log.lock().log().ok().map(act)
    }

    fn is_aborted(&self) -> bool {
        self.partition.cleaning.is_aborted.load(Ordering::Acquire)
    }

    fn doom(&self, doomed: Doomed) {
        (self.doom)(doomed);
    }
}
