//! From times of deliveries to one JSON line.

use serde_json::{Value, json};

/// A delivery that took longer than this came too late to be called live.
const LATE_US: u32 = 1_000_000;

/// Microseconds from when a message was due to its arrival at one subscriber.
#[derive(Default)]
pub struct Deliveries(Vec<u32>);

impl Deliveries {
    pub fn push(&mut self, due_ns: u64, now_ns: u64) {
        self.0.push(u32::try_from(now_ns.saturating_sub(due_ns) / 1_000).unwrap_or(u32::MAX));
    }

    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn report(&mut self, expected: u64) -> Value {
        self.0.sort_unstable();
        let late = self.0.len() - self.0.partition_point(|time| *time <= LATE_US);
        let percent = |part: u64, whole: u64| part as f64 * 100.0 / whole.max(1) as f64;
        json!({
            "deliveries": self.count(),
            "lost_percent": percent(expected.saturating_sub(self.count()), expected),
            "late_percent": percent(late as u64, self.count()),
            "p50_ms": self.quantile(0.5),
            "p99_ms": self.quantile(0.99),
            "max_ms": self.quantile(1.0),
        })
    }

    fn quantile(&self, q: f64) -> Option<f64> {
        let at = (self.0.len().checked_sub(1)? as f64 * q) as usize;
        self.0.get(at).map(|time| f64::from(*time) / 1_000.0)
    }
}
