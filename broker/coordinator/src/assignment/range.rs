//! Range: each topic is cut into one run of partitions per subscribed member. Members are taken by group instance id, then by member
//! id, so that the same member gets the same partitions of every topic, and again after a restart of a static member.

use super::{Assignment, GroupSpec};
use crate::group::MemberId;
use std::collections::BTreeMap;
use uuid::Uuid;

pub fn assign(spec: &GroupSpec<'_>) -> BTreeMap<MemberId, Assignment> {
    let mut ranges = ranges(spec);
    let mut assigned = BTreeMap::new();
    for id in in_order(spec) {
        let Some(member) = spec.members.get(id) else { continue };
        let mut assignment = Assignment::new();
        for topic in member.topics.iter() {
            let next = ranges.get_mut(topic).map(Ranges::next).unwrap_or_default();
            if !next.is_empty() {
                assignment.insert(*topic, next.collect());
            }
        }
        assigned.insert(id.clone(), assignment);
    }
    assigned
}

fn in_order<'a>(spec: &'a GroupSpec<'_>) -> Vec<&'a MemberId> {
    let mut ids: Vec<_> = spec.members.iter().collect();
    // No instance id comes last.
    ids.sort_by_key(|(id, member)| (member.instance_id.is_none(), member.instance_id.clone(), (*id).clone()));
    ids.into_iter().map(|(id, _)| id).collect()
}

/// What is left of one topic.
#[derive(Debug, Default)]
struct Ranges {
    next: i32,
    partitions: i32,
    members: i32,
}

fn ranges(spec: &GroupSpec<'_>) -> BTreeMap<Uuid, Ranges> {
    let mut ranges: BTreeMap<Uuid, Ranges> = BTreeMap::new();
    for topic in spec.members.values().flat_map(|member| member.topics.iter()) {
        let range = ranges.entry(*topic).or_default();
        range.partitions = spec.partition_count(*topic);
        range.members += 1;
    }
    ranges
}

impl Ranges {
    /// The next member's share: the rest over the members that are left, rounded up.
    fn next(&mut self) -> std::ops::Range<i32> {
        let left = self.partitions - self.next;
        let share = if self.members > 0 { (left + self.members - 1) / self.members } else { 0 };
        let start = self.next;
        self.next += share;
        self.members -= 1;
        start..self.next
    }
}
