//! Offsets of one group that open transactions will commit (KIP-98): durable, invisible until the transaction's marker is there.
//!
//! What counts of several commits for a partition is the one that lies last in the log, whether or not it belongs to a
//! transaction: an earlier one that is decided later is *superseded*. It still makes its partition unstable (KIP-447).

use super::GroupId;
use crate::record::{CommittedOffset, OffsetKey, Record};
use std::{collections::BTreeMap, sync::Arc};

type PartitionKey = (Arc<str>, i32);

#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct PendingOffsets {
    /// By producer id.
    transactions: BTreeMap<i64, BTreeMap<PartitionKey, Pending>>,
    /// How many were ever set: tells which lies later in the log.
    set: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Pending {
    at: u64,
    is_superseded: bool,
    offset: CommittedOffset,
}

impl PendingOffsets {
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    pub fn len(&self) -> usize {
        self.transactions.values().map(BTreeMap::len).sum()
    }

    pub fn contains(&self, topic: &str, partition: i32) -> bool {
        self.partitions().any(|(name, index)| name.as_ref() == topic && *index == partition)
    }

    /// Every partition with a pending offset; several transactions may have one for the same.
    pub fn partitions(&self) -> impl Iterator<Item = &PartitionKey> {
        self.transactions.values().flat_map(BTreeMap::keys)
    }

    pub fn set(&mut self, producer_id: i64, topic: &Arc<str>, partition: i32, offset: CommittedOffset) {
        self.set += 1;
        let pending = Pending { at: self.set, is_superseded: false, offset };
        self.transactions.entry(producer_id).or_default().insert((topic.clone(), partition), pending);
    }

    /// A later commit of the partition counts already.
    pub fn supersede(&mut self, topic: &str, partition: i32) {
        self.supersede_before(topic, partition, u64::MAX);
    }

    fn supersede_before(&mut self, topic: &str, partition: i32, at: u64) {
        for transaction in self.transactions.values_mut() {
            let of_partition =
                transaction.iter_mut().filter(|((name, index), _)| &**name == topic && *index == partition);
            of_partition.filter(|(_, pending)| pending.at < at).for_each(|(_, pending)| pending.is_superseded = true);
        }
    }

    /// The offsets of the partition were deleted, these too.
    pub fn remove(&mut self, topic: &str, partition: i32) {
        for transaction in self.transactions.values_mut() {
            transaction.retain(|(name, index), _| &**name != topic || *index != partition);
        }
        self.transactions.retain(|_, transaction| !transaction.is_empty());
    }

    /// The producer's transaction has ended. What counts of it if it was a commit.
    pub fn end(&mut self, producer_id: i64, is_commit: bool) -> Vec<(PartitionKey, CommittedOffset)> {
        let ended = self.transactions.remove(&producer_id).unwrap_or_default();
        let mut counting = Vec::new();
        for ((topic, partition), pending) in
            ended.into_iter().filter(|(_, pending)| is_commit && !pending.is_superseded)
        {
            self.supersede_before(&topic, partition, pending.at);
            counting.push(((topic, partition), pending.offset));
        }
        counting
    }

    /// With the producer ids that they belong to.
    pub fn records(&self, group: &GroupId) -> Vec<(i64, Record)> {
        let record = |((topic, partition), pending): (&PartitionKey, &Pending)| {
            let key = OffsetKey { group: group.clone(), topic: topic.clone(), partition: *partition };
            Record::OffsetCommit { key, value: Some(pending.offset.clone()) }
        };
        let of_one = |(id, transaction): (&i64, &BTreeMap<PartitionKey, Pending>)| {
            transaction.iter().map(|entry| (*id, record(entry))).collect::<Vec<_>>()
        };
        self.transactions.iter().flat_map(of_one).collect()
    }
}
