//! The committed offsets of one group: durable, changed by `set` and `remove` out of replay alone.

use super::{GroupId, OffsetCommitRequest, OffsetToCommit, PartitionResult, pending::PendingOffsets};
use crate::{
    GroupConfig, GroupError, limits,
    record::{CommittedOffset, OffsetKey, Record},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct GroupOffsets {
    by_topic: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
    count: usize,
    pub pending: PendingOffsets,
}

/// From when an offset's retention counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetainFrom {
    /// From its own commit.
    Commit,
    /// From when the group became empty, if that is later.
    GroupEmptySince(i64),
}

/// Whoever may commit at all may commit for every partition.
pub(super) const ALL: fn(&OffsetToCommit) -> Result<(), GroupError> = |_| Ok(());

impl GroupOffsets {
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.pending.is_empty()
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.by_topic.get(topic)?.get(&partition)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &BTreeMap<i32, CommittedOffset>)> {
        self.by_topic.iter()
    }

    pub fn set(&mut self, topic: &Arc<str>, partition: i32, offset: CommittedOffset) {
        self.pending.supersede(topic, partition);
        self.place(topic, partition, offset);
    }

    fn place(&mut self, topic: &Arc<str>, partition: i32, offset: CommittedOffset) {
        let partitions = self.by_topic.entry(topic.clone()).or_default();
        if partitions.insert(partition, offset).is_none() {
            self.count += 1;
        }
    }

    /// The producer's transaction has ended: its offsets count now, or never.
    pub fn end_transaction(&mut self, producer_id: i64, is_commit: bool) {
        for ((topic, partition), offset) in self.pending.end(producer_id, is_commit) {
            self.place(&topic, partition, offset);
        }
    }

    pub fn remove(&mut self, topic: &str, partition: i32) {
        self.pending.remove(topic, partition);
        let Some(partitions) = self.by_topic.get_mut(topic) else { return };
        if partitions.remove(&partition).is_some() {
            self.count -= 1;
        }
        if partitions.is_empty() {
            self.by_topic.remove(topic);
        }
    }

    /// What each offset of the request comes to, and the records of those that are taken. `admitted`: all are refused, or each by itself.
    pub fn commit_all(
        &self,
        admitted: Result<impl Fn(&OffsetToCommit) -> Result<(), GroupError>, GroupError>,
        request: &OffsetCommitRequest,
        config: &GroupConfig,
        now_ms: i64,
        records: &mut Vec<Record>,
    ) -> Vec<PartitionResult> {
        let mut results = Vec::with_capacity(request.offsets.len());
        for offset in &request.offsets {
            let admitted = admitted.as_ref().map_err(|error| *error).and_then(|admits| admits(offset));
            let record = admitted.and_then(|()| self.commit(request, offset, config, now_ms));
            let error = record.map(|record| records.push(record)).err();
            results.push(PartitionResult { topic: offset.topic.clone(), partition: offset.partition, error });
        }
        results
    }

    /// Checks one offset and turns it into its record.
    fn commit(
        &self,
        request: &OffsetCommitRequest,
        offset: &OffsetToCommit,
        config: &GroupConfig,
        now_ms: i64,
    ) -> Result<Record, GroupError> {
        let longest = config.offset_metadata_max_bytes.min(limits::MAX_STRING_BYTES);
        if offset.metadata.len() > longest {
            return Err(GroupError::OffsetMetadataTooLarge);
        }
        let is_new = self.get(&offset.topic, offset.partition).is_none();
        let count = self.count + self.pending.len();
        if offset.topic.len() > limits::MAX_STRING_BYTES || is_new && count >= limits::MAX_OFFSETS_PER_GROUP {
            return Err(GroupError::InvalidCommitOffsetSize);
        }
        let key = OffsetKey { group: request.group.clone(), topic: offset.topic.clone(), partition: offset.partition };
        let value = CommittedOffset {
            offset: offset.offset,
            leader_epoch: offset.leader_epoch,
            metadata: offset.metadata.clone(),
            commit_timestamp_ms: now_ms,
            expire_timestamp_ms: request.retention_ms.map(|retention_ms| now_ms.saturating_add(retention_ms)),
            topic_id: offset.topic_id,
        };
        Ok(Record::OffsetCommit { key, value: Some(value) })
    }

    /// The records that hold these offsets.
    pub fn records(&self, group: &GroupId) -> Vec<Record> {
        let mut records = Vec::with_capacity(self.count);
        for (topic, partitions) in &self.by_topic {
            for (partition, value) in partitions {
                let key = OffsetKey { group: group.clone(), topic: topic.clone(), partition: *partition };
                records.push(Record::OffsetCommit { key, value: Some(value.clone()) });
            }
        }
        records
    }

    /// Tombstones for all offsets of the topics that `pick` picks, those of open transactions too.
    pub fn topic_tombstones(&self, group: &GroupId, pick: impl Fn(&str) -> bool) -> Vec<Record> {
        let mut records = self.tombstones(group, |topic, _, _| pick(topic));
        let unseen = |(topic, partition): &&(Arc<str>, i32)| pick(topic) && self.get(topic, *partition).is_none();
        let alone: BTreeSet<_> = self.pending.partitions().filter(unseen).collect();
        records.extend(alone.into_iter().map(|(topic, partition)| tombstone(group, topic, *partition)));
        records
    }

    /// Tombstones for all committed offsets that `pick` picks.
    pub fn tombstones(&self, group: &GroupId, pick: impl Fn(&str, i32, &CommittedOffset) -> bool) -> Vec<Record> {
        let mut records = Vec::new();
        for (topic, partitions) in &self.by_topic {
            for (partition, _) in partitions.iter().filter(|(partition, offset)| pick(topic, **partition, offset)) {
                records.push(tombstone(group, topic, *partition));
            }
        }
        records
    }
}

pub(super) fn tombstone(group: &GroupId, topic: &Arc<str>, partition: i32) -> Record {
    let key = OffsetKey { group: group.clone(), topic: topic.clone(), partition };
    Record::OffsetCommit { key, value: None }
}

/// Whether the offset's time is over (`offsets.retention.minutes`, KIP-211).
pub(super) fn is_expired(offset: &CommittedOffset, from: RetainFrom, retention_ms: i64, now_ms: i64) -> bool {
    if let Some(expire_timestamp_ms) = offset.expire_timestamp_ms {
        return now_ms >= expire_timestamp_ms;
    }
    let since_ms = match from {
        RetainFrom::Commit => offset.commit_timestamp_ms,
        RetainFrom::GroupEmptySince(empty_ms) => offset.commit_timestamp_ms.max(empty_ms),
    };
    now_ms.saturating_sub(since_ms) >= retention_ms
}
