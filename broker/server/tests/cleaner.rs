//! The cleaner as part of a running broker: by the maintenance's tick, on a clock that stands still.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};
use support::config;
use tifo_broker::{Broker, BrokerConfig, Clock, LogClient, client::TopicSpec};
use tifo_storage::record_batch::{BatchBuilder, Record, batches};

const NOW_MS: i64 = 1_721_046_896_000;
/// A batch header and a record with the key of a committed offset.
const LEAST_COMMIT_BYTES: u64 = 61 + 40;

/// A new segment with every batch that is a second later.
fn rolling(dir: &Path) -> BrokerConfig {
    let mut config = config(dir);
    config.settings.insert("log.roll.ms".into(), "500".into());
    config
}

async fn compacted_topic(broker: &Broker, name: &str, more: &[(&str, &str)]) {
    let settings = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.1")];
    let settings = settings.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    broker.client().ensure_topic(&TopicSpec { name: name.to_owned(), partitions: 1, settings }).await.unwrap();
}

/// One record at the clock's time, which goes on by a second.
async fn put(broker: &Broker, clock: &Clock, topic: &str, key: &str, value: &str) {
    let mut builder = BatchBuilder::default();
    builder.push(clock.now_ms(), Some(key.as_bytes()), Some(value.as_bytes()), &[]);
    broker.client().append(topic, 0, builder.build()).await.unwrap();
    clock.set_ms(clock.now_ms() + 1000);
}

async fn read(broker: &Broker, topic: &str) -> Vec<Record> {
    let client = broker.client();
    let (mut offset, end) = client.offsets(topic, 0).await.unwrap();
    let mut records = Vec::new();
    while offset < end {
        let fetched = client.fetch(topic, 0, offset, 1 << 20, Duration::ZERO).await.unwrap();
        for batch in batches(fetched.batches).map(Result::unwrap) {
            records.extend(batch.records(1 << 20).unwrap());
            offset = batch.header.last_offset() + 1;
        }
    }
    records
}

fn offsets(records: &[Record]) -> Vec<i64> {
    records.iter().map(|record| record.offset).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_log_is_cleaned_by_a_tick_and_stays_clean_over_a_restart() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::fixed(NOW_MS));
    let broker = Broker::start(rolling(dir.path()), clock.clone()).await.unwrap();
    compacted_topic(&broker, "table", &[]).await;
    compacted_topic(&broker, "patient", &[("min.compaction.lag.ms", "3600000")]).await;
    for round in 0..10 {
        for topic in ["table", "patient"] {
            put(&broker, &clock, topic, &format!("key-{}", round % 3), &round.to_string()).await;
        }
    }
    // The last one is in the active segment.
    becomes(&broker, "table", &[6, 7, 8, 9]).await;
    settle(&broker).await;
    assert_eq!(read(&broker, "patient").await.len(), 10);
    broker.shutdown().await;
    let broker = Broker::start(rolling(dir.path()), clock.clone()).await.unwrap();
    assert_eq!(offsets(&read(&broker, "table").await), [6, 7, 8, 9]);
    clock.set_ms(clock.now_ms() + 3_600_000);
    becomes(&broker, "patient", &[6, 7, 8, 9]).await;
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn max_compaction_lag_seals_and_cleans_what_is_idle() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::fixed(NOW_MS));
    let broker = Broker::start(config(dir.path()), clock.clone()).await.unwrap();
    compacted_topic(&broker, "idle", &[("max.compaction.lag.ms", "60000"), ("min.cleanable.dirty.ratio", "1.0")]).await;
    for round in 0..5 {
        put(&broker, &clock, "idle", "key", &round.to_string()).await;
    }
    settle(&broker).await;
    assert_eq!(read(&broker, "idle").await.len(), 5);
    clock.set_ms(NOW_MS + 60_001);
    becomes(&broker, "idle", &[4]).await;
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_offsets_do_not_grow_and_are_loaded_from_a_cleaned_log() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::fixed(NOW_MS));
    let start = || async { Broker::start(rolling(dir.path()), clock.clone()).await.unwrap() };
    let broker = start().await;
    compacted_topic(&broker, "read", &[]).await;
    for round in 0..200 {
        for group in ["first", "second"] {
            broker.client().commit(group, "read", &[(0, round)]).await.unwrap();
        }
        clock.set_ms(clock.now_ms() + 1000);
        if round == 100 {
            settle(&broker).await;
        }
    }
    // Each is a batch of its own. (Rounds of the broker's own may have cleaned some of them by now.)
    let written = 400 * LEAST_COMMIT_BYTES;
    until(&broker, async || bytes_of(dir.path(), "__consumer_offsets-") * 10 < written).await;
    broker.shutdown().await;
    let broker = start().await;
    for group in ["first", "second"] {
        assert_eq!(broker.client().committed(group, "read").await.unwrap(), BTreeMap::from([(0, 199)]));
    }
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_cleaned_is_left_alone_and_the_others_go_on() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::fixed(NOW_MS));
    let broker = Broker::start(rolling(dir.path()), clock.clone()).await.unwrap();
    for topic in ["bad", "good"] {
        compacted_topic(&broker, topic, &[]).await;
        for round in 0..5 {
            put(&broker, &clock, topic, "key", &round.to_string()).await;
        }
    }
    let path = dir.path().join("bad-0/00000000000000000001.log");
    let mut bytes = std::fs::read(&path).unwrap();
    // The last byte of the value; behind it is the count of headers.
    let at = bytes.len() - 2;
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    becomes(&broker, "good", &[3, 4]).await;
    settle(&broker).await;
    assert_eq!(read(&broker, "bad").await.len(), 5);
    put(&broker, &clock, "bad", "key", "later").await;
    settle(&broker).await;
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    broker.shutdown().await;
}

/// A few rounds of the maintenance, in the calling thread. (The broker's own rounds go on beside them.)
async fn settle(broker: &Broker) {
    for _ in 0..3 {
        tokio::task::block_in_place(|| broker.maintain());
    }
}

async fn until(broker: &Broker, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within a minute");
        settle(broker).await;
        tokio::task::yield_now().await;
    }
}

async fn becomes(broker: &Broker, topic: &str, left: &[i64]) {
    until(broker, async || offsets(&read(broker, topic).await) == left).await;
}

fn bytes_of(dir: &Path, prefix: &str) -> u64 {
    let of = |path: std::path::PathBuf| -> u64 {
        let logs = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
        let logs = logs.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"));
        // A round of the broker's own may have renamed or removed one since.
        logs.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
    };
    let dirs = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    dirs.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).map(|entry| of(entry.path())).sum()
}
