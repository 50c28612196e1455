//! One partition's events that are in the same last window: a slice. Windows that overlap share slices. Pure.
//!
//! An event counts in the windows from the first that was still open for it (by its own partition's watermark) to the
//! slice's last. Per group the slice keeps one accumulator for each such first end; once a window is closed, those that
//! it had in common with later ones become one.

use crate::{
    engine::Event,
    measure::{Acc, Stamp},
    rules::Rules,
    snapshot::{Reader, Saved},
    votes::Ballots,
};
use hashbrown::HashMap;

/// What of a window is known by encoded group.
pub type Groups = HashMap<Box<[u8]>, Acc>;

#[derive(Debug)]
pub struct Slice {
    /// The first offset that was counted here, and the watermark before it: where recovery resumes.
    pub first_offset: i64,
    pub watermark_before: Option<i64>,
    /// The first window in which something of it counts.
    pub first_end: i64,
    pub events: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Groups(HashMap<Box<[u8]>, Parts>),
    Ballots(Ballots),
}

/// One group's accumulators, by the first window they count in.
#[derive(Debug)]
struct Parts {
    first_end: i64,
    acc: Acc,
    /// In order of their first end; none for tumbling windows.
    more: Vec<(i64, Acc)>,
}

/// Where an event counts, and whence it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub first_end: i64,
    pub partition: usize,
    pub watermark_before: Option<i64>,
    pub closed_until: i64,
}

/// What became of an event in a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Counted,
    /// Counted, but its voter had voted before.
    Repeated,
    /// One group or one voter too many.
    NoRoom,
}

impl Slice {
    pub fn new(rules: &Rules, event: &Event<'_>, place: &Place) -> Self {
        let content = match rules.votes {
            Some(votes) => Content::Ballots(Ballots::new(votes, rules.windows)),
            None => Content::Groups(HashMap::new()),
        };
        Self {
            first_offset: event.offset,
            watermark_before: place.watermark_before,
            first_end: place.first_end,
            events: 0,
            content,
        }
    }

    pub fn take(&mut self, rules: &Rules, event: &Event<'_>, place: &Place) -> Taken {
        let taken = match &mut self.content {
            Content::Groups(groups) => take_in_group(groups, rules, event, place),
            Content::Ballots(ballots) => ballots.take(rules, event, place),
        };
        if taken != Taken::NoRoom {
            self.events += 1;
            self.first_end = self.first_end.min(place.first_end);
        }
        taken
    }

    /// Empty, for what another engine has counted; `offset` is where it was told first.
    pub fn of_counts(offset: i64, first_end: i64) -> Self {
        let content = Content::Groups(HashMap::new());
        Self { first_offset: offset, watermark_before: None, first_end, events: 0, content }
    }

    /// False: one group too many.
    pub fn absorb(&mut self, rules: &Rules, first_end: i64, group: Box<[u8]>, acc: Acc) -> bool {
        let Content::Groups(groups) = &mut self.content else { return false };
        let events = acc.events;
        if let Some(parts) = groups.get_mut(&group) {
            parts.at(first_end, rules).merge(acc);
        } else if groups.len() < rules.max_groups {
            groups.insert(group, Parts { first_end, acc, more: Vec::new() });
        } else {
            return false;
        }
        self.events += events;
        self.first_end = self.first_end.min(first_end);
        true
    }

    /// Every group's accumulators by the first window that they count in. Votes have none.
    pub fn into_parts(self) -> impl Iterator<Item = (Box<[u8]>, i64, Acc)> {
        let groups = match self.content {
            Content::Groups(groups) => Some(groups),
            Content::Ballots(_) => None,
        };
        groups.into_iter().flatten().flat_map(|(group, parts)| {
            let all = std::iter::once((parts.first_end, parts.acc)).chain(parts.more);
            all.map(move |(first_end, acc)| (group.clone(), first_end, acc))
        })
    }

    /// Adds what counts in the window that ends at `end`, without being changed.
    pub fn add_to(&self, end: i64, groups: &mut Groups) {
        if let Content::Groups(own) = &self.content {
            for (group, parts) in own {
                parts
                    .accs()
                    .filter(|(first_end, _)| *first_end <= end)
                    .for_each(|(_, acc)| add(groups, group.clone(), acc.clone()));
            }
        }
    }

    /// The same for a slice whose last window this is.
    pub fn drain_into(self, groups: &mut Groups) {
        if let Content::Groups(own) = self.content {
            for (group, parts) in own {
                add(groups, group, parts.merged());
            }
        }
    }

    /// The groups of which something counts from this closing on.
    pub fn groups_from(&self, end: i64) -> impl Iterator<Item = &[u8]> {
        let groups = match &self.content {
            Content::Groups(groups) => Some(groups),
            Content::Ballots(_) => None,
        };
        let all = groups.into_iter().flatten();
        all.filter(move |(_, parts)| parts.accs().any(|(first_end, _)| first_end == end)).map(|(group, _)| &**group)
    }

    /// The closings from which on something counts.
    pub fn first_ends(&self) -> impl Iterator<Item = i64> {
        let groups = match &self.content {
            Content::Groups(groups) => Some(groups),
            Content::Ballots(_) => None,
        };
        groups.into_iter().flatten().flat_map(|(_, parts)| parts.accs().map(|(first_end, _)| first_end))
    }

    pub fn ballots(&self) -> Option<&Ballots> {
        match &self.content {
            Content::Ballots(ballots) => Some(ballots),
            Content::Groups(_) => None,
        }
    }

    /// The window that ends here is closed: what it and earlier ones held alike is one from now on.
    pub fn settle(&mut self, end: i64) {
        if let Content::Groups(groups) = &mut self.content {
            groups.values_mut().for_each(|parts| parts.settle(end));
        }
    }
}

/// As a snapshot has it.
impl Slice {
    pub fn save(&self, out: &mut Vec<u8>) {
        (self.first_offset, self.watermark_before).save(out);
        (self.first_end, self.events).save(out);
        match &self.content {
            Content::Groups(groups) => groups.save(out),
            Content::Ballots(ballots) => ballots.save(out),
        }
    }

    pub fn load(rules: &Rules, from: &mut Reader<'_>) -> Option<Self> {
        let (first_offset, watermark_before, first_end, events) = (from.get()?, from.get()?, from.get()?, from.get()?);
        let content = match rules.votes {
            Some(votes) => Content::Ballots(Ballots::load(votes, rules.windows, from)?),
            None => Content::Groups(from.get()?),
        };
        Some(Self { first_offset, watermark_before, first_end, events, content })
    }
}

impl Saved for Parts {
    fn save(&self, out: &mut Vec<u8>) {
        self.first_end.save(out);
        self.acc.save(out);
        self.more.save(out);
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { first_end: from.get()?, acc: from.get()?, more: from.get()? })
    }
}

fn take_in_group(groups: &mut HashMap<Box<[u8]>, Parts>, rules: &Rules, event: &Event<'_>, place: &Place) -> Taken {
    let stamp = event.stamp(place.partition);
    if let Some(parts) = groups.get_mut(event.group) {
        parts.at(place.first_end, rules).take(event.inputs, stamp);
    } else if groups.len() < rules.max_groups {
        groups.insert(event.group.into(), Parts::new(rules, event, place.first_end, stamp));
    } else {
        return Taken::NoRoom;
    }
    Taken::Counted
}

fn add(groups: &mut Groups, group: Box<[u8]>, acc: Acc) {
    match groups.entry(group) {
        hashbrown::hash_map::Entry::Occupied(mut known) => known.get_mut().merge(acc),
        hashbrown::hash_map::Entry::Vacant(place) => {
            place.insert(acc);
        }
    }
}

impl Parts {
    fn new(rules: &Rules, event: &Event<'_>, first_end: i64, stamp: Stamp) -> Self {
        let mut acc = Acc::new(&rules.measures);
        acc.take(event.inputs, stamp);
        Self { first_end, acc, more: Vec::new() }
    }

    /// The accumulator of events that count from `first_end` on.
    fn at(&mut self, first_end: i64, rules: &Rules) -> &mut Acc {
        if first_end == self.first_end {
            return &mut self.acc;
        }
        if first_end < self.first_end {
            let later = (self.first_end, std::mem::replace(&mut self.acc, Acc::new(&rules.measures)));
            self.first_end = first_end;
            self.more.insert(0, later);
            return &mut self.acc;
        }
        let place = self.more.partition_point(|(end, _)| *end < first_end);
        if self.more.get(place).is_none_or(|(end, _)| *end != first_end) {
            self.more.insert(place, (first_end, Acc::new(&rules.measures)));
        }
        match self.more.get_mut(place) {
            Some((_, acc)) => acc,
            None => &mut self.acc,
        }
    }

    fn accs(&self) -> impl Iterator<Item = (i64, &Acc)> {
        std::iter::once((self.first_end, &self.acc)).chain(self.more.iter().map(|(end, acc)| (*end, acc)))
    }

    fn settle(&mut self, end: i64) {
        let settled = self.more.partition_point(|(first_end, _)| *first_end <= end);
        for (_, acc) in self.more.drain(..settled) {
            self.acc.merge(acc);
        }
    }

    fn merged(mut self) -> Acc {
        self.settle(i64::MAX);
        self.acc
    }
}
