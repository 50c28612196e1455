//! Events of which one voter has only so many: `dedup` and `limit`. Pure.
//!
//! Ballots are kept by voter, each with the moment it was cast, so that the choice among them is by event time (then
//! partition, then offset) and never by the order in which partitions happened to be read. A ballot that can win in no window
//! any more is dropped at once: a voter costs one ballot, or `limit.max`. A single ballot that only counts is packed into the
//! voter table; all others cost their own size, and a map's.

use crate::{
    definition::Keep,
    engine::Event,
    event::Voter,
    measure::{Acc, Input, Stamp},
    rules::{Rules, Votes, Windows},
    slice::{Groups, Place, Taken},
    snapshot::{Reader, Saved, save_count, save_list},
    voter_table::{KEY_MASK, MAX_CHOICE, Packed, SHARDS, SPILLED, VoterTable},
};
use hashbrown::HashMap;
use std::cmp::Ordering;

/// The ballots of one slice.
#[derive(Debug)]
pub struct Ballots {
    rules: Votes,
    windows: Windows,
    /// Number of each group, in order of appearance.
    groups: HashMap<Box<[u8]>, u32>,
    voters: VoterTable,
    /// Of voters whose ballots cannot be packed: several, or one with inputs, or one that came late for its first window.
    spilled: HashMap<u128, Vec<Ballot>>,
    /// What packed times and offsets are counted from.
    base: Option<Base>,
}

#[derive(Debug, Clone, Copy)]
struct Base {
    time_ms: i64,
    offset: i64,
}

/// A packed time may be so much earlier than the first event's: 24 days; and as much later.
const EARLIER_MS: i64 = 1 << 31;

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

/// A ballot that stands for election in one window.
struct Candidate<'b> {
    voter: u128,
    stamp: Stamp,
    extra: Option<&'b Extra>,
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
        KEY_MASK & if self.dedup.is_some() { voter.dedup } else { voter.limit }
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
    pub fn new(rules: Votes, windows: Windows) -> Self {
        let (groups, spilled) = (HashMap::new(), HashMap::new());
        Self { rules, windows, groups, voters: VoterTable::new(), spilled, base: None }
    }

    pub fn take(&mut self, rules: &Rules, event: &Event<'_>, place: &Place) -> Taken {
        let key = self.rules.key(&event.voter);
        let known = self.voters.get(key);
        if known.is_none() && self.voters.len() >= self.rules.max_voters {
            return Taken::NoRoom;
        }
        let Some(group) = self.group(event.group, rules.max_groups) else { return Taken::NoRoom };
        let ballot = self.ballot(event, place, group);
        let Some(known) = known else {
            self.keep(key, vec![ballot]);
            return Taken::Counted;
        };
        let mut all = match self.unpacked(known) {
            Some(ballot) => vec![ballot],
            None => self.spilled.remove(&key).unwrap_or_default(),
        };
        let taken = if all.len() >= self.rules.wanted().0 { Taken::Repeated } else { Taken::Counted };
        self.add(&mut all, ballot, place.closed_until);
        self.keep(key, all);
        taken
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

    /// Places the ballot by its rank and drops every one that is beaten, in each window still to come, by as many as
    /// may count.
    fn add(&self, all: &mut Vec<Ballot>, ballot: Ballot, closed_until: i64) {
        let (wanted, _) = self.rules.wanted();
        let still_to_come = if closed_until > i64::MIN { self.windows.next_end(closed_until) } else { i64::MIN };
        // Of one partition: the number does not matter.
        let place = all.partition_point(|other| self.rules.rank(other.stamp(0), ballot.stamp(0)) == Ordering::Less);
        all.insert(place, ballot);
        let mut kept: Vec<i64> = Vec::with_capacity(all.len());
        all.retain(|ballot| {
            let first_end = ballot.first_end.max(still_to_come);
            let is_wanted = kept.iter().filter(|better| **better <= first_end).count() < wanted;
            if is_wanted {
                kept.push(first_end);
            }
            is_wanted
        });
    }

    /// Puts a voter's ballots where there is room for them.
    fn keep(&mut self, key: u128, mut ballots: Vec<Ballot>) {
        if let [ballot] = ballots.as_slice()
            && let Some(packed) = self.packed(ballot)
        {
            self.voters.set(key, packed);
            return;
        }
        ballots.shrink_to_fit();
        self.voters.set(key, Packed { time: 0, offset: 0, choice: SPILLED });
        self.spilled.insert(key, ballots);
    }

    fn packed(&mut self, ballot: &Ballot) -> Option<Packed> {
        let is_plain = ballot.extra.is_none() && ballot.first_end == self.windows.next_end(ballot.time_ms);
        (is_plain && ballot.group <= MAX_CHOICE).then_some(())?;
        let base = *self.base.get_or_insert(Base { time_ms: ballot.time_ms, offset: ballot.offset });
        let time = u32::try_from(ballot.time_ms.checked_sub(base.time_ms)?.checked_add(EARLIER_MS)?).ok()?;
        let offset = u32::try_from(ballot.offset.checked_sub(base.offset)?).ok()?;
        Some(Packed { time, offset, choice: ballot.group })
    }

    /// None: it is among the spilled ones.
    fn unpacked(&self, packed: Packed) -> Option<Ballot> {
        let base = self.base.filter(|_| packed.choice != SPILLED)?;
        let time_ms = base.time_ms + i64::from(packed.time) - EARLIER_MS;
        let (first_end, offset) = (self.windows.next_end(time_ms), base.offset + i64::from(packed.offset));
        Some(Ballot { first_end, time_ms, offset, group: packed.choice, extra: None })
    }

    /// Those of one shard's voters that count in the window that ends at `end`.
    fn candidates<'b>(
        &'b self,
        end: i64,
        partition: usize,
        shard: usize,
        names: &'b [&'b [u8]],
    ) -> impl Iterator<Item = Candidate<'b>> {
        let candidate = move |voter, ballot: &Ballot, extra| {
            let group = *names.get(usize::try_from(ballot.group).ok()?)?;
            let stamp = ballot.stamp(partition);
            (ballot.first_end <= end).then_some(Candidate { voter, stamp, extra, group })
        };
        self.voters.shard(shard).flat_map(move |(voter, packed)| {
            let plain = self.unpacked(packed).and_then(|ballot| candidate(voter, &ballot, None));
            let spilled = self.spilled.get(&voter).filter(|_| packed.choice == SPILLED).into_iter().flatten();
            let spilled = spilled.filter_map(move |ballot| candidate(voter, ballot, ballot.extra.as_deref()));
            plain.into_iter().chain(spilled)
        })
    }

    /// The groups by their numbers.
    fn names(&self) -> Vec<&[u8]> {
        let mut names = vec![&[][..]; self.groups.len()];
        for (name, number) in &self.groups {
            if let Some(place) = usize::try_from(*number).ok().and_then(|number| names.get_mut(number)) {
                *place = name;
            }
        }
        names
    }
}

/// As a snapshot has it.
impl Ballots {
    pub fn save(&self, out: &mut Vec<u8>) {
        self.groups.save(out);
        save_count(self.voters.len(), out);
        for (voter, packed) in (0..SHARDS).flat_map(|shard| self.voters.shard(shard)) {
            voter.save(out);
            match self.unpacked(packed) {
                Some(ballot) => save_list([ballot].iter(), out),
                None => save_list(self.spilled.get(&voter).map(Vec::as_slice).unwrap_or_default().iter(), out),
            }
        }
    }

    pub fn load(rules: Votes, windows: Windows, from: &mut Reader<'_>) -> Option<Self> {
        let mut ballots = Self { groups: from.get()?, ..Self::new(rules, windows) };
        for _ in 0..from.get::<u64>()? {
            let voter = from.get()?;
            ballots.keep(voter, from.get()?);
        }
        Some(ballots)
    }
}

impl Saved for Ballot {
    fn save(&self, out: &mut Vec<u8>) {
        (self.first_end, self.time_ms).save(out);
        (self.offset, self.group).save(out);
        self.extra.is_some().then_some(0_u8).save(out);
        if let Some(extra) = &self.extra {
            extra.limit.save(out);
            save_list(extra.inputs.iter(), out);
        }
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        let (first_end, time_ms, offset, group) = (from.get()?, from.get()?, from.get()?, from.get()?);
        let extra = match from.get::<Option<u8>>()? {
            Some(_) => Some(Box::new(Extra { limit: from.get()?, inputs: from.get::<Vec<Input>>()?.into() })),
            None => None,
        };
        Some(Self { first_end, time_ms, offset, group, extra })
    }
}

impl Ballot {
    fn stamp(&self, partition: usize) -> Stamp {
        Stamp { time_ms: self.time_ms, partition, offset: self.offset }
    }
}

/// The result of a window: of all slices and partitions that have a part in it, each voter's best ballots. Shard by shard,
/// so that what is sorted stays small beside the voters; only a limit beside `dedup` needs to see all at once.
pub fn elect<'b>(rules: &Rules, end: i64, slices: impl Iterator<Item = (usize, &'b Ballots)>) -> Groups {
    let mut groups = Groups::default();
    let Some(votes) = rules.votes else { return groups };
    let (wanted, _) = votes.wanted();
    let slices: Vec<(usize, &Ballots, Vec<&[u8]>)> =
        slices.map(|(partition, ballots)| (partition, ballots, ballots.names())).collect();
    let mut elected = Vec::new();
    for shard in 0..SHARDS {
        let mut standing: Vec<Candidate<'_>> = Vec::new();
        for (partition, ballots, names) in &slices {
            standing.extend(ballots.candidates(end, *partition, shard, names));
        }
        standing.sort_unstable_by(|one, other| one.voter.cmp(&other.voter).then(votes.rank(one.stamp, other.stamp)));
        keep_first(&mut standing, wanted, |candidate| candidate.voter);
        match (votes.dedup, votes.limit) {
            (Some(_), Some(_)) => elected.append(&mut standing),
            _ => count(rules, &standing, &mut groups),
        }
    }
    if let Some(limit) = votes.limit {
        let user = |candidate: &Candidate<'_>| candidate.extra.map_or(0, |extra| extra.limit);
        elected.sort_unstable_by_key(|candidate| (user(candidate), candidate.stamp));
        keep_first(&mut elected, limit, user);
        count(rules, &elected, &mut groups);
    }
    groups
}

fn count(rules: &Rules, elected: &[Candidate<'_>], groups: &mut Groups) {
    for candidate in elected {
        let inputs = candidate.extra.map_or(&[][..], |extra| &extra.inputs);
        if let Some(acc) = groups.get_mut(candidate.group) {
            acc.take(inputs, candidate.stamp);
        } else {
            let mut acc = Acc::new(&rules.measures);
            acc.take(inputs, candidate.stamp);
            groups.insert(candidate.group.into(), acc);
        }
    }
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
