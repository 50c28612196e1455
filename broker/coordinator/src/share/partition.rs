//! One share partition: what a share group has of one partition's records.
//!
//! ```text
//! Available --acquire--> Acquired --accept--> Acknowledged
//!     ^                     |  +--reject, gap-----> Archived
//!     +--release, time-out--+-- delivered too often --^
//! ```
//! Records before `start_offset` are done with; from `end_offset` on nobody was given any yet; those between are in flight. What is
//! acquired lives in memory only: after a crash it is available again. Every other change is written before it holds:
//! [`super::Acknowledge`], [`SharePartition::release`] and [`SharePartition::expire`] say what would change, and
//! [`SharePartition::apply`] makes it so.

use super::{StateBatch, runs::Runs};
use std::sync::Arc;

/// No record is held.
const NEVER_MS: i64 = i64::MAX;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordState {
    Available,
    /// Held by a member until then.
    Acquired {
        member: Arc<str>,
        until_ms: i64,
    },
    Acknowledged,
    Archived,
}

/// A record in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InFlight {
    pub state: RecordState,
    pub delivery_count: i16,
}

/// What the settings of the group allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `group.share.partition.max.record.locks`: most records in flight.
    pub max_record_locks: i64,
    /// `group.share.delivery.count.limit`
    pub delivery_count: i16,
    /// `group.share.record.lock.duration.ms`
    pub lock_duration_ms: i64,
}

/// What is to be written, and holds once it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    pub(super) runs: Vec<(i64, i64, InFlight)>,
    /// Where the share partition begins, before the change.
    pub start_offset: i64,
    /// Records from there on that are done with, after the change.
    pub delivery_complete_count: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharePartition {
    pub(super) start_offset: i64,
    pub(super) end_offset: i64,
    /// From `start_offset` to `end_offset`, without holes.
    pub(super) runs: Runs<InFlight>,
    /// No lock ends before.
    pub(super) earliest_lock_ms: i64,
}

impl RecordState {
    /// Its number in records of `__share_group_state`.
    pub fn number(&self) -> i8 {
        match self {
            Self::Available => 0,
            Self::Acquired { .. } => 1,
            Self::Acknowledged => 2,
            Self::Archived => 4,
        }
    }

    /// What was acquired when it was written is available now.
    fn of(number: i8) -> Self {
        match number {
            2 => Self::Acknowledged,
            4 => Self::Archived,
            _ => Self::Available,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Acknowledged | Self::Archived)
    }
}

impl InFlight {
    pub fn new(state: RecordState, delivery_count: i16) -> Self {
        Self { state, delivery_count }
    }

    /// What becomes of a record that its holder gives back, or loses.
    pub fn given_back(&self, limit: i16) -> Self {
        let state = if self.delivery_count >= limit { RecordState::Archived } else { RecordState::Available };
        Self::new(state, self.delivery_count)
    }
}

impl Change {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// As it is written.
    pub fn batches(&self) -> Vec<StateBatch> {
        let mut joined = Runs::default();
        for (first, last, record) in &self.runs {
            joined.set(*first, *last, (record.state.number(), record.delivery_count));
        }
        let batch = |(first_offset, last_offset, &(delivery_state, delivery_count))| StateBatch {
            first_offset,
            last_offset,
            delivery_state,
            delivery_count,
        };
        joined.iter().map(batch).collect()
    }
}

impl SharePartition {
    /// As it was written. Offsets that are not mentioned between others were held when the broker ended: they are available.
    pub fn new(start_offset: i64, batches: &[StateBatch]) -> Self {
        let mut runs = Runs::default();
        let end_offset = batches.iter().map(|batch| batch.last_offset.saturating_add(1)).max().unwrap_or(start_offset);
        runs.set(start_offset, end_offset - 1, InFlight::new(RecordState::Available, 0));
        for batch in batches {
            let record = InFlight::new(RecordState::of(batch.delivery_state), batch.delivery_count);
            runs.set(batch.first_offset.max(start_offset), batch.last_offset, record);
        }
        let mut partition =
            Self { start_offset, end_offset: end_offset.max(start_offset), runs, earliest_lock_ms: NEVER_MS };
        partition.advance();
        partition
    }

    pub fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// Behind the last record that was ever given to somebody.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Where the next records are to be read.
    pub fn next_fetch_offset(&self) -> i64 {
        let mut available = self.runs.iter().filter(|(_, _, record)| record.state == RecordState::Available);
        available.next().map_or(self.end_offset, |(first, _, _)| first)
    }

    /// Whether there may be a record to give away: one that came back, or room for new ones.
    pub fn can_acquire(&self, limits: &Limits) -> bool {
        self.next_fetch_offset() < self.end_offset || self.room(limits) > 0
    }

    pub(super) fn room(&self, limits: &Limits) -> i64 {
        limits.max_record_locks - (self.end_offset - self.start_offset)
    }

    /// When [`Self::expire`] is due.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        Some(self.earliest_lock_ms).filter(|deadline_ms| *deadline_ms < NEVER_MS)
    }

    /// What a member holds comes back.
    pub fn release(&self, member: &str, limits: &Limits) -> Change {
        self.give_back(limits, |holder, _| holder == member)
    }

    /// What was held for too long comes back.
    pub fn expire(&self, now_ms: i64, limits: &Limits) -> Change {
        self.give_back(limits, |_, until_ms| until_ms <= now_ms)
    }

    fn give_back(&self, limits: &Limits, comes_back: impl Fn(&str, i64) -> bool) -> Change {
        let given_back = self.runs.iter().filter_map(|(first, last, record)| match &record.state {
            RecordState::Acquired { member, until_ms } if comes_back(member, *until_ms) => {
                Some((first, last, record.given_back(limits.delivery_count)))
            }
            _ => None,
        });
        self.change(given_back.collect())
    }

    pub(super) fn change(&self, runs: Vec<(i64, i64, InFlight)>) -> Change {
        let done = self.runs.iter().filter(|(_, _, record)| record.state.is_done());
        let done: i64 = done.map(|(first, last, _)| last - first + 1).sum();
        let newly = runs.iter().filter(|(_, _, record)| record.state.is_done());
        let newly: i64 = newly.map(|(first, last, _)| last - first + 1).sum();
        let delivery_complete_count = i32::try_from(done + newly).unwrap_or(i32::MAX);
        Change { runs, start_offset: self.start_offset, delivery_complete_count }
    }

    /// The change is written.
    pub fn apply(&mut self, change: Change) {
        for (first, last, record) in change.runs {
            // The log may have lost some of it meanwhile.
            self.runs.set(first.max(self.start_offset), last, record);
        }
        self.advance();
        self.find_earliest_lock();
    }

    /// Records below are gone from the log.
    pub fn log_starts_at(&mut self, offset: i64) {
        if offset > self.start_offset {
            self.runs.remove_below(offset);
            self.start_offset = offset;
            self.end_offset = self.end_offset.max(offset);
            self.advance();
        }
    }

    /// What is done with at the beginning is forgotten.
    pub(super) fn advance(&mut self) {
        while let Some((first, last, record)) = self.runs.first() {
            if first > self.start_offset || !record.state.is_done() {
                break;
            }
            let next = last + 1;
            self.runs.remove_below(next);
            self.start_offset = next;
        }
    }

    fn find_earliest_lock(&mut self) {
        let locks = self.runs.iter().filter_map(|(_, _, record)| match record.state {
            RecordState::Acquired { until_ms, .. } => Some(until_ms),
            _ => None,
        });
        self.earliest_lock_ms = locks.min().unwrap_or(NEVER_MS);
    }

    /// First and last offset, state and delivery count, in order: what is in flight.
    pub fn in_flight(&self) -> impl Iterator<Item = (i64, i64, &RecordState, i16)> {
        self.runs.iter().map(|(first, last, record)| (first, last, &record.state, record.delivery_count))
    }
}
