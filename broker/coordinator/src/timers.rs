//! Deadlines of the state machines. They are data: the caller asks for the earliest and calls back with the time.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// A set of keys, each with at most one deadline (ms since the epoch).
#[derive(Debug)]
pub(crate) struct Timers<K> {
    by_time: BTreeSet<(i64, K)>,
    armed: HashMap<K, i64>,
}

impl<K: Ord + Hash + Clone> Timers<K> {
    pub fn new() -> Self {
        Self { by_time: BTreeSet::new(), armed: HashMap::new() }
    }

    /// Arms `key`, or moves its deadline.
    pub fn set(&mut self, key: K, deadline_ms: i64) {
        self.cancel(&key);
        self.by_time.insert((deadline_ms, key.clone()));
        self.armed.insert(key, deadline_ms);
    }

    pub fn cancel(&mut self, key: &K) {
        if let Some((key, deadline_ms)) = self.armed.remove_entry(key) {
            self.by_time.remove(&(deadline_ms, key));
        }
    }

    pub fn is_set(&self, key: &K) -> bool {
        self.armed.contains_key(key)
    }

    pub fn next_deadline(&self) -> Option<i64> {
        self.by_time.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// Takes the earliest key that is due at `now_ms`.
    pub fn pop_due(&mut self, now_ms: i64) -> Option<K> {
        if self.next_deadline()? > now_ms {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.armed.remove(&key);
        Some(key)
    }
}
