//! Members of a consumer group that still speak the classic protocol (KIP-848, online migration): their JoinGroup is a heartbeat, their
//! generation is their member epoch, and there is no leader among them.

use super::{ConsumerGroup, Member, draft::Draft, heartbeat::new_member};
use crate::{
    GroupError,
    assignment::{Assignment, TopicsImage},
    group::{
        HeartbeatRequest, JoinReply, JoinRequest, LeavingMember, MemberId, Protocol, SyncReply, SyncRequest,
        consumer_protocol,
    },
    record::{ClassicMember, ConsumerMember, MemberState},
};
use std::{collections::BTreeMap, sync::Arc};

impl Draft<'_> {
    pub fn join_classic(&mut self, request: &JoinRequest, max_size: usize) -> Result<JoinReply, GroupError> {
        let made_up = request.member_id.is_empty();
        let id: MemberId = if made_up { request.unique.to_string().into() } else { request.member_id.as_str().into() };
        if self.members.len() >= max_size && !self.members.contains_key(&id) {
            return Err(GroupError::GroupMaxSizeReached);
        }
        if !self.supports(request) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        if made_up && request.instance_id.is_none() && request.requires_known_member_id {
            return Ok(JoinReply::error(&*id, GroupError::MemberIdRequired));
        }
        let protocol = request.protocols.first().ok_or(GroupError::InconsistentGroupProtocol)?;
        let subscription =
            consumer_protocol::subscription(&protocol.metadata).ok_or(GroupError::InconsistentGroupProtocol)?;
        let before = self.classic_joiner(&id, made_up, request.instance_id.as_deref())?;
        let owned = by_id(&subscription.owned, self.scene.topics);
        let said = ConsumerMember {
            instance_id: request.instance_id.clone().or_else(|| before.said.instance_id.clone()),
            rack_id: subscription.rack_id.or_else(|| before.said.rack_id.clone()),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            topic_names: subscription.topics,
            topic_regex: Some("".into()),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            assignor: before.said.assignor.clone(),
            classic: Some(ClassicMember {
                session_timeout_ms: request.session_timeout_ms,
                protocols: request.protocols.clone(),
            }),
        };
        let current = self.advance(&id, &before, said, Some(&owned))?;
        Ok(JoinReply {
            error: None,
            generation: current.epoch,
            protocol_type: Some(consumer_protocol::CONSUMER.to_owned()),
            protocol: Some(protocol.name.clone()),
            leader: String::new(),
            skip_assignment: false,
            member_id: id.to_string(),
            members: Vec::new(),
        })
    }

    fn classic_joiner(
        &mut self,
        id: &MemberId,
        made_up: bool,
        instance_id: Option<&str>,
    ) -> Result<Member, GroupError> {
        let Some(instance_id) = instance_id else {
            return Ok(self.members.get(id).cloned().unwrap_or_else(new_member));
        };
        match self.holder(instance_id) {
            None if made_up => Ok(new_member()),
            None => Err(GroupError::UnknownMemberId),
            Some((holder_id, holder)) if made_up => Ok(self.replace_member(&holder_id, &holder, id)),
            Some((holder_id, _)) if holder_id != *id => Err(GroupError::FencedInstanceId),
            Some((_, holder)) => Ok(holder),
        }
    }
}

impl ConsumerGroup {
    /// At least one of its assignors is offered by all classic members, so that they could be a classic group by themselves.
    fn supports(&self, request: &JoinRequest) -> bool {
        let classic = || self.members.values().filter_map(|member| member.said.classic.as_ref());
        let offers = |member: &ClassicMember, name: &str| member.protocols.iter().any(|offered| &*offered.name == name);
        let is_common = |protocol: &Protocol| classic().all(|member| offers(member, &protocol.name));
        request.protocol_type == consumer_protocol::CONSUMER && request.protocols.iter().any(is_common)
    }

    /// What the member is to do next is in its current assignment already: SyncGroup only fetches it.
    pub fn sync_classic(&self, request: &SyncRequest, topics: &TopicsImage) -> Result<SyncReply, GroupError> {
        let (member, classic) = self.classic_member(&request.member_id, request.instance_id.as_deref())?;
        let protocol = classic.protocols.first().ok_or(GroupError::InconsistentGroupProtocol)?;
        if request.generation != member.current.epoch {
            return Err(GroupError::IllegalGeneration);
        }
        let differs = |claimed: Option<&str>, ours: &str| claimed.is_some_and(|claimed| claimed != ours);
        if differs(request.protocol_type.as_deref(), consumer_protocol::CONSUMER)
            || differs(request.protocol.as_deref(), &protocol.name)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        if self.epoch.epoch > member.current.epoch && member.current.state != MemberState::UnrevokedPartitions {
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(SyncReply {
            error: None,
            protocol_type: request.protocol_type.clone(),
            protocol: request.protocol.as_deref().map(Arc::from),
            assignment: bytes(&super::partitions(&member.current.assigned), protocol, topics),
        })
    }

    /// `RebalanceInProgress`: it is to join again, because there is something to give up or to get.
    pub fn beat_classic(&self, request: &HeartbeatRequest) -> Result<Result<(), GroupError>, GroupError> {
        let (member, _) = self.classic_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != member.current.epoch {
            return Err(GroupError::IllegalGeneration);
        }
        let must_rejoin = member.current.epoch < self.epoch.epoch
            || member.current.state == MemberState::UnrevokedPartitions
            || member.current.state == MemberState::UnreleasedPartitions && !self.waits_for_others(&request.member_id);
        Ok(if must_rejoin { Err(GroupError::RebalanceInProgress) } else { Ok(()) })
    }

    /// Whether a partition that the member is to get is still another one's.
    fn waits_for_others(&self, id: &str) -> bool {
        let target = self.target.get(id).into_iter().flat_map(|target| target.iter());
        let mut partitions = target.flat_map(|(topic, all)| all.iter().map(|partition| (*topic, *partition)));
        partitions.any(|partition| self.owners.get(&partition).is_some_and(|owner| &**owner != id))
    }

    /// Whom LeaveGroup takes out: any member, whatever it speaks, for administrators ask by it, too; or whoever holds the instance id.
    pub fn leaving_classic(&self, leaving: &LeavingMember) -> Result<MemberId, GroupError> {
        let Some(instance_id) = &leaving.instance_id else {
            let member = self.members.get_key_value(leaving.member_id.as_str());
            return member.map(|(id, _)| id.clone()).ok_or(GroupError::UnknownMemberId);
        };
        let holder = self.static_members.get(instance_id).ok_or(GroupError::UnknownMemberId)?;
        let is_holder = leaving.member_id.is_empty() || **holder == *leaving.member_id;
        if is_holder { Ok(holder.clone()) } else { Err(GroupError::FencedInstanceId) }
    }

    /// A member that speaks the classic protocol; another one is unknown to it.
    fn classic_member(&self, id: &str, instance_id: Option<&str>) -> Result<(&Member, &ClassicMember), GroupError> {
        if let Some(instance_id) = instance_id {
            let holder = self.static_members.get(instance_id).ok_or(GroupError::UnknownMemberId)?;
            if &**holder != id {
                return Err(GroupError::FencedInstanceId);
            }
        }
        let member = self.members.get(id).ok_or(GroupError::UnknownMemberId)?;
        member.said.classic.as_ref().map(|classic| (member, classic)).ok_or(GroupError::UnknownMemberId)
    }
}

/// As the member's subscription has it; topics that do not exist are left out.
pub(super) fn by_id(partitions: &[(String, Vec<i32>)], topics: &TopicsImage) -> Assignment {
    let of_topic = |(name, partitions): &(String, Vec<i32>)| {
        topics.topic(name).map(|topic| (topic.id, partitions.iter().copied().collect()))
    };
    partitions.iter().filter_map(of_topic).collect::<BTreeMap<_, _>>()
}

/// An assignment in the words of the classic protocol.
pub(super) fn bytes(assignment: &Assignment, protocol: &Protocol, topics: &TopicsImage) -> bytes::Bytes {
    let version = consumer_protocol::subscription(&protocol.metadata).map_or(0, |subscription| subscription.version);
    let named = super::describe::named(assignment, topics);
    let topics: Vec<(&str, Vec<i32>)> =
        named.iter().map(|(_, name, partitions)| (&**name, partitions.iter().copied().collect())).collect();
    consumer_protocol::assignment(version, &topics)
}
