//! The assignor of share groups, Kafka's `simple`: each partition has a member, each member as many as the others, and what a member
//! has it keeps as far as that allows. Where there are more members than partitions, partitions are shared.

use super::Assignment;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The topics that there are now.
pub trait TopicImage {
    /// Id and number of partitions.
    fn topic(&self, name: &str) -> Option<(Uuid, i32)>;
}

/// Partitions by topic id, of each member.
pub type Subscriptions = BTreeMap<String, BTreeMap<Uuid, i32>>;

/// Who reads what, given what each reads now.
pub fn assign(members: &Subscriptions, present: &BTreeMap<String, Assignment>) -> BTreeMap<String, Assignment> {
    let kept = Hand::out(members, present);
    if kept.is_fair() { kept.given } else { Hand::out(members, &BTreeMap::new()).given }
}

struct Hand<'a> {
    members: &'a Subscriptions,
    is_homogeneous: bool,
    given: BTreeMap<String, Assignment>,
    counts: BTreeMap<&'a str, usize>,
}

impl<'a> Hand<'a> {
    fn out(members: &'a Subscriptions, present: &BTreeMap<String, Assignment>) -> Self {
        let first = members.values().next();
        let mut hand = Self {
            members,
            is_homogeneous: members.values().all(|topics| Some(topics) == first),
            given: members.keys().map(|member| (member.clone(), Assignment::new())).collect(),
            counts: members.keys().map(|member| (member.as_str(), 0)).collect(),
        };
        let topics: BTreeMap<Uuid, i32> = members.values().flatten().map(|(id, count)| (*id, *count)).collect();
        let partitions: i32 = topics.values().sum();
        let wanted: Vec<(Uuid, i32, usize)> = topics
            .iter()
            .flat_map(|(id, count)| {
                let among = if hand.is_homogeneous { partitions } else { *count };
                let sharing = hand.sharing(*id, among);
                (0..*count).map(move |partition| (*id, partition, sharing))
            })
            .collect();
        let all: usize = wanted.iter().map(|(_, _, sharing)| sharing).sum();
        let most = all.div_ceil(members.len().max(1));
        for (topic, partition, sharing) in &wanted {
            hand.keep(*topic, *partition, *sharing, most, present);
        }
        for (topic, partition, sharing) in wanted {
            hand.fill(topic, partition, sharing);
        }
        hand
    }

    /// How many members read each partition of a topic, which is one of so many.
    fn sharing(&self, topic: Uuid, partitions: i32) -> usize {
        let subscribers = self.members.values().filter(|topics| topics.contains_key(&topic)).count();
        subscribers.div_ceil(usize::try_from(partitions).unwrap_or(0).max(1))
    }

    fn keep(
        &mut self,
        topic: Uuid,
        partition: i32,
        sharing: usize,
        most: usize,
        present: &BTreeMap<String, Assignment>,
    ) {
        let has = |member: &&String| {
            let reads = present.get(*member).and_then(|assigned| assigned.get(&topic));
            reads.is_some_and(|partitions| partitions.contains(&partition))
        };
        let holders: Vec<&'a String> = self.members.keys().filter(has).collect();
        let mut left = sharing;
        for member in holders {
            let is_subscribed = self.members.get(member).is_some_and(|topics| topics.contains_key(&topic));
            if left > 0 && is_subscribed && self.count(member) < most {
                self.give(member, topic, partition);
                left -= 1;
            }
        }
    }

    /// Those who have least are given what is left.
    fn fill(&mut self, topic: Uuid, partition: i32, sharing: usize) {
        let has = |member: &String| {
            let given = self.given.get(member).and_then(|assigned| assigned.get(&topic));
            given.is_some_and(|partitions| partitions.contains(&partition))
        };
        let subscribed = self.members.iter().filter(|(_, topics)| topics.contains_key(&topic));
        let (readers, mut others): (Vec<&'a String>, Vec<&'a String>) =
            subscribed.map(|(member, _)| member).partition(|member| has(member));
        others.sort_by_key(|member| self.count(member));
        for member in others.into_iter().take(sharing.saturating_sub(readers.len())) {
            self.give(member, topic, partition);
        }
    }

    fn give(&mut self, member: &'a str, topic: Uuid, partition: i32) {
        let assigned = self.given.entry(member.to_owned()).or_default();
        if assigned.entry(topic).or_default().insert(partition) {
            *self.counts.entry(member).or_default() += 1;
        }
    }

    fn count(&self, member: &str) -> usize {
        self.counts.get(member).copied().unwrap_or(0)
    }

    /// Where all read the same topics, nobody has two partitions more than another.
    fn is_fair(&self) -> bool {
        let (least, most) = (self.counts.values().min(), self.counts.values().max());
        !self.is_homogeneous || least.zip(most).is_none_or(|(least, most)| most - least <= 1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn topics(counts: &[i32]) -> BTreeMap<Uuid, i32> {
        counts.iter().zip(1..).map(|(count, id)| (Uuid::from_u128(id), *count)).collect()
    }

    proptest! {
        /// Members come and go: nobody is left out, nothing is read by nobody, and one who stays keeps most.
        #[test]
        fn all_is_read_and_shared_fairly(
            counts in proptest::collection::vec(1i32..6, 1..4),
            sizes in proptest::collection::vec(1usize..9, 1..6),
        ) {
            let topics = topics(&counts);
            let partitions: i32 = counts.iter().sum();
            let mut present = BTreeMap::new();
            for size in sizes {
                let members: Subscriptions = (0..size).map(|number| (format!("m{number}"), topics.clone())).collect();
                let assigned = assign(&members, &present);
                let read: BTreeSet<(Uuid, i32)> = assigned
                    .values()
                    .flat_map(|topics| topics.iter().flat_map(|(id, all)| all.iter().map(move |p| (*id, *p))))
                    .collect();
                prop_assert_eq!(read.len(), usize::try_from(partitions).unwrap());
                let loads: Vec<usize> =
                    assigned.values().map(|topics| topics.values().map(BTreeSet::len).sum()).collect();
                let (least, most) = (*loads.iter().min().unwrap(), *loads.iter().max().unwrap());
                prop_assert!(most - least <= 1, "{loads:?}");
                prop_assert!(least > 0 || i32::try_from(size).unwrap() > partitions, "{loads:?}");
                prop_assert_eq!(&assign(&members, &assigned), &assigned, "nothing moves without a reason");
                present = assigned;
            }
        }

        /// Who reads other topics gets partitions of his own topics alone, and every topic is read whole.
        #[test]
        fn each_reads_what_it_asked_for(wishes in proptest::collection::vec(1u8..8, 1..6)) {
            let all = topics(&[1, 2, 3]);
            let members: Subscriptions = wishes
                .iter()
                .enumerate()
                .map(|(number, wish)| {
                    let chosen = all.iter().enumerate().filter(|(bit, _)| wish & (1 << bit) != 0);
                    (format!("m{number}"), chosen.map(|(_, (id, count))| (*id, *count)).collect())
                })
                .collect();
            let assigned = assign(&members, &BTreeMap::new());
            for (member, topics) in &assigned {
                prop_assert!(topics.keys().all(|id| members[member].contains_key(id)));
            }
            for (id, count) in &all {
                let subscribed = members.values().any(|topics| topics.contains_key(id));
                let read: BTreeSet<i32> =
                    assigned.values().filter_map(|topics| topics.get(id)).flatten().copied().collect();
                prop_assert_eq!(read.len(), if subscribed { usize::try_from(*count).unwrap() } else { 0 });
            }
        }
    }
}
