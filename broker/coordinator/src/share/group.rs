//! One share group as its records say it is.

pub use crate::record::ShareGroupRecord;
use crate::{
    group::GroupId,
    record::{CurrentAssignment, GroupEpoch, ShareMember, TargetEpoch},
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Partitions by topic id.
pub type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

/// The topics of which a share group has states.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatePartitions {
    pub initialized: BTreeMap<Uuid, StateTopic>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateTopic {
    pub name: String,
    pub partitions: BTreeSet<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Member {
    pub metadata: ShareMember,
    pub current: CurrentAssignment,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ShareGroup {
    /// None: it does not exist; only requests under way have such a group.
    pub metadata: Option<GroupEpoch>,
    pub target_epoch: Option<TargetEpoch>,
    pub members: BTreeMap<String, Member>,
    pub targets: BTreeMap<String, Assignment>,
    pub states: Option<StatePartitions>,
}

impl ShareGroup {
    pub fn epoch(&self) -> i32 {
        self.metadata.map_or(0, |metadata| metadata.epoch)
    }

    pub fn assignment_epoch(&self) -> i32 {
        self.target_epoch.map_or(0, |target| target.epoch)
    }

    pub fn state_name(&self) -> &'static str {
        if self.members.is_empty() { "Empty" } else { "Stable" }
    }

    pub fn is_void(&self) -> bool {
        *self == Self::default()
    }

    pub fn replay(&mut self, record: &ShareGroupRecord) {
        match record {
            ShareGroupRecord::Metadata { value, .. } => self.metadata = *value,
            ShareGroupRecord::TargetMetadata { value, .. } => self.target_epoch = *value,
            ShareGroupRecord::StatePartitions { value, .. } => self.states = value.clone(),
            ShareGroupRecord::Member { member, value: Some(value), .. } => {
                self.members.entry(member.clone()).or_default().metadata = value.clone();
            }
            ShareGroupRecord::Member { member, value: None, .. } => {
                self.members.remove(member);
            }
            ShareGroupRecord::TargetMember { member, value: Some(value), .. } => {
                self.targets.insert(member.clone(), value.clone());
            }
            ShareGroupRecord::TargetMember { member, value: None, .. } => {
                self.targets.remove(member);
            }
            ShareGroupRecord::Current { member, value, .. } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.current = value.clone().unwrap_or_default();
                }
            }
        }
    }

    /// The records that would bring about this group.
    pub fn durable_records(&self, group: &GroupId) -> Vec<ShareGroupRecord> {
        let group = || group.clone();
        let mut records = Vec::new();
        for (id, member) in &self.members {
            let (value, current) = (Some(member.metadata.clone()), Some(member.current.clone()));
            records.push(ShareGroupRecord::Member { group: group(), member: id.clone(), value });
            records.push(ShareGroupRecord::Current { group: group(), member: id.clone(), value: current });
        }
        let target = |(member, target): (&String, &Assignment)| ShareGroupRecord::TargetMember {
            group: group(),
            member: member.clone(),
            value: Some(target.clone()),
        };
        records.extend(self.targets.iter().map(target));
        records.extend(
            self.target_epoch.map(|value| ShareGroupRecord::TargetMetadata { group: group(), value: Some(value) }),
        );
        records.extend(
            self.states.clone().map(|value| ShareGroupRecord::StatePartitions { group: group(), value: Some(value) }),
        );
        records.extend(self.metadata.map(|value| ShareGroupRecord::Metadata { group: group(), value: Some(value) }));
        records
    }
}

/// What a request makes of a group, record by record; the group itself changes when they are in the log.
#[derive(Debug)]
pub(super) struct Draft {
    pub id: GroupId,
    pub group: ShareGroup,
    pub records: Vec<ShareGroupRecord>,
}

impl Draft {
    pub fn of(id: &GroupId, group: Option<&ShareGroup>) -> Self {
        Self { id: id.clone(), group: group.cloned().unwrap_or_default(), records: Vec::new() }
    }

    fn write(&mut self, record: ShareGroupRecord) {
        self.group.replay(&record);
        self.records.push(record);
    }

    pub fn put_member(&mut self, member: &str, value: ShareMember) {
        self.write(ShareGroupRecord::Member { group: self.id.clone(), member: member.to_owned(), value: Some(value) });
    }

    pub fn put_current(&mut self, member: &str, value: CurrentAssignment) {
        self.write(ShareGroupRecord::Current { group: self.id.clone(), member: member.to_owned(), value: Some(value) });
    }

    pub fn put_target(&mut self, member: &str, value: Assignment) {
        let record =
            ShareGroupRecord::TargetMember { group: self.id.clone(), member: member.to_owned(), value: Some(value) };
        self.write(record);
    }

    pub fn put_target_epoch(&mut self, value: TargetEpoch) {
        self.write(ShareGroupRecord::TargetMetadata { group: self.id.clone(), value: Some(value) });
    }

    pub fn put_states(&mut self, value: StatePartitions) {
        self.write(ShareGroupRecord::StatePartitions { group: self.id.clone(), value: Some(value) });
    }

    pub fn bump_epoch(&mut self, metadata_hash: i64) {
        let epoch = self.group.epoch().saturating_add(1);
        let value = Some(GroupEpoch { epoch, metadata_hash });
        self.write(ShareGroupRecord::Metadata { group: self.id.clone(), value });
    }

    /// All that there is of a member goes.
    pub fn remove_member(&mut self, member: &str) {
        let (group, member) = (|| self.id.clone(), member.to_owned());
        let records = [
            ShareGroupRecord::Current { group: group(), member: member.clone(), value: None },
            ShareGroupRecord::TargetMember { group: group(), member: member.clone(), value: None },
            ShareGroupRecord::Member { group: group(), member, value: None },
        ];
        records.into_iter().for_each(|record| self.write(record));
    }

    /// The group goes.
    pub fn remove(&mut self) {
        let group = || self.id.clone();
        let records = [
            ShareGroupRecord::TargetMetadata { group: group(), value: None },
            ShareGroupRecord::StatePartitions { group: group(), value: None },
            ShareGroupRecord::Metadata { group: group(), value: None },
        ];
        records.into_iter().for_each(|record| self.write(record));
    }
}
