//! A group as people look at it: its state, its members with what they own, its offsets. One form for every group protocol.

use super::{DescribedMember, FetchedOffsets, GroupCoordinator, classic, query::TYPE_CLASSIC};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOverview {
    /// Kafka's name of the protocol: `classic`, …
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
        let described = self.describe(group)?;
        let is_consumer = described.protocol_type == classic::CONSUMER;
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

fn member_overview(member: DescribedMember, is_consumer: bool) -> MemberOverview {
    let assignment = match is_consumer {
        true if member.assignment.is_empty() => Some(AssignedPartitions::new()),
        true => classic::assigned_partitions(&member.assignment),
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
