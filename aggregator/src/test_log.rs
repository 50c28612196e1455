//! A log in memory for tests: topics as lists of batches, long polls woken by appends, and a fuse that cuts at the
//! n-th append of the aggregator, before or after it is applied.
//!
//! Used with tokio's paused time; its clock follows that time.

#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tifo_broker::{
    ClientError, LogClient,
    client::{Fetched, TopicSpec},
    clock::Clock,
};
use tifo_storage::record_batch::{BatchBuilder, Compression, Record, RecordBatch, batches};
use tokio::{sync::Notify, time::Instant};

/// 2024-07-15, so that records of now and events of long ago differ.
pub const NOW_MS: i64 = 1_721_046_896_000;

/// When to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fuse {
    /// The n-th append from now, from 1.
    pub at: usize,
    pub applied: bool,
    /// Every later call fails too, until the log is revived: a kill. Else only this append.
    pub fatal: bool,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<String, Vec<Partition>>,
    specs: Vec<TopicSpec>,
    committed: BTreeMap<(String, String), BTreeMap<i32, i64>>,
    fuse: Option<Fuse>,
    dead: bool,
}

#[derive(Debug, Default, Clone)]
struct Partition {
    batches: Vec<(i64, Bytes)>,
    start: i64,
    end: i64,
}

#[derive(Debug)]
pub struct TestLog {
    state: Mutex<State>,
    changed: Notify,
    pub clock: Clock,
    started: Instant,
    /// What a fetch that finds data takes.
    fetch_takes: Duration,
}

impl TestLog {
    pub fn new() -> Arc<Self> {
        Self::slow(Duration::ZERO)
    }

    pub fn slow(fetch_takes: Duration) -> Arc<Self> {
        let (state, changed, clock) = (Mutex::default(), Notify::new(), Clock::fixed(NOW_MS));
        Arc::new(Self { state, changed, clock, started: Instant::now(), fetch_takes })
    }

    pub fn create(&self, topic: &str, partitions: usize) {
        let mut state = self.state.lock();
        let topic = state.topics.entry(topic.to_owned()).or_default();
        topic.resize(partitions.max(topic.len()), Partition::default());
    }

    /// Deletes the topic and creates it again.
    pub fn remake(&self, topic: &str, partitions: usize) {
        self.state.lock().topics.remove(topic);
        self.create(topic, partitions);
        self.changed.notify_waiters();
    }

    pub fn set_fuse(&self, fuse: Option<Fuse>) {
        let mut state = self.state.lock();
        state.fuse = fuse;
        state.dead = false;
    }

    pub fn is_dead(&self) -> bool {
        self.state.lock().dead
    }

    /// Appends as a producer does: one batch of records with their own values and record timestamps.
    pub fn produce(&self, topic: &str, partition: usize, records: &[(i64, Vec<u8>)]) {
        let mut builder = BatchBuilder::new(Compression::None);
        for (timestamp_ms, value) in records {
            builder.push(*timestamp_ms, Some(b"key"), Some(value), &[]);
        }
        self.apply(topic, partition, builder.build()).unwrap();
    }

    pub fn apply(&self, topic: &str, partition: usize, bytes: Bytes) -> Result<i64, ClientError> {
        let mut state = self.state.lock();
        let partition = state.partition(topic, partition)?;
        let first = partition.end;
        for batch in batches(bytes) {
            let batch = batch.unwrap();
            let mut patched = BytesMut::from(batch.bytes.as_ref());
            patched[..8].copy_from_slice(&partition.end.to_be_bytes());
            partition.batches.push((partition.end, patched.freeze()));
            partition.end += i64::from(batch.header.last_offset_delta) + 1;
        }
        drop(state);
        self.changed.notify_waiters();
        Ok(first)
    }

    /// Retention: nothing below `offset` can be read any more.
    pub fn cut_start(&self, topic: &str, partition: usize, offset: i64) {
        let mut state = self.state.lock();
        let partition = state.partition(topic, partition).unwrap();
        partition.start = offset;
        partition.batches.retain(|(base, _)| *base >= offset);
    }

    pub fn batches(&self, topic: &str, partition: usize) -> Vec<RecordBatch> {
        let mut state = self.state.lock();
        let Ok(partition) = state.partition(topic, partition) else { return Vec::new() };
        let all: BytesMut = partition.batches.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        batches(all.freeze()).map(Result::unwrap).collect()
    }

    pub fn records(&self, topic: &str, partition: usize) -> Vec<Record> {
        self.batches(topic, partition).iter().flat_map(|batch| batch.records(usize::MAX).unwrap()).collect()
    }

    pub fn committed_offsets(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        self.state.lock().committed.get(&(group.to_owned(), topic.to_owned())).cloned().unwrap_or_default()
    }

    pub fn spec(&self, topic: &str) -> Option<TopicSpec> {
        self.state.lock().specs.iter().find(|spec| spec.name == topic).cloned()
    }

    /// Waits until something written makes the condition true.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if condition(self) {
                return;
            }
            changed.await;
        }
    }

    fn alive(&self) -> Result<(), ClientError> {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap();
        self.clock.set_ms(NOW_MS + elapsed);
        if self.is_dead() { Err(ClientError::Unavailable("killed".to_owned())) } else { Ok(()) }
    }

    fn burn(&self) -> Option<Fuse> {
        let mut state = self.state.lock();
        let fuse = state.fuse.as_mut()?;
        fuse.at -= 1;
        if fuse.at > 0 {
            return None;
        }
        state.dead = state.fuse?.fatal;
        state.fuse.take()
    }

    fn read(&self, topic: &str, partition: i32, offset: i64, max_bytes: usize) -> Result<Fetched, ClientError> {
        let mut state = self.state.lock();
        let name = topic.to_owned();
        let found = state.partition(topic, usize::try_from(partition).unwrap())?;
        if offset < found.start || offset > found.end {
            let (start, end) = (found.start, found.end);
            return Err(ClientError::OffsetOutOfRange { topic: name, partition, offset, start, end });
        }
        let mut bytes = BytesMut::new();
        let from = found.batches.partition_point(|(base, _)| *base <= offset).saturating_sub(1);
        for (_, batch) in found.batches.iter().skip(from).filter(|_| offset < found.end) {
            if !bytes.is_empty() && bytes.len() + batch.len() > max_bytes {
                break;
            }
            bytes.extend_from_slice(batch);
        }
        Ok(Fetched { batches: bytes.freeze(), log_start_offset: found.start, high_watermark: found.end })
    }
}

impl State {
    fn partition(&mut self, topic: &str, partition: usize) -> Result<&mut Partition, ClientError> {
        let found = self.topics.get_mut(topic).ok_or_else(|| ClientError::UnknownTopic(topic.to_owned()))?;
        let number = i32::try_from(partition).unwrap();
        found.get_mut(partition).ok_or(ClientError::UnknownPartition { topic: topic.to_owned(), partition: number })
    }
}

#[async_trait]
impl LogClient for TestLog {
    async fn ensure_topic(&self, topic: &TopicSpec) -> Result<(), ClientError> {
        self.alive()?;
        if !self.state.lock().topics.contains_key(&topic.name) {
            self.create(&topic.name, usize::try_from(topic.partitions).unwrap());
            self.state.lock().specs.push(topic.clone());
        }
        Ok(())
    }

    async fn partitions(&self, topic: &str) -> Result<i32, ClientError> {
        self.alive()?;
        let state = self.state.lock();
        let found = state.topics.get(topic).ok_or_else(|| ClientError::UnknownTopic(topic.to_owned()))?;
        Ok(i32::try_from(found.len()).unwrap())
    }

    async fn append(&self, topic: &str, partition: i32, batches: Bytes) -> Result<i64, ClientError> {
        self.alive()?;
        let fuse = self.burn();
        let applied = match fuse {
            Some(fuse) if !fuse.applied => Ok(0),
            _ => self.apply(topic, usize::try_from(partition).unwrap(), batches),
        };
        if fuse.is_some() {
            self.changed.notify_waiters();
            return Err(ClientError::Unavailable("cut".to_owned()));
        }
        applied
    }

    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: usize,
        max_wait: Duration,
    ) -> Result<Fetched, ClientError> {
        let deadline = Instant::now() + max_wait;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            self.alive()?;
            let fetched = self.read(topic, partition, offset, max_bytes)?;
            if !fetched.batches.is_empty() {
                tokio::time::sleep(self.fetch_takes).await;
                return Ok(fetched);
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(deadline) => {
                    self.alive()?;
                    return self.read(topic, partition, offset, max_bytes);
                }
            }
        }
    }

    async fn offsets(&self, topic: &str, partition: i32) -> Result<(i64, i64), ClientError> {
        self.alive()?;
        let mut state = self.state.lock();
        let partition = state.partition(topic, usize::try_from(partition).unwrap())?;
        Ok((partition.start, partition.end))
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), ClientError> {
        self.alive()?;
        let mut state = self.state.lock();
        let committed = state.committed.entry((group.to_owned(), topic.to_owned())).or_default();
        committed.extend(offsets.iter().copied());
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, ClientError> {
        self.alive()?;
        Ok(self.committed_offsets(group, topic))
    }
}
