//! What can be asked of the coordinator without changing it.

use super::{GroupCoordinator, GroupId, coordinator::Group};
use crate::record::CommittedOffset;
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc};

pub const TYPE_CLASSIC: &str = "classic";
pub const TYPE_CONSUMER: &str = "consumer";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Kafka's names: `Stable`, `PreparingRebalance`, `CompletingRebalance`, `Empty`.
    pub state: &'static str,
    pub protocol_type: String,
    /// The assignor of a stable group, else empty.
    pub protocol: String,
    pub generation: i32,
    pub members: Vec<DescribedMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    pub member_id: String,
    pub instance_id: Option<Arc<str>>,
    pub client_id: String,
    pub client_host: String,
    /// Empty unless the group is stable.
    pub metadata: Bytes,
    pub assignment: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    pub group: GroupId,
    pub protocol_type: String,
    pub state: &'static str,
    pub group_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOffset {
    pub partition: i32,
    /// `None`: nothing committed.
    pub committed: Option<CommittedOffset>,
    /// An open transaction is about to commit another one (KIP-447).
    pub is_unstable: bool,
}

pub type FetchedOffsets = Vec<(Arc<str>, Vec<PartitionOffset>)>;

impl GroupCoordinator {
    /// `None`: there is no classic group of that name, which Kafka calls `Dead`.
    pub fn describe(&self, group: &str) -> Option<DescribedGroup> {
        self.group(group).filter(|group| group.consumer.is_none()).map(|group| group.classic.describe())
    }

    /// Groups whose state and type are among those asked for, in any case of letters; an empty filter takes all.
    pub fn list(&self, states: &[String], types: &[String]) -> Vec<ListedGroup> {
        let takes = |filter: &[String], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let listed = self.groups().map(|(id, group)| listed(id, group));
        listed.filter(|group| takes(states, group.state) && takes(types, group.group_type)).collect()
    }

    /// The offsets of the partitions asked for; `None` asks for all there are. An unknown group has none.
    pub fn fetch_offsets(&self, group: &str, topics: Option<&[(Arc<str>, Vec<i32>)]>) -> FetchedOffsets {
        let group = self.group(group);
        match topics {
            None => group.map(all_offsets).unwrap_or_default(),
            Some(topics) => topics.iter().map(|(topic, partitions)| picked(group, topic, partitions)).collect(),
        }
    }
}

fn listed(id: &GroupId, group: &Group) -> ListedGroup {
    if let Some(consumer) = &group.consumer {
        return ListedGroup {
            group: id.clone(),
            protocol_type: TYPE_CONSUMER.to_owned(),
            state: consumer.state(),
            group_type: TYPE_CONSUMER,
        };
    }
    ListedGroup {
        group: id.clone(),
        protocol_type: group.classic.protocol_type().unwrap_or_default().to_owned(),
        state: group.classic.state().name(),
        group_type: TYPE_CLASSIC,
    }
}

fn all_offsets(group: &Group) -> FetchedOffsets {
    let of_topic = |(topic, partitions): (&Arc<str>, &BTreeMap<i32, CommittedOffset>)| {
        let one = |partition: &i32| one_offset(Some(group), topic, *partition);
        (topic.clone(), partitions.keys().map(one).collect())
    };
    group.offsets.iter().map(of_topic).collect()
}

fn picked(group: Option<&Group>, topic: &Arc<str>, partitions: &[i32]) -> (Arc<str>, Vec<PartitionOffset>) {
    let one = |&partition: &i32| one_offset(group, topic, partition);
    (topic.clone(), partitions.iter().map(one).collect())
}

fn one_offset(group: Option<&Group>, topic: &str, partition: i32) -> PartitionOffset {
    let offsets = group.map(|group| &group.offsets);
    PartitionOffset {
        partition,
        committed: offsets.and_then(|offsets| offsets.get(topic, partition)).cloned(),
        is_unstable: offsets.is_some_and(|offsets| offsets.pending.contains(topic, partition)),
    }
}
