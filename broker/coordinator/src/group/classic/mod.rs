//! A classic group: the members elect a leader, and the leader's client assigns (KIP-62, KIP-345, KIP-394, KIP-429).
//!
//! ```text
//! Empty --join--> PreparingRebalance --all have joined--> CompletingRebalance --leader syncs--> Stable
//!                      ^   any join, leave or expiry of a member goes back here      |            |
//!                      +-------------------------------------------------------------+------------+
//! ```
//!
//! `join.rs` lets members in, `rebalance.rs` moves between the states, `sync.rs` hands out assignments, `membership.rs` lets
//! members go, `protocol.rs` knows what members have in common. What outlives a restart is written when a generation
//! becomes stable or empty; all else is soft.

mod join;
mod member;
mod membership;
mod protocol;
mod rebalance;
mod sync;

use super::{
    DescribedGroup, DescribedMember, GroupId, HeartbeatRequest, JoinReply, MemberId, OffsetCommitRequest, Protocol,
    Reply, SyncReply, Ticket,
    coordinator::{Deadline, Step},
    offsets::RetainFrom,
};
use crate::{GroupError, record::GroupMetadata, record::MemberMetadata, record::Record};
use bytes::Bytes;
use member::Member;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// A member that has not been told a generation yet may wait this long for the rebalance to end.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1_000;
/// With no initial delay, the first rebalance still waits this long for members that were just given their ids: two
/// consumers that start together then need one rebalance and not two.
const PENDING_MEMBER_GRACE_MS: i64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    #[default]
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

#[derive(Debug, Default)]
pub(crate) struct ClassicGroup {
    state: State,
    /// -1: never.
    state_since_ms: i64,
    generation: i32,
    protocol_type: Option<String>,
    /// The assignor of this generation.
    protocol: Option<Arc<str>>,
    leader: Option<MemberId>,
    members: BTreeMap<MemberId, Member>,
    /// Group instance id to member id (KIP-345).
    static_members: BTreeMap<Arc<str>, MemberId>,
    /// Given an id, not back with it yet (KIP-394).
    pending: BTreeSet<MemberId>,
    /// Told the generation, not synced yet.
    pending_sync: BTreeSet<MemberId>,
    /// How many members offer each assignor.
    offered: HashMap<Arc<str>, usize>,
    initial: Option<InitialDelay>,
}

/// The first rebalance of an empty group waits for more members, again and again while they come.
#[derive(Debug, Clone, Copy)]
struct InitialDelay {
    remaining_ms: i64,
    member_added: bool,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

impl ClassicGroup {
    pub fn state(&self) -> State {
        self.state
    }

    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub fn has_pending_members(&self) -> bool {
        !self.pending.is_empty()
    }

    /// It never had a generation, and nobody is about to join.
    pub fn is_void(&self) -> bool {
        self.state == State::Empty && self.pending.is_empty() && self.generation == 0
    }

    /// A group as recovery finds it.
    pub fn from_metadata(metadata: &GroupMetadata) -> Self {
        let mut group = Self {
            state: if metadata.members.is_empty() { State::Empty } else { State::Stable },
            state_since_ms: metadata.current_state_timestamp_ms,
            generation: metadata.generation,
            protocol_type: Some(metadata.protocol_type.clone()).filter(|protocol_type| !protocol_type.is_empty()),
            protocol: metadata.protocol.as_deref().map(Arc::from),
            leader: metadata.leader.as_deref().map(Arc::from),
            ..Self::default()
        };
        for member in &metadata.members {
            group.insert(Member::from_metadata(member, metadata.protocol.as_deref().unwrap_or_default()));
        }
        group
    }

    /// After recovery each member has a whole session to report; a group that has become too large starts over.
    pub fn loaded(&mut self, step: &mut Step<'_>) {
        for member in self.members.values() {
            step.arm_session(member);
        }
        if self.members.len() > step.config.max_size {
            self.prepare_rebalance(step);
        }
    }

    /// It was a consumer group until now: members get a whole session to report, and join again.
    pub fn converted(&mut self, step: &mut Step<'_>) {
        for member in self.members.values() {
            step.arm_session(member);
        }
        self.rebalance(step);
    }

    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// Its members, as the last generation left them, each with all that it offers.
    pub fn members_to_convert(&self) -> Vec<(MemberMetadata, Vec<Protocol>)> {
        let convert = |member: &Member| {
            let chosen = self.protocol.clone().or_else(|| member.protocols.first().map(|first| first.name.clone()));
            (member.to_metadata(chosen.as_deref().unwrap_or_default()), member.protocols.clone())
        };
        self.members.values().map(convert).collect()
    }

    /// The answers to members that wait for a rebalance that will not end: they are to begin anew.
    pub fn interrupted(&self) -> Vec<(Ticket, Reply)> {
        let error = GroupError::RebalanceInProgress;
        let answers = |member: &Member| {
            let join = member.waiting.join.map(|ticket| (ticket, Reply::Join(JoinReply::error(&*member.id, error))));
            let sync = member.waiting.sync.map(|ticket| (ticket, Reply::Sync(SyncReply::error(error))));
            join.into_iter().chain(sync)
        };
        self.members.values().flat_map(answers).collect()
    }

    pub fn heartbeat(&mut self, request: &HeartbeatRequest, step: &mut Step<'_>) -> Result<(), GroupError> {
        self.validate_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.touch(&request.member_id, step);
        match self.state {
            State::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            State::Empty => Err(GroupError::UnknownMemberId),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// Whether offsets may be committed now, by whom the request says it is. A zombie's commit is refused here.
    pub fn admit_commit(&mut self, request: &OffsetCommitRequest, step: &mut Step<'_>) -> Result<(), GroupError> {
        if request.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if request.generation < 0 && request.member_id.is_empty() && request.instance_id.is_none() {
            return Err(GroupError::UnknownMemberId);
        }
        self.validate_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        if self.state == State::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        self.touch(&request.member_id, step);
        Ok(())
    }

    /// The same for offsets that are part of a transaction. Producers before KIP-447 do not say for which member they commit,
    /// and a rebalance under way does not matter: the transaction may be older than it.
    pub fn admit_transactional_commit(&self, request: &OffsetCommitRequest) -> Result<(), GroupError> {
        let names_nobody = request.member_id.is_empty() && request.instance_id.is_none();
        if request.generation < 0 && (names_nobody || self.state == State::Empty) {
            return Ok(());
        }
        self.validate_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation == self.generation { Ok(()) } else { Err(GroupError::IllegalGeneration) }
    }

    /// Topics whose offsets must not be deleted; `None`: it cannot be told which, so all. Members that are no consumers may use any.
    pub fn topics_in_use(&self) -> Result<Option<BTreeSet<String>>, GroupError> {
        match self.state {
            State::Empty => Ok(Some(BTreeSet::new())),
            _ if self.protocol_type() == Some(super::consumer_protocol::CONSUMER) => Ok(self.subscribed_topics()),
            _ => Err(GroupError::NonEmptyGroup),
        }
    }

    /// From when offsets of which topics are retained: the topics are those that do not expire. `None`: nothing expires.
    pub fn offset_retention(&self) -> Option<(RetainFrom, BTreeSet<String>)> {
        match self.state {
            State::Empty if self.protocol_type.is_some() => {
                Some((RetainFrom::GroupEmptySince(self.state_since_ms), BTreeSet::new()))
            }
            State::Empty => Some((RetainFrom::Commit, BTreeSet::new())),
            State::Stable => self.subscribed_topics().map(|topics| (RetainFrom::Commit, topics)),
            State::PreparingRebalance | State::CompletingRebalance => None,
        }
    }

    pub fn describe(&self) -> DescribedGroup {
        let stable = self.state == State::Stable;
        let protocol = self.protocol.as_deref().filter(|_| stable).unwrap_or_default();
        let describe_member = |member: &Member| DescribedMember {
            member_id: member.id.to_string(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable { member.metadata(protocol) } else { Bytes::new() },
            assignment: if stable { member.assignment.clone() } else { Bytes::new() },
        };
        DescribedGroup {
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: protocol.to_owned(),
            generation: self.generation,
            members: self.members.values().map(describe_member).collect(),
        }
    }

    /// The id is a member's, and if it claims a group instance id, it is still the one that holds it.
    fn validate_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            let holder = self.static_members.get(instance_id).ok_or(GroupError::UnknownMemberId)?;
            if holder.as_ref() != member_id {
                return Err(GroupError::FencedInstanceId);
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    /// A sign of life: the session starts again, unless the member waits for us.
    fn touch(&self, member_id: &str, step: &mut Step<'_>) {
        if let Some(member) = self.members.get(member_id).filter(|member| !member.is_waiting()) {
            step.arm_session(member);
        }
    }

    fn set_state(&mut self, state: State, now_ms: i64) {
        self.state = state;
        self.state_since_ms = now_ms;
    }

    /// What has to survive of this generation.
    fn persist(&self, step: &mut Step<'_>) {
        let protocol = self.protocol.as_deref();
        let members = self.members.values().map(|member| member.to_metadata(protocol.unwrap_or_default()));
        let value = GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: protocol.map(str::to_owned),
            leader: self.leader.as_deref().map(str::to_owned),
            current_state_timestamp_ms: self.state_since_ms,
            members: members.collect::<Vec<MemberMetadata>>(),
        };
        step.out.records.push(Record::GroupMetadata { group: step.group.clone(), value: Some(value) });
    }
}

impl Step<'_> {
    fn member_deadline(&self, member_id: &MemberId) -> Deadline {
        Deadline::Member(GroupId::clone(&self.group), member_id.clone())
    }

    fn arm_session(&mut self, member: &Member) {
        self.arm_member(&member.id, i64::from(member.session_timeout_ms));
    }

    fn arm_member(&mut self, member_id: &MemberId, timeout_ms: i64) {
        self.timers.set(self.member_deadline(member_id), self.now_ms.saturating_add(timeout_ms));
    }

    fn disarm_member(&mut self, member_id: &MemberId) {
        self.timers.cancel(&self.member_deadline(member_id));
    }

    fn arm(&mut self, deadline: Deadline, timeout_ms: i64) {
        self.timers.set(deadline, self.now_ms.saturating_add(timeout_ms));
    }

    fn join_deadline(&self) -> Deadline {
        Deadline::Join(self.group.clone())
    }

    fn sync_deadline(&self) -> Deadline {
        Deadline::Sync(self.group.clone())
    }
}

/// The tickets of a member that are still to be answered.
#[derive(Debug, Default, Clone, Copy)]
struct Waiting {
    join: Option<Ticket>,
    sync: Option<Ticket>,
}
