//! Events per second over the last few seconds, from a counter that others only add to.

use parking_lot::Mutex;
use std::collections::VecDeque;

/// Totals kept, one a second: the rate is over one less.
const SAMPLES: usize = 6;

#[derive(Debug, Default)]
pub struct Rate(Mutex<VecDeque<u64>>);

impl Rate {
    /// Called once a second with the running total.
    pub fn sample(&self, total: u64) {
        let mut samples = self.0.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(total);
    }

    pub fn per_second(&self) -> f64 {
        let samples = self.0.lock();
        match (samples.front(), samples.back()) {
            (Some(first), Some(last)) if samples.len() > 1 => {
                let seconds = u32::try_from(samples.len() - 1).map_or(1.0, f64::from);
                u32::try_from(last - first).map_or(f64::MAX, f64::from) / seconds
            }
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let rate = Rate::default();
        assert!(rate.per_second().abs() < f64::EPSILON);
        for total in [0, 1000, 1000, 1010, 1020, 1030, 1040, 1050] {
            rate.sample(total);
        }
        assert!((rate.per_second() - 10.0).abs() < f64::EPSILON);
    }
}
