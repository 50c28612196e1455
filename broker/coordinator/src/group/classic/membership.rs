//! How members go: they leave, are removed, fall silent, or another process takes over their group instance id.

use super::{ClassicGroup, Member, State};
use crate::{
    GroupError,
    group::{
        JoinReply, JoinRequest, LeaveReply, LeaveRequest, LeavingMember, MemberId, Reply, SyncReply, Ticket,
        coordinator::Step,
    },
};

impl ClassicGroup {
    pub fn leave(&mut self, ticket: Ticket, request: LeaveRequest, step: &mut Step<'_>) {
        let (members_before, pending_before) = (self.members.len(), self.pending.len());
        let leave_one = |member: LeavingMember| {
            let error = self.leave_one(&member, step).err();
            (member, error)
        };
        let members = request.members.into_iter().map(leave_one).collect();
        step.out.reply(ticket, Reply::Leave(LeaveReply { error: None, members }));
        if self.members.len() < members_before || self.pending.len() < pending_before {
            self.after_removal(self.members.len() < members_before, step);
        }
    }

    fn leave_one(&mut self, leaving: &LeavingMember, step: &mut Step<'_>) -> Result<(), GroupError> {
        if let Some(id) = self.pending.take(leaving.member_id.as_str()) {
            step.disarm_member(&id);
            return Ok(());
        }
        let id = match leaving.instance_id.as_deref() {
            Some(instance_id) if leaving.member_id.is_empty() => {
                self.static_members.get(instance_id).cloned().ok_or(GroupError::UnknownMemberId)?
            }
            instance_id => {
                self.validate_member(&leaving.member_id, instance_id)?;
                leaving.member_id.as_str().into()
            }
        };
        self.remove(&id, step);
        Ok(())
    }

    /// A member's session is over without a sign of life, or an id that was given out was never used.
    pub fn session_ended(&mut self, member_id: &MemberId, step: &mut Step<'_>) {
        let was_pending = self.pending.remove(member_id);
        let waits_for_us = |member: &Member| !member.is_new && member.is_waiting();
        if self.members.get(member_id).is_some_and(waits_for_us) {
            return;
        }
        let was_member = self.remove(member_id, step);
        if was_member || was_pending {
            self.after_removal(was_member, step);
        }
    }

    pub fn abandon(&mut self, ticket: Ticket, step: &mut Step<'_>) {
        let is_nameless = |member: &&Member| member.id_is_secret && member.waiting.join == Some(ticket);
        let Some(id) = self.members.values().find(is_nameless).map(|member| member.id.clone()) else { return };
        self.remove(&id, step);
        self.after_removal(true, step);
    }

    /// Someone is gone: a member's place has to be given away, or a rebalance need not wait any longer.
    fn after_removal(&mut self, of_member: bool, step: &mut Step<'_>) {
        match self.state {
            State::CompletingRebalance | State::Stable if of_member => self.rebalance(step),
            _ => self.try_complete_join(step),
        }
    }

    /// Takes a member out, answers what it waits for, and forgets its deadline. False: there was none of that id.
    pub(super) fn remove(&mut self, member_id: &str, step: &mut Step<'_>) -> bool {
        let Some(member) = self.members.remove(member_id) else { return false };
        self.discount_protocols(&member);
        self.pending_sync.remove(&member.id);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.leader.as_ref() == Some(&member.id) {
            self.leader = self.members.keys().next().cloned();
        }
        step.disarm_member(&member.id);
        answer(&member, "", GroupError::UnknownMemberId, step);
        true
    }

    /// KIP-345: another process joins with a group instance id that is taken. It gets the place, under a new member id, and
    /// whoever held it is fenced. A stable group stays as it is if the choice of the assignor does not change.
    pub(super) fn replace_static_member(
        &mut self,
        ticket: Ticket,
        old_id: &MemberId,
        new_id: MemberId,
        mut request: JoinRequest,
        step: &mut Step<'_>,
    ) {
        let old_leader = self.leader.clone();
        let Some(mut member) = self.members.remove(old_id) else { return };
        self.discount_protocols(&member);
        step.disarm_member(old_id);
        answer(&member, old_id, GroupError::FencedInstanceId, step);
        member.waiting = super::Waiting::default();
        member.id = new_id.clone();
        self.insert(member);
        if self.leader.as_ref() == Some(old_id) {
            self.leader = Some(new_id.clone());
        }
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(new_id.clone());
        }
        request.member_id = new_id.to_string();
        self.rejoin(ticket, &request, step);
        if self.state == State::Stable && self.select_protocol() == self.protocol {
            return self.keep_stable(&new_id, old_leader, request.supports_skip_assignment, step);
        }
        self.rebalance(step);
    }

    /// Before JoinGroup v9 a leader that came back is told that the leader is its former self, or else it would assign and
    /// the group would not take it; from v9 on it is told that it leads and must not assign (KIP-814).
    fn keep_stable(
        &mut self,
        id: &MemberId,
        old_leader: Option<MemberId>,
        supports_skip_assignment: bool,
        step: &mut Step<'_>,
    ) {
        let mut reply = self.joined_reply(id);
        if supports_skip_assignment {
            reply.skip_assignment = self.leader.as_ref() == Some(id);
        } else {
            reply.members.clear();
            reply.leader = old_leader.as_deref().unwrap_or_default().to_owned();
        }
        self.persist(step);
        let Some(member) = self.members.get_mut(id) else { return };
        if let Some(ticket) = member.waiting.join.take() {
            step.out.reply(ticket, Reply::Join(reply));
        }
        step.arm_session(member);
    }
}

/// Ends whatever the member waits for with `error`.
fn answer(member: &Member, id_to_tell: &str, error: GroupError, step: &mut Step<'_>) {
    if let Some(ticket) = member.waiting.join {
        step.out.reply(ticket, Reply::Join(JoinReply::error(id_to_tell, error)));
    }
    if let Some(ticket) = member.waiting.sync {
        step.out.reply(ticket, Reply::Sync(SyncReply::error(error)));
    }
}
