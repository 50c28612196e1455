//! The threads that sync partitions. They start when there is something to do and end when there was nothing for a while.
//!
//! A partition is in the queue at most once, and in one thread at a time: a disk that stalls under it holds one thread.

use crate::partition::Partition;
use parking_lot::{Condvar, Mutex};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// Most threads of the process that sync.
const MAX_THREADS: usize = 4;
/// A thread that had nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(10);

/// Bounded by the number of partitions.
#[derive(Debug)]
struct Queue {
    partitions: VecDeque<Arc<Partition>>,
    threads: usize,
    idle: usize,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { partitions: VecDeque::new(), threads: 0, idle: 0 });
static MORE: Condvar = Condvar::new();

/// Lets a thread run [`Partition::sync_round`].
pub fn enqueue(partition: Arc<Partition>) {
    let mut queue = QUEUE.lock();
    queue.partitions.push_back(partition);
    match queue.taker() {
        Taker::Idle => drop(MORE.notify_one()),
        Taker::New => start_thread(&mut queue),
        Taker::Busy => {}
    }
}

/// Who takes what was queued last.
#[derive(Debug, PartialEq, Eq)]
enum Taker {
    Idle,
    New,
    /// Whoever is done first.
    Busy,
}

impl Queue {
    /// A thread that was told of something stays idle until it wakes up: one that is to take more than it can would let the second
    /// partition wait for the first one's disk.
    fn taker(&self) -> Taker {
        if self.idle >= self.partitions.len() {
            Taker::Idle
        } else if self.threads < MAX_THREADS {
            Taker::New
        } else {
            Taker::Busy
        }
    }
}

fn start_thread(queue: &mut Queue) {
    let name = format!("tifo-sync-{}", queue.threads);
    match std::thread::Builder::new().name(name).spawn(run) {
        Ok(_) => queue.threads += 1,
        // Those that run take it later; without any, the next append tries again.
        Err(error) => tracing::error!(%error, "no thread can be started to sync"),
    }
}

fn run() {
    while let Some(partition) = next() {
        partition.sync_round();
    }
}

/// None: this thread is not needed any more.
fn next() -> Option<Arc<Partition>> {
    let mut queue = QUEUE.lock();
    loop {
        if let Some(partition) = queue.partitions.pop_front() {
            return Some(partition);
        }
        queue.idle += 1;
        let waited = MORE.wait_for(&mut queue, IDLE);
        queue.idle -= 1;
        if waited.timed_out() && queue.partitions.is_empty() {
            queue.threads -= 1;
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_thread_is_not_told_of_two() {
        let partition = || Arc::new(Partition::new("stalls".into(), 0, None));
        let queued = |count: usize| (0..count).map(|_| partition()).collect();
        let taker = |partitions, threads, idle| Queue { partitions: queued(partitions), threads, idle }.taker();
        assert_eq!(taker(1, 0, 0), Taker::New);
        assert_eq!(taker(1, 1, 1), Taker::Idle);
        // Told of the first, not awake yet.
        assert_eq!(taker(2, 1, 1), Taker::New);
        assert_eq!(taker(2, MAX_THREADS, 1), Taker::Busy);
    }
}
