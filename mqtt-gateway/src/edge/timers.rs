//! Coarse timers: a wheel of buckets, one entry for each waiting connection.
//!
//! An entry says when to look, not when something is due: who looks decides, and puts the next entry. So a packet from a client
//! moves a deadline without touching the wheel.

use super::index::Slot;
use std::time::{Duration, Instant};

/// Deadlines are kept to within this.
pub const TICK: Duration = Duration::from_millis(20);
/// One turn is 20 s; later entries wait for further turns.
const BUCKETS: u32 = 1_024;

/// Ticks since the worker began; 0 stands for none.
pub type Tick = u32;

#[derive(Debug)]
pub struct Wheel {
    start: Instant,
    buckets: Vec<Vec<(Tick, Slot)>>,
    /// Everything up to here has been looked at.
    looked: Tick,
    entries: usize,
}

impl Wheel {
    pub fn new(start: Instant) -> Self {
        Self { start, buckets: (0..BUCKETS).map(|_| Vec::new()).collect(), looked: 0, entries: 0 }
    }

    /// The tick that `time` lies in, 1 at the earliest.
    pub fn tick(&self, time: Instant) -> Tick {
        let ticks = time.saturating_duration_since(self.start).as_millis() / TICK.as_millis();
        Tick::try_from(ticks).unwrap_or(Tick::MAX - 1).saturating_add(1)
    }

    /// Look at `slot` when `at` has passed.
    pub fn put(&mut self, at: Tick, slot: Slot) {
        let at = at.max(self.looked.saturating_add(1));
        if let Some(bucket) = self.bucket(at) {
            bucket.push((at, slot));
            self.entries += 1;
        }
    }

    /// Entries whose time has passed.
    pub fn due(&mut self, now: Tick, out: &mut Vec<(Tick, Slot)>) {
        // After a long sleep one turn sees every bucket.
        let from = self.looked.max(now.saturating_sub(BUCKETS)) + 1;
        for tick in from..=now {
            let Some(bucket) = self.bucket(tick) else { continue };
            if bucket.is_empty() {
                continue;
            }
            let before = out.len();
            out.extend(bucket.extract_if(.., |(at, _)| *at <= now));
            if bucket.is_empty() {
                *bucket = Vec::new();
            }
            self.entries -= out.len() - before;
        }
        self.looked = self.looked.max(now);
    }

    /// How long nothing needs to be looked at; `None`: for ever.
    pub fn quiet(&self, now: Instant) -> Option<Duration> {
        if self.entries == 0 {
            return None;
        }
        let is_used = |tick: &Tick| self.buckets.get(place(*tick)).is_some_and(|bucket| !bucket.is_empty());
        let next = (1..=BUCKETS).map(|ahead| self.looked.saturating_add(ahead)).find(is_used)?;
        // A tick has passed at its end.
        Some((self.start + TICK * next).saturating_duration_since(now))
    }

    fn bucket(&mut self, tick: Tick) -> Option<&mut Vec<(Tick, Slot)>> {
        self.buckets.get_mut(place(tick))
    }
}

fn place(tick: Tick) -> usize {
    usize::try_from(tick % BUCKETS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(index: u32) -> Slot {
        Slot { index, generation: 0 }
    }

    fn due(wheel: &mut Wheel, now: Tick) -> Vec<u32> {
        let mut out = Vec::new();
        wheel.due(now, &mut out);
        out.iter().map(|(_, slot)| slot.index).collect()
    }

    #[test]
    fn entries_come_when_their_tick_has_passed_also_turns_later() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        assert_eq!(wheel.quiet(start), None);
        wheel.put(5, slot(1));
        wheel.put(5 + BUCKETS, slot(2));
        wheel.put(7, slot(3));
        assert_eq!(wheel.quiet(start), Some(TICK * 5));
        assert_eq!((due(&mut wheel, 4), due(&mut wheel, 5), due(&mut wheel, 6)), (vec![], vec![1], vec![]));
        assert_eq!(due(&mut wheel, BUCKETS), [3]);
        assert_eq!(due(&mut wheel, 3 * BUCKETS), [2]);
        assert_eq!(wheel.quiet(start), None);
        // Too late is the next tick.
        wheel.put(1, slot(4));
        assert_eq!(due(&mut wheel, 3 * BUCKETS + 1), [4]);
    }

    #[test]
    fn ticks() {
        let start = Instant::now();
        let wheel = Wheel::new(start);
        assert_eq!((wheel.tick(start), wheel.tick(start + TICK * 3)), (1, 4));
    }
}
