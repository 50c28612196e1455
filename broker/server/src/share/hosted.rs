//! One share partition that somebody reads: its state machine, the log that it reads, and where its state is kept.
//!
//! What changes it for good is written under its lock before it holds. Lock order: `state`, then the state shard's, then a log's.

use super::state_shard::StateShard;
use crate::{
    coordination::NEVER_MS,
    durability::patience,
    errors::RequestError,
    groups::ShareGroupSettings,
    partition::{Isolation, Partition, UntilDurable, Wanted},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};
use tifo_coordinator::{
    ShareError,
    share::{Acquire, AcquiredRecords, Change, Limits, LogBatch, ShareKey, SharePartition, Update},
};
use tifo_storage::{
    AbortedTransaction,
    record_batch::{self, BatchHeader},
};

/// Reads that found nothing to give away, all of it being aborted, are followed by another, so often.
const MAX_READS: usize = 16;

#[derive(Debug)]
pub struct HostedPartition {
    pub key: ShareKey,
    pub partition: Arc<Partition>,
    shard: Arc<StateShard>,
    state: Mutex<SharePartition>,
    /// Its group, its topic or its offsets are others now: nothing of it is written any more. Changed under `state`.
    has_ended: AtomicBool,
    /// When a lock ends, for the timer to read without the lock.
    deadline_ms: AtomicI64,
}

/// How much a member is given.
#[derive(Debug, Clone)]
pub struct Wish {
    pub member: Arc<str>,
    pub now_ms: i64,
    pub max_bytes: usize,
    pub max_records: i64,
    pub batch_size: i64,
}

/// What a member was given.
#[derive(Debug, Default)]
pub struct Given {
    pub acquired: Vec<AcquiredRecords>,
    /// The batches of the log that hold them.
    pub records: Bytes,
}

impl HostedPartition {
    pub fn new(key: ShareKey, partition: Arc<Partition>, shard: Arc<StateShard>, state: SharePartition) -> Self {
        Self {
            key,
            partition,
            shard,
            state: Mutex::new(state),
            has_ended: AtomicBool::new(false),
            deadline_ms: AtomicI64::new(NEVER_MS),
        }
    }

    /// It is another that is read from now on.
    pub fn end(&self) {
        let _state = patience::lock(&self.state);
        self.has_ended.store(true, Ordering::Release);
        self.partition.wake();
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    pub fn deadline_ms(&self) -> i64 {
        self.deadline_ms.load(Ordering::Acquire)
    }

    /// Bytes that a member could be given now, up to `max_bytes`; None: nothing.
    pub fn available(&self, settings: &ShareGroupSettings, max_bytes: usize) -> Result<Option<usize>, RequestError> {
        let mut state = patience::lock(&self.state);
        state.log_starts_at(self.partition.offsets()?.log_start_offset);
        if !state.can_acquire(&settings.limits) {
            return Ok(None);
        }
        let read = self.partition.read_as(&wanted(state.next_fetch_offset(), max_bytes, settings))?;
        Ok(read.slice.map(|slice| slice.length))
    }

    /// Gives a member what there is.
    pub fn acquire(&self, settings: &ShareGroupSettings, wish: &Wish) -> Result<Given, RequestError> {
        let mut state = patience::lock(&self.state);
        if self.has_ended() {
            return Err(RequestError::UnknownTopicOrPartition);
        }
        let mut given = Given::default();
        for _ in 0..MAX_READS {
            let before = (state.start_offset(), state.end_offset(), state.next_fetch_offset());
            given = self.acquire_once(&mut state, settings, wish)?;
            if !given.acquired.is_empty()
                || before == (state.start_offset(), state.end_offset(), state.next_fetch_offset())
            {
                break;
            }
        }
        self.note_deadline(&state);
        Ok(given)
    }

    fn acquire_once(
        &self,
        state: &mut SharePartition,
        settings: &ShareGroupSettings,
        wish: &Wish,
    ) -> Result<Given, RequestError> {
        state.log_starts_at(self.partition.offsets()?.log_start_offset);
        if !state.can_acquire(&settings.limits) {
            return Ok(Given::default());
        }
        let read_from = state.next_fetch_offset();
        let read = self.partition.read_as(&wanted(read_from, wish.max_bytes, settings))?;
        let Some(slice) = read.slice else { return Ok(Given::default()) };
        let bytes = slice.read()?;
        let batches = batches(&bytes, read.aborted.as_deref().unwrap_or_default());
        let request = Acquire {
            member: wish.member.clone(),
            now_ms: wish.now_ms,
            max_records: wish.max_records,
            batch_size: wish.batch_size,
            limits: settings.limits,
            read_from,
            batches: &batches.iter().map(|(batch, _)| *batch).collect::<Vec<_>>(),
        };
        let acquired = state.acquire(&request);
        let records = cut(&bytes, &batches, &acquired);
        Ok(Given { acquired, records })
    }

    /// Writes what `decide` says, then makes it so. Nothing waits for the disk to sync but who gets the answer.
    pub fn change(
        &self,
        decide: impl FnOnce(&SharePartition) -> Result<Change, ShareError>,
    ) -> Result<Option<UntilDurable>, ShareError> {
        let mut state = patience::lock(&self.state);
        if self.has_ended() {
            return Err(ShareError::UnknownTopicOrPartition);
        }
        let change = decide(&state)?;
        if change.is_empty() {
            return Ok(None);
        }
        let until_durable = self.shard.update(&self.key, update(&change))?;
        self.make_so(&mut state, change);
        Ok(until_durable)
    }

    /// Records that were held for too long come back, even where the disk does not take that.
    pub fn expire(&self, now_ms: i64, limits: &Limits) {
        let mut state = patience::lock(&self.state);
        let change = state.expire(now_ms, limits);
        if !change.is_empty() && !self.has_ended() && self.shard.update(&self.key, update(&change)).is_err() {
            tracing::warn!(group = %self.key.group, topic = %self.partition.topic, partition = self.partition.index, "records are available again, but that could not be written");
        }
        self.make_so(&mut state, change);
    }

    fn make_so(&self, state: &mut SharePartition, change: Change) {
        let is_change = !change.is_empty();
        state.apply(change);
        self.note_deadline(state);
        if is_change {
            self.partition.wake();
        }
    }

    fn note_deadline(&self, state: &SharePartition) {
        self.deadline_ms.store(state.next_deadline_ms().unwrap_or(NEVER_MS), Ordering::Release);
    }
}

fn update(change: &Change) -> Update {
    Update {
        start_offset: change.start_offset,
        delivery_complete_count: change.delivery_complete_count,
        leader_epoch: crate::cluster::LEADER_EPOCH,
        batches: change.batches(),
    }
}

fn wanted(offset: i64, max_bytes: usize, settings: &ShareGroupSettings) -> Wanted {
    let isolation = if settings.reads_committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    Wanted { offset, max_bytes, min_one: true, isolation, last_fetched_epoch: None }
}

/// The batches of a read, each with the place where it ends.
fn batches(bytes: &Bytes, aborted: &[AbortedTransaction]) -> Vec<(LogBatch, usize)> {
    let mut end = 0;
    let whole = record_batch::batches(bytes.clone()).map_while(Result::ok);
    let batch = whole.map(|batch| {
        end += batch.header.size();
        let (first_offset, last_offset) = (batch.header.base_offset, batch.header.last_offset());
        (LogBatch { first_offset, last_offset, is_aborted: is_aborted(&batch.header, aborted) }, end)
    });
    batch.collect()
}

fn is_aborted(batch: &BatchHeader, aborted: &[AbortedTransaction]) -> bool {
    let is_of = |transaction: &AbortedTransaction| {
        transaction.producer_id == batch.producer_id
            && (transaction.first_offset..=transaction.last_offset).contains(&batch.base_offset)
    };
    batch.is_transactional() && aborted.iter().any(is_of)
}

/// The bytes from the first to the last batch of which something was acquired.
fn cut(bytes: &Bytes, batches: &[(LogBatch, usize)], acquired: &[AcquiredRecords]) -> Bytes {
    let (Some(first), Some(last)) = (
        acquired.iter().map(|records| records.first_offset).min(),
        acquired.iter().map(|records| records.last_offset).max(),
    ) else {
        return Bytes::new();
    };
    let before = batches.iter().take_while(|(batch, _)| batch.last_offset < first).last();
    let until = batches.iter().take_while(|(batch, _)| batch.first_offset <= last).last();
    let (start, end) = (before.map_or(0, |(_, end)| *end), until.map_or(0, |(_, end)| *end));
    if start < end && end <= bytes.len() { bytes.slice(start..end) } else { Bytes::new() }
}
