//! The share coordinator of one partition of `__share_group_state`: what survives of each share partition.
//!
//! A snapshot says all; updates after it say what changed. Every so many updates there is a new snapshot, so that what lies before it
//! can be dropped from the log. Decisions change nothing: the caller appends the record and gives it to [`ShareStates::replay`].

use super::runs::Runs;
use crate::group::GroupId;
use std::collections::BTreeMap;
use uuid::Uuid;

pub use crate::record::{Latest, ShareStateRecord};

/// Names a share partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShareKey {
    pub group: GroupId,
    pub topic_id: Uuid,
    pub partition: i32,
}

/// Records of one state, as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateBatch {
    pub first_offset: i64,
    pub last_offset: i64,
    /// 0 available, 2 acknowledged, 4 archived.
    pub delivery_state: i8,
    pub delivery_count: i16,
}

/// All that is known of a share partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShareState {
    pub snapshot_epoch: i32,
    /// Higher with every change of the offsets by an administrator.
    pub state_epoch: i32,
    pub leader_epoch: i32,
    /// -1: nobody has read yet, the group's settings say where to begin.
    pub start_offset: i64,
    /// -1: not known.
    pub delivery_complete_count: i32,
    pub created_ms: i64,
    pub written_ms: i64,
    pub batches: Vec<StateBatch>,
}

/// What a change of a share partition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    pub start_offset: i64,
    pub delivery_complete_count: i32,
    pub leader_epoch: i32,
    pub batches: Vec<StateBatch>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    state: ShareState,
    /// Since the last snapshot.
    updates: usize,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ShareStates {
    states: BTreeMap<ShareKey, Kept>,
}

impl ShareStates {
    pub fn get(&self, key: &ShareKey) -> Option<&ShareState> {
        self.states.get(key).map(|kept| &kept.state)
    }

    pub fn len(&self) -> usize {
        self.states.len()
    }

    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The record that makes a share partition begin at `start_offset`, whatever was before.
    pub fn initialize(&self, key: &ShareKey, start_offset: i64, now_ms: i64) -> ShareStateRecord {
        let before = self.get(key);
        let state = ShareState {
            snapshot_epoch: before.map_or(0, |state| state.snapshot_epoch.saturating_add(1)),
            state_epoch: before.map_or(0, |state| state.state_epoch.saturating_add(1)),
            leader_epoch: before.map_or(-1, |state| state.leader_epoch),
            start_offset,
            delivery_complete_count: if start_offset < 0 { -1 } else { 0 },
            created_ms: now_ms,
            written_ms: now_ms,
            batches: Vec::new(),
        };
        ShareStateRecord { key: key.clone(), value: Latest::Snapshot(state) }
    }

    /// The record that keeps a change: an update, or a snapshot when `updates_per_snapshot` were written.
    pub fn update(&self, key: &ShareKey, update: Update, updates_per_snapshot: usize, now_ms: i64) -> ShareStateRecord {
        let key = key.clone();
        match self.states.get(&key) {
            Some(kept) if kept.updates < updates_per_snapshot => {
                ShareStateRecord { key, value: Latest::Update { snapshot_epoch: kept.state.snapshot_epoch, update } }
            }
            before => {
                let empty = ShareState { snapshot_epoch: -1, created_ms: now_ms, ..ShareState::default() };
                let mut state = before.map_or(empty, |kept| kept.state.clone());
                state.merge(&update);
                state.snapshot_epoch = state.snapshot_epoch.saturating_add(1);
                state.written_ms = now_ms;
                ShareStateRecord { key, value: Latest::Snapshot(state) }
            }
        }
    }

    /// The record that says again what is known, so that those before it can go.
    pub fn snapshot(&self, key: &ShareKey, now_ms: i64) -> Option<ShareStateRecord> {
        let mut state = self.get(key)?.clone();
        state.snapshot_epoch = state.snapshot_epoch.saturating_add(1);
        state.written_ms = now_ms;
        Some(ShareStateRecord { key: key.clone(), value: Latest::Snapshot(state) })
    }

    pub fn replay(&mut self, record: &ShareStateRecord) {
        match &record.value {
            Latest::Snapshot(state) => {
                self.states.insert(record.key.clone(), Kept { state: state.clone(), updates: 0 });
            }
            Latest::Update { snapshot_epoch, update } => {
                let empty = ShareState { snapshot_epoch: *snapshot_epoch, ..ShareState::default() };
                let kept = self.states.entry(record.key.clone()).or_insert_with(|| Kept { state: empty, updates: 0 });
                kept.state.merge(update);
                kept.updates += 1;
            }
            Latest::Deleted => {
                self.states.remove(&record.key);
            }
        }
    }

    /// The records that would bring about what is known, for tests.
    pub fn durable_records(&self) -> Vec<ShareStateRecord> {
        let record = |(key, kept): (&ShareKey, &Kept)| ShareStateRecord {
            key: key.clone(),
            value: Latest::Snapshot(kept.state.clone()),
        };
        self.states.iter().map(record).collect()
    }

    /// All share partitions of a group.
    pub fn of_group<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a ShareKey> {
        self.states.keys().filter(move |key| &*key.group == group)
    }
}

impl ShareState {
    /// What comes later holds; what lies before the start is done with.
    fn merge(&mut self, update: &Update) {
        if update.start_offset >= 0 {
            self.start_offset = update.start_offset;
        }
        if update.leader_epoch >= 0 {
            self.leader_epoch = update.leader_epoch;
        }
        self.delivery_complete_count = update.delivery_complete_count;
        let mut runs = Runs::default();
        for batch in self.batches.iter().chain(&update.batches) {
            runs.set(batch.first_offset, batch.last_offset, (batch.delivery_state, batch.delivery_count));
        }
        runs.remove_below(self.start_offset);
        let batch = |(first_offset, last_offset, &(delivery_state, delivery_count))| StateBatch {
            first_offset,
            last_offset,
            delivery_state,
            delivery_count,
        };
        self.batches = runs.iter().map(batch).collect();
    }
}
