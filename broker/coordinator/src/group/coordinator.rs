//! The groups of one shard: routes requests and deadlines to them, and holds what is durable.

use super::{
    ConsumerHeartbeatReply, GroupId, LeaveReply, MemberId, OffsetCommitRequest, OffsetDeleteRequest, Output,
    PartitionResult, Reply, Request, SyncReply, Ticket, TransactionalCommit,
    classic::{self, ClassicGroup},
    consumer::{ConsumerGroup, ConsumerTimer},
    offsets::{self, GroupOffsets},
    request::JoinReply,
};
use crate::{
    GroupConfig, GroupError,
    assignment::TopicsImage,
    limits,
    record::{ConsumerRecord, GroupMetadata, Record},
    timers::Timers,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One shard of the group coordinator; see the crate's head for how it is driven.
#[derive(Debug)]
pub struct GroupCoordinator {
    pub(super) config: GroupConfig,
    pub(super) groups: BTreeMap<GroupId, Group>,
    pub(super) timers: Timers<Deadline>,
    /// What consumer groups are told of topics.
    pub(super) topics: Arc<TopicsImage>,
    /// Which groups have offsets in which producer's open transaction.
    pub(super) open_transactions: BTreeMap<i64, BTreeSet<GroupId>>,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    pub classic: ClassicGroup,
    /// A group of KIP-848; then `classic` is nothing. Durable.
    pub consumer: Option<ConsumerGroup>,
    /// Durable, as is `offsets`; at recovery `classic` is rebuilt from it.
    pub metadata: Option<GroupMetadata>,
    pub offsets: GroupOffsets,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// A member's session, or the wait for one that was given an id and has not joined with it yet.
    Member(GroupId, MemberId),
    /// The end of a rebalance's first half: who has not joined is out.
    Join(GroupId),
    /// The end of its second half: who has not synced is out.
    Sync(GroupId),
    /// What a member of a consumer group is to do by then.
    Consumer(GroupId, MemberId, ConsumerTimer),
    /// A consumer group has become a classic one.
    BecameClassic(GroupId),
    /// A classic member may have taken the place of the last other one of a consumer group.
    MaybeClassic(GroupId),
    OffsetExpiry,
}

/// What a group's state machine works with during one step.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub config: &'a GroupConfig,
    pub timers: &'a mut Timers<Deadline>,
    pub out: &'a mut Output,
    pub group: GroupId,
    pub now_ms: i64,
}

impl GroupCoordinator {
    /// An empty shard: first [`Self::replay`] every record of its partition, then [`Self::loaded`], then requests.
    pub fn new(config: GroupConfig) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            timers: Timers::new(),
            topics: Arc::default(),
            open_transactions: BTreeMap::new(),
        }
    }

    /// Takes up work after recovery: members get a whole session to report, deadlines run from now on.
    pub fn loaded(&mut self, now_ms: i64) -> Output {
        let mut out = Output::default();
        let Self { config, groups, timers, .. } = self;
        for (id, group) in groups.iter_mut() {
            let Some(metadata) = &group.metadata else { continue };
            group.classic = ClassicGroup::from_metadata(metadata);
            let mut step = Step { config, timers, out: &mut out, group: id.clone(), now_ms };
            group.classic.loaded(&mut step);
        }
        timers.set(Deadline::OffsetExpiry, now_ms.saturating_add(config.offsets_retention_check_interval_ms));
        self.consumers_loaded(now_ms);
        out
    }

    /// Works on one request. Its reply may be in this output, or in a later one.
    pub fn handle(&mut self, ticket: Ticket, request: Request, now_ms: i64) -> Output {
        let mut out = Output::default();
        let id = request.group().clone();
        match self.admit(&id, &request) {
            Ok(()) => self.dispatch(ticket, request, now_ms, &mut out),
            Err(error) => out.reply(ticket, request.refused(error)),
        }
        self.forget_if_void(&id);
        out
    }

    /// Lets time pass: sessions, rebalances and offsets that are due at `now_ms` end. To be called again, after the records were
    /// replayed, as long as a deadline is due.
    pub fn expire(&mut self, now_ms: i64) -> Output {
        let mut out = Output::default();
        while let Some(deadline) = self.timers.pop_due(now_ms) {
            // A consumer group is what its records say: the next step has to see them.
            let is_of_consumer = matches!(deadline, Deadline::Consumer(..) | Deadline::MaybeClassic(_));
            self.end(deadline, now_ms, &mut out);
            if is_of_consumer && !out.records.is_empty() {
                break;
            }
        }
        out
    }

    /// When [`Self::expire`] is to be called next.
    pub fn next_deadline(&self) -> Option<i64> {
        self.timers.next_deadline()
    }

    /// Applies one durable fact, live after it was appended and at recovery alike.
    pub fn replay(&mut self, record: &Record) {
        let id = record.group().clone();
        let group = self.groups.entry(id.clone()).or_default();
        match record {
            Record::OffsetCommit { key, value: Some(value) } => {
                group.offsets.set(&key.topic, key.partition, value.clone());
            }
            Record::OffsetCommit { key, value: None } => group.offsets.remove(&key.topic, key.partition),
            Record::GroupMetadata { value: Some(value), .. } => {
                // It was a consumer group until now, or this is recovery.
                if group.classic.is_void() {
                    group.classic = ClassicGroup::from_metadata(value);
                }
                group.metadata = Some(value.clone());
            }
            Record::GroupMetadata { value: None, .. } => {
                group.metadata = None;
                group.classic = ClassicGroup::default();
            }
            Record::Consumer { fact: ConsumerRecord::Group(None), .. } => group.consumer = None,
            Record::Consumer { fact, .. } => group.replay_consumer(fact),
        }
        self.forget_if_void(&id);
    }

    /// The records of an output could not be appended, and its replies were turned into errors: generations that were
    /// to become stable by them start over, and members that were to go are tried again.
    pub fn append_failed(&mut self, records: &[Record], now_ms: i64) -> Output {
        let mut out = Output::default();
        for record in records {
            match record {
                Record::GroupMetadata { group, value: Some(_) } => {
                    self.with_classic(group, now_ms, &mut out, |classic, step| classic.start_over(step));
                }
                Record::Consumer { group, fact: ConsumerRecord::Current(id, None) } => {
                    self.still_there(group, id, now_ms)
                }
                _ => {}
            }
        }
        out
    }

    /// The client of `ticket` is gone. A member that could not have learned its id yet goes with it; any other stays until
    /// its session ends, for it may come back.
    pub fn abandon(&mut self, group: &str, ticket: Ticket, now_ms: i64) -> Output {
        let mut out = Output::default();
        self.with_classic(group, now_ms, &mut out, |classic, step| classic.abandon(ticket, step));
        self.forget_if_void(group);
        out
    }

    /// A topic was deleted: records that drop all offsets committed for it.
    pub fn forget_topic(&self, topic: &str) -> Output {
        let tombstones = |(id, group): (&GroupId, &Group)| group.offsets.topic_tombstones(id, |name| name == topic);
        Output { records: self.groups.iter().flat_map(tombstones).collect(), ..Output::default() }
    }

    /// The fewest records that make a fresh shard equal to this one.
    pub fn durable_records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (id, group) in &self.groups {
            records.extend(group.offsets.records(id));
            let metadata = group.metadata.clone();
            records.extend(metadata.map(|value| Record::GroupMetadata { group: id.clone(), value: Some(value) }));
            let facts = group.consumer.iter().flat_map(ConsumerGroup::records);
            records.extend(facts.map(|fact| Record::Consumer { group: id.clone(), fact }));
        }
        records
    }

    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// New settings; they hold from the next request on.
    pub fn set_config(&mut self, config: GroupConfig) {
        self.config = config;
    }

    pub(super) fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (&GroupId, &Group)> {
        self.groups.iter()
    }

    /// Refuses what no group could answer.
    fn admit(&self, id: &GroupId, request: &Request) -> Result<(), GroupError> {
        let needs_a_name = matches!(
            request,
            Request::Join(_)
                | Request::Sync(_)
                | Request::Heartbeat(_)
                | Request::Leave(_)
                | Request::ConsumerHeartbeat(_)
                | Request::TransactionalCommit(_)
        );
        if id.len() > limits::MAX_STRING_BYTES || id.is_empty() && needs_a_name {
            return Err(GroupError::InvalidGroupId);
        }
        if !self.groups.contains_key(id) && self.groups.len() >= limits::MAX_GROUPS {
            return Err(GroupError::GroupMaxSizeReached);
        }
        Ok(())
    }

    fn dispatch(&mut self, ticket: Ticket, request: Request, now_ms: i64, out: &mut Output) {
        match request {
            Request::OffsetCommit(request) => self.commit(ticket, &request, now_ms, out),
            Request::TransactionalCommit(request) => self.commit_in_transaction(ticket, &request, now_ms, out),
            Request::OffsetDelete(request) => out.reply_deleted(ticket, self.delete_offsets(&request)),
            Request::DeleteGroup { group } => {
                let deleted = self.delete(&group).map(|records| out.records.extend(records));
                out.reply(ticket, Reply::DeleteGroup(deleted.err()));
            }
            Request::ConsumerHeartbeat(request) => self.consumer_heartbeat(ticket, &request, now_ms, out),
            request if self.is_for_consumer_group(&request) => self.dispatch_to_consumer(ticket, &request, now_ms, out),
            Request::Join(request) if request.member_id.is_empty() => {
                self.give_way(&request.group, out);
                self.groups.entry(request.group.clone()).or_default();
                self.dispatch_classic(ticket, Request::Join(request), now_ms, out);
            }
            request => self.dispatch_classic(ticket, request, now_ms, out),
        }
    }

    /// A classic group takes the place of a consumer group without members as soon as somebody joins it.
    fn is_for_consumer_group(&self, request: &Request) -> bool {
        let consumer = self.groups.get(request.group()).and_then(|group| group.consumer.as_ref());
        let joins_anew = matches!(request, Request::Join(request) if request.member_id.is_empty());
        consumer.is_some_and(|consumer| !(joins_anew && consumer.is_empty()))
    }

    fn dispatch_classic(&mut self, ticket: Ticket, request: Request, now_ms: i64, out: &mut Output) {
        let Self { config, groups, timers, .. } = self;
        let id = request.group().clone();
        let Some(group) = groups.get_mut(&id) else {
            return out.reply(ticket, request.refused(GroupError::UnknownMemberId));
        };
        let step = &mut Step { config, timers, out, group: id, now_ms };
        match request {
            Request::Join(request) => group.classic.join(ticket, request, step),
            Request::Sync(request) => group.classic.sync(ticket, request, step),
            Request::Heartbeat(request) => {
                let error = group.classic.heartbeat(&request, step).err();
                step.out.reply(ticket, Reply::Heartbeat(error));
            }
            Request::Leave(request) => group.classic.leave(ticket, request, step),
            Request::ConsumerHeartbeat(_)
            | Request::OffsetCommit(_)
            | Request::TransactionalCommit(_)
            | Request::OffsetDelete(_)
            | Request::DeleteGroup { .. } => {}
        }
    }

    fn commit(&mut self, ticket: Ticket, request: &OffsetCommitRequest, now_ms: i64, out: &mut Output) {
        let Self { config, groups, timers, topics, .. } = self;
        let exists = groups.contains_key(&request.group);
        let group = groups.entry(request.group.clone()).or_default();
        if let Some(consumer) = &group.consumer {
            let admitted = consumer.admit_commit(request, false, topics);
            let results = group.offsets.commit_all(admitted, request, config, now_ms, &mut out.records);
            return out.reply(ticket, Reply::OffsetCommit(results));
        }
        let step = &mut Step { config, timers, out, group: request.group.clone(), now_ms };
        let admitted = match request.generation {
            // Who names a generation says that the group exists.
            generation if !exists && generation >= 0 && request.knows_member_epochs => Err(GroupError::GroupIdNotFound),
            generation if !exists && generation >= 0 => Err(GroupError::IllegalGeneration),
            _ => group.classic.admit_commit(request, step),
        };
        let admitted = admitted.map(|()| offsets::ALL);
        let results = group.offsets.commit_all(admitted, request, config, now_ms, &mut out.records);
        out.reply(ticket, Reply::OffsetCommit(results));
    }

    fn delete_offsets(&self, request: &OffsetDeleteRequest) -> Result<(Vec<Record>, Vec<PartitionResult>), GroupError> {
        let group = self.groups.get(&request.group).ok_or(GroupError::GroupIdNotFound)?;
        let in_use = group.topics_in_use()?;
        let (mut records, mut results) = (Vec::new(), Vec::new());
        for (topic, partition) in &request.partitions {
            let is_in_use = in_use.as_ref().is_none_or(|in_use| in_use.contains(topic.as_ref()));
            let error = is_in_use.then_some(GroupError::GroupSubscribedToTopic);
            if error.is_none() && group.offsets.get(topic, *partition).is_some() {
                records.push(offsets::tombstone(&request.group, topic, *partition));
            }
            results.push(PartitionResult { topic: topic.clone(), partition: *partition, error });
        }
        Ok((records, results))
    }

    fn delete(&self, id: &GroupId) -> Result<Vec<Record>, GroupError> {
        let group = self.groups.get(id).ok_or(GroupError::GroupIdNotFound)?;
        if !group.is_empty() {
            return Err(GroupError::NonEmptyGroup);
        }
        let mut records = group.offsets.topic_tombstones(id, |_| true);
        records.extend(group.tombstones(id));
        Ok(records)
    }

    fn end(&mut self, deadline: Deadline, now_ms: i64, out: &mut Output) {
        match deadline {
            Deadline::Member(group, member) => {
                self.with_classic(&group, now_ms, out, |classic, step| classic.session_ended(&member, step));
                self.forget_if_void(&group);
            }
            Deadline::Join(group) => {
                self.with_classic(&group, now_ms, out, |classic, step| classic.join_ended(step));
                self.forget_if_void(&group);
            }
            Deadline::Sync(group) => self.with_classic(&group, now_ms, out, |classic, step| classic.sync_ended(step)),
            Deadline::Consumer(group, member, timer) => self.end_consumer_timer(&group, &member, timer, now_ms, out),
            Deadline::MaybeClassic(group) => {
                self.become_classic(&group, &[], now_ms, out);
            }
            Deadline::BecameClassic(group) => {
                self.with_classic(&group, now_ms, out, |classic, step| classic.converted(step));
            }
            Deadline::OffsetExpiry => {
                out.extend(self.expire_offsets(now_ms));
                let interval_ms = self.config.offsets_retention_check_interval_ms.max(1);
                self.timers.set(Deadline::OffsetExpiry, now_ms.saturating_add(interval_ms));
            }
        }
    }

    /// Tombstones for offsets whose time is over, and for groups that are left with nothing.
    fn expire_offsets(&self, now_ms: i64) -> Output {
        let mut records = Vec::new();
        let retention_ms = self.config.offsets_retention_ms;
        for (id, group) in &self.groups {
            let retention = match &group.consumer {
                Some(consumer) => Some(consumer.offset_retention()),
                None => group.classic.offset_retention(),
            };
            let expired = group.offsets.tombstones(id, |topic, partition, offset| match &retention {
                Some((from, topics)) if !topics.contains(topic) => {
                    offsets::is_expired(offset, *from, retention_ms, now_ms)
                        && !group.offsets.pending.contains(topic, partition)
                }
                _ => false,
            });
            let nothing_left = expired.len() == group.offsets.len() && group.offsets.pending.is_empty();
            records.extend(expired);
            if nothing_left && group.is_empty() && !group.classic.has_pending_members() {
                records.extend(group.tombstones(id));
            }
        }
        Output { records, ..Output::default() }
    }

    fn with_classic(
        &mut self,
        id: &str,
        now_ms: i64,
        out: &mut Output,
        act: impl FnOnce(&mut ClassicGroup, &mut Step<'_>),
    ) {
        let Self { config, groups, timers, .. } = self;
        let Some((id, _)) = groups.get_key_value(id) else { return };
        let id = id.clone();
        let Some(group) = groups.get_mut(&id).filter(|group| group.consumer.is_none()) else { return };
        act(&mut group.classic, &mut Step { config, timers, out, group: id, now_ms });
    }

    /// A group that holds nothing does not exist.
    pub(super) fn forget_if_void(&mut self, id: &str) {
        if self.groups.get(id).is_some_and(Group::is_void) {
            self.groups.remove(id);
        }
    }
}

impl Group {
    fn is_void(&self) -> bool {
        self.metadata.is_none() && self.consumer.is_none() && self.offsets.is_empty() && self.classic.is_void()
    }

    /// It has no members.
    fn is_empty(&self) -> bool {
        match &self.consumer {
            Some(consumer) => consumer.is_empty(),
            None => self.classic.state() == classic::State::Empty,
        }
    }

    /// For all of it but its offsets.
    fn tombstones(&self, id: &GroupId) -> Vec<Record> {
        match &self.consumer {
            Some(consumer) => {
                let record = |fact| Record::Consumer { group: id.clone(), fact };
                consumer.tombstones().into_iter().map(record).collect()
            }
            None => vec![Record::GroupMetadata { group: id.clone(), value: None }],
        }
    }

    /// `None`: all are.
    fn topics_in_use(&self) -> Result<Option<BTreeSet<String>>, GroupError> {
        match &self.consumer {
            Some(consumer) => Ok(Some(consumer.offset_retention().1)),
            None => self.classic.topics_in_use(),
        }
    }

    /// A tombstone alone makes no group.
    fn replay_consumer(&mut self, fact: &ConsumerRecord) {
        if !fact.is_tombstone() || self.consumer.is_some() {
            self.consumer.get_or_insert_default().apply(fact);
        }
    }
}

impl Request {
    pub fn group(&self) -> &GroupId {
        match self {
            Request::Join(request) => &request.group,
            Request::Sync(request) => &request.group,
            Request::Heartbeat(request) => &request.group,
            Request::Leave(request) => &request.group,
            Request::ConsumerHeartbeat(request) => &request.group,
            Request::OffsetCommit(request) => &request.group,
            Request::TransactionalCommit(request) => &request.commit.group,
            Request::OffsetDelete(request) => &request.group,
            Request::DeleteGroup { group } => group,
        }
    }

    /// The reply to this request that says `error` and nothing else.
    pub fn refused(&self, error: GroupError) -> Reply {
        let all = |partitions: &mut dyn Iterator<Item = (Arc<str>, i32)>| {
            partitions.map(|(topic, partition)| PartitionResult { topic, partition, error: Some(error) }).collect()
        };
        match self {
            Request::Join(request) => Reply::Join(JoinReply::error(request.member_id.clone(), error)),
            Request::Sync(_) => Reply::Sync(SyncReply::error(error)),
            Request::Heartbeat(_) => Reply::Heartbeat(Some(error)),
            Request::Leave(request) if error == GroupError::UnknownMemberId => Reply::Leave(LeaveReply {
                error: None,
                members: request.members.iter().map(|member| (member.clone(), Some(error))).collect(),
            }),
            Request::Leave(_) => Reply::Leave(LeaveReply { error: Some(error), members: Vec::new() }),
            Request::ConsumerHeartbeat(_) => Reply::ConsumerHeartbeat(ConsumerHeartbeatReply::error(error)),
            Request::OffsetCommit(request)
            | Request::TransactionalCommit(TransactionalCommit { commit: request, .. }) => {
                Reply::OffsetCommit(all(&mut request
                    .offsets
                    .iter()
                    .map(|offset| (offset.topic.clone(), offset.partition))))
            }
            Request::OffsetDelete(_) => Reply::OffsetDelete(Err(error)),
            Request::DeleteGroup { .. } => Reply::DeleteGroup(Some(error)),
        }
    }
}

impl Output {
    fn reply_deleted(&mut self, ticket: Ticket, deleted: Result<(Vec<Record>, Vec<PartitionResult>), GroupError>) {
        let results = deleted.map(|(records, results)| {
            self.records.extend(records);
            results
        });
        self.reply(ticket, Reply::OffsetDelete(results));
    }
}
