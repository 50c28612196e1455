//! When a partition wants to be looked after by the maintenance, and whether somebody is at it.
//!
//! An idle partition costs the tick one load. A change (append, settings, log start offset) makes it due at the next tick; a look
//! answers when the next one is worth it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// No look is worth it before something changes.
pub const NEVER: i64 = i64::MAX;
/// Due at the next tick.
const AT_ONCE: i64 = i64::MIN;

#[derive(Debug)]
pub struct Upkeep {
    due_ms: AtomicI64,
    is_claimed: AtomicBool,
}

impl Default for Upkeep {
    /// What was found at the start is looked at by the first tick.
    fn default() -> Self {
        Self { due_ms: AtomicI64::new(AT_ONCE), is_claimed: AtomicBool::new(false) }
    }
}

impl Upkeep {
    /// Something changed: the next tick looks.
    pub fn changed(&self) {
        self.due_ms.store(AT_ONCE, Ordering::Release);
    }

    /// True if a look is due and nobody is at it; then the caller looks and [`Upkeep::release`]s. What changes meanwhile makes
    /// the partition due again.
    pub fn claim(&self, now_ms: i64) -> bool {
        if self.due_ms.load(Ordering::Relaxed) > now_ms || self.is_claimed.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.due_ms.store(NEVER, Ordering::Release);
        true
    }

    /// The look is over, the next one is worth it at `due_ms`.
    pub fn release(&self, due_ms: i64) {
        self.due_ms.fetch_min(due_ms, Ordering::AcqRel);
        self.is_claimed.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_during_a_look_is_not_lost() {
        let upkeep = Upkeep::default();
        assert!(upkeep.claim(0) && !upkeep.claim(0));
        upkeep.release(500);
        assert!(!upkeep.claim(499) && upkeep.claim(500));
        upkeep.changed();
        upkeep.release(NEVER);
        assert!(upkeep.claim(0));
    }
}
