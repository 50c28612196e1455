//! What one million events cost the aggregator, from batches in memory to rows: CPU seconds of this process.
//!
//! `cargo run --release -p tifo-aggregator --example cost`. 6 partitions, 500 groups, 2 s windows, as in the comparison with
//! other systems; nothing but the log's own work is left out. Beside it, in the same run, the floor: the same batches
//! walked and checked, each event read into a struct of the three fields, nothing counted. Uncompressed, in lz4 and zstd, and
//! with the names in another order in every event, so that no layout fits and each event is parsed.
//!
//! `cost none|lz4|zstd|shuffled` is for bench/run, which looks at this process's CPU time itself: once the batches are made it
//! prints `{"event":"ready"}`, then does what each line of standard input says, `floor` or `aggregator`, and prints `{"done":true}`.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};
use tifo_aggregator::{Aggregator, Definition};
use tifo_broker::{
    ClientError, LogClient,
    client::{Fetched, TopicSpec},
    clock::Clock,
};
use tifo_storage::record_batch::{BatchBuilder, Compression, batches};
use tokio_util::sync::CancellationToken;

const EVENTS: i64 = 3_000_000;
const PARTITIONS: i64 = 6;
const BATCH: i64 = 1_000;
const FETCH: i64 = 4;
const CHANNELS: i64 = 10;
const REACTIONS: i64 = 50;
const EVENTS_PER_SECOND: i64 = 100_000;
const BEGIN_MS: i64 = 1_500_000_000_000;

/// Raw batches of each partition in fetches of [`FETCH`] batches, with their base offsets set; appends are forgotten.
#[derive(Debug)]
struct Memory(Vec<Vec<Bytes>>);

#[derive(Deserialize)]
struct Tap<'a> {
    timestamp: i64,
    channel_id: Cow<'a, str>,
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    reaction: Cow<'a, str>,
}

const INPUTS: [(&str, Input); 4] = [
    ("none", Input { compression: Compression::None, is_shuffled: false }),
    ("lz4", Input { compression: Compression::Lz4, is_shuffled: false }),
    ("zstd", Input { compression: Compression::Zstd, is_shuffled: false }),
    ("shuffled", Input { compression: Compression::None, is_shuffled: true }),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(wanted) = std::env::args().nth(1) {
        let (_, input) =
            INPUTS.into_iter().find(|(name, _)| *name == wanted).ok_or("usage: cost [none|lz4|zstd|shuffled]")?;
        return obey(&runtime, &input.memory());
    }
    for (name, input) in INPUTS {
        let memory = input.memory();
        let bytes: usize = memory.0.iter().flatten().map(Bytes::len).sum();
        println!("{name}: {EVENTS} events, {} B each in the log", bytes / EVENTS as usize);
        measure(&runtime, &memory)?;
    }
    Ok(())
}

fn obey(runtime: &tokio::runtime::Runtime, memory: &Arc<Memory>) -> Result<(), Box<dyn std::error::Error>> {
    println!(r#"{{"event":"ready","events":{EVENTS}}}"#);
    for line in std::io::stdin().lines() {
        match line?.as_str() {
            "floor" => read_only(memory)?,
            "aggregator" => runtime.block_on(run(memory.clone()))?,
            other => return Err(format!("{other} is neither floor nor aggregator").into()),
        }
        println!(r#"{{"done":true}}"#);
    }
    Ok(())
}

/// What the events are like.
#[derive(Debug, Clone, Copy)]
struct Input {
    compression: Compression,
    is_shuffled: bool,
}

fn measure(runtime: &tokio::runtime::Runtime, memory: &Arc<Memory>) -> Result<(), Box<dyn std::error::Error>> {
    for _ in 0..3 {
        let before = cpu_seconds()?;
        read_only(memory)?;
        let between = cpu_seconds()?;
        runtime.block_on(run(memory.clone()))?;
        let (floor, cost) = (between - before, cpu_seconds()? - between);
        let million = 1e6 / EVENTS as f64;
        println!("CPU s per million: {:.3}, floor {:.3}, ratio {:.2}", cost * million, floor * million, cost / floor);
    }
    Ok(())
}

fn read_only(memory: &Memory) -> Result<(), Box<dyn std::error::Error>> {
    let mut sum = 0;
    for batch in memory.0.iter().flatten().flat_map(|fetch| batches(fetch.clone())) {
        let batch = batch?;
        batch.check_crc()?;
        for record in batch.open(usize::MAX)?.iter() {
            let tap: Tap<'_> = sonic_rs::from_slice(record?.value.unwrap_or_default())?;
            sum += tap.timestamp + (tap.channel_id.len() + tap.metadata.reaction.len()) as i64;
        }
    }
    std::hint::black_box(sum);
    Ok(())
}

async fn run(memory: Arc<Memory>) -> Result<(), tifo_aggregator::AggregatorError> {
    let shutdown = CancellationToken::new();
    let definition = Definition { partitions: PARTITIONS as i32, ..Definition::emoji() };
    let aggregator = Aggregator::start(definition, memory, Clock::system(), shutdown.clone()).await?;
    let all = |status: &tifo_aggregator::Status| status.counted + status.late + status.bad >= EVENTS as u64;
    let status = aggregator.status_handle().wait_for(all).await;
    assert_eq!((status.counted, status.late, status.bad), (EVENTS as u64, 0, 0));
    shutdown.cancel();
    aggregator.join().await;
    Ok(())
}

impl Input {
    fn memory(self) -> Arc<Memory> {
        Arc::new(Memory((0..PARTITIONS).map(|partition| self.partition(partition)).collect()))
    }

    fn partition(self, partition: i64) -> Vec<Bytes> {
        let count = EVENTS / PARTITIONS;
        let batch = |batch| self.record_batch(partition, batch * BATCH);
        let fetch = |first: i64| (first..first + FETCH).flat_map(batch).collect();
        (0..count / BATCH / FETCH).map(|index| fetch(index * FETCH)).collect()
    }

    fn record_batch(self, partition: i64, base_offset: i64) -> Bytes {
        let mut builder = BatchBuilder::new(self.compression);
        for index in base_offset..base_offset + BATCH {
            let event = self.event(index * PARTITIONS + partition);
            builder.push(BEGIN_MS + 1_000_000, Some(b"key"), Some(event.as_bytes()), &[]);
        }
        let mut bytes = BytesMut::from(builder.build().as_ref());
        if let Some(place) = bytes.get_mut(..8) {
            place.copy_from_slice(&base_offset.to_be_bytes());
        }
        bytes.freeze()
    }

    fn event(self, sequence: i64) -> String {
        let (channel, reaction) = (sequence * 7 % CHANNELS, sequence * 13 % REACTIONS);
        let time_ms = BEGIN_MS + sequence * 1_000 / EVENTS_PER_SECOND;
        let mut fields = vec![
            format!(r#""emoji_id":"e{reaction:08}""#),
            format!(r#""user_id":"u{sequence:012}""#),
            format!(r#""timestamp":{time_ms}"#),
            r#""emoji_type":"animation""#.to_owned(),
            format!(r#""message_id":"m{sequence:016}-000000""#),
            format!(r#""recipient_id":"r{sequence:012}""#),
            format!(r#""channel_id":"channel-{channel:06}""#),
            r#""event_id":"match-2024-07-15-final""#.to_owned(),
            format!(r#""metadata":{{"reaction":"reaction-{reaction:04}","emotion":"happy"}}"#),
        ];
        if self.is_shuffled {
            // By a multiplicative hash of the sequence, digit by digit.
            let mut random = (sequence as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
            for last in (1..fields.len()).rev() {
                fields.swap(last, random as usize % (last + 1));
                random /= last as u64 + 1;
            }
        }
        format!("{{{}}}", fields.join(","))
    }
}

/// User and system time of this process; Linux counts in hundredths.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Result<Vec<u64>, _> = fields.skip(11).take(2).map(str::parse).collect();
    Ok(ticks?.iter().sum::<u64>() as f64 / 100.0)
}

impl Memory {
    fn end(&self, topic: &str, partition: i32) -> i64 {
        let fetches = usize::try_from(partition).ok().and_then(|partition| self.0.get(partition));
        if topic == "emoji" { fetches.map_or(0, |fetches| fetches.len() as i64 * FETCH * BATCH) } else { 0 }
    }
}

#[async_trait]
impl LogClient for Memory {
    async fn ensure_topic(&self, _: &TopicSpec) -> Result<(), ClientError> {
        Ok(())
    }

    async fn partitions(&self, _: &str) -> Result<i32, ClientError> {
        Ok(PARTITIONS as i32)
    }

    async fn append(&self, _: &str, _: i32, _: Bytes) -> Result<i64, ClientError> {
        Ok(0)
    }

    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        _: usize,
        max_wait: Duration,
    ) -> Result<Fetched, ClientError> {
        let high_watermark = self.end(topic, partition);
        let fetch = self.0.get(partition as usize).and_then(|fetches| fetches.get((offset / BATCH / FETCH) as usize));
        let batches = fetch.filter(|_| offset < high_watermark).cloned().unwrap_or_default();
        if batches.is_empty() {
            tokio::time::sleep(max_wait).await;
        }
        Ok(Fetched { batches, log_start_offset: 0, high_watermark })
    }

    async fn offsets(&self, topic: &str, partition: i32) -> Result<(i64, i64), ClientError> {
        Ok((0, self.end(topic, partition)))
    }

    async fn commit(&self, _: &str, _: &str, _: &[(i32, i64)]) -> Result<(), ClientError> {
        Ok(())
    }

    async fn committed(&self, _: &str, _: &str) -> Result<BTreeMap<i32, i64>, ClientError> {
        Ok(BTreeMap::new())
    }
}
