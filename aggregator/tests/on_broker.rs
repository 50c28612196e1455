//! The aggregator on the real log: files on disk, restarts of the whole broker in between.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tifo_aggregator::{Aggregator, DeclareError, Definition, Registry};
use tifo_broker::{Broker, BrokerConfig, LogClient, clock::Clock};
use tifo_storage::record_batch::{BatchBuilder, Compression, batches};
use tokio_util::sync::CancellationToken;

const LONG_AGO_MS: i64 = 1_500_000_000_000;

async fn broker(dir: &Path) -> Broker {
    broker_with(dir, "auto.create.topics.enable", "true").await
}

async fn broker_with(dir: &Path, setting: &str, value: &str) -> Broker {
    let config = BrokerConfig::new(dir).with("listeners", "127.0.0.1:0").with(setting, value);
    Broker::start(config, Clock::system()).await.unwrap()
}

async fn produce(client: &dyn LogClient, partition: i32, compression: Compression, times: impl Iterator<Item = i64>) {
    let mut builder = BatchBuilder::new(compression);
    for time_ms in times {
        let event = format!(r#"{{"timestamp":{time_ms},"channel_id":"c","metadata":{{"reaction":"😃"}}}}"#);
        builder.push(Clock::system().now_ms(), None, Some(event.as_bytes()), &[]);
    }
    client.append("emoji", partition, builder.build()).await.unwrap();
}

/// Count by window start; panics if a window is there twice.
async fn rows(client: &dyn LogClient) -> BTreeMap<i64, u64> {
    let fetched = client.fetch("emoji-counts", 0, 0, usize::MAX, Duration::ZERO).await.unwrap();
    let mut rows = BTreeMap::new();
    for record in batches(fetched.batches).flat_map(|batch| batch.unwrap().records(1 << 20).unwrap()) {
        let row: serde_json::Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        let before = rows.insert(row["window_start"].as_i64().unwrap(), row["count"].as_u64().unwrap());
        assert_eq!(before, None, "{row}");
    }
    rows
}

#[tokio::test]
async fn windows_come_once_through_restarts_of_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let definition = Definition { idle_close: Duration::from_millis(50), partitions: 2, ..Definition::emoji() };
    let codecs = [Compression::None, Compression::Lz4, Compression::Zstd];
    for (round, codec) in (0_i64..).zip(codecs) {
        let broker = broker(dir.path()).await;
        let client: Arc<dyn LogClient> = broker.client();
        let shutdown = CancellationToken::new();
        let aggregator =
            Aggregator::start(definition.clone(), client.clone(), Clock::system(), shutdown.clone()).await.unwrap();
        let begin_ms = LONG_AGO_MS + round * 10_000;
        for partition in 0..2 {
            produce(&*client, partition, codec, (0..100).map(|index| begin_ms + index * 100)).await;
        }
        let events = u64::try_from((round + 1) * 200).unwrap();
        let status = aggregator.status_handle();
        let all = status.wait_for(|status| status.counted >= events && status.open_window_count == 0);
        tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
        shutdown.cancel();
        aggregator.join().await;
        let expected: BTreeMap<i64, u64> =
            (0..(round + 1) * 5).map(|window| (LONG_AGO_MS + window * 2_000, 40)).collect();
        assert_eq!(rows(&*client).await, expected);
        drop(client);
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn a_raw_topic_that_is_missing_is_created_only_where_clients_may_create_topics() {
    for (may_create, expected) in
        [("true", None), ("false", Some("topic `emojy` does not exist (did you mean `emoji`?)"))]
    {
        let dir = tempfile::tempdir().unwrap();
        let broker = broker_with(dir.path(), "auto.create.topics.enable", may_create).await;
        let (client, shutdown) = (broker.client(), CancellationToken::new());
        let settings = vec![Definition::emoji()];
        let registry = Registry::start(settings, client.clone(), Clock::system(), shutdown.clone()).await.unwrap();
        let (name, from, into) = ("typo".to_owned(), "emojy".to_owned(), "typo-counts".to_owned());
        let declared =
            registry.declare(Definition { name, from, into, late: None, bad: None, ..Definition::emoji() }).await;
        match expected {
            None => assert!(declared.unwrap()),
            Some(expected) => {
                let error = declared.unwrap_err();
                assert!(matches!(error, DeclareError::Invalid(_)) && error.to_string().contains(expected), "{error}");
            }
        }
        assert_eq!(client.partitions("emojy").await.is_ok(), expected.is_none());
        shutdown.cancel();
        registry.join().await;
        broker.shutdown().await;
    }
}
