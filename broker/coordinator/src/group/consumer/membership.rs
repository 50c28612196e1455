//! How members go: they leave, fall silent, or do not give up in time what they were asked to.

use super::{ConsumerGroup, LEAVE_EPOCH, STATIC_LEAVE_EPOCH, draft::Draft};
use crate::{
    GroupError,
    group::{ConsumerHeartbeatReply, ConsumerHeartbeatRequest, MemberId},
    record::{ConsumerGroupEpoch, ConsumerRecord, MemberAssignment, OwnedPartitions},
};

impl ConsumerGroup {
    /// Whom a heartbeat that leaves takes along, and whether for good.
    pub fn leaving(&self, request: &ConsumerHeartbeatRequest) -> Result<(MemberId, bool), GroupError> {
        let known =
            |id: &str| self.members.get_key_value(id).map(|(id, _)| id.clone()).ok_or(GroupError::UnknownMemberId);
        let Some(instance_id) = &request.instance_id else { return known(&request.member_id).map(|id| (id, true)) };
        let holder = self.static_members.get(instance_id).ok_or(GroupError::UnknownMemberId)?;
        if holder.as_ref() != request.member_id {
            return Err(GroupError::FencedInstanceId);
        }
        Ok((holder.clone(), request.epoch != STATIC_LEAVE_EPOCH))
    }
}

impl Draft<'_> {
    /// The members are gone; what they had is free, and the group is assigned anew.
    pub fn fence(&mut self, ids: &[MemberId]) {
        for id in ids {
            self.push(ConsumerRecord::Current(id.clone(), None));
            self.push(ConsumerRecord::Target(id.clone(), None));
            self.push(ConsumerRecord::Member(id.clone(), None));
        }
        self.forget_regexes();
        let epoch =
            ConsumerGroupEpoch { epoch: self.epoch.epoch.saturating_add(1), metadata_hash: self.metadata_hash() };
        self.push(ConsumerRecord::Group(Some(epoch)));
    }

    /// A static member that will be back keeps its partitions until its session ends.
    pub fn leave_for_a_while(&mut self, id: &MemberId) {
        let Some(member) = self.members.get(id) else { return };
        let current = MemberAssignment {
            epoch: STATIC_LEAVE_EPOCH,
            revoking: OwnedPartitions::new(),
            ..MemberAssignment::clone(&member.current)
        };
        self.push(ConsumerRecord::Current(id.clone(), Some(current)));
    }
}

/// The answer to a heartbeat that leaves.
pub(super) fn left(request: &ConsumerHeartbeatRequest, for_good: bool) -> ConsumerHeartbeatReply {
    ConsumerHeartbeatReply {
        error: None,
        member_id: request.member_id.clone(),
        epoch: if for_good { LEAVE_EPOCH } else { STATIC_LEAVE_EPOCH },
        heartbeat_interval_ms: 0,
        assignment: None,
    }
}
