//! Groups change their protocol while they work (`group.consumer.migration.policy`): a classic group becomes a consumer group when the
//! first member of the new protocol joins, and a consumer group becomes a classic one when the last such member leaves.

use super::{
    ConsumerGroup, Member,
    classic_members::{by_id, bytes},
};
use crate::{
    GroupError,
    assignment::TopicsImage,
    config::ConsumerGroupConfig,
    group::{MemberId, Protocol, classic::ClassicGroup, consumer_protocol},
    record::{
        ClassicMember, ConsumerGroupEpoch, ConsumerMember, ConsumerRecord, GroupMetadata, MemberAssignment,
        MemberMetadata, MemberState, TargetAssignmentEpoch,
    },
};
use std::{collections::BTreeSet, sync::Arc};

impl ConsumerGroup {
    /// The classic group as a consumer group: the generation becomes the epoch, everybody keeps what the last generation gave it.
    pub fn of_classic(
        classic: &ClassicGroup,
        config: &ConsumerGroupConfig,
        topics: &TopicsImage,
    ) -> Result<Self, GroupError> {
        let members = classic.members_to_convert();
        let allowed = config.migration_policy.upgrades
            && classic.protocol_type() == Some(consumer_protocol::CONSUMER)
            && members.len() <= config.max_size;
        if !allowed {
            return Err(GroupError::GroupIdNotFound);
        }
        let epoch = classic.generation();
        let mut group = Self::default();
        group.apply(&ConsumerRecord::TargetEpoch(Some(TargetAssignmentEpoch { epoch, timestamp_ms: 0 })));
        for (member, protocols) in members {
            group.adopt(&member, protocols, epoch, topics).ok_or(GroupError::GroupIdNotFound)?;
        }
        let metadata_hash = topics.metadata_hash(group.subscribed_topics());
        group.apply(&ConsumerRecord::Group(Some(ConsumerGroupEpoch { epoch, metadata_hash })));
        Ok(group)
    }

    /// Its classic members with their session timeouts.
    pub fn sessions(&self) -> Vec<(MemberId, i32)> {
        let classic =
            |(id, member): (&MemberId, &Member)| Some((id.clone(), member.said.classic.as_ref()?.session_timeout_ms));
        self.members.iter().filter_map(classic).collect()
    }

    /// `None`: what it told the group is not understood, or would be lost.
    fn adopt(
        &mut self,
        member: &MemberMetadata,
        protocols: Vec<Protocol>,
        epoch: i32,
        topics: &TopicsImage,
    ) -> Option<()> {
        let subscription = consumer_protocol::subscription(&member.subscription)?;
        let assigned = consumer_protocol::assigned(&member.assignment).filter(|assigned| !assigned.has_user_data)?;
        let target = by_id(&assigned.partitions, topics);
        let at_epoch = |partitions: &BTreeSet<i32>| partitions.iter().map(|partition| (*partition, epoch)).collect();
        let current = MemberAssignment {
            epoch,
            previous_epoch: epoch,
            state: MemberState::Stable,
            assigned: target.iter().map(|(topic, partitions)| (*topic, at_epoch(partitions))).collect(),
            revoking: Default::default(),
        };
        let said = ConsumerMember {
            instance_id: member.instance_id.as_deref().map(Arc::from),
            rack_id: subscription.rack_id,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topic_names: subscription.topics,
            topic_regex: Some("".into()),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            assignor: None,
            classic: Some(ClassicMember { session_timeout_ms: member.session_timeout_ms, protocols }),
        };
        let id: MemberId = member.member_id.as_str().into();
        self.apply(&ConsumerRecord::Member(id.clone(), Some(Arc::new(said))));
        self.apply(&ConsumerRecord::Target(id.clone(), Some(Arc::new(target))));
        self.apply(&ConsumerRecord::Current(id, Some(current)));
        Some(())
    }

    /// The group without `leaving`, as a classic one, if nobody else speaks the new protocol.
    pub fn to_classic(
        &self,
        leaving: &[MemberId],
        config: &ConsumerGroupConfig,
        max_classic_size: usize,
        topics: &TopicsImage,
        now_ms: i64,
    ) -> Option<GroupMetadata> {
        let staying: Vec<_> = self.members.iter().filter(|(id, _)| !leaving.contains(id)).collect();
        let first = staying.first()?.1.said.classic.as_ref()?;
        let offers = |member: &Member, name: &str| {
            member.said.classic.as_ref().is_some_and(|classic| classic.protocols.iter().any(|one| &*one.name == name))
        };
        let all_offer = |protocol: &&Protocol| staying.iter().all(|(_, member)| offers(member, &protocol.name));
        let protocol = first.protocols.iter().find(all_offer)?;
        if !config.migration_policy.downgrades || staying.len() > max_classic_size {
            return None;
        }
        let members = staying.iter().filter_map(|(id, member)| self.released(id, member, &protocol.name, topics));
        Some(GroupMetadata {
            protocol_type: consumer_protocol::CONSUMER.to_owned(),
            generation: self.epoch.epoch,
            protocol: Some(protocol.name.to_string()),
            leader: None,
            current_state_timestamp_ms: now_ms,
            members: members.collect(),
        })
    }

    fn released(&self, id: &MemberId, member: &Member, protocol: &str, topics: &TopicsImage) -> Option<MemberMetadata> {
        let classic = member.said.classic.as_ref()?;
        let protocol = classic.protocols.iter().find(|offered| &*offered.name == protocol)?;
        let target = self.target.get(id).cloned().unwrap_or_default();
        Some(MemberMetadata {
            member_id: id.to_string(),
            instance_id: member.said.instance_id.as_deref().map(str::to_owned),
            client_id: member.said.client_id.clone(),
            client_host: member.said.client_host.clone(),
            rebalance_timeout_ms: member.said.rebalance_timeout_ms,
            session_timeout_ms: classic.session_timeout_ms,
            subscription: protocol.metadata.clone(),
            assignment: bytes(&target, protocol, topics),
        })
    }
}
