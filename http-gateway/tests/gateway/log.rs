//! A log in memory that can be made to hesitate, to be away and to refuse, and that knows idempotent producers.

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::BTreeMap, time::Duration};
use tifo_broker::{
    ClientError, LogClient,
    client::{Fetched, Group, GroupCondition, GroupListing, GroupWait, TopicSpec},
};
use tifo_storage::record_batch::{BatchHeader, Record, batches};
use tokio::sync::watch;

/// What an append does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Up,
    /// Waits until the mode changes.
    Hold,
    Unavailable,
    Refuse,
    /// So many appends, then unavailable.
    Only(usize),
}

#[derive(Debug)]
pub struct TestLog {
    mode: watch::Sender<Mode>,
    /// Records in all partitions of all topics.
    total: watch::Sender<usize>,
    appends: watch::Sender<usize>,
    topics: Mutex<BTreeMap<String, Vec<Partition>>>,
    next_producer_id: Mutex<i64>,
    /// The one group that there may be.
    group: watch::Sender<Option<Group>>,
}

#[derive(Debug, Default, Clone)]
struct Partition {
    records: Vec<Record>,
    batches: usize,
    /// Producer id -> batches (base sequence, last sequence, base offset).
    producers: BTreeMap<i64, Vec<(i32, i32, i64)>>,
}

impl Default for TestLog {
    fn default() -> Self {
        Self {
            mode: watch::channel(Mode::Up).0,
            total: watch::channel(0).0,
            appends: watch::channel(0).0,
            topics: Mutex::default(),
            next_producer_id: Mutex::new(1000),
            group: watch::channel(None).0,
        }
    }
}

impl TestLog {
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Waits until so many records are there.
    pub async fn holds(&self, records: usize) {
        self.total.subscribe().wait_for(|total| *total >= records).await.unwrap();
    }

    /// Waits until an append was tried so often.
    pub async fn was_asked(&self, times: usize) {
        self.appends.subscribe().wait_for(|appends| *appends >= times).await.unwrap();
    }

    pub fn records(&self, topic: &str, partition: usize) -> Vec<Record> {
        self.topics.lock()[topic][partition].records.clone()
    }

    pub fn all(&self, topic: &str) -> Vec<Record> {
        self.topics.lock()[topic].iter().flat_map(|partition| partition.records.clone()).collect()
    }

    pub fn batches(&self, topic: &str) -> usize {
        self.topics.lock()[topic].iter().map(|partition| partition.batches).sum()
    }

    pub fn set_group(&self, group: Option<Group>) {
        self.group.send_replace(group);
    }

    /// Returns when somebody waits for the group.
    pub async fn is_watched(&self) {
        while self.group.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
    }

    fn present_group(&self) -> Result<Option<Group>, ClientError> {
        match *self.mode.borrow() {
            Mode::Unavailable => Err(ClientError::Unavailable("down".to_owned())),
            Mode::Refuse => Err(ClientError::Refused("no".to_owned())),
            _ => Ok(self.group.borrow().clone()),
        }
    }

    pub fn remove_topic(&self, topic: &str) {
        self.topics.lock().remove(topic);
    }
}

impl Partition {
    /// The offset of the first time, if this producer has sent the batch before.
    fn seen(&self, header: &BatchHeader) -> Result<Option<i64>, ClientError> {
        if header.producer_id < 0 {
            return Ok(None);
        }
        let last = header.base_sequence + header.last_offset_delta;
        let known = self.producers.get(&header.producer_id).map(Vec::as_slice).unwrap_or_default();
        if let Some((_, _, offset)) =
            known.iter().find(|(first, end, _)| (*first, *end) == (header.base_sequence, last))
        {
            return Ok(Some(*offset));
        }
        match known.last() {
            Some((_, end, _)) if end + 1 != header.base_sequence => {
                Err(ClientError::Refused("out of order".to_owned()))
            }
            _ => Ok(None),
        }
    }

    fn append(&mut self, bytes: Bytes) -> Result<(i64, usize), ClientError> {
        let mut first = None;
        let mut added = 0;
        for batch in batches(bytes) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            let base = i64::try_from(self.records.len()).unwrap();
            if let Some(before) = self.seen(&batch.header)? {
                first.get_or_insert(before);
                continue;
            }
            let records = batch.records(1 << 24).unwrap();
            added += records.len();
            self.batches += 1;
            self.records.extend(records);
            let header = batch.header;
            let last = header.base_sequence + header.last_offset_delta;
            self.producers.entry(header.producer_id).or_default().push((header.base_sequence, last, base));
            first.get_or_insert(base);
        }
        Ok((first.unwrap(), added))
    }
}

#[async_trait]
impl LogClient for TestLog {
    async fn ensure_topic(&self, topic: &TopicSpec) -> Result<(), ClientError> {
        if *self.mode.borrow() == Mode::Unavailable {
            return Err(ClientError::Unavailable("down".to_owned()));
        }
        let partitions = usize::try_from(topic.partitions).unwrap();
        self.topics.lock().entry(topic.name.clone()).or_insert_with(|| vec![Partition::default(); partitions]);
        Ok(())
    }

    async fn partitions(&self, topic: &str) -> Result<i32, ClientError> {
        let topics = self.topics.lock();
        let partitions = topics.get(topic).ok_or_else(|| ClientError::UnknownTopic(topic.to_owned()))?;
        Ok(i32::try_from(partitions.len()).unwrap())
    }

    async fn append(&self, topic: &str, partition: i32, batches: Bytes) -> Result<i64, ClientError> {
        self.appends.send_modify(|appends| *appends += 1);
        let mode = *self.mode.subscribe().wait_for(|mode| *mode != Mode::Hold).await.unwrap();
        match mode {
            Mode::Unavailable | Mode::Only(0) => return Err(ClientError::Unavailable("down".to_owned())),
            Mode::Refuse => return Err(ClientError::Refused("no".to_owned())),
            Mode::Only(left) => self.set(Mode::Only(left - 1)),
            Mode::Up | Mode::Hold => {}
        }
        let mut topics = self.topics.lock();
        let partitions = topics.get_mut(topic).ok_or_else(|| ClientError::UnknownTopic(topic.to_owned()))?;
        let hosted = partitions.get_mut(usize::try_from(partition).unwrap());
        let hosted = hosted.ok_or_else(|| ClientError::UnknownPartition { topic: topic.to_owned(), partition })?;
        let (offset, added) = hosted.append(batches)?;
        self.total.send_modify(|total| *total += added);
        Ok(offset)
    }

    async fn fetch(&self, _: &str, _: i32, _: i64, _: usize, _: Duration) -> Result<Fetched, ClientError> {
        Err(ClientError::Refused("write only".to_owned()))
    }

    async fn offsets(&self, _: &str, _: i32) -> Result<(i64, i64), ClientError> {
        Err(ClientError::Refused("write only".to_owned()))
    }

    async fn commit(&self, _: &str, _: &str, _: &[(i32, i64)]) -> Result<(), ClientError> {
        Err(ClientError::Refused("write only".to_owned()))
    }

    async fn committed(&self, _: &str, _: &str) -> Result<BTreeMap<i32, i64>, ClientError> {
        Err(ClientError::Refused("write only".to_owned()))
    }

    async fn init_producer_id(&self) -> Result<(i64, i16), ClientError> {
        let mut next = self.next_producer_id.lock();
        *next += 1;
        Ok((*next, 0))
    }

    async fn groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        let listing = |group: Group| GroupListing {
            group: group.group,
            group_type: group.group_type,
            state: group.state,
            protocol_type: group.protocol_type,
        };
        Ok(self.present_group()?.into_iter().map(listing).collect())
    }

    async fn group(&self, _: &str) -> Result<Option<Group>, ClientError> {
        self.present_group()
    }

    async fn wait_for_group(
        &self,
        _: &str,
        condition: &GroupCondition,
        max_wait: Duration,
    ) -> Result<GroupWait, ClientError> {
        let mut seen = self.group.subscribe();
        let reached = seen.wait_for(|group| condition.holds(group.as_ref()));
        let is_reached = tokio::time::timeout(max_wait, reached).await.is_ok();
        Ok(GroupWait { group: self.group.borrow().clone(), is_reached })
    }
}
