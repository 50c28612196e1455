//! A consumer group of KIP-848: members only beat, the coordinator assigns.
//!
//! ```text
//! heartbeat: subscription changed? topics changed? --> group epoch + 1 --> target assignment for that epoch
//!            the member's current assignment then moves towards its target, one step per heartbeat (reconcile.rs)
//! ```
//!
//! [`ConsumerGroup`] is nothing but what its records say: [`ConsumerGroup::apply`] alone changes it, live and at recovery.
//! A step works on a [`draft::Draft`], which collects the records and shows the group as they will make it.
//! `heartbeat.rs` is the way of a member of this protocol, `classic_members.rs` that of members that still speak the classic one,
//! `membership.rs` lets members go, `migration.rs` turns classic groups into consumer groups and back, `regex.rs` resolves subscriptions by
//! pattern, `requests.rs` is where the coordinator comes in.

mod classic_members;
mod describe;
mod draft;
mod heartbeat;
mod membership;
mod migration;
mod reconcile;
mod regex;
mod requests;

pub use describe::{DescribedConsumerGroup, DescribedConsumerMember};
pub(super) use requests::ConsumerTimer;

use super::{MemberId, OffsetCommitRequest, OffsetToCommit, offsets::RetainFrom};
use crate::{
    GroupError,
    assignment::{Assignment, TopicsImage},
    record::{
        ConsumerGroupEpoch, ConsumerMember, ConsumerRecord, MemberAssignment, MemberState, OwnedPartitions,
        ResolvedRegex, TargetAssignmentEpoch,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use uuid::Uuid;

/// The member epoch of a heartbeat that joins.
pub const JOIN_EPOCH: i32 = 0;
/// The member epoch of a heartbeat that leaves.
pub const LEAVE_EPOCH: i32 = -1;
/// The member epoch of a static member that leaves and will be back.
pub const STATIC_LEAVE_EPOCH: i32 = -2;

#[derive(Debug, Clone)]
pub(crate) struct ConsumerGroup {
    epoch: ConsumerGroupEpoch,
    target_epoch: TargetAssignmentEpoch,
    members: BTreeMap<MemberId, Member>,
    target: BTreeMap<MemberId, Arc<Assignment>>,
    regexes: BTreeMap<Arc<str>, Arc<ResolvedRegex>>,
    /// Group instance id to member id; follows from `members`, as does `owners`.
    static_members: BTreeMap<Arc<str>, MemberId>,
    owners: HashMap<(Uuid, i32), MemberId>,
    /// The image of topics that was looked at last and had nothing new. Soft.
    checked_topics: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Member {
    pub said: Arc<ConsumerMember>,
    pub current: Arc<MemberAssignment>,
}

/// A group begins in epoch 1, with nothing to assign; the first subscription makes it 2, as in Kafka.
const FIRST_EPOCH: i32 = 1;

impl Default for ConsumerGroup {
    fn default() -> Self {
        Self {
            epoch: ConsumerGroupEpoch { epoch: FIRST_EPOCH, metadata_hash: 0 },
            target_epoch: TargetAssignmentEpoch { epoch: FIRST_EPOCH, timestamp_ms: 0 },
            members: BTreeMap::new(),
            target: BTreeMap::new(),
            regexes: BTreeMap::new(),
            static_members: BTreeMap::new(),
            owners: HashMap::new(),
            checked_topics: None,
        }
    }
}

impl ConsumerGroup {
    /// Applies one durable fact. The end of the group itself is the caller's.
    pub fn apply(&mut self, fact: &ConsumerRecord) {
        match fact {
            ConsumerRecord::Group(value) => self.epoch = value.unwrap_or_default(),
            ConsumerRecord::TargetEpoch(value) => self.target_epoch = value.unwrap_or_default(),
            ConsumerRecord::Member(id, Some(said)) => self.put_member(id, said),
            ConsumerRecord::Member(id, None) => self.remove_member(id),
            ConsumerRecord::Target(id, Some(target)) => _ = self.target.insert(id.clone(), target.clone()),
            ConsumerRecord::Target(id, None) => _ = self.target.remove(id),
            ConsumerRecord::Current(id, Some(current)) => self.put_current(id, current.clone()),
            ConsumerRecord::Current(id, None) if self.members.contains_key(id) => {
                self.put_current(id, MemberAssignment::default());
            }
            ConsumerRecord::Current(_, None) => {}
            ConsumerRecord::Regex(regex, Some(resolved)) => _ = self.regexes.insert(regex.clone(), resolved.clone()),
            ConsumerRecord::Regex(regex, None) => _ = self.regexes.remove(regex),
        }
    }

    fn put_member(&mut self, id: &MemberId, said: &Arc<ConsumerMember>) {
        self.forget_instance(id);
        if let Some(instance_id) = &said.instance_id {
            self.static_members.insert(instance_id.clone(), id.clone());
        }
        self.members.entry(id.clone()).or_default().said = said.clone();
    }

    fn remove_member(&mut self, id: &MemberId) {
        self.forget_instance(id);
        self.put_current(id, MemberAssignment::default());
        self.members.remove(id);
    }

    fn forget_instance(&mut self, id: &MemberId) {
        let instance_id = self.members.get(id).and_then(|member| member.said.instance_id.clone());
        if let Some(instance_id) = instance_id.filter(|instance_id| self.static_members.get(instance_id) == Some(id)) {
            self.static_members.remove(&instance_id);
        }
    }

    fn put_current(&mut self, id: &MemberId, current: MemberAssignment) {
        let member = self.members.entry(id.clone()).or_default();
        for partition in held(&member.current) {
            if self.owners.get(&partition) == Some(id) {
                self.owners.remove(&partition);
            }
        }
        self.owners.extend(held(&current).map(|partition| (partition, id.clone())));
        member.current = Arc::new(current);
    }

    /// The fewest records that make a fresh group equal to this one, in the order in which Kafka writes them.
    pub fn records(&self) -> Vec<ConsumerRecord> {
        let members = self.members.iter();
        let said = members.clone().map(|(id, member)| ConsumerRecord::Member(id.clone(), Some(member.said.clone())));
        let regexes =
            self.regexes.iter().map(|(regex, resolved)| ConsumerRecord::Regex(regex.clone(), Some(resolved.clone())));
        let target = self.target.iter().map(|(id, target)| ConsumerRecord::Target(id.clone(), Some(target.clone())));
        let current = members
            .map(|(id, member)| ConsumerRecord::Current(id.clone(), Some(MemberAssignment::clone(&member.current))));
        said.chain(regexes)
            .chain([ConsumerRecord::Group(Some(self.epoch))])
            .chain(target)
            .chain([ConsumerRecord::TargetEpoch(Some(self.target_epoch))])
            .chain(current)
            .collect()
    }

    /// Tombstones for all of it, in the order in which Kafka writes them.
    pub fn tombstones(&self) -> Vec<ConsumerRecord> {
        let ids = || self.members.keys().cloned();
        ids()
            .map(|id| ConsumerRecord::Current(id, None))
            .chain(self.target.keys().cloned().map(|id| ConsumerRecord::Target(id, None)))
            .chain([ConsumerRecord::TargetEpoch(None)])
            .chain(ids().map(|id| ConsumerRecord::Member(id, None)))
            .chain(self.regexes.keys().cloned().map(|regex| ConsumerRecord::Regex(regex, None)))
            .chain([ConsumerRecord::Group(None)])
            .collect()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Kafka's names of the states.
    pub fn state(&self) -> &'static str {
        let is_reconciled = |member: &Member| {
            member.current.state == MemberState::Stable && member.current.epoch == self.target_epoch.epoch
        };
        match () {
            () if self.members.is_empty() => "Empty",
            () if self.epoch.epoch > self.target_epoch.epoch => "Assigning",
            () if !self.members.values().all(is_reconciled) => "Reconciling",
            () => "Stable",
        }
    }

    /// All topics that any member subscribes to, by name or by a pattern.
    pub fn subscribed_topics(&self) -> BTreeSet<&str> {
        self.members.values().flat_map(|member| self.topics_of(&member.said)).collect()
    }

    fn topics_of<'a>(&'a self, said: &'a ConsumerMember) -> impl Iterator<Item = &'a str> {
        let resolved = said.topic_regex.as_ref().and_then(|regex| self.regexes.get(regex));
        let by_regex = resolved.into_iter().flat_map(|resolved| &resolved.topics);
        said.topic_names.iter().chain(by_regex).map(String::as_str)
    }

    fn topic_ids_of(&self, said: &ConsumerMember, topics: &TopicsImage) -> BTreeSet<Uuid> {
        self.topics_of(said).filter_map(|name| topics.topic(name)).map(|topic| topic.id).collect()
    }

    /// Offsets of topics that nobody subscribes to any more expire by the time of their commit.
    pub fn offset_retention(&self) -> (RetainFrom, BTreeSet<String>) {
        (RetainFrom::Commit, self.subscribed_topics().into_iter().map(str::to_owned).collect())
    }

    /// Who may commit: the member itself, in the epoch that it is in; one that is behind, for partitions that it has had since
    /// then (KIP-1251). And anybody where there are no members, or where a transaction does not say for whom it commits.
    pub fn admit_commit<'a>(
        &'a self,
        request: &OffsetCommitRequest,
        is_transactional: bool,
        topics: &'a TopicsImage,
    ) -> Result<impl Fn(&OffsetToCommit) -> Result<(), GroupError> + use<'a>, GroupError> {
        let claimed = request.generation;
        let names_nobody = request.member_id.is_empty() && request.instance_id.is_none();
        let behind = match self.members.get(request.member_id.as_str()) {
            _ if claimed < 0 && (self.is_empty() || is_transactional && names_nobody) => None,
            None => return Err(GroupError::UnknownMemberId),
            Some(member) if !(is_transactional || request.knows_member_epochs || member.said.classic.is_some()) => {
                return Err(GroupError::UnsupportedVersion);
            }
            Some(member) if claimed > member.current.epoch => return Err(member.stale()),
            Some(member) => Some(member).filter(|member| claimed < member.current.epoch),
        };
        Ok(move |offset: &OffsetToCommit| {
            let Some(member) = behind else { return Ok(()) };
            let topic = topics.topic(&offset.topic);
            let since = topic.and_then(|topic| since(&member.current, topic.id, offset.partition));
            if since.is_some_and(|since| claimed >= since) { Ok(()) } else { Err(member.stale()) }
        })
    }

    /// Whether what a group has committed may be told to the member that asks (OffsetFetch v9).
    pub fn admit_fetch(&self, member_id: &str, epoch: i32) -> Result<(), GroupError> {
        if member_id.is_empty() && epoch < 0 {
            return Ok(());
        }
        match self.members.get(member_id) {
            None => Err(GroupError::UnknownMemberId),
            Some(member) if member.current.epoch == epoch => Ok(()),
            Some(member) => Err(member.stale()),
        }
    }
}

impl Member {
    /// What it is told when it claims another epoch than it is in.
    fn stale(&self) -> GroupError {
        match self.said.classic {
            Some(_) => GroupError::IllegalGeneration,
            None => GroupError::StaleMemberEpoch,
        }
    }
}

/// Everything that a member holds, what it is to give up included.
fn held(current: &MemberAssignment) -> impl Iterator<Item = (Uuid, i32)> {
    let each = |owned: &OwnedPartitions| {
        let of_topic = |(topic, partitions): (&Uuid, &BTreeMap<i32, i32>)| {
            let topic = *topic;
            partitions.keys().map(move |partition| (topic, *partition)).collect::<Vec<_>>()
        };
        owned.iter().flat_map(of_topic).collect::<Vec<_>>()
    };
    each(&current.assigned).into_iter().chain(each(&current.revoking))
}

/// The epoch in which a partition came to the member.
fn since(current: &MemberAssignment, topic: Uuid, partition: i32) -> Option<i32> {
    let of = |owned: &OwnedPartitions| owned.get(&topic)?.get(&partition).copied();
    of(&current.assigned).or_else(|| of(&current.revoking))
}

/// The partitions alone.
fn partitions(owned: &OwnedPartitions) -> Assignment {
    owned.iter().map(|(topic, partitions)| (*topic, partitions.keys().copied().collect())).collect()
}
