//! Who is told when something was appended. A guard takes its waiter out again, however the wait ends.

use crate::durability::patience;
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// The waiters of one partition; bounded by the requests in flight of all connections.
#[derive(Debug, Default)]
pub struct Waiters {
    /// How many there are: an append without waiters takes no lock. Changed under the lock only.
    count: AtomicUsize,
    waiting: Mutex<Vec<Arc<Notify>>>,
}

/// Keeps a waiter registered.
#[derive(Debug)]
pub struct Watch {
    waiters: Arc<Waiters>,
    notify: Arc<Notify>,
}

impl Waiters {
    pub fn watch(self: &Arc<Self>, notify: &Arc<Notify>) -> Watch {
        let mut waiting = self.waiting.lock();
        waiting.push(notify.clone());
        self.count.store(waiting.len(), Ordering::SeqCst);
        Watch { waiters: self.clone(), notify: notify.clone() }
    }

    /// A waiter that registers before it reads misses nothing: either its read sees the append or it is woken here.
    pub fn wake_all(&self) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for notify in self.waiting.lock().iter() {
            notify.notify_one();
        }
        patience::note_woken();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.waiters.waiting.lock();
        if let Some(place) = waiting.iter().position(|notify| Arc::ptr_eq(notify, &self.notify)) {
            waiting.swap_remove(place);
        }
        self.waiters.count.store(waiting.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_watch_leaves_nothing_behind() {
        let waiters = Arc::new(Waiters::default());
        let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let one = waiters.watch(&first);
        let two = waiters.watch(&second);
        drop(one);
        assert_eq!(waiters.waiting.lock().len(), 1);
        drop(two);
        assert_eq!(waiters.count.load(Ordering::SeqCst), 0);
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 1));
    }
}
