//! When each recorded event is due. Pure: time is given.

use std::time::Duration;
use tokio::time::Instant;

/// Between the last event of a round and the first of the next.
const ROUND_GAP_MS: f64 = 1000.0;
/// A live replay that has fallen behind so far does not catch up: its crowd taps now.
const LIVE_LAG: Duration = Duration::from_secs(1);
/// Longest wait for one event; a wrong timestamp far ahead must not stop everything for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug)]
pub struct Pace {
    speed: f64,
    jitter: Option<Random>,
    /// Moves on with the clock instead of catching up.
    live: bool,
    began: Instant,
    began_ms: i64,
    /// Of the event before: recorded time, round, and when it was due after `began`.
    last: Option<(i64, u64)>,
    offset_ms: f64,
}

/// When an event is due, and what time it bears if it is to be current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub due: Instant,
    pub event_time_ms: i64,
}

impl Pace {
    pub fn new(speed: f64, jitter: bool, live: bool, began: Instant, began_ms: i64) -> Self {
        let jitter = jitter.then_some(Random(0x9e37_79b9_7f4a_7c15));
        Self { speed, jitter, live, began, began_ms, last: None, offset_ms: 0.0 }
    }

    /// Events come in the order of the file; one that bears an earlier time than the one before is due with it.
    pub fn next(&mut self, timestamp_ms: i64, round: u64, now: Instant) -> Moment {
        let gap_ms = match self.last {
            None => 0.0,
            Some((_, last_round)) if last_round != round => ROUND_GAP_MS,
            Some((last_ms, _)) => to_f64(timestamp_ms.saturating_sub(last_ms).max(0)),
        };
        let latest = self
            .last
            .filter(|(_, last_round)| *last_round == round)
            .map_or(timestamp_ms, |(last, _)| last.max(timestamp_ms));
        self.last = Some((latest, round));
        let stretch = self.jitter.as_mut().map_or(1.0, |random| 0.5 + random.unit());
        let wait_ms = (gap_ms * stretch / self.speed).min(LONGEST_WAIT.as_secs_f64() * 1000.0);
        self.offset_ms += wait_ms;
        self.fall_in(now);
        let after = Duration::from_secs_f64(self.offset_ms / 1000.0);
        let after_ms = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        Moment { due: self.began + after, event_time_ms: self.began_ms.saturating_add(after_ms) }
    }

    fn fall_in(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.began);
        let lag = elapsed.saturating_sub(Duration::from_secs_f64(self.offset_ms / 1000.0));
        if self.live && lag > LIVE_LAG {
            self.offset_ms += lag.as_secs_f64() * 1000.0;
        }
    }
}

/// Recorded gaps are far below 2^52 ms.
fn to_f64(gap_ms: i64) -> f64 {
    let seconds = i32::try_from(gap_ms / 1000).map_or(f64::MAX, f64::from);
    seconds * 1000.0 + i32::try_from(gap_ms % 1000).map_or(0.0, f64::from)
}

/// xorshift64: jitter needs no better.
#[derive(Debug)]
struct Random(u64);

impl Random {
    /// 0 up to 1.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 32).map_or(0.0, f64::from) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dues(pace: &mut Pace, began: Instant, events: &[(i64, u64)]) -> Vec<u128> {
        events.iter().map(|(ms, round)| (pace.next(*ms, *round, began).due - began).as_millis()).collect()
    }

    #[test]
    fn gaps_are_divided_by_the_speed() {
        let began = Instant::now();
        let mut pace = Pace::new(10.0, false, false, began, 0);
        assert_eq!(dues(&mut pace, began, &[(5000, 1), (5100, 1), (6100, 1), (6100, 1)]), [0, 10, 110, 110]);
    }

    #[test]
    fn an_earlier_time_is_due_with_the_one_before_it() {
        let began = Instant::now();
        let mut pace = Pace::new(1.0, false, false, began, 0);
        assert_eq!(dues(&mut pace, began, &[(100, 1), (200, 1), (150, 1), (300, 1)]), [0, 100, 100, 200]);
    }

    #[test]
    fn a_round_follows_the_one_before() {
        let began = Instant::now();
        let mut pace = Pace::new(2.0, false, true, began, 7_000);
        assert_eq!(dues(&mut pace, began, &[(100, 1), (300, 1), (100, 2), (300, 2)]), [0, 100, 600, 700]);
        assert_eq!(pace.next(301, 2, began).event_time_ms, 7_700);
    }

    #[test]
    fn only_a_live_replay_leaves_lost_time_behind() {
        let began = Instant::now();
        let late = began + Duration::from_secs(10);
        let moment = |live| {
            let mut pace = Pace::new(1.0, false, live, began, 0);
            pace.next(0, 1, began);
            pace.next(100, 1, late)
        };
        assert_eq!(moment(true).event_time_ms, 10_000);
        assert_eq!(moment(false).event_time_ms, 100);
    }

    #[test]
    fn jitter_keeps_the_order_and_stays_near() {
        let began = Instant::now();
        let mut pace = Pace::new(1.0, true, false, began, 0);
        let events: Vec<(i64, u64)> = (0..1000).map(|n| (n * 10, 1)).collect();
        let dues = dues(&mut pace, began, &events);
        assert!(dues.is_sorted());
        let last = dues.last().copied().unwrap_or_default();
        assert!((9_000..11_000).contains(&last), "{last}");
        assert!(dues.windows(2).any(|pair| pair[1] - pair[0] != 10));
    }
}
