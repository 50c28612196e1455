//! Files that wait for their removal (`file.delete.delay.ms`): of removed segments and of deleted topics.
//!
//! They bear their last names already; what is not removed when the broker stops, the next start finds by them.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use tifo_storage::Doomed;

/// Removals that wait; beyond it the next due is not waited for.
const MAX_WAITING: usize = 100_000;

/// By the time at which they are due (ms since the epoch), and a number that tells those of one time apart.
#[derive(Debug, Default)]
pub struct Deletions {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    by_due: BTreeMap<(i64, u64), Doomed>,
}

impl Deletions {
    pub fn add(&self, doomed: Doomed, now_ms: i64) {
        let mut waiting = self.waiting.lock();
        waiting.next += 1;
        let due_ms = now_ms.saturating_add(doomed.delay_ms());
        let key = (due_ms, waiting.next);
        waiting.by_due.insert(key, doomed);
    }

    /// What is to be removed now; the caller does it.
    pub fn take_due(&self, now_ms: i64) -> Vec<Doomed> {
        let mut waiting = self.waiting.lock();
        let mut due = Vec::new();
        while let Some((due_ms, _)) = waiting.by_due.keys().next().copied() {
            if due_ms > now_ms && waiting.by_due.len() <= MAX_WAITING {
                break;
            }
            due.extend(waiting.by_due.pop_first().map(|(_, doomed)| doomed));
        }
        due
    }
}
