//! ConsumerGroupHeartbeat: how a member joins, tells what it wants and has, and hears what it is to have.

use super::{JOIN_EPOCH, Member, STATIC_LEAVE_EPOCH, draft::Draft, partitions};
use crate::{
    GroupError,
    assignment::Assignment,
    group::{ConsumerHeartbeatReply, ConsumerHeartbeatRequest, MemberId},
    record::{ConsumerMember, ConsumerRecord, MemberAssignment},
};
use std::sync::Arc;

/// Members of a group that has just changed are asked back after this long, and then less and less often.
const SHORTEST_INTERVAL_MS: i64 = 50;
/// The share of the time since the last change that may pass until the next heartbeat.
const PATIENCE: i64 = 4;
/// Each member is asked back after this long for every member that the shard may have, if that is sooner: 40 heartbeats a second
/// cost nothing, and the few members of a test, or of a small installation, hear at once that another one has joined or left,
/// and not after a whole heartbeat interval.
const INTERVAL_MS_A_MEMBER: i64 = 25;

impl Draft<'_> {
    /// The heartbeat of a member that joins or stays. `max_size`: `group.consumer.max.size`.
    pub fn heartbeat(
        &mut self,
        request: &ConsumerHeartbeatRequest,
        max_size: usize,
    ) -> Result<ConsumerHeartbeatReply, GroupError> {
        let id: MemberId = request.member_id.as_str().into();
        if self.members.len() >= max_size && !self.members.contains_key(&id) {
            return Err(GroupError::GroupMaxSizeReached);
        }
        let before = match &request.instance_id {
            None => self.dynamic_member(&id, request)?,
            Some(instance_id) => self.static_member(&id, instance_id, request)?,
        };
        let said = updated(&before.said, request);
        let current = self.advance(&id, &before, said, request.owned.as_ref())?;
        let tells_all = request.rebalance_timeout_ms.is_some()
            && (request.topic_names.is_some() || request.topic_regex.is_some())
            && request.owned.is_some();
        let tell = request.epoch == JOIN_EPOCH || tells_all || current.assigned != before.current.assigned;
        Ok(ConsumerHeartbeatReply {
            error: None,
            member_id: request.member_id.clone(),
            epoch: current.epoch,
            heartbeat_interval_ms: self.next_heartbeat_ms(),
            assignment: tell.then(|| partitions(&current.assigned)),
        })
    }

    fn dynamic_member(&self, id: &MemberId, request: &ConsumerHeartbeatRequest) -> Result<Member, GroupError> {
        match self.members.get(id) {
            Some(member) => check_epoch(&member.current, request).map(|()| member.clone()),
            None if request.epoch == JOIN_EPOCH => Ok(new_member()),
            None => Err(GroupError::UnknownMemberId),
        }
    }

    fn static_member(
        &mut self,
        id: &MemberId,
        instance_id: &str,
        request: &ConsumerHeartbeatRequest,
    ) -> Result<Member, GroupError> {
        let holder = self.holder(instance_id);
        let Some((holder_id, holder)) = holder else {
            return if request.epoch == JOIN_EPOCH { Ok(new_member()) } else { Err(GroupError::UnknownMemberId) };
        };
        if request.epoch != JOIN_EPOCH {
            if holder_id != *id {
                return Err(GroupError::FencedInstanceId);
            }
            return check_epoch(&holder.current, request).map(|()| holder);
        }
        if holder.said.classic.is_none() && holder.current.epoch != STATIC_LEAVE_EPOCH {
            return Err(GroupError::UnreleasedInstanceId);
        }
        Ok(self.replace_member(&holder_id, &holder, id))
    }

    /// Who has that group instance id.
    pub fn holder(&self, instance_id: &str) -> Option<(MemberId, Member)> {
        let id = self.static_members.get(instance_id)?;
        Some((id.clone(), self.members.get(id)?.clone()))
    }

    /// Another process takes a static member's place, with everything that it had and was to have.
    pub fn replace_member(&mut self, old_id: &MemberId, old: &Member, new_id: &MemberId) -> Member {
        let target = self.target.get(old_id).cloned().unwrap_or_default();
        let current =
            MemberAssignment { epoch: JOIN_EPOCH, previous_epoch: JOIN_EPOCH, ..MemberAssignment::clone(&old.current) };
        self.push(ConsumerRecord::Current(old_id.clone(), None));
        self.push(ConsumerRecord::Target(old_id.clone(), None));
        self.push(ConsumerRecord::Member(old_id.clone(), None));
        self.push(ConsumerRecord::Member(new_id.clone(), Some(old.said.clone())));
        self.push(ConsumerRecord::Target(new_id.clone(), Some(target)));
        self.push(ConsumerRecord::Current(new_id.clone(), Some(current.clone())));
        Member { said: old.said.clone(), current: Arc::new(current) }
    }

    fn next_heartbeat_ms(&self) -> i32 {
        let (configured, now_ms) = (self.scene.settings.heartbeat_interval_ms, self.scene.now_ms);
        let due_ms = match self.assignment_due_ms() {
            Some(due_ms) => due_ms.saturating_sub(now_ms),
            None => {
                (now_ms.saturating_sub(self.target_epoch.timestamp_ms) / PATIENCE).min(self.affordable_interval_ms())
            }
        };
        i32::try_from(due_ms.max(SHORTEST_INTERVAL_MS)).unwrap_or(configured).min(configured)
    }

    /// As if all groups of the shard were as large as this one.
    fn affordable_interval_ms(&self) -> i64 {
        let members = self.members.len().saturating_mul(self.scene.groups);
        i64::try_from(members).unwrap_or(i64::MAX).saturating_mul(INTERVAL_MS_A_MEMBER)
    }
}

pub(super) fn new_member() -> Member {
    let said = ConsumerMember { topic_regex: Some("".into()), ..Default::default() };
    Member { said: Arc::new(said), current: Arc::new(MemberAssignment { previous_epoch: -1, ..Default::default() }) }
}

/// The epoch that the member is in; or the one before, if it has nothing but what it may have: the answer that told it of the newer one
/// may have been lost.
fn check_epoch(current: &MemberAssignment, request: &ConsumerHeartbeatRequest) -> Result<(), GroupError> {
    let claimed = request.epoch;
    if claimed == JOIN_EPOCH || claimed == current.epoch {
        return Ok(());
    }
    let has_missed_one = claimed < current.epoch
        && claimed == current.previous_epoch
        && request.owned.as_ref().is_some_and(|owned| is_subset(owned, current));
    if has_missed_one { Ok(()) } else { Err(GroupError::FencedMemberEpoch) }
}

fn is_subset(owned: &Assignment, current: &MemberAssignment) -> bool {
    owned.iter().all(|(topic, partitions)| {
        current.assigned.get(topic).is_some_and(|assigned| partitions.iter().all(|one| assigned.contains_key(one)))
    })
}

/// What it says replaces what it said; what it does not mention stays.
fn updated(before: &ConsumerMember, request: &ConsumerHeartbeatRequest) -> ConsumerMember {
    ConsumerMember {
        instance_id: request.instance_id.clone().or_else(|| before.instance_id.clone()),
        rack_id: request.rack_id.clone().or_else(|| before.rack_id.clone()),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        topic_names: request.topic_names.clone().unwrap_or_else(|| before.topic_names.clone()),
        topic_regex: request.topic_regex.clone().or_else(|| before.topic_regex.clone()),
        rebalance_timeout_ms: request.rebalance_timeout_ms.unwrap_or(before.rebalance_timeout_ms),
        assignor: request.assignor.clone().or_else(|| before.assignor.clone()),
        classic: None,
    }
}
