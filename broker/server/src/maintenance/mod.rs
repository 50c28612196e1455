//! The log manager: one tick a second over all partitions, and what is done for those that are due.
//!
//! A partition says itself when it wants to be looked at ([`crate::partition::Upkeep`]), so that thousands of idle ones cost the tick
//! a load each. Those that are due go through a queue to a few workers: a disk that stalls under one partition holds
//! one worker, the others go on. Time comes from [`Clock`] alone: a test sets the clock and calls [`Maintenance::tick`].
//! No duty may wait for a partition's lock (who holds it may wait for the disk) nor sync a file under it.
//!
//! To add a duty: a file here with `run`, and its row in [`DUTIES`].

mod checkpoint;
pub mod cleaner;
mod flush;
mod retention;

use crate::{
    catalog::Catalog,
    clock::Clock,
    partition::{NEVER, NotNow, Partition},
    settings::Live,
};
use cleaner::Cleaner;
use parking_lot::{Condvar, Mutex};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tifo_storage::Doomed;
use tokio_util::sync::CancellationToken;

/// Between two ticks.
const TICK: Duration = Duration::from_secs(1);
/// Partitions that are looked after at the same time.
const WORKERS: usize = 4;
/// How long the broker's stop waits for what the workers are at: a disk that stalls does not keep it for ever.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Does for the partition what is due at `now_ms`; answers when it wants to be asked again
/// ([`crate::partition::NEVER`]: after a change). Errors are logged inside.
type Duty = fn(&Maintenance, &Arc<Partition>, i64) -> i64;

/// What is done for a partition, in this order.
const DUTIES: &[Duty] = &[flush::run, checkpoint::run, retention::run, cleaner::run];

/// What waits for a worker.
#[derive(Debug)]
enum Work {
    LookAfter(Arc<Partition>),
    Remove(Doomed),
    CheckpointMetadata,
}

/// What keeps the logs in shape.
#[derive(Debug)]
pub struct Maintenance {
    catalog: Arc<Catalog>,
    clock: Clock,
    queue: Mutex<VecDeque<Work>>,
    workers: Mutex<usize>,
    idle: Condvar,
    cleaner: Cleaner,
}

impl Maintenance {
    pub fn new(catalog: Arc<Catalog>, clock: Clock, config: Arc<Live>) -> Self {
        let cleaner = Cleaner::new(config);
        Self { catalog, clock, queue: Mutex::default(), workers: Mutex::default(), idle: Condvar::new(), cleaner }
    }

    /// Ticks until the broker stops.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => self.start_round(),
            }
        }
    }

    /// One whole round in this thread. What the workers are at is waited for, before and behind.
    pub fn tick(&self) {
        self.wait_until_idle();
        self.enqueue_due();
        self.work();
        self.wait_until_idle();
        if self.cleaner.start() {
            self.clean();
        }
    }

    fn clean(&self) {
        self.cleaner.work(&self.clock, self.catalog.deletions());
    }

    /// Nothing is begun any more; returns when the workers have ended what they are at, or after `limit`: then false. Whoever closes
    /// the logs ends the cleaning that is under way.
    pub fn stop(&self, limit: Duration) -> bool {
        self.queue.lock().clear();
        self.cleaner.forget_offers();
        let mut workers = self.workers.lock();
        !self.idle.wait_while_for(&mut workers, |workers| *workers > 0, limit).timed_out()
    }

    fn wait_until_idle(&self) {
        let mut workers = self.workers.lock();
        self.idle.wait_while(&mut workers, |workers| *workers > 0);
    }

    /// Finds what is due and lets workers at it, without waiting for them.
    fn start_round(self: &Arc<Self>) {
        let queued = self.enqueue_due();
        let mut workers = self.workers.lock();
        for _ in *workers..WORKERS.min(queued) {
            *workers += 1;
            let worker = Worker(self.clone());
            tokio::task::spawn_blocking(move || worker.0.work());
        }
        if self.cleaner.start() {
            let this = self.clone();
            tokio::task::spawn_blocking(move || this.clean());
        }
    }

    /// Every partition is in the queue at most once: it is claimed until it has been looked after.
    fn enqueue_due(&self) -> usize {
        let now_ms = self.clock.now_ms();
        let mut queue = self.queue.lock();
        self.catalog.for_each_partition(|partition| {
            if partition.upkeep.claim(now_ms) {
                queue.push_back(Work::LookAfter(partition.clone()));
            }
        });
        queue.extend(self.catalog.deletions().take_due(now_ms).into_iter().map(Work::Remove));
        if self.catalog.claim_metadata_checkpoint() {
            queue.push_back(Work::CheckpointMetadata);
        }
        queue.len()
    }

    fn work(&self) {
        while let Some(work) = self.next() {
            match work {
                Work::LookAfter(partition) => self.look_after(&partition),
                Work::Remove(doomed) => remove(&doomed),
                Work::CheckpointMetadata => self.catalog.checkpoint_metadata(),
            }
        }
    }

    fn look_after(&self, partition: &Arc<Partition>) {
        let now_ms = self.clock.now_ms();
        let due_ms = DUTIES.iter().map(|duty| duty(self, partition, now_ms)).min();
        partition.upkeep.release(due_ms.unwrap_or(NEVER));
    }

    fn next(&self) -> Option<Work> {
        self.queue.lock().pop_front()
    }
}

/// One that is at work; gone however its work ends.
struct Worker(Arc<Maintenance>);

impl Drop for Worker {
    fn drop(&mut self) {
        *self.0.workers.lock() -= 1;
        self.0.idle.notify_all();
    }
}

fn remove(doomed: &Doomed) {
    if let Err(error) = doomed.remove() {
        tracing::warn!(%error, "what was deleted could not be removed; the next start tries again");
    }
}

/// When a duty that did not get at the log asks again: at the next tick.
fn asked_again(not_now: NotNow, now_ms: i64) -> i64 {
    match not_now {
        NotNow::Busy => now_ms,
        NotNow::Closed => NEVER,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::BrokerConfig;
    use tifo_storage::file_system::RealFileSystem;

    #[test]
    fn a_stop_waits_for_the_workers_but_not_for_ever() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::fixed(0));
        let config = Arc::new(Live::new(BrokerConfig::new(dir.path()).in_force().unwrap()));
        let catalog = Catalog::open(dir.path(), config.clone(), clock.clone(), Arc::new(RealFileSystem)).unwrap();
        let maintenance = Arc::new(Maintenance::new(Arc::new(catalog), clock, config));
        maintenance.enqueue_due();
        *maintenance.workers.lock() += 1;
        let worker = Worker(maintenance.clone());
        assert!(!maintenance.stop(Duration::ZERO));
        assert!(maintenance.next().is_none());
        let ends = std::thread::spawn(move || drop(worker));
        assert!(maintenance.stop(Duration::from_secs(60)));
        ends.join().unwrap();
    }
}
