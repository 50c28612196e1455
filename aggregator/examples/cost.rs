//! What one million events cost the aggregator, from batches in memory to rows: CPU seconds of this process.
//!
//! `cargo run --release -p tifo-aggregator --example cost`. 296 B events, 6 partitions, 500 groups, 2 s windows, as in the
//! comparison with other systems; nothing but the log's own work is left out.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tifo_aggregator::{Aggregator, Definition};
use tifo_broker::{
    ClientError, LogClient,
    client::{Fetched, TopicSpec},
    clock::Clock,
};
use tifo_storage::record_batch::{BatchBuilder, Compression};
use tokio_util::sync::CancellationToken;

const EVENTS: i64 = 3_000_000;
const PARTITIONS: i64 = 6;
const BATCH: i64 = 1_000;
const CHANNELS: i64 = 10;
const REACTIONS: i64 = 50;
const EVENTS_PER_SECOND: i64 = 100_000;
const BEGIN_MS: i64 = 1_500_000_000_000;

/// Raw batches of each partition, with their base offsets set; appends are counted and forgotten.
#[derive(Debug)]
struct Memory(Vec<Vec<Bytes>>);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let memory = Arc::new(Memory((0..PARTITIONS).map(partition).collect()));
    let bytes: usize = memory.0.iter().flatten().map(Bytes::len).sum();
    let before = cpu_seconds()?;
    runtime.block_on(run(memory))?;
    let per_million = (cpu_seconds()? - before) * 1e6 / EVENTS as f64;
    println!("{EVENTS} events, {} B each in the log: {per_million:.3} CPU s per million", bytes / EVENTS as usize);
    Ok(())
}

async fn run(memory: Arc<Memory>) -> Result<(), tifo_aggregator::AggregatorError> {
    let shutdown = CancellationToken::new();
    let definition = Definition { partitions: PARTITIONS as i32, ..Definition::emoji() };
    let aggregator = Aggregator::start(definition, memory, Clock::system(), shutdown.clone()).await?;
    let all = |status: &tifo_aggregator::Status| status.counted + status.late + status.bad >= EVENTS as u64;
    let status = aggregator.status_handle().wait_for(all).await;
    println!("counted {}, late {}, bad {}, decisions {}", status.counted, status.late, status.bad, status.decisions);
    shutdown.cancel();
    aggregator.join().await;
    Ok(())
}

fn partition(partition: i64) -> Vec<Bytes> {
    let count = EVENTS / PARTITIONS;
    (0..count / BATCH).map(|batch| record_batch(partition, batch * BATCH)).collect()
}

fn record_batch(partition: i64, base_offset: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for index in base_offset..base_offset + BATCH {
        let sequence = index * PARTITIONS + partition;
        let (channel, reaction) = (sequence * 7 % CHANNELS, sequence * 13 % REACTIONS);
        let time_ms = BEGIN_MS + sequence * 1_000 / EVENTS_PER_SECOND;
        let event = format!(
            r#"{{"emoji_id":"e{reaction:08}","user_id":"u{sequence:012}","timestamp":{time_ms},"emoji_type":"animation","message_id":"m{sequence:016}-000000","recipient_id":"r{sequence:012}","channel_id":"channel-{channel:06}","event_id":"match-2024-07-15-final","metadata":{{"reaction":"reaction-{reaction:04}","emotion":"happy"}}}}"#
        );
        builder.push(BEGIN_MS + 1_000_000, Some(b"key"), Some(event.as_bytes()), &[]);
    }
    let mut bytes = BytesMut::from(builder.build().as_ref());
    if let Some(place) = bytes.get_mut(..8) {
        place.copy_from_slice(&base_offset.to_be_bytes());
    }
    bytes.freeze()
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
        let batches = usize::try_from(partition).ok().and_then(|partition| self.0.get(partition));
        if topic == "emoji" { batches.map_or(0, |batches| batches.len() as i64 * BATCH) } else { 0 }
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
        max_bytes: usize,
        max_wait: Duration,
    ) -> Result<Fetched, ClientError> {
        let high_watermark = self.end(topic, partition);
        let mut batches = BytesMut::new();
        if offset < high_watermark {
            let from = self.0[partition as usize].iter().skip((offset / BATCH) as usize);
            for batch in from {
                if batches.len() >= max_bytes {
                    break;
                }
                batches.extend_from_slice(batch);
            }
        } else {
            tokio::time::sleep(max_wait).await;
        }
        Ok(Fetched { batches: batches.freeze(), log_start_offset: 0, high_watermark })
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
