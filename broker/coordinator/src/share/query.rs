//! What can be asked of share groups without changing them.

use super::{Assignment, ShareGroups, StatePartitions};
use crate::{
    group::{GroupId, ListedGroup},
    record::ShareMember,
};

pub const TYPE_SHARE: &str = "share";
const PROTOCOL_TYPE: &str = "share";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedShareGroup {
    pub state: &'static str,
    pub epoch: i32,
    pub assignment_epoch: i32,
    pub members: Vec<DescribedShareMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedShareMember {
    pub member_id: String,
    pub epoch: i32,
    pub metadata: ShareMember,
    pub assigned: Assignment,
}

impl ShareGroups {
    pub fn describe(&self, group: &str) -> Option<DescribedShareGroup> {
        let group = self.group(group)?;
        let members = group.members.iter().map(|(id, member)| DescribedShareMember {
            member_id: id.clone(),
            epoch: member.current.epoch,
            metadata: member.metadata.clone(),
            assigned: member.current.assigned.clone(),
        });
        Some(DescribedShareGroup {
            state: group.state_name(),
            epoch: group.epoch(),
            assignment_epoch: group.assignment_epoch(),
            members: members.collect(),
        })
    }

    /// Groups whose state and type are among those asked for, in any case of letters; an empty filter takes all.
    pub fn list(&self, states: &[String], types: &[String]) -> Vec<ListedGroup> {
        let takes = |filter: &[String], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        if !takes(types, TYPE_SHARE) {
            return Vec::new();
        }
        let groups = self.groups().filter(|(_, group)| takes(states, group.state_name()));
        let listed = groups.map(|(id, group)| ListedGroup {
            group: id.clone(),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            state: group.state_name(),
            group_type: TYPE_SHARE,
        });
        listed.collect()
    }

    /// The partitions of which the group has states.
    pub fn states(&self, group: &str) -> Option<StatePartitions> {
        self.group(group).map(|group| group.states.clone().unwrap_or_default())
    }

    /// All groups that have states of a topic.
    pub fn with_states_of(&self, topic: uuid::Uuid) -> Vec<GroupId> {
        let has = |states: &StatePartitions| states.initialized.contains_key(&topic);
        let groups = self.groups().filter(|(_, group)| group.states.as_ref().is_some_and(has));
        groups.map(|(id, _)| id.clone()).collect()
    }
}
