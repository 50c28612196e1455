//! One partition of `__share_group_state`: what survives of the share partitions whose keys lie here.
//!
//! Updates say what changed, so the topic is never compacted; what lies before the oldest snapshot that still counts is deleted.
//! Everything is appended and replayed under the shard's lock, which is taken after a share partition's and before the log's.

use crate::{
    clock::Clock,
    coordination::{self, NEVER_MS, encode, loading},
    durability::patience,
    partition::{Partition, UntilDurable},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use tifo_coordinator::{
    DecodeError, ShareError,
    share::{Latest, ShareKey, ShareState, ShareStateRecord, ShareStates, Update},
};
use tifo_storage::{
    Origin,
    record_batch::{BatchHeader, EndTransactionMarker},
};
use tokio::sync::OnceCell;

/// So many records after the last time, the shard looks what can be deleted …
const PRUNE_AFTER_RECORDS: i64 = 10_000;
/// … and says again what was last said so long before.
const OLD_AFTER_RECORDS: i64 = 4 * PRUNE_AFTER_RECORDS;

#[derive(Debug)]
pub struct StateShard {
    partition: Arc<Partition>,
    clock: Clock,
    updates_per_snapshot: usize,
    loaded: OnceCell<()>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    states: ShareStates,
    /// Where the last snapshot of each lies, or begins at the earliest.
    snapshots: HashMap<ShareKey, i64>,
    /// Where the log ended when it was last pruned.
    pruned_at: i64,
}

impl StateShard {
    pub fn new(partition: Arc<Partition>, clock: Clock, updates_per_snapshot: usize) -> Self {
        Self { partition, clock, updates_per_snapshot, loaded: OnceCell::new(), kept: Mutex::default() }
    }

    /// Returns when the shard knows what its partition holds.
    pub async fn loaded(self: &Arc<Self>) -> Result<(), ShareError> {
        let load = || async {
            let shard = self.clone();
            let loaded = tokio::task::spawn_blocking(move || shard.load()).await;
            loaded.unwrap_or(Err(ShareError::CoordinatorNotAvailable))
        };
        self.loaded.get_or_try_init(load).await.map(|_| ())
    }

    fn load(&self) -> Result<(), ShareError> {
        let mut kept = patience::lock(&self.kept);
        *kept = Kept::default();
        loading::load(&self.partition, &mut Loading(&mut kept)).map(|_| ()).map_err(|error| {
            tracing::error!(topic = %self.partition.topic, partition = self.partition.index, %error, "states of share groups could not be loaded");
            ShareError::CoordinatorNotAvailable
        })
    }

    pub fn get(&self, key: &ShareKey) -> Option<ShareState> {
        patience::lock(&self.kept).states.get(key).cloned()
    }

    /// Keeps a change of a share partition.
    pub fn update(&self, key: &ShareKey, update: Update) -> Result<Option<UntilDurable>, ShareError> {
        let (mut kept, now_ms) = (patience::lock(&self.kept), self.clock.now_ms());
        let record = kept.states.update(key, update, self.updates_per_snapshot, now_ms);
        self.keep(&mut kept, vec![record])
    }

    /// Share partitions begin at these offsets.
    pub fn initialize(&self, key: &ShareKey, start_offset: i64) -> Result<Option<UntilDurable>, ShareError> {
        let (mut kept, now_ms) = (patience::lock(&self.kept), self.clock.now_ms());
        let record = kept.states.initialize(key, start_offset, now_ms);
        self.keep(&mut kept, vec![record])
    }

    /// Nothing is known of the share partition any more.
    pub fn delete(&self, key: &ShareKey) -> Result<Option<UntilDurable>, ShareError> {
        let mut kept = patience::lock(&self.kept);
        if kept.states.get(key).is_none() {
            return Ok(None);
        }
        self.keep(&mut kept, vec![ShareStateRecord { key: key.clone(), value: Latest::Deleted }])
    }

    fn keep(&self, kept: &mut Kept, records: Vec<ShareStateRecord>) -> Result<Option<UntilDurable>, ShareError> {
        let now_ms = self.clock.now_ms();
        let batches = encode(records.iter().map(ShareStateRecord::encode), None, now_ms);
        let accepted = self.partition.append(&batches, Origin::Internal, now_ms).map_err(|error| {
            tracing::error!(topic = %self.partition.topic, partition = self.partition.index, %error, "states of share groups were not taken");
            ShareError::StorageError
        })?;
        metrics::counter!("tifo_coordinator_records_total").increment(u64::try_from(records.len()).unwrap_or(0));
        for (record, offset) in records.iter().zip(accepted.appended.base_offset..) {
            kept.replay(record, offset);
        }
        if accepted.appended.last_offset - kept.pruned_at >= PRUNE_AFTER_RECORDS {
            self.prune(kept, accepted.appended.last_offset);
        }
        Ok(accepted.until_durable)
    }

    /// Deletes what lies before the oldest snapshot; that of who was silent for long is written anew for it.
    fn prune(&self, kept: &mut Kept, end: i64) {
        kept.pruned_at = end;
        let old = kept.snapshots.iter().filter(|(_, offset)| end - **offset >= OLD_AFTER_RECORDS);
        let old: Vec<ShareKey> = old.map(|(key, _)| key.clone()).collect();
        let now_ms = self.clock.now_ms();
        let anew: Vec<_> = old.iter().filter_map(|key| kept.states.snapshot(key, now_ms)).collect();
        if !anew.is_empty() && self.keep(kept, anew).is_err() {
            return;
        }
        let Some(oldest) = kept.snapshots.values().min().copied() else { return };
        if let Err(error) = self.partition.delete_records(Some(oldest)) {
            tracing::warn!(topic = %self.partition.topic, partition = self.partition.index, %error, "old states of share groups stay for now");
        }
    }
}

impl Kept {
    fn replay(&mut self, record: &ShareStateRecord, offset: i64) {
        self.states.replay(record);
        match &record.value {
            Latest::Snapshot(_) => {
                self.snapshots.insert(record.key.clone(), offset);
            }
            Latest::Update { .. } => {
                self.snapshots.entry(record.key.clone()).or_insert(offset);
            }
            Latest::Deleted => {
                self.snapshots.remove(&record.key);
            }
        }
    }
}

/// What is in the log goes into the states.
struct Loading<'a>(&'a mut Kept);

impl loading::Replay for Loading<'_> {
    fn record(&mut self, batch: &BatchHeader, key: &Bytes, value: Option<&Bytes>) -> Result<(), DecodeError> {
        if let Some(record) = ShareStateRecord::decode(key, value)? {
            self.0.replay(&record, batch.base_offset);
        }
        self.0.pruned_at = self.0.pruned_at.max(batch.base_offset);
        Ok(())
    }

    fn marker(&mut self, _: i64, _: EndTransactionMarker) {}
}

impl coordination::Shard for StateShard {
    fn deadline_ms(&self) -> i64 {
        NEVER_MS
    }

    fn expire(&self) {}

    fn close(&self) {}
}
