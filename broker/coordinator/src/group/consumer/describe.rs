//! What can be asked of a consumer group without changing it (ConsumerGroupDescribe).

use super::{ConsumerGroup, Member, partitions};
use crate::group::MemberId;
use crate::{
    assignment::{Assignment, Assignor, TopicsImage},
    record::ConsumerMember,
};
use std::{collections::BTreeSet, sync::Arc};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq)]
pub struct DescribedConsumerGroup {
    pub state: &'static str,
    pub epoch: i32,
    pub assignment_epoch: i32,
    pub assignor: &'static str,
    pub members: Vec<DescribedConsumerMember>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DescribedConsumerMember {
    pub member_id: MemberId,
    pub epoch: i32,
    pub said: Arc<ConsumerMember>,
    pub assigned: DescribedPartitions,
    pub target: DescribedPartitions,
}

/// By topics that exist.
pub type DescribedPartitions = Vec<(Uuid, Arc<str>, BTreeSet<i32>)>;

impl ConsumerGroup {
    pub fn describe(&self, topics: &TopicsImage, default_assignor: Assignor) -> DescribedConsumerGroup {
        let member = |(id, member): (&MemberId, &Member)| DescribedConsumerMember {
            member_id: id.clone(),
            epoch: member.current.epoch,
            said: member.said.clone(),
            assigned: named(&partitions(&member.current.assigned), topics),
            target: self.target.get(id).map(|target| named(target, topics)).unwrap_or_default(),
        };
        DescribedConsumerGroup {
            state: self.state(),
            epoch: self.epoch.epoch,
            assignment_epoch: self.target_epoch.epoch,
            assignor: self.assignor_by_vote().unwrap_or(default_assignor).name(),
            members: self.members.iter().map(member).collect(),
        }
    }
}

pub(super) fn named(assignment: &Assignment, topics: &TopicsImage) -> DescribedPartitions {
    let one = |(id, partitions): (&Uuid, &BTreeSet<i32>)| {
        topics.topic_by_id(*id).map(|topic| (*id, topic.name.clone(), partitions.clone()))
    };
    assignment.iter().filter_map(one).collect()
}
