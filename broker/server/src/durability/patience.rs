//! A disk that stalls under one partition delays nobody who does not touch it.
//!
//! Appends and reads run on the async workers, which is what makes them cheap. Should one of them wait for the disk, it
//! holds its partition's lock and its worker. Three things keep the others going:
//! - Whoever needs the same lock does not wait for it on a worker: after a moment it gives the worker's tasks to another thread
//!   ([`lock`]). Threads are bounded, so what clients ask of one partition takes at most [`MAX_WAITING`] of them ([`lock_in_turn`]).
//! - There are more workers than cores ([`worker_threads`]).
//! - While the storage is in use a thread of ours rouses an idle worker every [`ROUSE_INTERVAL`]: tokio polls sockets and timers in a
//!   worker that has nothing else to do, and the one that did so last may be the one that the disk holds.
//! - A task that was woken last lies in a place of the waking worker from which no other worker takes it (tokio's LIFO slot). So
//!   before the storage is entered again in the same breath, it is moved on ([`InStorage::enter`], [`has_woken`]).

use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::runtime::{Handle, RuntimeFlavor};

/// How long a worker waits for a lock; an append takes a small part of it.
const PATIENCE: Duration = Duration::from_millis(2);
/// How long sockets and timers may stay unattended when a worker is held by the disk.
const ROUSE_INTERVAL: Duration = Duration::from_millis(20);
/// Workers beyond the cores: so many partitions may be stalled at the same time, each holds one at most.
const SPARE_WORKERS: usize = 2;

/// Requests that wait in threads of their own for one partition. A further one is refused: the process has some 500 such threads
/// (tokio's blocking pool), and others need them.
pub const MAX_WAITING: usize = 200;

/// How many async workers the process should have.
pub fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) + SPARE_WORKERS
}

/// Locks without keeping a worker from other tasks.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.try_lock_for(PATIENCE) {
        Some(guard) => guard,
        None => blocking(|| mutex.lock()),
    }
}

/// The same for what clients ask for, who are many. None: [`MAX_WAITING`] of those that `waiting` counts are before.
pub fn lock_in_turn<'a, T>(mutex: &'a Mutex<T>, waiting: &AtomicUsize) -> Option<MutexGuard<'a, T>> {
    if waiting.load(Ordering::SeqCst) >= MAX_WAITING {
        // No worker is held for those who are refused anyway.
        return mutex.try_lock();
    }
    if let Some(guard) = mutex.try_lock_for(PATIENCE) {
        return Some(guard);
    }
    let has_place = waiting.fetch_add(1, Ordering::SeqCst) < MAX_WAITING;
    let guard = has_place.then(|| blocking(|| mutex.lock()));
    waiting.fetch_sub(1, Ordering::SeqCst);
    guard
}

/// Does what may take long; a worker's other tasks go to another thread first.
pub fn blocking<T>(act: impl FnOnce() -> T) -> T {
    let on_worker = Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if on_worker { tokio::task::block_in_place(act) } else { act() }
}

/// Counts who is in the storage right now, as long as it lives.
#[derive(Debug)]
pub struct InStorage(());

static ENTERED: AtomicU64 = AtomicU64::new(0);
static LEFT: AtomicU64 = AtomicU64::new(0);
/// Rousers that sleep until somebody enters.
static ASLEEP: AtomicUsize = AtomicUsize::new(0);
static BED: Mutex<()> = Mutex::new(());
static WAKE_UP: Condvar = Condvar::new();

thread_local! {
    /// This thread has woken a task and not been back in tokio's hands since.
    static HAS_WOKEN: Cell<bool> = const { Cell::new(false) };
}

/// Says that a task was woken.
pub fn note_woken() {
    HAS_WOKEN.set(true);
}

/// Whether a task was woken; asked once, by who gives way then.
pub fn has_woken() -> bool {
    HAS_WOKEN.take()
}

impl InStorage {
    pub fn enter() -> Self {
        if has_woken()
            && let Ok(runtime) = Handle::try_current()
        {
            // The newest task takes the place, the one before becomes anybody's.
            runtime.spawn(std::future::ready(()));
        }
        ENTERED.fetch_add(1, Ordering::SeqCst);
        // Either this sees the sleeper, or the sleeper sees who entered.
        if ASLEEP.load(Ordering::SeqCst) > 0 {
            let _bed = BED.lock();
            WAKE_UP.notify_all();
        }
        Self(())
    }
}

impl Drop for InStorage {
    fn drop(&mut self) {
        LEFT.fetch_add(1, Ordering::SeqCst);
    }
}

/// The thread that rouses workers of one runtime; ends with the value.
#[derive(Debug)]
pub struct Rouser(Arc<AtomicBool>);

impl Rouser {
    /// Watches over the runtime that this is called in.
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (runtime, stopped) = (Handle::current(), stop.clone());
        let thread = std::thread::Builder::new().name("tifo-rouser".into());
        if let Err(error) = thread.spawn(move || rouse(&runtime, &stopped)) {
            tracing::warn!(%error, "a stalled disk may delay other partitions: no thread could be started against it");
        }
        Self(stop)
    }
}

impl Drop for Rouser {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        let _bed = BED.lock();
        WAKE_UP.notify_all();
    }
}

fn rouse(runtime: &Handle, stopped: &AtomicBool) {
    while !stopped.load(Ordering::SeqCst) {
        let entered = ENTERED.load(Ordering::SeqCst);
        if entered != LEFT.load(Ordering::SeqCst) {
            // An idle worker wakes up, runs this, and looks after sockets and timers before it sleeps again.
            runtime.spawn(std::future::ready(()));
        }
        std::thread::sleep(ROUSE_INTERVAL);
        if ENTERED.load(Ordering::SeqCst) == entered && LEFT.load(Ordering::SeqCst) == entered {
            sleep_until_entered(entered, stopped);
        }
    }
}

fn sleep_until_entered(seen: u64, stopped: &AtomicBool) {
    let mut bed = BED.lock();
    ASLEEP.fetch_add(1, Ordering::SeqCst);
    while ENTERED.load(Ordering::SeqCst) == seen && !stopped.load(Ordering::SeqCst) {
        WAKE_UP.wait(&mut bed);
    }
    ASLEEP.fetch_sub(1, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Two workers, one of them held: what the other waits for comes, although nothing else wakes it.
    #[test]
    fn a_held_worker_does_not_take_the_timers_with_it() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
        let (release, held) = mpsc::channel::<()>();
        runtime.block_on(async {
            let _rouser = Rouser::start();
            let holds = tokio::spawn(async move {
                let _in_storage = InStorage::enter();
                // The disk.
                let _ = held.recv();
            });
            let other = tokio::spawn(tokio::time::sleep(Duration::from_millis(50)));
            let waited = tokio::time::timeout(Duration::from_secs(10), other).await;
            assert!(waited.is_ok());
            drop(release);
            assert!(holds.await.is_ok());
        });
    }
}
