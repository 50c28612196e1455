//! What waits to be published: at most one message per channel and `min_interval_ms`, and the latest wins.
//!
//! Pure: the time is an argument. Without an interval nothing ever waits. What waits holds back the commit of its offset, so
//! that a crash does not lose the last state of a channel.

use super::normalise::Mood;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

#[derive(Debug)]
pub struct Outbox {
    interval: Duration,
    /// At most the number of channels that delivery knows.
    max_channels: usize,
    channels: HashMap<String, Place>,
}

#[derive(Debug)]
struct Place {
    /// The next message may go from here on.
    free_at: Instant,
    /// The newest one, with the offset of its batch.
    waiting: Option<(Mood, i64)>,
}

impl Outbox {
    pub fn new(interval: Duration, max_channels: usize) -> Self {
        Self { interval, max_channels, channels: HashMap::new() }
    }

    /// The mood if it may go now; else it waits, in place of an older one.
    pub fn offer(&mut self, mood: Mood, offset: i64, now: Instant) -> Option<Mood> {
        if self.interval.is_zero() {
            return Some(mood);
        }
        match self.channels.get_mut(&mood.channel_id) {
            Some(place) if place.free_at > now => {
                if place.waiting.replace((mood, offset)).is_some() {
                    metrics::counter!("tifo_mqtt_delivery_superseded_total").increment(1);
                }
                None
            }
            Some(place) => {
                place.free_at = now + self.interval;
                // An older one that is due at this moment is superseded as well.
                place.waiting = None;
                Some(mood)
            }
            None => {
                self.make_room(now);
                if self.channels.len() < self.max_channels {
                    let place = Place { free_at: now + self.interval, waiting: None };
                    self.channels.insert(mood.channel_id.clone(), place);
                }
                Some(mood)
            }
        }
    }

    /// Those whose interval is over, in order of their channels.
    pub fn take_due(&mut self, now: Instant) -> Vec<Mood> {
        let mut due = Vec::new();
        for place in self.channels.values_mut().filter(|place| place.free_at <= now) {
            if let Some((mood, _)) = place.waiting.take() {
                place.free_at = now + self.interval;
                due.push(mood);
            }
        }
        due.sort_unstable_by(|one, other| one.channel_id.cmp(&other.channel_id));
        due
    }

    /// When the first of those that wait may go.
    pub fn next_due(&self) -> Option<Instant> {
        self.channels.values().filter(|place| place.waiting.is_some()).map(|place| place.free_at).min()
    }

    /// Nothing from here on may be committed.
    pub fn lowest_offset(&self) -> Option<i64> {
        self.channels.values().filter_map(|place| place.waiting.as_ref()).map(|(_, offset)| *offset).min()
    }

    fn make_room(&mut self, now: Instant) {
        if self.channels.len() >= self.max_channels {
            self.channels.retain(|_, place| place.waiting.is_some() || place.free_at > now);
        }
    }
}

/// Moods in rounds, each with at most one of a channel: the next round goes when the last one is accepted.
pub fn rounds(moods: Vec<Mood>) -> Vec<Vec<Mood>> {
    let mut rounds: Vec<Vec<Mood>> = Vec::new();
    let mut next_round: HashMap<String, usize> = HashMap::new();
    for mood in moods {
        let round = next_round.entry(mood.channel_id.clone()).or_default();
        match rounds.get_mut(*round) {
            Some(moods) => moods.push(mood),
            None => rounds.push(vec![mood]),
        }
        *round += 1;
    }
    rounds
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::delivery::row::Telling;

    const INTERVAL: Duration = Duration::from_millis(500);

    fn mood(channel: &str, sequence: u64) -> Mood {
        Mood {
            stream: "emoji".into(),
            channel_id: channel.into(),
            telling: Telling { window_end: 2, window_start: 0, stage: 1 },
            is_final: true,
            sequence,
            total: 1.0,
            groups: 1,
            top: Vec::new(),
        }
    }

    fn sequences(moods: &[Mood]) -> Vec<u64> {
        moods.iter().map(|mood| mood.sequence).collect()
    }

    #[test]
    fn without_an_interval_everything_goes_at_once() {
        let (mut outbox, now) = (Outbox::new(Duration::ZERO, 10), Instant::now());
        assert!((1..5).all(|sequence| outbox.offer(mood("c", sequence), 0, now).is_some()));
        assert_eq!((outbox.next_due(), outbox.lowest_offset()), (None, None));
    }

    #[test]
    fn within_an_interval_the_latest_wins_and_goes_at_its_end() {
        let (mut outbox, now) = (Outbox::new(INTERVAL, 10), Instant::now());
        assert!(outbox.offer(mood("c", 1), 10, now).is_some());
        assert!(outbox.offer(mood("c", 2), 20, now).is_none());
        assert!(outbox.offer(mood("c", 3), 30, now + INTERVAL / 2).is_none());
        assert!(outbox.offer(mood("d", 4), 30, now).is_some());
        assert_eq!((outbox.next_due(), outbox.lowest_offset()), (Some(now + INTERVAL), Some(30)));
        assert!(outbox.take_due(now + INTERVAL / 2).is_empty());
        assert_eq!(sequences(&outbox.take_due(now + INTERVAL)), [3]);
        assert!(outbox.offer(mood("c", 5), 40, now + INTERVAL).is_none(), "a new interval has begun");
    }

    #[test]
    fn one_that_comes_when_another_is_due_supersedes_it() {
        let (mut outbox, now) = (Outbox::new(INTERVAL, 10), Instant::now());
        outbox.offer(mood("c", 1), 10, now);
        outbox.offer(mood("c", 2), 20, now);
        assert!(outbox.offer(mood("c", 3), 30, now + INTERVAL).is_some());
        assert_eq!((outbox.lowest_offset(), outbox.take_due(now + INTERVAL * 3).len()), (None, 0));
    }

    #[test]
    fn memory_is_bounded_and_nothing_that_waits_is_lost() {
        let (mut outbox, now) = (Outbox::new(INTERVAL, 2), Instant::now());
        for channel in ["a", "b", "c"] {
            assert!(outbox.offer(mood(channel, 1), 0, now).is_some());
        }
        assert!(outbox.offer(mood("a", 2), 0, now).is_none());
        let later = now + INTERVAL;
        assert!(outbox.offer(mood("d", 3), 0, later).is_some());
        assert_eq!(outbox.channels.len(), 2, "b was free and gave way");
        assert_eq!(sequences(&outbox.take_due(later)), [2]);
    }

    #[test]
    fn a_round_has_one_message_of_a_channel() {
        let moods =
            [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5)].map(|(channel, sequence)| mood(channel, sequence));
        let rounds: Vec<_> = rounds(moods.into()).iter().map(|round| sequences(round)).collect();
        assert_eq!(rounds, [vec![1, 2], vec![3, 5], vec![4]]);
    }
}
