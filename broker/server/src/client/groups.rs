//! What the in-process door shows of groups: plain data, in Kafka's words, ready to be written as JSON.

use serde::Serialize;

/// A line of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupListing {
    pub group: String,
    #[serde(rename = "type")]
    pub group_type: String,
    /// Kafka's name: `Stable`, `Empty`, …
    pub state: String,
    pub protocol_type: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    pub group: String,
    #[serde(rename = "type")]
    pub group_type: String,
    pub state: String,
    pub protocol_type: String,
    /// The assignor, while there is an assignment.
    pub protocol: String,
    /// The generation, or the group epoch.
    pub generation: i32,
    pub members: Vec<GroupMember>,
    /// What is committed, and what members were assigned without anything committed for it.
    pub offsets: Vec<GroupOffset>,
    /// The sum over the partitions; `None` while an assigned partition that holds records has nothing committed.
    pub lag: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    /// `None`: only the members understand it.
    pub assignment: Option<Vec<AssignedTopic>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AssignedTopic {
    pub topic: String,
    pub partitions: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupOffset {
    pub topic: String,
    pub partition: i32,
    pub committed: Option<i64>,
    pub metadata: Option<String>,
    /// An open transaction is about to commit another one.
    pub pending: bool,
    /// `None`: the partition is gone.
    pub log_start: Option<i64>,
    pub log_end: Option<i64>,
    pub lag: Option<i64>,
}

/// What a group is waited for; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupCondition {
    pub state: Option<WantedState>,
    /// Exactly so many.
    pub members: Option<usize>,
    /// At most so much.
    pub max_lag: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedState {
    /// Kafka's name, in any case of letters.
    Named(String),
    /// The group does not exist.
    Gone,
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupWait {
    /// `None`: it does not exist.
    pub group: Option<Group>,
    /// False: the time is over, and the group is still like this.
    pub is_reached: bool,
}

impl GroupCondition {
    pub fn holds(&self, group: Option<&Group>) -> bool {
        let Some(group) = group else {
            return self.state == Some(WantedState::Gone);
        };
        let is_in_state = match &self.state {
            None => true,
            Some(WantedState::Named(name)) => group.state.eq_ignore_ascii_case(name),
            Some(WantedState::Gone) => false,
        };
        is_in_state
            && self.members.is_none_or(|members| group.members.len() == members)
            && self.max_lag.is_none_or(|max_lag| group.lag.is_some_and(|lag| lag <= max_lag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(state: &str, members: usize, lag: Option<i64>) -> Group {
        let member = GroupMember {
            member_id: "m".into(),
            instance_id: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            assignment: None,
        };
        Group {
            group: "g".into(),
            group_type: "classic".into(),
            state: state.into(),
            protocol_type: "consumer".into(),
            protocol: "range".into(),
            generation: 1,
            members: vec![member; members],
            offsets: Vec::new(),
            lag,
        }
    }

    #[test]
    fn every_part_of_a_condition_counts() {
        let stable = Some(WantedState::Named("stable".into()));
        let condition = GroupCondition { state: stable, members: Some(2), max_lag: Some(5) };
        assert!(condition.holds(Some(&group("Stable", 2, Some(5)))));
        assert!(!condition.holds(Some(&group("Empty", 2, Some(5)))));
        assert!(!condition.holds(Some(&group("Stable", 3, Some(5)))));
        assert!(!condition.holds(Some(&group("Stable", 2, Some(6)))));
        assert!(!condition.holds(Some(&group("Stable", 2, None))), "nobody knows how far it is");
        assert!(!condition.holds(None));
    }

    #[test]
    fn no_condition_is_that_it_exists_and_gone_is_that_it_does_not() {
        assert!(GroupCondition::default().holds(Some(&group("Empty", 0, None))));
        assert!(!GroupCondition::default().holds(None));
        let gone = GroupCondition { state: Some(WantedState::Gone), ..GroupCondition::default() };
        assert!(gone.holds(None) && !gone.holds(Some(&group("Empty", 0, None))));
    }
}
