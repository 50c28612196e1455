//! All share groups of one shard: heartbeats, leaving, sessions that end, groups that go.

use super::{
    ShareGroupRecord, StatePartitions, TopicImage,
    group::{Draft, ShareGroup},
    heartbeat::{self, HeartbeatReply, HeartbeatRequest, LEAVE_EPOCH},
};
use crate::{ShareError, group::GroupId, limits, record::TargetEpoch, timers::Timers};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What a request brings about once its records are in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<R> {
    pub records: Vec<ShareGroupRecord>,
    pub reply: R,
}

impl<R> Decision<Result<R, ShareError>> {
    fn refused(error: ShareError) -> Self {
        Self { records: Vec::new(), reply: Err(error) }
    }

    fn accepted(records: Vec<ShareGroupRecord>, reply: R) -> Self {
        Self { records, reply: Ok(reply) }
    }
}

#[derive(Debug)]
pub struct ShareGroups {
    /// `group.share.max.size`
    max_size: usize,
    groups: BTreeMap<GroupId, ShareGroup>,
    sessions: Timers<(GroupId, String)>,
}

impl ShareGroups {
    pub fn new(max_size: usize) -> Self {
        Self { max_size, groups: BTreeMap::new(), sessions: Timers::new() }
    }

    pub fn max_size(&self) -> usize {
        self.max_size
    }

    pub fn contains(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    pub(super) fn group(&self, id: &str) -> Option<&ShareGroup> {
        self.groups.get(id)
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (&GroupId, &ShareGroup)> {
        self.groups.iter()
    }

    /// A member joins, stays or leaves.
    pub fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        topics: &dyn TopicImage,
        now_ms: i64,
    ) -> Decision<Result<HeartbeatReply, ShareError>> {
        match self.try_heartbeat(request, topics, now_ms) {
            Ok(decision) => decision,
            Err(error) => Decision::refused(error),
        }
    }

    fn try_heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        topics: &dyn TopicImage,
        now_ms: i64,
    ) -> Result<Decision<Result<HeartbeatReply, ShareError>>, ShareError> {
        request.check()?;
        if request.member_epoch == LEAVE_EPOCH {
            return self.leave(request, topics);
        }
        let group = self.groups.get(&request.group);
        heartbeat::check_epoch(group, request, self.max_size)?;
        if group.is_none() && self.groups.len() >= limits::MAX_GROUPS {
            return Err(ShareError::GroupMaxSizeReached);
        }
        let mut draft = Draft::of(&request.group, group);
        let reply = heartbeat::heartbeat(&mut draft, request, topics, now_ms);
        let session = (request.group.clone(), request.member_id.clone());
        self.sessions.set(session, now_ms.saturating_add(request.session_timeout_ms));
        Ok(Decision::accepted(draft.records, reply))
    }

    fn leave(
        &self,
        request: &HeartbeatRequest,
        topics: &dyn TopicImage,
    ) -> Result<Decision<Result<HeartbeatReply, ShareError>>, ShareError> {
        let group = self.groups.get(&request.group).ok_or(ShareError::GroupIdNotFound)?;
        if !group.members.contains_key(&request.member_id) {
            return Err(ShareError::UnknownMemberId);
        }
        let reply =
            HeartbeatReply { member_id: request.member_id.clone(), member_epoch: LEAVE_EPOCH, assignment: None };
        Ok(Decision::accepted(self.without(&request.group, group, &request.member_id, topics), reply))
    }

    fn without(
        &self,
        id: &GroupId,
        group: &ShareGroup,
        member: &str,
        topics: &dyn TopicImage,
    ) -> Vec<ShareGroupRecord> {
        let mut draft = Draft::of(id, Some(group));
        draft.remove_member(member);
        draft.bump_epoch(heartbeat::metadata_hash(&draft.group, topics));
        draft.records
    }

    /// Every member has as long as its group allows to be heard of again.
    pub fn loaded(&mut self, session_timeout_ms: impl Fn(&str) -> i64, now_ms: i64) {
        for (id, group) in &self.groups {
            let deadline_ms = now_ms.saturating_add(session_timeout_ms(id));
            for member in group.members.keys() {
                self.sessions.set((id.clone(), member.clone()), deadline_ms);
            }
        }
    }

    pub fn next_deadline(&self) -> Option<i64> {
        self.sessions.next_deadline()
    }

    /// Members that were not heard of for too long are gone. One at a time: the next is decided when this one's records are replayed.
    pub fn expire(&mut self, topics: &dyn TopicImage, now_ms: i64) -> Option<Vec<ShareGroupRecord>> {
        let (id, member) = self.sessions.pop_due(now_ms)?;
        let group = self.groups.get(&id).filter(|group| group.members.contains_key(&member));
        Some(group.map(|group| self.without(&id, group, &member, topics)).unwrap_or_default())
    }

    /// A group without members goes; the partitions whose states go with it.
    pub fn delete(&self, id: &str) -> Decision<Result<Vec<(Uuid, i32)>, ShareError>> {
        match self.empty_group(id) {
            Ok((id, group)) => {
                let mut draft = Draft::of(id, Some(group));
                draft.remove();
                Decision::accepted(draft.records, partitions(group.states.as_ref(), |_| true))
            }
            Err(error) => Decision::refused(error),
        }
    }

    /// The states of topics go, of a group without members.
    pub fn delete_states(&self, id: &str, topics: &[Uuid]) -> Decision<Result<Vec<(Uuid, i32)>, ShareError>> {
        match self.empty_group(id) {
            Ok((id, group)) => self.drop_states(id, group, |topic| topics.contains(&topic)),
            Err(error) => Decision::refused(error),
        }
    }

    /// Topics are gone: groups forget their states.
    pub fn forget_topic(&self, id: &str, topic: Uuid) -> Decision<Result<Vec<(Uuid, i32)>, ShareError>> {
        match self.groups.get_key_value(id) {
            Some((id, group)) => self.drop_states(id, group, |other| other == topic),
            None => Decision::refused(ShareError::GroupIdNotFound),
        }
    }

    fn drop_states(
        &self,
        id: &GroupId,
        group: &ShareGroup,
        goes: impl Fn(Uuid) -> bool,
    ) -> Decision<Result<Vec<(Uuid, i32)>, ShareError>> {
        let gone = partitions(group.states.as_ref(), &goes);
        let mut draft = Draft::of(id, Some(group));
        if !gone.is_empty() {
            let mut states = group.states.clone().unwrap_or_default();
            states.initialized.retain(|topic, _| !goes(*topic));
            draft.put_states(states);
        }
        Decision::accepted(draft.records, gone)
    }

    /// States of these partitions begin, of a group without members, or of one that begins with them.
    pub fn begin_states(&self, id: &GroupId, add: &StatePartitions, now_ms: i64) -> Decision<Result<(), ShareError>> {
        let group = self.groups.get(id);
        if id.is_empty() || id.len() > limits::MAX_STRING_BYTES {
            return Decision::refused(ShareError::InvalidGroupId);
        }
        if group.is_some_and(|group| !group.members.is_empty()) {
            return Decision::refused(ShareError::NonEmptyGroup);
        }
        if add.initialized.is_empty() {
            // Nothing begins: no group either.
            return Decision::accepted(Vec::new(), ());
        }
        let mut draft = Draft::of(id, group);
        let mut states = draft.group.states.clone().unwrap_or_default();
        for (topic, added) in &add.initialized {
            let known = states.initialized.entry(*topic).or_default();
            known.name.clone_from(&added.name);
            known.partitions.extend(&added.partitions);
        }
        if draft.group.states.as_ref() != Some(&states) {
            draft.put_states(states);
        }
        if draft.group.metadata.is_none() {
            draft.bump_epoch(0);
            draft.put_target_epoch(TargetEpoch { epoch: draft.group.epoch(), timestamp_ms: now_ms });
        }
        Decision::accepted(draft.records, ())
    }

    fn empty_group(&self, id: &str) -> Result<(&GroupId, &ShareGroup), ShareError> {
        if id.is_empty() {
            return Err(ShareError::InvalidGroupId);
        }
        match self.groups.get_key_value(id) {
            None => Err(ShareError::GroupIdNotFound),
            Some((_, group)) if !group.members.is_empty() => Err(ShareError::NonEmptyGroup),
            Some(found) => Ok(found),
        }
    }

    /// The record is in the log: it holds.
    pub fn replay(&mut self, record: &ShareGroupRecord) {
        let id = record.group();
        let group = self.groups.entry(id.clone()).or_default();
        group.replay(record);
        let is_void = group.is_void();
        if let ShareGroupRecord::Member { member, value: None, .. } = record {
            self.sessions.cancel(&(id.clone(), member.clone()));
        }
        if is_void {
            self.groups.remove(id);
        }
    }

    /// The records that would bring about what is known, for tests.
    pub fn durable_records(&self) -> Vec<ShareGroupRecord> {
        self.groups.iter().flat_map(|(id, group)| group.durable_records(id)).collect()
    }
}

fn partitions(states: Option<&StatePartitions>, is_meant: impl Fn(Uuid) -> bool) -> Vec<(Uuid, i32)> {
    let topics = states.into_iter().flat_map(|states| &states.initialized).filter(|(id, _)| is_meant(**id));
    topics.flat_map(|(id, topic)| topic.partitions.iter().map(|partition| (*id, *partition))).collect()
}
