//! The sync that all appends of a partition share: who wants it, what came of it, and who waits.
//!
//! A round covers everything that was appended before it began. While it runs, further appends ask for one more round, and only one.

use super::Partition;
use crate::{durability::sync, errors::RequestError};
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct GroupSync {
    phase: Mutex<Phase>,
    /// Everything below is on stable storage.
    durable_offset: AtomicI64,
    /// Rounds that failed; who was waiting then hears of it.
    failures: AtomicU64,
    changed: Notify,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    Queued,
    Running,
    /// Running, and more was appended meanwhile.
    RunningAskedAgain,
}

/// An append that is in the log but not to be acknowledged yet.
#[derive(Debug, Clone)]
#[must_use = "the append is acknowledged only when it is durable"]
pub struct UntilDurable {
    partition: Arc<Partition>,
    offset: i64,
    failures: u64,
}

impl UntilDurable {
    /// Returns when everything below the offset is on stable storage, or never will be.
    pub async fn reached(self) -> Result<(), RequestError> {
        let sync = &self.partition.sync;
        loop {
            let changed = sync.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if sync.durable_offset.load(Ordering::SeqCst) >= self.offset {
                return Ok(());
            }
            if sync.failures.load(Ordering::SeqCst) != self.failures {
                return Err(RequestError::Offline);
            }
            changed.await;
        }
    }
}

impl GroupSync {
    /// To be read before the append: no failure that concerns it is missed then.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::SeqCst)
    }

    pub fn note(&self, durable_offset: i64) {
        self.durable_offset.fetch_max(durable_offset, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub fn note_failure(&self) {
        self.failures.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// True if the partition is to be put into the queue.
    fn ask(&self) -> bool {
        let mut phase = self.phase.lock();
        let before = *phase;
        *phase = match before {
            Phase::Idle | Phase::Queued => Phase::Queued,
            Phase::Running | Phase::RunningAskedAgain => Phase::RunningAskedAgain,
        };
        before == Phase::Idle
    }

    fn begin(&self) {
        *self.phase.lock() = Phase::Running;
    }

    /// True if the partition is to be put into the queue again.
    fn end(&self) -> bool {
        let mut phase = self.phase.lock();
        let again = *phase == Phase::RunningAskedAgain;
        *phase = if again { Phase::Queued } else { Phase::Idle };
        again
    }
}

impl Partition {
    /// Asks for a round that covers everything appended so far.
    pub fn ask_for_sync(self: &Arc<Self>) {
        if self.sync.ask() {
            sync::enqueue(self.clone());
        }
    }

    /// Asks for a round, to wait for it.
    pub(super) fn until_durable(self: &Arc<Self>, offset: i64, failures: u64) -> UntilDurable {
        self.ask_for_sync();
        UntilDurable { partition: self.clone(), offset, failures }
    }

    /// One round, in a thread that may wait for the disk.
    pub fn sync_round(self: &Arc<Self>) {
        self.sync.begin();
        // An error has been told; who waits hears of it.
        let _ = self.sync_now();
        if self.sync.end() {
            sync::enqueue(self.clone());
        }
    }

    fn sync_now(&self) -> Result<(), RequestError> {
        let synced = match self.with_log(|log| log.begin_sync()) {
            Ok(Some(work)) => {
                let done = work.run();
                self.with_log(|log| log.finish_sync(done))
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        self.after_sync(synced)
    }

    /// Tells who waits for durability, and readers: with fsync they see more now.
    pub(super) fn after_sync(&self, synced: Result<(), RequestError>) -> Result<(), RequestError> {
        match synced.and_then(|()| self.with_log(|log| Ok(log.durable_offset()))) {
            Ok(durable_offset) => self.sync.note(durable_offset),
            Err(error) => {
                self.sync.note_failure();
                return Err(error);
            }
        }
        self.waiters.wake_all();
        Ok(())
    }
}
