//! SyncGroup: the leader brings the assignments, everybody takes away its own.

use super::{ClassicGroup, State};
use crate::{
    GroupError,
    group::{Reply, SyncReply, SyncRequest, Ticket, coordinator::Step},
    limits,
};
use bytes::Bytes;
use std::collections::HashMap;

impl ClassicGroup {
    pub fn sync(&mut self, ticket: Ticket, request: SyncRequest, step: &mut Step<'_>) {
        if let Err(error) = self.validate_sync(&request) {
            return step.out.reply(ticket, Reply::Sync(SyncReply::error(error)));
        }
        self.pending_sync.remove(request.member_id.as_str());
        if self.pending_sync.is_empty() {
            step.timers.cancel(&step.sync_deadline());
        }
        self.wait_for_assignment(ticket, &request.member_id, step);
        let is_leader = self.leader.as_deref() == Some(request.member_id.as_str());
        if self.state == State::CompletingRebalance && is_leader {
            self.assign(request.assignments);
            self.set_state(State::Stable, step.now_ms);
            self.persist(step);
        }
        if self.state == State::Stable {
            self.hand_out(step);
        }
    }

    fn validate_sync(&self, request: &SyncRequest) -> Result<(), GroupError> {
        self.validate_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let differs = |claimed: Option<&str>, ours: Option<&str>| claimed.is_some_and(|claimed| Some(claimed) != ours);
        if differs(request.protocol_type.as_deref(), self.protocol_type())
            || differs(request.protocol.as_deref(), self.protocol.as_deref())
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        if request.assignments.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > limits::MAX_ASSIGNMENT_BYTES {
            return Err(GroupError::InvalidRequest);
        }
        match self.state {
            State::Empty => Err(GroupError::UnknownMemberId),
            State::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    fn wait_for_assignment(&mut self, ticket: Ticket, member_id: &str, step: &mut Step<'_>) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        step.disarm_member(&member.id);
        if let Some(old) = member.waiting.sync.replace(ticket) {
            step.out.reply(old, Reply::Sync(SyncReply::error(GroupError::RebalanceInProgress)));
        }
    }

    /// Members that the leader left out get nothing; strangers that it named are passed over.
    fn assign(&mut self, assignments: Vec<(String, Bytes)>) {
        let mut assignments: HashMap<String, Bytes> = assignments.into_iter().collect();
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id.as_ref()).unwrap_or_default();
        }
    }

    fn hand_out(&mut self, step: &mut Step<'_>) {
        for member in self.members.values_mut() {
            let Some(ticket) = member.waiting.sync.take() else { continue };
            let reply = SyncReply {
                error: None,
                protocol_type: self.protocol_type.clone(),
                protocol: self.protocol.clone(),
                assignment: member.assignment.clone(),
            };
            step.out.reply(ticket, Reply::Sync(reply));
            step.arm_session(member);
        }
    }
}
