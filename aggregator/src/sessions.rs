//! Session windows: a group's events that follow one another within the gap, of all partitions together. Pure.
//!
//! An event joins every session that it touches, so that two may become one. A session ends one gap after its last event and
//! closes when the watermark has passed that by `grace`. Events that come more than `grace` behind their partition's
//! watermark are late: that is what makes it impossible for one to touch a session that is closed.
//!
//! After a restart sessions that are closed already are built up once more, as events of open ones lie among theirs;
//! they are never handed out.

use crate::{
    engine::{ClosedWindow, Event, OpenWindowSummary},
    measure::Acc,
    rules::Rules,
    slice::{Groups, Place},
    snapshot::{Reader, Saved},
};
use hashbrown::HashMap;
use std::collections::BTreeSet;

#[derive(Debug)]
pub struct Sessions {
    gap_ms: i64,
    /// Of each group, in no order; most have one.
    by_group: HashMap<Box<[u8]>, Vec<Session>>,
    /// (end, start, group) of each.
    ends: BTreeSet<(i64, i64, Box<[u8]>)>,
}

#[derive(Debug)]
struct Session {
    start: i64,
    last: i64,
    acc: Acc,
    /// Per partition that has events in it: the first one's offset, and the watermark before it.
    firsts: Vec<First>,
}

#[derive(Debug, Clone, Copy)]
struct First {
    partition: usize,
    offset: i64,
    watermark_before: Option<i64>,
}

impl Sessions {
    pub fn new(gap_ms: i64) -> Self {
        Self { gap_ms, by_group: HashMap::new(), ends: BTreeSet::new() }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if the event belongs to a session that is there.
    pub fn holds(&self, event: &Event<'_>) -> bool {
        let sessions = self.by_group.get(event.group);
        sessions.is_some_and(|sessions| sessions.iter().any(|session| session.touches(event.time_ms, self.gap_ms)))
    }

    pub fn take(&mut self, rules: &Rules, event: &Event<'_>, place: &Place) {
        let mut joined = Session::new(rules, event, place);
        let group: Box<[u8]> = event.group.into();
        let sessions = self.by_group.entry(group.clone()).or_default();
        for session in sessions.extract_if(.., |session| session.touches(event.time_ms, self.gap_ms)) {
            self.ends.remove(&(session.last + self.gap_ms, session.start, group.clone()));
            joined.absorb(session);
        }
        self.ends.insert((joined.last + self.gap_ms, joined.start, group));
        sessions.push(joined);
    }

    /// The end of the first session behind what is closed.
    pub fn next_end(&self, closed_until: i64) -> Option<i64> {
        self.open(closed_until).next().map(|(end, _, _)| *end)
    }

    /// Every session that ends here; what ended earlier was handed out before.
    pub fn close(&mut self, end: i64) -> Vec<ClosedWindow> {
        let mut closed = Vec::new();
        while self.ends.first().is_some_and(|(first, _, _)| *first <= end) {
            let Some((ended, start, group)) = self.ends.pop_first() else { break };
            let Some(session) = self.remove(&group, start).filter(|_| ended == end) else { continue };
            let groups = Groups::from_iter([(group, session.acc)]);
            closed.push(ClosedWindow { start, end, shares_start: false, is_final: true, rev: 0, groups });
        }
        closed
    }

    fn remove(&mut self, group: &[u8], start: i64) -> Option<Session> {
        let sessions = self.by_group.get_mut(group)?;
        let place = sessions.iter().position(|session| session.start == start)?;
        let session = sessions.swap_remove(place);
        if sessions.is_empty() {
            self.by_group.remove(group);
        }
        Some(session)
    }

    fn open(&self, closed_until: i64) -> impl Iterator<Item = &(i64, i64, Box<[u8]>)> {
        self.ends.range((closed_until.saturating_add(1), i64::MIN, Box::<[u8]>::default())..)
    }

    pub fn open_count(&self, closed_until: i64) -> usize {
        self.open(closed_until).count()
    }

    pub fn summaries(&self, closed_until: i64, limit: usize) -> Vec<OpenWindowSummary> {
        let found = self.open(closed_until).take(limit);
        found
            .map(|(end, start, group)| OpenWindowSummary {
                start: *start,
                end: *end,
                count: self.events(group, *start),
            })
            .collect()
    }

    fn events(&self, group: &[u8], start: i64) -> u64 {
        let sessions = self.by_group.get(group).into_iter().flatten();
        sessions.filter(|session| session.start == start).map(|session| session.acc.events).sum()
    }

    /// The first event of an open session in each partition: (offset, watermark before it).
    pub fn firsts(&self, closed_until: i64, partitions: usize) -> Vec<Option<(i64, Option<i64>)>> {
        let mut firsts = vec![None; partitions];
        let sessions = self.by_group.values().flatten().filter(|session| session.last + self.gap_ms > closed_until);
        for first in sessions.flat_map(|session| &session.firsts) {
            if let Some(place) = firsts.get_mut(first.partition)
                && place.is_none_or(|(offset, _)| first.offset < offset)
            {
                *place = Some((first.offset, first.watermark_before));
            }
        }
        firsts
    }

    /// The partition was made anew: its events are read from `offset` on.
    pub fn begin_again(&mut self, partition: usize, offset: i64, watermark: Option<i64>) {
        for first in self.by_group.values_mut().flatten().flat_map(|session| &mut session.firsts) {
            if first.partition == partition {
                (first.offset, first.watermark_before) = (offset, watermark);
            }
        }
    }
}

impl Session {
    fn new(rules: &Rules, event: &Event<'_>, place: &Place) -> Self {
        let mut acc = Acc::new(&rules.measures);
        acc.take(event.inputs, event.stamp(place.partition));
        let first =
            First { partition: place.partition, offset: event.offset, watermark_before: place.watermark_before };
        Self { start: event.time_ms, last: event.time_ms, acc, firsts: vec![first] }
    }

    /// The gap's end is no part of a session.
    fn touches(&self, time_ms: i64, gap_ms: i64) -> bool {
        time_ms < self.last + gap_ms && time_ms + gap_ms > self.start
    }

    fn absorb(&mut self, other: Self) {
        self.start = self.start.min(other.start);
        self.last = self.last.max(other.last);
        self.acc.merge(other.acc);
        for first in other.firsts {
            match self.firsts.iter_mut().find(|own| own.partition == first.partition) {
                Some(own) if own.offset <= first.offset => {}
                Some(own) => *own = first,
                None => self.firsts.push(first),
            }
        }
    }
}

/// As a snapshot has it.
impl Sessions {
    pub fn save(&self, out: &mut Vec<u8>) {
        self.by_group.save(out);
    }

    pub fn load(gap_ms: i64, from: &mut Reader<'_>) -> Option<Self> {
        let by_group: HashMap<Box<[u8]>, Vec<Session>> = from.get()?;
        let end = |session: &Session| session.last.checked_add(gap_ms);
        let ends = by_group.iter().flat_map(|(group, sessions)| {
            sessions.iter().map(move |session| Some((end(session)?, session.start, group.clone())))
        });
        let ends = ends.collect::<Option<BTreeSet<_>>>()?;
        Some(Self { gap_ms, by_group, ends })
    }
}

impl Saved for Session {
    fn save(&self, out: &mut Vec<u8>) {
        (self.start, self.last).save(out);
        self.acc.save(out);
        self.firsts.save(out);
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { start: from.get()?, last: from.get()?, acc: from.get()?, firsts: from.get()? })
    }
}

impl Saved for First {
    fn save(&self, out: &mut Vec<u8>) {
        (self.partition, (self.offset, self.watermark_before)).save(out);
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { partition: from.get()?, offset: from.get()?, watermark_before: from.get()? })
    }
}
