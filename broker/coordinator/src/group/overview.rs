//! A group as people look at it: its state, its members with what they own, its offsets. One form for every group protocol.

use super::{
    DescribedConsumerGroup, DescribedConsumerMember, DescribedMember, FetchedOffsets, GroupCoordinator,
    consumer_protocol::{self, CONSUMER},
    query::{TYPE_CLASSIC, TYPE_CONSUMER},
};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOverview {
    /// Kafka's name of the protocol: `classic`, `consumer`, …
    pub group_type: &'static str,
    /// Kafka's name of the state.
    pub state: &'static str,
    pub protocol_type: String,
    /// The assignor, while there is an assignment.
    pub protocol: String,
    /// Of the classic protocol the generation, else the group epoch.
    pub generation: i32,
    pub members: Vec<MemberOverview>,
    pub offsets: FetchedOffsets,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberOverview {
    pub member_id: String,
    pub instance_id: Option<Arc<str>>,
    pub client_id: String,
    pub client_host: String,
    /// Partitions by topic. `None`: the members keep what they were given in words of their own (Connect does).
    pub assignment: Option<AssignedPartitions>,
}

pub type AssignedPartitions = Vec<(String, Vec<i32>)>;

impl GroupCoordinator {
    /// `None`: the group does not exist.
    pub fn overview(&self, group: &str) -> Option<GroupOverview> {
        if let Some(described) = self.describe_consumer_group(group) {
            return Some(consumer_overview(described, self.fetch_offsets(group, None)));
        }
        let described = self.describe(group)?;
        let is_consumer = described.protocol_type == CONSUMER;
        let members = described.members.into_iter().map(|member| member_overview(member, is_consumer)).collect();
        Some(GroupOverview {
            group_type: TYPE_CLASSIC,
            state: described.state,
            protocol_type: described.protocol_type,
            protocol: described.protocol,
            generation: described.generation,
            members,
            offsets: self.fetch_offsets(group, None),
        })
    }
}

fn consumer_overview(group: DescribedConsumerGroup, offsets: FetchedOffsets) -> GroupOverview {
    let member = |member: DescribedConsumerMember| MemberOverview {
        member_id: member.member_id.to_string(),
        instance_id: member.said.instance_id.clone(),
        client_id: member.said.client_id.clone(),
        client_host: member.said.client_host.clone(),
        assignment: Some(
            member
                .assigned
                .into_iter()
                .map(|(_, topic, partitions)| (topic.to_string(), partitions.into_iter().collect()))
                .collect(),
        ),
    };
    GroupOverview {
        group_type: TYPE_CONSUMER,
        state: group.state,
        protocol_type: CONSUMER.to_owned(),
        protocol: group.assignor.to_owned(),
        generation: group.epoch,
        members: group.members.into_iter().map(member).collect(),
        offsets,
    }
}

fn member_overview(member: DescribedMember, is_consumer: bool) -> MemberOverview {
    let assignment = match is_consumer {
        true if member.assignment.is_empty() => Some(AssignedPartitions::new()),
        true => consumer_protocol::assigned_partitions(&member.assignment),
        false => None,
    };
    MemberOverview {
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        assignment,
    }
}
