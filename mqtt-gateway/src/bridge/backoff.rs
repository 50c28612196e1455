//! How long to wait before the next try: twice as long each time, and never all at the same moment. Pure.

use std::time::Duration;

/// After the first failure; a neighbour that was killed is back soon.
const FIRST: Duration = Duration::from_millis(50);
/// A viewer is back within 5 s, so no hop may take longer than part of it.
const LONGEST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// `random` spreads those that lost the same neighbour: half of the wait is drawn.
    pub fn next(&mut self, random: u64) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        let drawn = random % u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_micros(drawn)
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::default();
        for failure in 0..40_u32 {
            let whole = FIRST.saturating_mul(1 << failure.min(10)).min(LONGEST);
            let wait = backoff.next(0x9e37_79b9 * u64::from(failure));
            assert!(wait >= whole / 2 && wait < whole, "{failure}: {wait:?}");
        }
        backoff.succeeded();
        assert!(backoff.next(u64::MAX) < FIRST);
    }

    #[test]
    fn two_do_not_wait_equally_long() {
        assert_ne!(Backoff::default().next(1), Backoff::default().next(2_000));
    }
}
