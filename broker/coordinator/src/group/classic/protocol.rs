//! What members have in common: assignors and their choice by vote, subscribed topics.

use super::{ClassicGroup, State, member::Member};
use crate::group::{
    Protocol,
    consumer_protocol::{CONSUMER, subscribed_topics},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

impl ClassicGroup {
    /// Whether a member with these assignors fits in: at least one of them is offered by every member.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        if self.state == State::Empty && self.members.is_empty() {
            return true;
        }
        self.protocol_type() == Some(protocol_type)
            && (self.members.is_empty() || protocols.iter().any(|protocol| self.is_common(&protocol.name)))
    }

    fn is_common(&self, protocol: &str) -> bool {
        self.offered.get(protocol).is_some_and(|count| *count == self.members.len())
    }

    /// Each member votes for the first of its assignors that all offer; of equals the first by name wins.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().find(|protocol| self.is_common(&protocol.name));
            if let Some(vote) = vote {
                *votes.entry(&vote.name).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    pub(super) fn count_protocols(&mut self, member: &Member) {
        for name in distinct_names(&member.protocols) {
            *self.offered.entry(name.clone()).or_default() += 1;
        }
    }

    pub(super) fn discount_protocols(&mut self, member: &Member) {
        for name in distinct_names(&member.protocols) {
            if let Some(count) = self.offered.get_mut(name) {
                *count = count.saturating_sub(1);
            }
        }
        self.offered.retain(|_, count| *count > 0);
    }

    /// The topics that any member subscribes to; `None` when the members are no consumers or say it in a way that is
    /// not understood.
    pub(super) fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        let protocol = self.protocol.as_deref()?;
        if self.protocol_type() != Some(CONSUMER) {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscribed_topics(&member.metadata(protocol))?);
        }
        Some(topics)
    }
}

fn distinct_names(protocols: &[Protocol]) -> BTreeSet<&Arc<str>> {
    protocols.iter().map(|protocol| &protocol.name).collect()
}
