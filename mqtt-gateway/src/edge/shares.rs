//! Shared subscriptions (4.8.2 of MQTT 5): each message goes to one member of the group, in turn.

use super::{
    filter,
    index::{Entry, Index, Slot},
    wire::{Options, publish::Publication},
};
use std::{collections::HashMap, hash::Hash, sync::Arc};

/// A connection, over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    pub worker: u16,
    pub slot: Slot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub place: Place,
    pub options: Options,
    pub id: u32,
}

#[derive(Debug, Default)]
struct Group {
    members: Vec<Member>,
    by_place: HashMap<Place, usize>,
    turn: usize,
    number: u32,
}

/// All groups; one is told from another by the whole filter, `$share/…` included.
#[derive(Debug, Default)]
pub struct Shares {
    groups: HashMap<Arc<str>, Group>,
    names: HashMap<u32, Arc<str>>,
    /// From a topic to groups, by number.
    index: Index,
    next_number: u32,
}

impl Shares {
    pub fn join(&mut self, shared: &Arc<str>, member: Member) {
        let group = self.groups.entry(shared.clone()).or_insert_with(|| {
            self.next_number = self.next_number.wrapping_add(1);
            self.names.insert(self.next_number, shared.clone());
            let entry = Entry { slot: slot(self.next_number), id: 0, options: Options::default() };
            self.index.add(&inner(shared).into(), entry, |_| true);
            Group { number: self.next_number, ..Group::default() }
        });
        match group.by_place.get(&member.place) {
            Some(place) => {
                if let Some(known) = group.members.get_mut(*place) {
                    *known = member;
                }
            }
            None => {
                group.by_place.insert(member.place, group.members.len());
                group.members.push(member);
            }
        }
    }

    pub fn leave(&mut self, shared: &str, place: Place) {
        let Some(group) = self.groups.get_mut(shared) else { return };
        if let Some(hole) = group.by_place.remove(&place) {
            group.members.swap_remove(hole);
            if let Some(moved) = group.members.get(hole) {
                group.by_place.insert(moved.place, hole);
            }
        }
        if group.members.is_empty() {
            let number = group.number;
            self.index.remove(inner(shared), slot(number));
            self.names.remove(&number);
            self.groups.remove(shared);
        }
    }

    /// One member for each group that the message matches.
    pub fn pick(&mut self, publication: &Publication) -> Vec<(Arc<str>, Member)> {
        if self.groups.is_empty() {
            return Vec::new();
        }
        let mut lists = Vec::new();
        self.index.matching(publication.topic(), &mut lists);
        let numbers: Vec<u32> = lists.iter().copied().flatten().map(|entry| entry.slot.index).collect();
        let names: Vec<Arc<str>> = numbers.iter().filter_map(|number| self.names.get(number).cloned()).collect();
        names.into_iter().filter_map(|name| self.pick_from(&name).map(|member| (name, member))).collect()
    }

    /// The next in turn.
    pub fn pick_from(&mut self, shared: &str) -> Option<Member> {
        let group = self.groups.get_mut(shared)?;
        group.turn = (group.turn + 1) % group.members.len().max(1);
        group.members.get(group.turn).copied()
    }
}

fn slot(number: u32) -> Slot {
    Slot { index: number, generation: 0 }
}

/// `f` of `$share/g/f`; it was checked when it came.
fn inner(shared: &str) -> &str {
    filter::parse(shared, shared.len()).map_or(shared, |parsed| parsed.filter)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::wire::Properties;
    use super::*;

    fn member(number: u32) -> Member {
        Member { place: Place { worker: 0, slot: slot(number) }, options: Options(1), id: number }
    }

    fn picked(shares: &mut Shares, topic: &str) -> Vec<u32> {
        let publication = Publication::new(topic, "x".into(), 1, false, &Properties::default()).unwrap();
        let mut picked: Vec<u32> = shares.pick(&publication).into_iter().map(|(_, member)| member.id).collect();
        picked.sort_unstable();
        picked
    }

    #[test]
    fn each_group_takes_turns() {
        let mut shares = Shares::default();
        let (g, h): (Arc<str>, Arc<str>) = ("$share/g/a/#".into(), "$share/h/a/b".into());
        for number in 1..=3 {
            shares.join(&g, member(number));
        }
        shares.join(&h, member(9));
        let mut turns: Vec<u32> = (0..3).map(|_| picked(&mut shares, "a/c")[0]).collect();
        turns.sort_unstable();
        assert_eq!(turns, [1, 2, 3]);
        assert!(picked(&mut shares, "a/b").contains(&9) && picked(&mut shares, "b").is_empty());
        shares.leave(&g, member(1).place);
        shares.leave(&g, member(3).place);
        assert_eq!((picked(&mut shares, "a/c"), picked(&mut shares, "a/c")), (vec![2], vec![2]));
        shares.leave(&g, member(2).place);
        shares.leave(&h, member(9).place);
        assert!(picked(&mut shares, "a/b").is_empty() && shares.names.is_empty());
    }
}
