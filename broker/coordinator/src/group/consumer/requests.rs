//! Where the coordinator comes in: requests and deadlines find their consumer group, and what a step did goes out.

use super::{
    ConsumerGroup, DescribedConsumerGroup, JOIN_EPOCH,
    draft::{Draft, Scene},
    membership,
};
use crate::{
    GroupError,
    assignment::TopicsImage,
    config::ConsumerGroupSettings,
    group::{
        ConsumerHeartbeatReply, ConsumerHeartbeatRequest, GroupCoordinator, GroupId, JoinReply, JoinRequest,
        LeaveReply, LeaveRequest, MemberId, Output, Reply, Request, SyncReply, Ticket,
        classic::State,
        coordinator::{Deadline, Group},
    },
    limits,
    record::{ConsumerRecord, MemberAssignment, MemberState, Record},
};
use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

/// When what could not be written down is tried again.
const RETRY_MS: i32 = 500;

/// What a member of a consumer group has a deadline for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::group) enum ConsumerTimer {
    /// To be heard of.
    Session,
    /// To give up what it was asked to.
    Revocation,
    /// A classic member: to join again.
    Join,
    /// A classic member: to fetch its assignment.
    Sync,
}

impl GroupCoordinator {
    /// The topics that there are from now on.
    pub fn set_topics(&mut self, topics: Arc<TopicsImage>) {
        self.topics = topics;
    }

    /// Whether the answer depends on the topics that there are.
    pub fn wants_topics(&self, request: &Request) -> bool {
        let group = || self.groups.get(request.group());
        matches!(request, Request::ConsumerHeartbeat(_)) || group().is_some_and(|group| group.consumer.is_some())
    }

    /// `None`: there is no such consumer group.
    pub fn describe_consumer_group(&self, group: &str) -> Option<DescribedConsumerGroup> {
        let consumer = self.groups.get(group)?.consumer.as_ref()?;
        Some(consumer.describe(&self.topics, self.config.consumer.default_assignor()))
    }

    /// Whether the member may see what its group has committed (OffsetFetch v9).
    pub fn admit_fetch(&self, group: &str, member_id: &str, epoch: i32) -> Result<(), GroupError> {
        let consumer = self.groups.get(group).and_then(|group| group.consumer.as_ref());
        consumer.map_or(Ok(()), |consumer| consumer.admit_fetch(member_id, epoch))
    }

    pub(in crate::group) fn consumer_heartbeat(
        &mut self,
        ticket: Ticket,
        request: &ConsumerHeartbeatRequest,
        now_ms: i64,
        out: &mut Output,
    ) {
        let beat = match request.epoch {
            JOIN_EPOCH.. => self.beat(request, now_ms, out),
            _ => self.leave_consumer(request, now_ms, out),
        };
        out.reply(ticket, Reply::ConsumerHeartbeat(beat.unwrap_or_else(ConsumerHeartbeatReply::error)));
    }

    fn beat(
        &mut self,
        request: &ConsumerHeartbeatRequest,
        now_ms: i64,
        out: &mut Output,
    ) -> Result<ConsumerHeartbeatReply, GroupError> {
        check_sizes(request)?;
        if request.assignor.as_deref().is_some_and(|name| !self.config.consumer.offers(name)) {
            return Err(GroupError::UnsupportedAssignor);
        }
        let mut entered = Output::default();
        let consumer = self.enter(request, &mut entered)?;
        let converted = match &consumer {
            Cow::Owned(consumer) => consumer.sessions(),
            Cow::Borrowed(_) => Vec::new(),
        };
        let mut draft = Draft::new(request.group.clone(), consumer, self.scene(request.settings, now_ms));
        let reply = draft.heartbeat(request, self.config.consumer.max_size)?;
        let records = draft.records;
        out.extend(entered);
        for (id, session_timeout_ms) in converted {
            self.arm(&request.group, &id, ConsumerTimer::Session, session_timeout_ms, now_ms);
        }
        let id: MemberId = request.member_id.as_str().into();
        self.after_step(&request.group, &id, &records, now_ms);
        self.arm(&request.group, &id, ConsumerTimer::Session, request.settings.session_timeout_ms, now_ms);
        out.records.extend(records);
        Ok(reply)
    }

    /// The group that a heartbeat goes to: the one that there is, a new one, or what a classic one becomes.
    fn enter(
        &self,
        request: &ConsumerHeartbeatRequest,
        out: &mut Output,
    ) -> Result<Cow<'_, ConsumerGroup>, GroupError> {
        let group = self.groups.get(&request.group);
        if let Some(consumer) = group.and_then(|group| group.consumer.as_ref()) {
            return Ok(Cow::Borrowed(consumer));
        }
        let joins = request.epoch == JOIN_EPOCH;
        match group {
            _ if !joins => Err(GroupError::GroupIdNotFound),
            None => Ok(Cow::Owned(ConsumerGroup::default())),
            Some(Group { classic, metadata, .. }) if classic.state() == State::Empty => {
                let tombstone = Record::GroupMetadata { group: request.group.clone(), value: None };
                out.records.extend(metadata.as_ref().map(|_| tombstone));
                Ok(Cow::Owned(ConsumerGroup::default()))
            }
            Some(Group { classic, .. }) => {
                let consumer = ConsumerGroup::of_classic(classic, &self.config.consumer, &self.topics)?;
                out.replies.extend(classic.interrupted());
                out.records.push(Record::GroupMetadata { group: request.group.clone(), value: None });
                let record = |fact| Record::Consumer { group: request.group.clone(), fact };
                out.records.extend(consumer.records().into_iter().map(record));
                Ok(Cow::Owned(consumer))
            }
        }
    }

    fn leave_consumer(
        &mut self,
        request: &ConsumerHeartbeatRequest,
        now_ms: i64,
        out: &mut Output,
    ) -> Result<ConsumerHeartbeatReply, GroupError> {
        let consumer = self.groups.get(&request.group).and_then(|group| group.consumer.as_ref());
        let (id, for_good) = consumer.ok_or(GroupError::GroupIdNotFound)?.leaving(request)?;
        if for_good {
            self.fence(&request.group, &[id], now_ms, out);
        } else {
            self.with_draft(&request.group, now_ms, out, |draft| {
                draft.leave_for_a_while(&id);
                Ok(())
            })?;
        }
        Ok(membership::left(request, for_good))
    }

    /// Join, Sync, Heartbeat and LeaveGroup of a classic member.
    pub(in crate::group) fn dispatch_to_consumer(
        &mut self,
        ticket: Ticket,
        request: &Request,
        now_ms: i64,
        out: &mut Output,
    ) {
        let Some(consumer) = self.groups.get(request.group()).and_then(|group| group.consumer.as_ref()) else { return };
        let reply = match request {
            Request::Join(request) => {
                let joined = self.join_consumer(request, now_ms, out);
                Reply::Join(joined.unwrap_or_else(|error| JoinReply::error(&*request.member_id, error)))
            }
            Request::Sync(request) => {
                let synced = consumer.sync_classic(request, &self.topics);
                if synced.is_ok() {
                    let id: MemberId = request.member_id.as_str().into();
                    self.disarm(&request.group, &id, ConsumerTimer::Sync);
                    self.touch_classic(&request.group, &id, now_ms);
                }
                Reply::Sync(synced.unwrap_or_else(SyncReply::error))
            }
            Request::Heartbeat(request) => {
                let beat = consumer.beat_classic(request);
                if let Ok(outcome) = beat {
                    let id: MemberId = request.member_id.as_str().into();
                    self.touch_classic(&request.group, &id, now_ms);
                    if outcome.is_err() {
                        self.arm_rejoin(&request.group, &id, now_ms);
                    }
                }
                Reply::Heartbeat(beat.and_then(|outcome| outcome).err())
            }
            Request::Leave(request) => Reply::Leave(self.leave_classic(request, now_ms, out)),
            _ => return,
        };
        out.reply(ticket, reply);
    }

    fn join_consumer(&mut self, request: &JoinRequest, now_ms: i64, out: &mut Output) -> Result<JoinReply, GroupError> {
        let allowed = self.config.min_session_timeout_ms..=self.config.max_session_timeout_ms;
        if !allowed.contains(&request.session_timeout_ms) {
            return Err(GroupError::InvalidSessionTimeout);
        }
        let (group, max_size) = (&request.group, self.config.consumer.max_size);
        let joined = self.with_draft(group, now_ms, out, |draft| draft.join_classic(request, max_size))?;
        if joined.error.is_none() {
            let id: MemberId = joined.member_id.as_str().into();
            self.disarm(group, &id, ConsumerTimer::Join);
            self.arm(group, &id, ConsumerTimer::Session, request.session_timeout_ms, now_ms);
            self.arm(group, &id, ConsumerTimer::Sync, request.rebalance_timeout_ms, now_ms);
        }
        if request.instance_id.is_some() {
            // It may have taken the place of the last member of the new protocol; that shows once its records are there.
            self.timers.set(Deadline::MaybeClassic(group.clone()), now_ms);
        }
        Ok(joined)
    }

    fn leave_classic(&mut self, request: &LeaveRequest, now_ms: i64, out: &mut Output) -> LeaveReply {
        let mut leaving = BTreeSet::new();
        let mut members = Vec::with_capacity(request.members.len());
        for member in &request.members {
            let consumer = self.groups.get(&request.group).and_then(|group| group.consumer.as_ref());
            let id = consumer.ok_or(GroupError::UnknownMemberId).and_then(|consumer| consumer.leaving_classic(member));
            members.push((member.clone(), id.as_ref().err().copied()));
            leaving.extend(id);
        }
        if !leaving.is_empty() {
            self.fence(&request.group, &leaving.into_iter().collect::<Vec<_>>(), now_ms, out);
        }
        LeaveReply { error: None, members }
    }

    /// Members go for good; with the last one of the new protocol the group becomes a classic one.
    fn fence(&mut self, group: &GroupId, ids: &[MemberId], now_ms: i64, out: &mut Output) {
        for id in ids {
            use ConsumerTimer::{Join, Revocation, Session, Sync};
            [Session, Revocation, Join, Sync].into_iter().for_each(|timer| self.disarm(group, id, timer));
        }
        if !self.become_classic(group, ids, now_ms, out) {
            // A group that is there can be worked on, and this cannot fail.
            let _ = self.with_draft(group, now_ms, out, |draft| {
                draft.fence(ids);
                Ok(())
            });
        }
    }

    /// The group without `leaving` becomes a classic one, if nobody else speaks the new protocol. Whether it does.
    pub(in crate::group) fn become_classic(
        &mut self,
        group: &GroupId,
        leaving: &[MemberId],
        now_ms: i64,
        out: &mut Output,
    ) -> bool {
        let Some(consumer) = self.groups.get(group).and_then(|group| group.consumer.as_ref()) else { return false };
        let classic = consumer.to_classic(leaving, &self.config.consumer, self.config.max_size, &self.topics, now_ms);
        let Some(classic) = classic else { return false };
        let tombstones = consumer.tombstones().into_iter();
        out.records.extend(tombstones.map(|fact| Record::Consumer { group: group.clone(), fact }));
        out.records.push(Record::GroupMetadata { group: group.clone(), value: Some(classic) });
        // Once the records are there.
        self.timers.set(Deadline::BecameClassic(group.clone()), now_ms);
        true
    }

    /// Tombstones for a consumer group without members, which a classic group is about to take the place of.
    pub(in crate::group) fn give_way(&self, id: &GroupId, out: &mut Output) {
        let consumer = self.groups.get(id).and_then(|group| group.consumer.as_ref());
        let tombstones = consumer.into_iter().flat_map(ConsumerGroup::tombstones);
        out.records.extend(tombstones.map(|fact| Record::Consumer { group: id.clone(), fact }));
    }

    pub(in crate::group) fn end_consumer_timer(
        &mut self,
        group: &GroupId,
        id: &MemberId,
        timer: ConsumerTimer,
        now_ms: i64,
        out: &mut Output,
    ) {
        let consumer = self.groups.get(group).and_then(|group| group.consumer.as_ref());
        let Some(member) = consumer.and_then(|consumer| consumer.members.get(id)) else { return };
        let is_revoking = member.current.state == MemberState::UnrevokedPartitions;
        if timer != ConsumerTimer::Revocation || is_revoking {
            self.fence(group, std::slice::from_ref(id), now_ms, out);
        }
    }

    /// It was to go, and could not: its session ends again soon.
    pub(in crate::group) fn still_there(&mut self, group: &GroupId, id: &MemberId, now_ms: i64) {
        let consumer = self.groups.get(group).and_then(|group| group.consumer.as_ref());
        if consumer.is_some_and(|consumer| consumer.members.contains_key(id)) {
            self.arm(group, id, ConsumerTimer::Session, RETRY_MS, now_ms);
        }
    }

    /// After recovery each member has a whole session to report, and as long as it had from the start to give up what it was asked to.
    pub(in crate::group) fn consumers_loaded(&mut self, now_ms: i64) {
        let Self { config, groups, timers, .. } = self;
        for (group, consumer) in groups.iter().filter_map(|(id, group)| Some((id, group.consumer.as_ref()?))) {
            for (id, member) in &consumer.members {
                let mut arm = |timer, timeout_ms: i32| {
                    let deadline = Deadline::Consumer(group.clone(), id.clone(), timer);
                    timers.set(deadline, now_ms.saturating_add(timeout_ms.into()));
                };
                let classic = member.said.classic.as_ref().map(|classic| classic.session_timeout_ms);
                arm(ConsumerTimer::Session, classic.unwrap_or(config.consumer.settings.session_timeout_ms));
                if member.current.state == MemberState::UnrevokedPartitions {
                    arm(ConsumerTimer::Revocation, member.said.rebalance_timeout_ms);
                }
            }
        }
    }

    fn scene(&self, settings: ConsumerGroupSettings, now_ms: i64) -> Scene<'_> {
        let default_assignor = self.config.consumer.default_assignor();
        Scene { topics: &self.topics, settings, default_assignor, groups: self.groups.len(), now_ms }
    }

    /// Lets `act` work on the group. If it fails, it leaves nothing behind.
    fn with_draft<T>(
        &mut self,
        group: &GroupId,
        now_ms: i64,
        out: &mut Output,
        act: impl FnOnce(&mut Draft<'_>) -> Result<T, GroupError>,
    ) -> Result<T, GroupError> {
        let consumer = self.groups.get(group).and_then(|group| group.consumer.as_ref());
        let consumer = consumer.ok_or(GroupError::GroupIdNotFound)?;
        let scene = self.scene(self.config.consumer.settings, now_ms);
        let mut draft = Draft::new(group.clone(), Cow::Borrowed(consumer), scene);
        let done = act(&mut draft)?;
        let records = draft.records;
        if let Some(id) = current(&records).map(|(id, _)| id.clone()) {
            self.after_step(group, &id, &records, now_ms);
        }
        out.records.extend(records);
        Ok(done)
    }

    /// The member has until its rebalance timeout to give up what it was just asked to.
    fn after_step(&mut self, group: &GroupId, id: &MemberId, records: &[Record], now_ms: i64) {
        let is_bumped =
            records.iter().any(|record| matches!(record, Record::Consumer { fact: ConsumerRecord::Group(_), .. }));
        let version = self.topics.version();
        if let Some(consumer) =
            self.groups.get_mut(group).and_then(|group| group.consumer.as_mut()).filter(|_| !is_bumped)
        {
            consumer.checked_topics = Some(version);
        }
        match current(records) {
            Some((of, current)) if of == id && current.state == MemberState::UnrevokedPartitions => {
                let timeout_ms = self.rebalance_timeout_ms(group, id, records);
                self.arm(group, id, ConsumerTimer::Revocation, timeout_ms, now_ms);
            }
            Some((of, _)) if of == id => self.disarm(group, id, ConsumerTimer::Revocation),
            _ => {}
        }
    }

    /// As it says now, or as it said before.
    fn rebalance_timeout_ms(&self, group: &GroupId, id: &MemberId, records: &[Record]) -> i32 {
        let said = records.iter().find_map(|record| match record {
            Record::Consumer { fact: ConsumerRecord::Member(of, Some(said)), .. } if of == id => Some(said),
            _ => None,
        });
        let consumer = self.groups.get(group).and_then(|group| group.consumer.as_ref());
        let known = consumer.and_then(|consumer| consumer.members.get(id)).map(|member| &member.said);
        said.or(known).map_or(0, |said| said.rebalance_timeout_ms)
    }

    fn touch_classic(&mut self, group: &GroupId, id: &MemberId, now_ms: i64) {
        let consumer = self.groups.get(group).and_then(|group| group.consumer.as_ref());
        let classic = consumer.and_then(|consumer| consumer.members.get(id)?.said.classic.as_ref());
        if let Some(session_timeout_ms) = classic.map(|classic| classic.session_timeout_ms) {
            self.arm(group, id, ConsumerTimer::Session, session_timeout_ms, now_ms);
        }
    }

    /// It was told to join again, maybe not for the first time: the first counts.
    fn arm_rejoin(&mut self, group: &GroupId, id: &MemberId, now_ms: i64) {
        let deadline = Deadline::Consumer(group.clone(), id.clone(), ConsumerTimer::Join);
        if !self.timers.is_set(&deadline) {
            let timeout_ms = self.rebalance_timeout_ms(group, id, &[]);
            self.timers.set(deadline, now_ms.saturating_add(timeout_ms.into()));
        }
    }

    fn arm(&mut self, group: &GroupId, id: &MemberId, timer: ConsumerTimer, timeout_ms: i32, now_ms: i64) {
        let deadline = Deadline::Consumer(group.clone(), id.clone(), timer);
        self.timers.set(deadline, now_ms.saturating_add(timeout_ms.into()));
    }

    fn disarm(&mut self, group: &GroupId, id: &MemberId, timer: ConsumerTimer) {
        self.timers.cancel(&Deadline::Consumer(group.clone(), id.clone(), timer));
    }
}

/// The current assignment that a step ends with.
fn current(records: &[Record]) -> Option<(&MemberId, &MemberAssignment)> {
    match records.last()? {
        Record::Consumer { fact: ConsumerRecord::Current(id, Some(current)), .. } => Some((id, current)),
        _ => None,
    }
}

/// Ids and patterns are keys of records, whose strings bear 16-bit lengths.
fn check_sizes(request: &ConsumerHeartbeatRequest) -> Result<(), GroupError> {
    let texts = [Some(request.member_id.as_str()), request.topic_regex.as_deref(), request.instance_id.as_deref()];
    let too_long = texts.into_iter().flatten().any(|text| text.len() > limits::MAX_STRING_BYTES);
    let too_many = request.topic_names.as_ref().is_some_and(|names| names.len() > limits::MAX_SUBSCRIBED_TOPICS);
    if too_long || too_many { Err(GroupError::InvalidRequest) } else { Ok(()) }
}
