//! ShareGroupHeartbeat: joining, staying, and being told what to read. Leaving is in `membership.rs`.

use super::{
    Assignment, StateTopic, TopicImage,
    assignor::{Subscriptions, assign},
    group::{Draft, ShareGroup},
};
use crate::{
    ShareError,
    group::GroupId,
    limits,
    record::{CurrentAssignment, ShareMember, TargetEpoch},
};
use std::collections::{BTreeMap, BTreeSet};

/// The epoch by which a member joins, and that by which it leaves.
pub(super) const JOIN_EPOCH: i32 = 0;
pub(super) const LEAVE_EPOCH: i32 = -1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatRequest {
    pub group: GroupId,
    pub member_id: String,
    pub member_epoch: i32,
    /// None: as before.
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    /// None: as before.
    pub subscribed: Option<Vec<String>>,
    /// `group.share.session.timeout.ms`, or the group's own.
    pub session_timeout_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatReply {
    pub member_id: String,
    pub member_epoch: i32,
    /// None: as before.
    pub assignment: Option<Assignment>,
}

impl HeartbeatRequest {
    /// What is wrong with it, whatever group there is.
    pub fn check(&self) -> Result<(), ShareError> {
        let is_joining = self.member_epoch == JOIN_EPOCH;
        let topics = self.subscribed.as_deref().unwrap_or_default();
        let is_wrong = self.group.is_empty()
            || self.member_id.is_empty()
            || self.rack_id.as_deref() == Some("")
            || self.member_epoch < LEAVE_EPOCH
            || is_joining && topics.is_empty();
        let names = [&*self.group, &self.member_id, &self.client_id].into_iter();
        let is_too_long = names
            .chain(topics.iter().map(String::as_str))
            .chain(self.rack_id.as_deref())
            .any(|text| text.len() > limits::MAX_STRING_BYTES);
        if is_wrong || is_too_long || topics.len() > limits::MAX_SUBSCRIBED_TOPICS {
            return Err(ShareError::InvalidRequest);
        }
        Ok(())
    }

    fn metadata(&self, before: Option<&ShareMember>) -> ShareMember {
        let sorted = |topics: &Vec<String>| topics.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let before = before.cloned().unwrap_or_default();
        ShareMember {
            rack_id: self.rack_id.clone().or(before.rack_id),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            subscribed: self.subscribed.as_ref().map_or(before.subscribed, sorted),
        }
    }
}

/// Whether the member may go on with the epoch that it bears.
pub(super) fn check_epoch(
    group: Option<&ShareGroup>,
    request: &HeartbeatRequest,
    max_size: usize,
) -> Result<(), ShareError> {
    let member = group.and_then(|group| group.members.get(&request.member_id));
    let is_full = group.is_some_and(|group| group.members.len() >= max_size);
    match (group, member) {
        (None, _) if request.member_epoch != JOIN_EPOCH => Err(ShareError::GroupIdNotFound),
        (_, None) if is_full => Err(ShareError::GroupMaxSizeReached),
        (_, None) if request.member_epoch != JOIN_EPOCH => Err(ShareError::UnknownMemberId),
        (_, None) => Ok(()),
        (_, Some(member)) => {
            let CurrentAssignment { epoch, previous_epoch, .. } = member.current;
            let is_known = [epoch, previous_epoch, JOIN_EPOCH].contains(&request.member_epoch);
            if is_known { Ok(()) } else { Err(ShareError::FencedMemberEpoch) }
        }
    }
}

/// The records of a heartbeat, and what the member is told.
pub(super) fn heartbeat(
    draft: &mut Draft,
    request: &HeartbeatRequest,
    topics: &dyn TopicImage,
    now_ms: i64,
) -> HeartbeatReply {
    let before = draft.group.members.get(&request.member_id).cloned();
    let metadata = request.metadata(before.as_ref().map(|member| &member.metadata));
    let known = before.as_ref().map(|member| &member.metadata);
    let subscribes_anew = known.is_none_or(|known| known.subscribed != metadata.subscribed);
    if known != Some(&metadata) {
        draft.put_member(&request.member_id, metadata);
    }
    let hash = metadata_hash(&draft.group, topics);
    if subscribes_anew || draft.group.metadata.is_none_or(|metadata| metadata.metadata_hash != hash) {
        begin_states(draft, topics);
        draft.bump_epoch(hash);
    }
    if draft.group.epoch() > draft.group.assignment_epoch() {
        assign_anew(draft, topics, now_ms);
    }
    reconcile(draft, &request.member_id);
    let before = before.map(|member| member.current).unwrap_or_default();
    let current = draft.group.members.get(&request.member_id).map(|member| member.current.clone()).unwrap_or_default();
    let is_told = request.member_epoch == JOIN_EPOCH || before.assigned != current.assigned;
    HeartbeatReply {
        member_id: request.member_id.clone(),
        member_epoch: current.epoch,
        assignment: is_told.then_some(current.assigned),
    }
}

/// The member is where the group is.
fn reconcile(draft: &mut Draft, member_id: &str) {
    let epoch = draft.group.assignment_epoch();
    let Some(member) = draft.group.members.get(member_id) else { return };
    if member.current.epoch != epoch {
        let assigned = draft.group.targets.get(member_id).cloned().unwrap_or_default();
        draft.put_current(member_id, CurrentAssignment { epoch, previous_epoch: member.current.epoch, assigned });
    }
}

fn assign_anew(draft: &mut Draft, topics: &dyn TopicImage, now_ms: i64) {
    let subscribed = |names: &[String]| names.iter().filter_map(|name| topics.topic(name)).collect();
    let members: Subscriptions =
        draft.group.members.iter().map(|(id, member)| (id.clone(), subscribed(&member.metadata.subscribed))).collect();
    for (member, target) in assign(&members, &draft.group.targets) {
        if draft.group.targets.get(&member) != Some(&target) {
            draft.put_target(&member, target);
        }
    }
    draft.put_target_epoch(TargetEpoch { epoch: draft.group.epoch(), timestamp_ms: now_ms });
}

/// Topics of which the group has no states yet.
fn begin_states(draft: &mut Draft, topics: &dyn TopicImage) {
    let mut states = draft.group.states.clone().unwrap_or_default();
    for name in subscribed_names(&draft.group) {
        let Some((id, count)) = topics.topic(name) else { continue };
        let empty = || StateTopic { name: name.to_owned(), partitions: BTreeSet::new() };
        states.initialized.entry(id).or_insert_with(empty).partitions.extend(0..count);
    }
    if Some(&states) != draft.group.states.as_ref() {
        draft.put_states(states);
    }
}

fn subscribed_names(group: &ShareGroup) -> BTreeSet<&str> {
    group.members.values().flat_map(|member| member.metadata.subscribed.iter().map(String::as_str)).collect()
}

/// Changes when a topic that is subscribed to comes, goes, or grows. FNV-1a; it is compared with our own alone.
pub(super) fn metadata_hash(group: &ShareGroup, topics: &dyn TopicImage) -> i64 {
    let known: BTreeMap<&str, _> =
        subscribed_names(group).into_iter().filter_map(|name| Some((name, topics.topic(name)?))).collect();
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for (name, (id, count)) in known {
        let parts = [name.as_bytes(), id.as_bytes().as_slice(), &count.to_be_bytes()];
        for byte in parts.into_iter().flatten() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    i64::from_be_bytes(hash.to_be_bytes())
}
