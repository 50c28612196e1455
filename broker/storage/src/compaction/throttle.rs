//! `log.cleaner.io.max.bytes.per.second`: holds the cleaner's thread back when it is ahead of its rate.

use std::time::{Duration, Instant};

/// Longest sleep at once, so that an abort is noticed soon.
const MAX_SLEEP: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Throttle {
    bytes_per_second: f64,
    started: Instant,
    bytes: u64,
}

impl Throttle {
    pub fn new(bytes_per_second: f64) -> Self {
        Self { bytes_per_second, started: Instant::now(), bytes: 0 }
    }

    pub fn count(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Sleeps until the bytes so far are within the rate, or the cleaning is aborted.
    pub fn wait(&self, is_aborted: impl Fn() -> bool) {
        while let Some(ahead) = self.ahead(self.started.elapsed()).filter(|_| !is_aborted()) {
            std::thread::sleep(ahead.min(MAX_SLEEP));
        }
    }

    /// How much earlier than due the bytes were done.
    fn ahead(&self, elapsed: Duration) -> Option<Duration> {
        let due = Duration::try_from_secs_f64(self.bytes as f64 / self.bytes_per_second).unwrap_or(Duration::ZERO);
        due.checked_sub(elapsed).filter(|ahead| !ahead.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept() {
        let mut throttle = Throttle::new(1000.0);
        assert_eq!(throttle.ahead(Duration::ZERO), None);
        throttle.count(500);
        assert_eq!(throttle.ahead(Duration::from_millis(100)), Some(Duration::from_millis(400)));
        assert_eq!(throttle.ahead(Duration::from_millis(500)), None);
        let mut unlimited = Throttle::new(f64::MAX);
        unlimited.count(1 << 40);
        assert_eq!(unlimited.ahead(Duration::ZERO), None);
        throttle.wait(|| true);
    }
}
