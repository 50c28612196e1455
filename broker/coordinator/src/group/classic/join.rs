//! JoinGroup: lets members in, and back in.

use super::{ClassicGroup, State, member::Member};
use crate::{
    GroupError,
    group::{JoinReply, JoinRequest, JoinedMember, MemberId, Protocol, Reply, Ticket, coordinator::Step},
    limits,
};
use std::sync::Arc;

impl ClassicGroup {
    pub fn join(&mut self, ticket: Ticket, request: JoinRequest, step: &mut Step<'_>) {
        let member_id = request.member_id.clone();
        if let Err(error) = self.try_join(ticket, request, step) {
            step.out.reply(ticket, Reply::Join(JoinReply::error(member_id, error)));
        }
    }

    fn try_join(&mut self, ticket: Ticket, request: JoinRequest, step: &mut Step<'_>) -> Result<(), GroupError> {
        let allowed = step.config.min_session_timeout_ms..=step.config.max_session_timeout_ms;
        if !allowed.contains(&request.session_timeout_ms) {
            return Err(GroupError::InvalidSessionTimeout);
        }
        check_sizes(&request)?;
        if !self.has_room(&request.member_id, step.config.max_size) {
            self.remove(&request.member_id, step);
            self.pending.remove(request.member_id.as_str());
            self.try_complete_join(step);
            return Err(GroupError::GroupMaxSizeReached);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        if request.member_id.is_empty() {
            self.join_new(ticket, request, step)
        } else {
            self.join_known(ticket, request, step)
        }
    }

    /// `group.max.size`: while a rebalance gathers members, those who have come count, else those who are in.
    fn has_room(&self, member_id: &str, max_size: usize) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                member.is_some_and(|member| member.waiting.join.is_some()) || self.joined() < max_size
            }
            State::CompletingRebalance | State::Stable => member.is_some() || self.members.len() < max_size,
        }
    }

    fn joined(&self) -> usize {
        self.members.values().filter(|member| member.waiting.join.is_some()).count()
    }

    fn join_new(&mut self, ticket: Ticket, request: JoinRequest, step: &mut Step<'_>) -> Result<(), GroupError> {
        let name = request.instance_id.as_deref().unwrap_or(&request.client_id);
        let new_id: MemberId = format!("{name}-{}", request.unique).into();
        let holder = request.instance_id.as_ref().and_then(|instance_id| self.static_members.get(instance_id));
        if let Some(old_id) = holder.cloned() {
            self.replace_static_member(ticket, &old_id, new_id, request, step);
            return Ok(());
        }
        if request.instance_id.is_none() && request.requires_known_member_id {
            return self.give_id(ticket, new_id, &request, step);
        }
        self.add(ticket, new_id, &request, step);
        Ok(())
    }

    /// KIP-394: the client is told its id and has to come again with it, so that a lost reply leaves no phantom member.
    fn give_id(
        &mut self,
        ticket: Ticket,
        id: MemberId,
        request: &JoinRequest,
        step: &mut Step<'_>,
    ) -> Result<(), GroupError> {
        if self.pending.len() >= limits::MAX_PENDING_MEMBERS {
            return Err(GroupError::GroupMaxSizeReached);
        }
        step.arm_member(&id, i64::from(request.session_timeout_ms));
        step.out.reply(ticket, Reply::Join(JoinReply::error(&*id, GroupError::MemberIdRequired)));
        self.pending.insert(id);
        Ok(())
    }

    fn join_known(&mut self, ticket: Ticket, request: JoinRequest, step: &mut Step<'_>) -> Result<(), GroupError> {
        if self.pending.contains(request.member_id.as_str()) && request.instance_id.is_none() {
            self.add(ticket, request.member_id.as_str().into(), &request, step);
            return Ok(());
        }
        self.validate_member(&request.member_id, request.instance_id.as_deref())?;
        let unchanged = self.members.get(request.member_id.as_str()).is_some_and(|m| m.protocols == request.protocols);
        let is_leader = self.leader.as_deref() == Some(request.member_id.as_str());
        match self.state {
            State::Empty => return Err(GroupError::UnknownMemberId),
            // The answer to its first request was lost, or it asks again out of impatience: the generation stands.
            State::CompletingRebalance if unchanged => self.answer_again(ticket, &request, step),
            State::Stable if unchanged && !is_leader => self.answer_again(ticket, &request, step),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.rejoin(ticket, &request, step);
                self.rebalance(step);
            }
        }
        Ok(())
    }

    fn answer_again(&mut self, ticket: Ticket, request: &JoinRequest, step: &mut Step<'_>) {
        let reply = self.joined_reply(&request.member_id);
        step.out.reply(ticket, Reply::Join(reply));
        self.touch(&request.member_id, step);
    }

    fn add(&mut self, ticket: Ticket, id: MemberId, request: &JoinRequest, step: &mut Step<'_>) {
        self.pending.remove(&id);
        let mut member = Member::new(id.clone(), request);
        member.waiting.join = Some(ticket);
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        self.insert(member);
        self.leader.get_or_insert_with(|| id.clone());
        if let Some(initial) = &mut self.initial {
            initial.member_added = true;
        }
        step.arm_member(&id, super::NEW_MEMBER_JOIN_TIMEOUT_MS);
        self.rebalance(step);
    }

    /// A member joins again, maybe with other assignors, subscriptions and time-outs.
    pub(super) fn rejoin(&mut self, ticket: Ticket, request: &JoinRequest, step: &mut Step<'_>) {
        let Some(mut member) = self.members.remove(request.member_id.as_str()) else { return };
        self.discount_protocols(&member);
        member.protocols.clone_from(&request.protocols);
        member.session_timeout_ms = request.session_timeout_ms;
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.client_id.clone_from(&request.client_id);
        member.client_host.clone_from(&request.client_host);
        if let Some(old) = member.waiting.join.replace(ticket) {
            step.out.reply(old, Reply::Join(JoinReply::error(&*member.id, GroupError::RebalanceInProgress)));
        }
        if member.is_new {
            step.arm_member(&member.id, super::NEW_MEMBER_JOIN_TIMEOUT_MS);
        } else {
            step.disarm_member(&member.id);
        }
        self.insert(member);
    }

    pub(super) fn insert(&mut self, member: Member) {
        self.count_protocols(&member);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    /// What a member of this generation is told; the leader is told of all.
    pub(super) fn joined_reply(&self, member_id: &str) -> JoinReply {
        let is_leader = self.leader.as_deref() == Some(member_id);
        JoinReply {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.as_deref().unwrap_or_default().to_owned(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: if is_leader { self.joined_members() } else { Vec::new() },
        }
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let joined = |member: &Member| JoinedMember {
            member_id: member.id.to_string(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.values().map(joined).collect()
    }
}

fn check_sizes(request: &JoinRequest) -> Result<(), GroupError> {
    let longest_id = request.member_id.len().max(request.client_id.len() + 37).max(request.client_host.len());
    let instance_id_length = request.instance_id.as_ref().map_or(0, |instance_id| instance_id.len() + 37);
    let too_long = |text: &Arc<str>| text.len() > limits::MAX_STRING_BYTES;
    let metadata_bytes: usize = request.protocols.iter().map(|protocol: &Protocol| protocol.metadata.len()).sum();
    let fits = longest_id.max(instance_id_length).max(request.protocol_type.len()) <= limits::MAX_STRING_BYTES
        && request.protocols.len() <= limits::MAX_PROTOCOLS
        && !request.protocols.iter().any(|protocol| too_long(&protocol.name))
        && metadata_bytes <= limits::MAX_MEMBER_METADATA_BYTES;
    if fits { Ok(()) } else { Err(GroupError::InvalidRequest) }
}
