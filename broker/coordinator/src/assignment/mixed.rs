//! Uniform, where members subscribe to different topics: what members have they keep, what is free goes to whoever has least, and then
//! partitions move from those with most to those with least, topic by topic, until no move makes it more even.

use super::{Assignment, GroupSpec, uniform::collect};
use crate::group::MemberId;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Rounds over all topics; each about halves what is uneven, and nearly always the second finds nothing to do.
const MAX_ROUNDS: usize = 64;

pub fn assign(spec: &GroupSpec<'_>) -> BTreeMap<MemberId, Assignment> {
    let mut balance = Balance::of(spec);
    balance.keep(spec);
    balance.hand_out(spec);
    balance.even_out();
    balance.owned.into_iter().map(|(id, partitions)| (id.clone(), collect(partitions))).collect()
}

#[derive(Debug)]
struct Balance<'a> {
    owned: BTreeMap<&'a MemberId, BTreeSet<(Uuid, i32)>>,
    subscribers: BTreeMap<Uuid, Vec<&'a MemberId>>,
    /// Partitions that somebody keeps.
    taken: BTreeSet<(Uuid, i32)>,
}

impl<'a> Balance<'a> {
    fn of(spec: &'a GroupSpec<'_>) -> Self {
        let mut subscribers: BTreeMap<Uuid, Vec<&MemberId>> = BTreeMap::new();
        for (id, member) in &spec.members {
            member.topics.iter().for_each(|topic| subscribers.entry(*topic).or_default().push(id));
        }
        let owned = spec.members.keys().map(|id| (id, BTreeSet::new())).collect();
        Self { owned, subscribers, taken: BTreeSet::new() }
    }

    fn keep(&mut self, spec: &'a GroupSpec<'_>) {
        for (id, member) in &spec.members {
            for partition in member.keepable(spec) {
                if self.taken.insert(partition) {
                    self.owned.entry(id).or_default().insert(partition);
                }
            }
        }
    }

    /// Topics with few subscribers first: they have the least choice.
    fn hand_out(&mut self, spec: &GroupSpec<'_>) {
        for topic in self.topics_by_choice() {
            for partition in (0..spec.partition_count(topic)).map(|partition| (topic, partition)) {
                if !self.taken.contains(&partition)
                    && let Some(poorest) = self.poorest(topic)
                {
                    self.owned.entry(poorest).or_default().insert(partition);
                }
            }
        }
    }

    fn even_out(&mut self) {
        let topics = self.topics_by_choice();
        for _ in 0..MAX_ROUNDS {
            let moved: usize = topics.iter().map(|topic| self.even_out_topic(*topic)).sum();
            if moved == 0 {
                return;
            }
        }
    }

    /// How many partitions were moved.
    fn even_out_topic(&mut self, topic: Uuid) -> usize {
        let mut moved = 0;
        while let (Some(poorest), Some((richest, partition))) = (self.poorest(topic), self.richest_owner(topic)) {
            if self.size(richest) <= self.size(poorest) + 1 {
                break;
            }
            self.owned.entry(richest).or_default().remove(&(topic, partition));
            self.owned.entry(poorest).or_default().insert((topic, partition));
            moved += 1;
        }
        moved
    }

    fn size(&self, id: &MemberId) -> usize {
        self.owned.get(id).map_or(0, BTreeSet::len)
    }

    /// The subscriber with the fewest partitions.
    fn poorest(&self, topic: Uuid) -> Option<&'a MemberId> {
        self.subscribers.get(&topic)?.iter().min_by_key(|id| self.size(id)).copied()
    }

    /// Of those who own a partition of the topic, the one with most partitions of all, and the partition.
    fn richest_owner(&self, topic: Uuid) -> Option<(&'a MemberId, i32)> {
        let owners = self.subscribers.get(&topic)?.iter().filter_map(|id| {
            let of_topic = self.owned.get(id)?.range((topic, 0)..=(topic, i32::MAX)).next_back()?;
            Some((*id, of_topic.1))
        });
        owners.max_by_key(|(id, _)| self.size(id))
    }

    fn topics_by_choice(&self) -> Vec<Uuid> {
        let mut topics: Vec<_> = self.subscribers.iter().map(|(topic, members)| (members.len(), *topic)).collect();
        topics.sort_unstable();
        topics.into_iter().map(|(_, topic)| topic).collect()
    }
}
