//! The assignors by name, and what they work on.

use super::{Assignment, TopicsImage, mixed, range, uniform};
use crate::group::MemberId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use uuid::Uuid;

/// Both are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// Evenly over all topics, moving as little as possible.
    Uniform,
    /// Topic by topic in ranges, so that co-partitioned topics meet in one member.
    Range,
}

/// One member, as an assignor sees it.
#[derive(Debug, Clone)]
pub struct MemberSpec {
    pub instance_id: Option<Arc<str>>,
    /// Topics that exist.
    pub topics: Arc<BTreeSet<Uuid>>,
    /// What it was to have so far.
    pub target: Arc<Assignment>,
}

/// A group, as an assignor sees it.
#[derive(Debug)]
pub struct GroupSpec<'a> {
    pub members: BTreeMap<MemberId, MemberSpec>,
    pub topics: &'a TopicsImage,
}

impl Assignor {
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    pub fn of_name(name: &str) -> Option<Assignor> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// What each member is to have: every partition of every subscribed topic once.
    pub fn assign(self, spec: &GroupSpec<'_>) -> BTreeMap<MemberId, Assignment> {
        match self {
            Assignor::Range => range::assign(spec),
            Assignor::Uniform if spec.is_homogeneous() => uniform::assign(spec),
            Assignor::Uniform => mixed::assign(spec),
        }
    }
}

impl GroupSpec<'_> {
    /// Whether all members subscribe to the same topics.
    fn is_homogeneous(&self) -> bool {
        let mut members = self.members.values();
        let Some(first) = members.next() else { return true };
        members.all(|member| Arc::ptr_eq(&member.topics, &first.topics) || member.topics == first.topics)
    }

    pub(super) fn partition_count(&self, topic: Uuid) -> i32 {
        self.topics.topic_by_id(topic).map_or(0, |topic| topic.partitions)
    }
}

impl MemberSpec {
    /// What it may keep: partitions of topics that it still subscribes to and that still exist.
    pub(super) fn keepable(&self, spec: &GroupSpec<'_>) -> Vec<(Uuid, i32)> {
        let subscribed = self.target.iter().filter(|(topic, _)| self.topics.contains(topic));
        let existing = |(topic, partitions): (&Uuid, &BTreeSet<i32>)| {
            let (topic, count) = (*topic, spec.partition_count(*topic));
            partitions
                .iter()
                .filter(move |partition| **partition < count)
                .map(move |partition| (topic, *partition))
                .collect::<Vec<_>>()
        };
        subscribed.flat_map(existing).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::assignment::{TopicMetadata, size};
    use proptest::{collection::vec, prelude::*};

    fn id(topic: usize) -> Uuid {
        Uuid::from_u128(u128::try_from(topic).unwrap() + 1)
    }

    fn image(counts: &[i32]) -> TopicsImage {
        let topic = |(at, count): (usize, &i32)| TopicMetadata::new(format!("t{at}").into(), id(at), *count);
        TopicsImage::new(1, counts.iter().enumerate().map(topic))
    }

    /// Members `m0`, `m1`, ... with the topics that their bits say.
    fn members(
        subscriptions: &[u8],
        topics: usize,
        before: &BTreeMap<MemberId, Assignment>,
    ) -> BTreeMap<MemberId, MemberSpec> {
        let member = |(at, bits): (usize, &u8)| {
            let name: MemberId = format!("m{at}").into();
            let subscribed = (0..topics).filter(|topic| bits & (1 << topic) != 0).map(id).collect();
            let target = before.get(&name).cloned().unwrap_or_default();
            (name, MemberSpec { instance_id: None, topics: Arc::new(subscribed), target: Arc::new(target) })
        };
        subscriptions.iter().enumerate().map(member).collect()
    }

    /// Every partition that somebody subscribes to has exactly one owner, who subscribes to it.
    fn check(spec: &GroupSpec<'_>, assigned: &BTreeMap<MemberId, Assignment>) {
        let mut owned = BTreeSet::new();
        for (member, assignment) in assigned {
            for (topic, partitions) in assignment {
                assert!(spec.members[member].topics.contains(topic));
                assert!(partitions.iter().all(|partition| owned.insert((*topic, *partition))), "two owners");
            }
        }
        let subscribed: BTreeSet<Uuid> =
            spec.members.values().flat_map(|member| member.topics.iter().copied()).collect();
        let all = subscribed
            .into_iter()
            .flat_map(|topic| (0..spec.partition_count(topic)).map(move |partition| (topic, partition)));
        assert_eq!(owned, all.collect());
    }

    proptest! {
        #[test]
        fn each_partition_has_one_subscribed_owner(counts in vec(0i32..9, 1..6), first in vec(0u8..64, 1..7), then in vec(0u8..64, 1..7)) {
            let topics = image(&counts);
            for assignor in Assignor::ALL {
                let mut before = BTreeMap::new();
                for subscriptions in [&first, &then] {
                    let spec = GroupSpec { members: members(subscriptions, counts.len(), &before), topics: &topics };
                    before = assignor.assign(&spec);
                    check(&spec, &before);
                    let again = GroupSpec { members: members(subscriptions, counts.len(), &before), topics: &topics };
                    prop_assert_eq!(assignor.assign(&again), before.clone(), "what is balanced stays");
                }
            }
        }

        #[test]
        fn uniform_is_balanced_and_moves_no_more_than_it_must(counts in vec(1i32..9, 1..6), before in 1usize..6, after in 1usize..6) {
            let topics = image(&counts);
            let all = |members: usize| vec![u8::MAX; members];
            let first = Assignor::Uniform.assign(&GroupSpec { members: members(&all(before), counts.len(), &BTreeMap::new()), topics: &topics });
            let spec = GroupSpec { members: members(&all(after), counts.len(), &first), topics: &topics };
            let second = Assignor::Uniform.assign(&spec);
            let sizes: Vec<usize> = second.values().map(size).collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
            let kept = |name: &MemberId| {
                let (old, new) = (&first[name], &second[name]);
                old.iter().map(|(topic, partitions)| new.get(topic).map_or(0, |now| now.intersection(partitions).count())).sum::<usize>()
            };
            for name in first.keys().filter(|name| second.contains_key(*name)) {
                prop_assert_eq!(kept(name), size(&first[name]).min(size(&second[name])), "who has room keeps all");
            }
        }

        #[test]
        fn mixed_subscriptions_leave_no_easy_improvement(counts in vec(1i32..9, 1..6), subscriptions in vec(1u8..64, 2..7)) {
            let topics = image(&counts);
            let spec = GroupSpec { members: members(&subscriptions, counts.len(), &BTreeMap::new()), topics: &topics };
            let assigned = Assignor::Uniform.assign(&spec);
            for (rich, assignment) in &assigned {
                for (poor, member) in &spec.members {
                    let could_move = assignment.keys().any(|topic| member.topics.contains(topic));
                    let gap = size(&assigned[rich]).saturating_sub(size(&assigned[poor]));
                    prop_assert!(!could_move || gap <= 1, "{rich} could give to {poor}");
                }
            }
        }
    }

    #[test]
    fn ranges_of_copartitioned_topics_meet_in_one_member_static_ones_first() {
        let topics = image(&[5, 5]);
        let mut members = members(&[3, 3], 2, &BTreeMap::new());
        members.get_mut("m1").unwrap().instance_id = Some("i".into());
        let assigned = Assignor::Range.assign(&GroupSpec { members, topics: &topics });
        for topic in [id(0), id(1)] {
            assert_eq!(assigned["m1"][&topic], BTreeSet::from([0, 1, 2]));
            assert_eq!(assigned["m0"][&topic], BTreeSet::from([3, 4]));
        }
    }
}
