//! Events of which one voter has only so many: `dedup` and `limit`. Pure.
//!
//! Ballots are kept by voter, each with the moment it was cast, so that the choice among them is by event time (then
//! partition, then offset) and never by the order in which partitions happened to be read. A ballot that can win in no window
//! any more is dropped at once: a voter costs one ballot, or `limit.max`.

use crate::{
    definition::Keep,
    engine::Event,
    event::Voter,
    measure::{Acc, Input, Stamp},
    rules::{Rules, Votes},
    slice::{Groups, Place, Taken},
};
use hashbrown::HashMap;
use std::cmp::Ordering;

/// The ballots of one slice.
#[derive(Debug)]
pub struct Ballots {
    rules: Votes,
    /// Number of each group, in order of appearance.
    groups: HashMap<Box<[u8]>, u32>,
    voters: HashMap<u128, Kept>,
}

#[derive(Debug, Clone)]
struct Ballot {
    /// The first window in which it counts.
    first_end: i64,
    time_ms: i64,
    offset: i64,
    group: u32,
    /// What a mere count does not need.
    extra: Option<Box<Extra>>,
}

#[derive(Debug, Clone)]
struct Extra {
    /// The user that `limit` counts, where `dedup` tells voters apart.
    limit: u128,
    inputs: Box<[Input]>,
}

/// One voter's ballots, the best first.
#[derive(Debug)]
struct Kept {
    best: Ballot,
    /// Most voters have none.
    #[allow(clippy::box_collection, reason = "a third of the size")]
    more: Option<Box<Vec<Ballot>>>,
}

/// A ballot that stands for election in one window.
struct Candidate<'b> {
    voter: u128,
    stamp: Stamp,
    ballot: &'b Ballot,
    group: &'b [u8],
}

impl Votes {
    /// Ballots that one voter may have in a window, and whether the last or the first of them.
    fn wanted(&self) -> (usize, Keep) {
        match (self.dedup, self.limit) {
            (Some(keep), _) => (1, keep),
            (None, limit) => (limit.unwrap_or(1), Keep::First),
        }
    }

    fn key(&self, voter: &Voter) -> u128 {
        if self.dedup.is_some() { voter.dedup } else { voter.limit }
    }

    /// The better first.
    fn rank(&self, one: Stamp, other: Stamp) -> Ordering {
        match self.wanted().1 {
            Keep::First => one.cmp(&other),
            Keep::Last => other.cmp(&one),
        }
    }
}

impl Ballots {
    pub fn new(rules: Votes) -> Self {
        Self { rules, groups: HashMap::new(), voters: HashMap::new() }
    }

    pub fn take(&mut self, rules: &Rules, event: &Event<'_>, place: &Place) -> Taken {
        let key = self.rules.key(&event.voter);
        if !self.voters.contains_key(&key) && self.voters.len() >= self.rules.max_voters {
            return Taken::NoRoom;
        }
        let Some(group) = self.group(event.group, rules.max_groups) else { return Taken::NoRoom };
        let ballot = self.ballot(event, place, group);
        match self.voters.get_mut(&key) {
            None => {
                self.voters.insert(key, Kept { best: ballot, more: None });
                Taken::Counted
            }
            Some(kept) => kept.add(ballot, &self.rules, place.closed_until),
        }
    }

    fn ballot(&self, event: &Event<'_>, place: &Place, group: u32) -> Ballot {
        let both = self.rules.dedup.is_some() && self.rules.limit.is_some();
        let extra = (both || !event.inputs.is_empty())
            .then(|| Box::new(Extra { limit: event.voter.limit, inputs: event.inputs.into() }));
        Ballot { first_end: place.first_end, time_ms: event.time_ms, offset: event.offset, group, extra }
    }

    fn group(&mut self, group: &[u8], max_groups: usize) -> Option<u32> {
        if let Some(number) = self.groups.get(group) {
            return Some(*number);
        }
        let number = u32::try_from(self.groups.len()).ok().filter(|_| self.groups.len() < max_groups)?;
        self.groups.insert(group.into(), number);
        Some(number)
    }

    /// Those that count in the window that ends at `end`.
    fn candidates(&self, end: i64, partition: usize) -> impl Iterator<Item = Candidate<'_>> {
        let mut names = vec![&[][..]; self.groups.len()];
        for (name, number) in &self.groups {
            if let Some(place) = usize::try_from(*number).ok().and_then(|number| names.get_mut(number)) {
                *place = name;
            }
        }
        let ballots = self.voters.iter().flat_map(|(voter, kept)| kept.all().map(|ballot| (*voter, ballot)));
        ballots.filter(move |(_, ballot)| ballot.first_end <= end).filter_map(move |(voter, ballot)| {
            let group = *names.get(usize::try_from(ballot.group).ok()?)?;
            Some(Candidate { voter, stamp: ballot.stamp(partition), ballot, group })
        })
    }
}

impl Ballot {
    fn stamp(&self, partition: usize) -> Stamp {
        Stamp { time_ms: self.time_ms, partition, offset: self.offset }
    }

    fn inputs(&self) -> &[Input] {
        self.extra.as_ref().map_or(&[], |extra| &extra.inputs)
    }
}

impl Kept {
    fn all(&self) -> impl Iterator<Item = &Ballot> {
        std::iter::once(&self.best).chain(self.more.iter().flat_map(|more| more.iter()))
    }

    /// Places the ballot by its rank and drops every one that is beaten, in each window still to come, by as many as
    /// may count.
    fn add(&mut self, ballot: Ballot, votes: &Votes, closed_until: i64) -> Taken {
        let (wanted, _) = votes.wanted();
        let mut all: Vec<Ballot> = self.all().cloned().collect();
        let repeated = all.len() >= wanted;
        // Of one partition: the number does not matter.
        let place = all.partition_point(|other| votes.rank(other.stamp(0), ballot.stamp(0)) == Ordering::Less);
        all.insert(place, ballot);
        let mut kept: Vec<Ballot> = Vec::with_capacity(all.len());
        for mut ballot in all {
            ballot.first_end = ballot.first_end.max(closed_until.saturating_add(1));
            let better = kept.iter().filter(|better| better.first_end <= ballot.first_end).count();
            if better < wanted {
                kept.push(ballot);
            }
        }
        let mut kept = kept.into_iter();
        if let Some(best) = kept.next() {
            let more: Vec<Ballot> = kept.collect();
            *self = Self { best, more: (!more.is_empty()).then(|| Box::new(more)) };
        }
        if repeated { Taken::Repeated } else { Taken::Counted }
    }
}

/// The result of a window: of all slices and partitions that have a part in it, each voter's best ballots.
pub fn elect<'b>(rules: &Rules, end: i64, slices: impl Iterator<Item = (usize, &'b Ballots)>) -> Groups {
    let mut groups = Groups::default();
    let Some(votes) = rules.votes else { return groups };
    let (wanted, _) = votes.wanted();
    let mut standing: Vec<Candidate<'_>> =
        slices.flat_map(|(partition, ballots)| ballots.candidates(end, partition)).collect();
    standing.sort_unstable_by(|one, other| one.voter.cmp(&other.voter).then(votes.rank(one.stamp, other.stamp)));
    keep_first(&mut standing, wanted, |candidate| candidate.voter);
    if let (Some(_), Some(limit)) = (votes.dedup, votes.limit) {
        let user = |candidate: &Candidate<'_>| candidate.ballot.extra.as_ref().map_or(0, |extra| extra.limit);
        standing.sort_unstable_by_key(|candidate| (user(candidate), candidate.stamp));
        keep_first(&mut standing, limit, user);
    }
    for candidate in standing {
        let (inputs, stamp) = (candidate.ballot.inputs(), candidate.stamp);
        if let Some(acc) = groups.get_mut(candidate.group) {
            acc.take(inputs, stamp);
        } else {
            let mut acc = Acc::new(&rules.measures);
            acc.take(inputs, stamp);
            groups.insert(candidate.group.into(), acc);
        }
    }
    groups
}

/// Keeps the first `wanted` of each run of equal keys.
fn keep_first<'b>(standing: &mut Vec<Candidate<'b>>, wanted: usize, key: impl Fn(&Candidate<'b>) -> u128) {
    let mut run = None;
    let mut seen = 0;
    standing.retain(|candidate| {
        let key = key(candidate);
        seen = if run == Some(key) { seen + 1 } else { 1 };
        run = Some(key);
        seen <= wanted
    });
}
