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
    if queue.idle > 0 {
        MORE.notify_one();
    } else if queue.threads < MAX_THREADS {
        start_thread(&mut queue);
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
