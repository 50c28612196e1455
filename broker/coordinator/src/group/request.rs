//! What goes into the coordinator and what comes out.

use super::GroupId;
use crate::{ConsumerGroupSettings, GroupError, assignment::Assignment, record::Record, transaction::Producer};
use bytes::Bytes;
use std::{collections::BTreeSet, sync::Arc};
use uuid::Uuid;

/// Names a request until its reply; the caller's choice, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What one step did. The caller appends `records` in order, replays each, and only then sends `replies`.
/// If the append fails, every reply becomes [`Reply::failed`] and the coordinator is told by
/// [`super::GroupCoordinator::append_failed`].
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Output {
    pub records: Vec<Record>,
    /// The records are part of this producer's transaction: they go into a transactional batch, and are replayed by
    /// [`super::GroupCoordinator::replay_in_transaction`].
    pub transaction: Option<Producer>,
    pub replies: Vec<(Ticket, Reply)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Join(JoinRequest),
    Sync(SyncRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveRequest),
    ConsumerHeartbeat(ConsumerHeartbeatRequest),
    OffsetCommit(OffsetCommitRequest),
    TransactionalCommit(TransactionalCommit),
    OffsetDelete(OffsetDeleteRequest),
    DeleteGroup { group: GroupId },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Join(JoinReply),
    Sync(SyncReply),
    Heartbeat(Option<GroupError>),
    Leave(LeaveReply),
    ConsumerHeartbeat(ConsumerHeartbeatReply),
    OffsetCommit(Vec<PartitionResult>),
    /// The first for the whole request, else each partition's.
    OffsetDelete(Result<Vec<PartitionResult>, GroupError>),
    DeleteGroup(Option<GroupError>),
}

/// An assignor that a member offers, with its subscription in that assignor's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    pub name: Arc<str>,
    pub metadata: Bytes,
}

#[derive(Debug, Clone, PartialEq)]
pub struct JoinRequest {
    pub group: GroupId,
    /// Empty: a new member.
    pub member_id: String,
    pub instance_id: Option<Arc<str>>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocol_type: String,
    /// The most wanted first.
    pub protocols: Vec<Protocol>,
    /// The client knows MEMBER_ID_REQUIRED (JoinGroup v4, KIP-394).
    pub requires_known_member_id: bool,
    /// The client knows `skip_assignment` (JoinGroup v9, KIP-814).
    pub supports_skip_assignment: bool,
    /// Makes a new member's id unique.
    pub unique: Uuid,
}

#[derive(Debug, Clone, PartialEq)]
pub struct JoinReply {
    pub error: Option<GroupError>,
    /// -1 with an error.
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<Arc<str>>,
    pub leader: String,
    pub skip_assignment: bool,
    pub member_id: String,
    /// For the leader alone.
    pub members: Vec<JoinedMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: String,
    pub instance_id: Option<Arc<str>>,
    pub metadata: Bytes,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SyncRequest {
    pub group: GroupId,
    pub generation: i32,
    pub member_id: String,
    pub instance_id: Option<Arc<str>>,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// From the leader: what each member gets.
    pub assignments: Vec<(String, Bytes)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SyncReply {
    pub error: Option<GroupError>,
    pub protocol_type: Option<String>,
    pub protocol: Option<Arc<str>>,
    pub assignment: Bytes,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HeartbeatRequest {
    pub group: GroupId,
    pub generation: i32,
    pub member_id: String,
    pub instance_id: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LeaveRequest {
    pub group: GroupId,
    pub members: Vec<LeavingMember>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LeavingMember {
    /// Empty: whoever holds the instance id (an administrator removes it).
    pub member_id: String,
    pub instance_id: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LeaveReply {
    pub error: Option<GroupError>,
    /// In the order of the request.
    pub members: Vec<(LeavingMember, Option<GroupError>)>,
}

/// The heartbeat of KIP-848. What is `None` has not changed since the member said it last.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerHeartbeatRequest {
    pub group: GroupId,
    /// Made up by the client, or by the server for a member that joins without one.
    pub member_id: String,
    /// The member epoch, or [`super::JOIN_EPOCH`], [`super::LEAVE_EPOCH`], [`super::STATIC_LEAVE_EPOCH`].
    pub epoch: i32,
    pub instance_id: Option<Arc<str>>,
    pub rack_id: Option<String>,
    pub rebalance_timeout_ms: Option<i32>,
    pub topic_names: Option<BTreeSet<String>>,
    /// Empty: matches nothing.
    pub topic_regex: Option<Arc<str>>,
    pub assignor: Option<String>,
    /// The partitions that it has.
    pub owned: Option<Assignment>,
    pub client_id: String,
    pub client_host: String,
    pub settings: ConsumerGroupSettings,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerHeartbeatReply {
    pub error: Option<GroupError>,
    /// Empty with an error.
    pub member_id: String,
    pub epoch: i32,
    /// When the member is to beat again.
    pub heartbeat_interval_ms: i32,
    /// `None`: as it was told last.
    pub assignment: Option<Assignment>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OffsetCommitRequest {
    pub group: GroupId,
    /// Or the member epoch. -1: no member, only for a group without any.
    pub generation: i32,
    pub member_id: String,
    pub instance_id: Option<Arc<str>>,
    /// `None`: `offsets.retention.minutes` holds.
    pub retention_ms: Option<i64>,
    /// OffsetCommit 9 or later (KIP-848). Who speaks of generations alone is told of generations alone.
    pub knows_member_epochs: bool,
    pub offsets: Vec<OffsetToCommit>,
}

/// TxnOffsetCommit: the offsets count when the producer's transaction is committed.
#[derive(Debug, Clone, PartialEq)]
pub struct TransactionalCommit {
    pub producer: Producer,
    pub commit: OffsetCommitRequest,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OffsetToCommit {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// -1: not given.
    pub leader_epoch: i32,
    pub metadata: String,
    /// Nil: not known.
    pub topic_id: Uuid,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OffsetDeleteRequest {
    pub group: GroupId,
    pub partitions: Vec<(Arc<str>, i32)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionResult {
    pub topic: Arc<str>,
    pub partition: i32,
    pub error: Option<GroupError>,
}

impl Reply {
    /// The same kind of reply, but saying that the request came to nothing.
    pub fn failed(self, error: GroupError) -> Reply {
        match self {
            Reply::Join(reply) => Reply::Join(JoinReply::error(reply.member_id, error)),
            Reply::Sync(_) => Reply::Sync(SyncReply::error(error)),
            Reply::Heartbeat(_) => Reply::Heartbeat(Some(error)),
            Reply::Leave(_) => Reply::Leave(LeaveReply { error: Some(error), members: Vec::new() }),
            Reply::ConsumerHeartbeat(_) => Reply::ConsumerHeartbeat(ConsumerHeartbeatReply::error(error)),
            Reply::OffsetCommit(results) => Reply::OffsetCommit(PartitionResult::all_failed(results, error)),
            Reply::OffsetDelete(_) => Reply::OffsetDelete(Err(error)),
            Reply::DeleteGroup(_) => Reply::DeleteGroup(Some(error)),
        }
    }
}

impl PartitionResult {
    fn all_failed(results: Vec<Self>, error: GroupError) -> Vec<Self> {
        results.into_iter().map(|result| Self { error: result.error.or(Some(error)), ..result }).collect()
    }
}

impl JoinReply {
    pub fn error(member_id: impl Into<String>, error: GroupError) -> Self {
        Self {
            error: Some(error),
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.into(),
            members: Vec::new(),
        }
    }
}

impl ConsumerHeartbeatReply {
    pub fn error(error: GroupError) -> Self {
        Self { error: Some(error), member_id: String::new(), epoch: 0, heartbeat_interval_ms: 0, assignment: None }
    }
}

impl SyncReply {
    pub fn error(error: GroupError) -> Self {
        Self { error: Some(error), protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

impl Output {
    pub(crate) fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.replies.push((ticket, reply));
    }

    pub(crate) fn extend(&mut self, other: Output) {
        self.records.extend(other.records);
        self.replies.extend(other.replies);
    }
}
