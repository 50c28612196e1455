//! Uniform, where all members subscribe to the same topics: each gets as many partitions as the others, give or take one, and
//! keeps as many of its own as that allows. Who has more than the others goes on having one more, as long as there is one to spare.

use super::{Assignment, GroupSpec};
use crate::group::MemberId;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub fn assign(spec: &GroupSpec<'_>) -> BTreeMap<MemberId, Assignment> {
    let Some(first) = spec.members.values().next() else { return BTreeMap::new() };
    let all = || {
        let partitions = |topic: &Uuid| {
            let topic = *topic;
            (0..spec.partition_count(topic)).map(move |partition| (topic, partition))
        };
        first.topics.iter().flat_map(partitions)
    };
    let quotas = quotas(spec, all().count());
    let (mut assigned, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for (id, member) in &spec.members {
        let quota = quotas.get(id).copied().unwrap_or(0);
        let kept = member.keepable(spec).into_iter().filter(|partition| !taken.contains(partition));
        let kept: Vec<_> = kept.take(quota).collect();
        taken.extend(kept.iter().copied());
        assigned.insert(id.clone(), kept);
    }
    let mut free = all().filter(|partition| !taken.contains(partition));
    for (id, partitions) in &mut assigned {
        let missing = quotas.get(id).copied().unwrap_or(0).saturating_sub(partitions.len());
        partitions.extend(free.by_ref().take(missing));
    }
    assigned.into_iter().map(|(id, partitions)| (id, collect(partitions))).collect()
}

/// How many partitions each member is to have.
fn quotas<'a>(spec: &'a GroupSpec<'_>, partitions: usize) -> BTreeMap<&'a MemberId, usize> {
    let members = spec.members.len().max(1);
    let (least, mut extra) = (partitions / members, partitions % members);
    let mut quotas: BTreeMap<&MemberId, usize> = spec.members.keys().map(|id| (id, least)).collect();
    let mut by_size: Vec<_> = spec.members.iter().map(|(id, member)| (id, member.keepable(spec).len())).collect();
    by_size.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    for (id, _) in by_size {
        if extra > 0 {
            quotas.insert(id, least + 1);
            extra -= 1;
        }
    }
    quotas
}

pub(super) fn collect(partitions: impl IntoIterator<Item = (Uuid, i32)>) -> Assignment {
    let mut assignment = Assignment::new();
    for (topic, partition) in partitions {
        assignment.entry(topic).or_default().insert(partition);
    }
    assignment
}
