//! Snapshots: what is counted in open windows, so that a restart reads a long poll's events again from there only.
//!
//! A topic of the aggregate's own, compacted, made when the first snapshot is due. A snapshot is a run of records, one a chunk
//! of the state, behind them a head that says how many and bears a decision: what recovery needs to know beside the state.
//! Two slots are written by turns, so that a snapshot that was cut short leaves the one before whole. `recovery` takes the last
//! that is whole and fits the last decision of the aggregate topic; there may be none, which costs time and changes nothing.

mod bytes;

pub use bytes::{Reader, Saved, save_count, save_list};

use crate::{AggregatorError, Definition, decision::Decision, recovery::scan};
use ::bytes::Bytes;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::{collections::BTreeMap, hash::Hasher};
use tifo_broker::{ClientError, LogClient, client::TopicSpec};
use tifo_storage::record_batch::{BatchBuilder, Compression, Record};

/// Version of the head and of what the types save.
const VERSION: u32 = 1;
/// Well below the largest batch that a topic takes.
const CHUNK_BYTES: usize = 512 << 10;
/// A larger state is not written; a restart then reads more.
const MAX_STATE_BYTES: usize = 1 << 30;
/// What compaction cannot clean yet: with it the topic stays small.
const SEGMENT_BYTES: usize = 64 << 20;
/// A snapshot of so many bytes waits for so many events as would take as long to be read again.
const BYTES_PER_EVENT: usize = 32;
/// Heads that are tried from the last on: each slot's.
const MAX_TRIED: usize = 2;
/// Longest step of the search back, in records.
const MAX_STEP: i64 = 1 << 10;

/// The last record of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    number: u64,
    /// Offset of the first chunk.
    first: i64,
    chunks: usize,
    bytes: usize,
    /// SipHash-1-3 of the state, 128 bits.
    hash: String,
    /// What would be decided here: `next` is where the snapshot was taken.
    decision: Decision,
}

/// A snapshot as it is found.
#[derive(Debug)]
pub struct Snapshot {
    pub decision: Decision,
    pub state: Vec<u8>,
    number: u64,
}

/// Writes them.
#[derive(Debug)]
pub struct Snapshots {
    topic: String,
    /// Events that are worth a snapshot.
    every: usize,
    is_there: bool,
    number: u64,
    /// Of the last one.
    bytes: usize,
    /// Events read since.
    events: usize,
    /// What the topic holds is of a past that is gone.
    is_stale: bool,
}

impl Snapshots {
    /// `found`: what recovery goes on from. `is_stale`: there is something that must never be found again.
    pub fn new(definition: &Definition, found: Option<&Snapshot>, is_stale: bool) -> Self {
        Self {
            topic: definition.snapshot_topic(),
            every: definition.snapshot_every,
            is_there: false,
            number: found.map_or(0, |snapshot| snapshot.number),
            bytes: 0,
            events: 0,
            is_stale,
        }
    }

    pub fn read(&mut self, events: usize) {
        self.events = self.events.saturating_add(events);
    }

    /// So much has been read since the last one that the next is worth its bytes. By events, not by the clock.
    pub fn is_due(&self) -> bool {
        self.events >= self.every.max(self.bytes / BYTES_PER_EVENT)
    }

    /// A restart would read only so much again: a snapshot is not worth it yet.
    pub fn put_off(&mut self, events: usize) -> bool {
        let is_early = events < self.every;
        if is_early {
            self.events = events;
        }
        is_early
    }

    /// Before anything new is decided.
    pub async fn begin(&mut self, client: &dyn LogClient, now_ms: i64) -> Result<(), ClientError> {
        if std::mem::take(&mut self.is_stale) {
            for slot in [0, 1] {
                self.append(client, now_ms, &head_key(slot), None).await?;
            }
        }
        Ok(())
    }

    pub async fn write(
        &mut self,
        client: &dyn LogClient,
        now_ms: i64,
        decision: Decision,
        state: &[u8],
    ) -> Result<(), ClientError> {
        (self.events, self.bytes) = (0, state.len());
        if state.len() > MAX_STATE_BYTES {
            tracing::warn!(topic = self.topic, bytes = state.len(), "too much for a snapshot");
            return Ok(());
        }
        self.number += 1;
        let (slot, mut first, mut chunks) = (self.number % 2, None, 0);
        for chunk in state.chunks(CHUNK_BYTES) {
            let value = [&self.number.to_le_bytes(), chunk].concat();
            let offset = self.append(client, now_ms, &format!("{slot}/{chunks:06}"), Some(&value)).await?;
            first = first.or(Some(offset));
            chunks += 1;
        }
        let head = Head {
            version: VERSION,
            number: self.number,
            first: first.unwrap_or(0),
            chunks,
            bytes: state.len(),
            hash: hash_of(state),
            decision,
        };
        // Plain structs of numbers and strings always serialize.
        let head = serde_json::to_vec(&head).unwrap_or_default();
        self.append(client, now_ms, &head_key(slot), Some(&head)).await.map(|_| ())
    }

    async fn append(
        &mut self,
        client: &dyn LogClient,
        now_ms: i64,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<i64, ClientError> {
        if !self.is_there {
            client.ensure_topic(&spec(self.topic.clone())).await?;
            self.is_there = true;
        }
        let mut batch = BatchBuilder::new(Compression::None);
        batch.push(now_ms, Some(key.as_bytes()), value, &[]);
        client.append(&self.topic, 0, batch.build()).await
    }
}

fn spec(name: String) -> TopicSpec {
    let settings = [("cleanup.policy", "compact".to_owned()), ("segment.bytes", SEGMENT_BYTES.to_string())];
    let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>();
    TopicSpec { name, partitions: 1, settings }
}

fn head_key(slot: u64) -> String {
    format!("{slot}/head")
}

fn hash_of(state: &[u8]) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(state);
    format!("{:032x}", hasher.finish128().as_u128())
}

/// The last whole snapshot of this definition.
pub async fn find(client: &dyn LogClient, definition: &Definition) -> Result<Option<Snapshot>, AggregatorError> {
    let topic = definition.snapshot_topic();
    let (start, end) = match client.offsets(&topic, 0).await {
        Err(ClientError::UnknownTopic(_) | ClientError::UnknownPartition { .. }) => return Ok(None),
        offsets => offsets?,
    };
    let (mut position, mut step, mut tried) = (end, 1, 0);
    while position > start && tried < MAX_TRIED {
        let from = (position - step).max(start);
        let mut heads = heads_between(client, &topic, from, position).await?;
        while let Some((offset, value)) = heads.pop() {
            let Some(value) = value else { return Ok(None) };
            if let Some(snapshot) = read(client, definition, &topic, offset, &value).await? {
                return Ok(Some(snapshot));
            }
            tried += 1;
        }
        (position, step) = (from, (step * 2).min(MAX_STEP));
    }
    Ok(None)
}

/// Offset and value of each head; no value: everything before is void.
async fn heads_between(
    client: &dyn LogClient,
    topic: &str,
    from: i64,
    end: i64,
) -> Result<Vec<(i64, Option<Bytes>)>, AggregatorError> {
    let mut heads = Vec::new();
    scan(client, topic, from, end, |record| {
        let is_head = record.key.as_deref().is_some_and(|key| key.ends_with(b"/head"));
        if is_head && (from..end).contains(&record.offset) {
            heads.push((record.offset, record.value.clone()));
        }
        Ok(())
    })
    .await?;
    Ok(heads)
}

/// The snapshot that this head ends; None, with a word in the log, if it is not whole or not ours.
async fn read(
    client: &dyn LogClient,
    definition: &Definition,
    topic: &str,
    offset: i64,
    value: &[u8],
) -> Result<Option<Snapshot>, AggregatorError> {
    let refuse = |why: &str| tracing::warn!(topic, offset, why, "a snapshot is passed over");
    let Ok(head) = serde_json::from_slice::<Head>(value) else {
        refuse("its head cannot be read");
        return Ok(None);
    };
    let decision = &head.decision;
    if head.version != VERSION || decision.aggregate != definition.name {
        refuse("another version's or another aggregate's");
        return Ok(None);
    }
    if decision.fingerprint != definition.fingerprint() {
        refuse("another definition's");
        return Ok(None);
    }
    let mut state = Vec::with_capacity(head.bytes.min(MAX_STATE_BYTES));
    let mut chunks = 0;
    scan(client, topic, head.first, offset, |record| {
        if let Some(chunk) = chunk_of(record, head.number) {
            state.extend_from_slice(chunk);
            chunks += 1;
        }
        Ok(())
    })
    .await?;
    if (chunks, state.len()) != (head.chunks, head.bytes) || hash_of(&state) != head.hash {
        refuse("it is not whole");
        return Ok(None);
    }
    Ok(Some(Snapshot { decision: head.decision, state, number: head.number }))
}

fn chunk_of(record: &Record, number: u64) -> Option<&[u8]> {
    record.value.as_ref()?.strip_prefix(&number.to_le_bytes())
}

impl Snapshot {
    /// The decision to go on from if the state is taken over; None: the log does not hold what the snapshot was taken of.
    /// `last` is the last decision of the aggregate topic, `ends` where the raw topic's partitions end.
    pub fn lead(&self, last: Option<&Decision>, ends: &BTreeMap<i32, i64>) -> Option<Decision> {
        let own = &self.decision;
        let last_sequence = last.map_or(0, |last| last.sequence);
        let is_held = own.partitions.iter().all(|own| ends.get(&own.partition).is_some_and(|end| own.next <= *end));
        if own.sequence > last_sequence || !is_held {
            return None;
        }
        let mut decision = last.filter(|_| own.sequence < last_sequence).unwrap_or(own).clone();
        for partition in &mut decision.partitions {
            if let Some(own) = own.partitions.iter().find(|own| own.partition == partition.partition) {
                (partition.resume, partition.resume_watermark) = (own.next, own.watermark);
            }
        }
        Some(decision)
    }
}
