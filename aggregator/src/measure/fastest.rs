//! The values that came first by event time, each once: who answered fastest.

use super::Input;
use crate::snapshot::{Reader, Saved};

/// When and where an event came: the order in which votes and answers are judged. Equal times: the lower partition, then
/// the lower offset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    pub time_ms: i64,
    pub partition: usize,
    pub offset: i64,
}

/// Up to `n` values with their first stamp, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fastest {
    n: usize,
    first: Vec<(Stamp, Box<[u8]>)>,
}

impl Fastest {
    pub fn new(n: usize) -> Self {
        Self { n, first: Vec::new() }
    }

    pub fn take(&mut self, input: &Input, stamp: Stamp) {
        if let Input::Value(value) = input {
            self.insert(stamp, value);
        }
    }

    pub fn merge(&mut self, other: Self) {
        for (stamp, value) in other.first {
            self.insert(stamp, &value);
        }
    }

    /// Stamp and value (encoded by `group`), the first first.
    pub fn entries(&self) -> &[(Stamp, Box<[u8]>)] {
        &self.first
    }

    pub fn insert(&mut self, stamp: Stamp, value: &[u8]) {
        let place = self.first.partition_point(|(earlier, _)| *earlier <= stamp);
        if place >= self.n || self.first.iter().take(place).any(|(_, earlier)| **earlier == *value) {
            return;
        }
        self.first.insert(place, (stamp, value.into()));
        // The same value, later: at most one.
        if let Some(again) = self.first.iter().skip(place + 1).position(|(_, later)| **later == *value) {
            self.first.remove(place + 1 + again);
        }
        self.first.truncate(self.n);
    }
}

impl Saved for Stamp {
    fn save(&self, out: &mut Vec<u8>) {
        (self.time_ms, (self.partition, self.offset)).save(out);
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { time_ms: from.get()?, partition: from.get()?, offset: from.get()? })
    }
}

impl Saved for Fastest {
    fn save(&self, out: &mut Vec<u8>) {
        self.n.save(out);
        self.first.save(out);
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { n: from.get()?, first: from.get()? })
    }
}
