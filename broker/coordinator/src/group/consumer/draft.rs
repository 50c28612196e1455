//! One step in the making: the records so far, and the group as it will be when they have been applied.

use super::{ConsumerGroup, Member, regex};
use crate::{
    GroupError,
    assignment::{Assignment, Assignor, GroupSpec, MemberSpec, TopicsImage},
    config::ConsumerGroupSettings,
    group::{GroupId, MemberId},
    record::{
        ConsumerGroupEpoch, ConsumerMember, ConsumerRecord, MemberAssignment, MemberState, Record, ResolvedRegex,
        TargetAssignmentEpoch,
    },
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::Arc,
};

/// What a step needs to know beside the group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    pub topics: &'a TopicsImage,
    pub settings: ConsumerGroupSettings,
    pub default_assignor: Assignor,
    /// How many groups the shard has.
    pub groups: usize,
    pub now_ms: i64,
}

#[derive(Debug)]
pub(super) struct Draft<'a> {
    group: Cow<'a, ConsumerGroup>,
    id: GroupId,
    pub scene: Scene<'a>,
    pub records: Vec<Record>,
}

impl Deref for Draft<'_> {
    type Target = ConsumerGroup;

    fn deref(&self) -> &ConsumerGroup {
        &self.group
    }
}

impl<'a> Draft<'a> {
    pub fn new(id: GroupId, group: Cow<'a, ConsumerGroup>, scene: Scene<'a>) -> Self {
        Self { group, id, scene, records: Vec::new() }
    }

    pub fn push(&mut self, fact: ConsumerRecord) {
        self.group.to_mut().apply(&fact);
        self.records.push(Record::Consumer { group: self.id.clone(), fact });
    }

    /// A member that has said what it wants: from there to the next step of its current assignment.
    /// `owned`: what it says that it has; `None`: it did not say.
    pub fn advance(
        &mut self,
        id: &MemberId,
        before: &Member,
        said: ConsumerMember,
        owned: Option<&Assignment>,
    ) -> Result<Arc<MemberAssignment>, GroupError> {
        let names_changed = before.said.topic_names != said.topic_names;
        let regex_changed = before.said.topic_regex != said.topic_regex;
        let has_pattern = |said: &ConsumerMember| said.topic_regex.as_deref().is_some_and(|regex| !regex.is_empty());
        let pattern_changed = regex_changed && (has_pattern(&before.said) || has_pattern(&said));
        if let Some(regex) = said.topic_regex.as_deref().filter(|_| regex_changed) {
            regex::check(regex)?;
        }
        let is_known = self.members.contains_key(id);
        if !is_known || *before.said != said {
            self.push(ConsumerRecord::Member(id.clone(), Some(Arc::new(said))));
        }
        let resolved_otherwise = self.resolve_regexes();
        self.bump_epoch(names_changed || pattern_changed || resolved_otherwise);
        self.assign_if_due();
        self.reconcile(id, &before.current, owned, names_changed || regex_changed)
    }

    /// The group epoch rises if it must, or if the topics have changed since.
    fn bump_epoch(&mut self, must: bool) {
        if !must && self.checked_topics == Some(self.scene.topics.version()) {
            return;
        }
        let metadata_hash = self.metadata_hash();
        if must || metadata_hash != self.epoch.metadata_hash {
            let epoch = self.epoch.epoch.saturating_add(1);
            self.push(ConsumerRecord::Group(Some(ConsumerGroupEpoch { epoch, metadata_hash })));
        }
    }

    pub fn metadata_hash(&self) -> i64 {
        self.scene.topics.metadata_hash(self.subscribed_topics())
    }

    /// Resolves each pattern that is new, or older than the topics are, and forgets those that nobody uses. True: other topics match.
    fn resolve_regexes(&mut self) -> bool {
        self.forget_regexes();
        let version = i64::try_from(self.scene.topics.version()).unwrap_or(i64::MAX);
        let has_looked = self.checked_topics == Some(self.scene.topics.version());
        let is_old = |resolved: &Arc<ResolvedRegex>| resolved.version != version && !has_looked;
        let stale = |regex: &&Arc<str>| self.regexes.get(*regex).is_none_or(is_old);
        let stale: Vec<_> = self.used_regexes().into_iter().filter(stale).cloned().collect();
        let mut any_changed = false;
        for regex in stale {
            let topics = regex::matching(&regex, self.scene.topics);
            let before = self.regexes.get(&regex);
            if before.is_some_and(|before| before.topics == topics) {
                continue;
            }
            any_changed |= before.is_some() || !topics.is_empty();
            let resolved = ResolvedRegex { topics, version, timestamp_ms: self.scene.now_ms };
            self.push(ConsumerRecord::Regex(regex, Some(Arc::new(resolved))));
        }
        any_changed
    }

    fn used_regexes(&self) -> BTreeSet<&Arc<str>> {
        let used = self.members.values().filter_map(|member| member.said.topic_regex.as_ref());
        used.filter(|regex| !regex.is_empty()).collect()
    }

    pub fn forget_regexes(&mut self) {
        let used = self.used_regexes();
        let unused: Vec<_> = self.regexes.keys().filter(|regex| !used.contains(regex)).cloned().collect();
        unused.into_iter().for_each(|regex| self.push(ConsumerRecord::Regex(regex, None)));
    }

    /// A target for the group epoch, unless the last one is too young (KIP-1263).
    fn assign_if_due(&mut self) {
        if self.assignment_due_ms().is_none_or(|due_ms| self.scene.now_ms < due_ms) {
            return;
        }
        let assigned = self.preferred_assignor().assign(&self.spec());
        for (id, target) in assigned {
            if self.target.get(&id).is_none_or(|before| **before != target) {
                self.push(ConsumerRecord::Target(id, Some(Arc::new(target))));
            }
        }
        let target_epoch = TargetAssignmentEpoch { epoch: self.epoch.epoch, timestamp_ms: self.scene.now_ms };
        self.push(ConsumerRecord::TargetEpoch(Some(target_epoch)));
    }

    /// When there is to be a new target. `None`: the one that there is fits.
    pub fn assignment_due_ms(&self) -> Option<i64> {
        let interval_ms = i64::from(self.scene.settings.assignment_interval_ms);
        let since_ms = self.target_epoch.timestamp_ms;
        // There was none yet, or nobody knows when.
        let due_ms = if since_ms == 0 { since_ms } else { since_ms.saturating_add(interval_ms) };
        (self.epoch.epoch > self.target_epoch.epoch).then_some(due_ms)
    }

    fn spec(&self) -> GroupSpec<'a> {
        let member = |(id, member): (&MemberId, &Member)| {
            let spec = MemberSpec {
                instance_id: member.said.instance_id.clone(),
                topics: Arc::new(self.topic_ids_of(&member.said, self.scene.topics)),
                target: self.target.get(id).cloned().unwrap_or_default(),
            };
            (id.clone(), spec)
        };
        GroupSpec { members: self.members.iter().map(member).collect(), topics: self.scene.topics }
    }

    /// The one that most members ask for.
    fn preferred_assignor(&self) -> Assignor {
        self.assignor_by_vote().unwrap_or(self.scene.default_assignor)
    }

    fn reconcile(
        &mut self,
        id: &MemberId,
        before: &Arc<MemberAssignment>,
        owned: Option<&Assignment>,
        has_subscription_changed: bool,
    ) -> Result<Arc<MemberAssignment>, GroupError> {
        let is_reconciled = before.state == MemberState::Stable && before.epoch == self.target_epoch.epoch;
        if is_reconciled && !has_subscription_changed {
            return Ok(before.clone());
        }
        let Some(member) = self.members.get(id) else { return Err(GroupError::UnknownMemberId) };
        let none = Arc::default();
        let towards = super::reconcile::Target {
            epoch: self.target_epoch.epoch,
            partitions: self.target.get(id).unwrap_or(&none),
            subscribed: &self.topic_ids_of(&member.said, self.scene.topics),
            owned,
            has_subscription_changed,
        };
        let is_free = |partition| self.owners.get(&partition).is_none_or(|owner| owner == id);
        let current = towards.reconcile(before, is_free)?;
        if current == **before {
            return Ok(before.clone());
        }
        // Nothing looks at the draft after this: no need to apply it.
        let fact = ConsumerRecord::Current(id.clone(), Some(current.clone()));
        self.records.push(Record::Consumer { group: self.id.clone(), fact });
        Ok(Arc::new(current))
    }
}

impl ConsumerGroup {
    pub(super) fn assignor_by_vote(&self) -> Option<Assignor> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for assignor in self.members.values().filter_map(|member| member.said.assignor.as_deref()) {
            *votes.entry(assignor).or_default() += 1;
        }
        let (name, _) = votes.into_iter().max_by_key(|(_, votes)| *votes)?;
        Assignor::of_name(name)
    }
}
