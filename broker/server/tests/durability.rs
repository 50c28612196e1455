//! What acknowledged means, what a failing disk does, and whom a stalled one delays.
#![allow(clippy::unwrap_used)]

#[path = "support/disk.rs"]
mod disk;
mod support;

use disk::Disk;
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use support::*;
use tifo_broker::{Broker, Clock, LogClient, durability::patience::MAX_WAITING};

const STORAGE_ERROR: i16 = 56;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EMFILE: i32 = 24;
/// What nobody may wait who does not touch the stalled partition.
const SOON: Duration = Duration::from_millis(100);
const VERY_LONG: Duration = Duration::from_secs(60);

async fn start_on(dir: &Path, disk: &Arc<Disk>, durability: &str) -> Broker {
    let mut config = config(dir);
    config.settings.insert("durability".into(), durability.into());
    Broker::start_on(config, Clock::system(), disk.clone()).await.unwrap()
}

/// Runs what blocks beside the test.
async fn held(disk: &Arc<Disk>) {
    let disk = disk.clone();
    tokio::task::spawn_blocking(move || disk.wait_until_held()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_fsync_an_append_is_acknowledged_and_seen_after_the_sync() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(Disk::default()));
    let broker = start_on(dir.path(), &disk, "fsync").await;
    let mut producer = Client::connect(broker.kafka_addr()).await;
    producer.create_topic("t", 2).await;
    assert_eq!(producer.produce("t", 0, batch(&[b"a"])).await, (0, 0));
    disk.hold("t-0", "sync_data");
    for acks in [-1, 1] {
        producer.send(&produce_request("t", 0, batch(&[b"b"]), acks), 9).await;
    }
    held(&disk).await;
    let mut reader = Client::connect(broker.kafka_addr()).await;
    let seen = reader.fetch("t", 0, 1).await;
    let partition = &seen.responses[0].partitions[0];
    assert_eq!((partition.error_code, partition.high_watermark), (0, 1));
    assert_eq!(values(&seen).len(), 0);
    // Others are synced meanwhile, and a reader who waits is woken by the sync.
    assert_eq!(reader.produce("t", 1, batch(&[b"x"])).await, (0, 0));
    reader.send(&fetch_request("t", 0, 1, 30_000), 12).await;
    let before = disk.syncs();
    disk.release();
    for expected in [1, 2] {
        let (_, answer) = producer.receive::<kafka_protocol::messages::ProduceRequest>(9).await;
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, expected));
    }
    let (_, fetched) = reader.receive::<kafka_protocol::messages::FetchRequest>(12).await;
    assert!(!values(&fetched).is_empty());
    assert!(disk.syncs() <= before + 2, "the waiting appends share a sync");
    assert_eq!(broker.client().append("t", 0, batch(&[b"c"])).await.unwrap(), 3);
    assert_eq!(broker.client().offsets("t", 0).await.unwrap(), (0, 4));
    broker.client().commit("g", "t", &[(0, 3)]).await.unwrap();
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failed_fsync_ends_writing_to_that_partition_alone() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(Disk::default()));
    let broker = start_on(dir.path(), &disk, "fsync").await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("t", 2).await;
    assert_eq!(client.produce("t", 0, batch(&[b"a"])).await, (0, 0));
    disk.fail("t-0", "sync_data", EIO, 1);
    for _ in 0..3 {
        assert_eq!(client.produce("t", 0, batch(&[b"b"])).await.0, STORAGE_ERROR);
    }
    assert_eq!(values(&client.fetch("t", 0, 0).await), vec![&b"a"[..]]);
    assert!(broker.client().append("t", 0, batch(&[b"c"])).await.is_err());
    assert_eq!(client.produce("t", 1, batch(&[b"x"])).await, (0, 0));
    broker.shutdown().await;
    let broker = start_on(dir.path(), &disk, "fsync").await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    assert_eq!(client.produce("t", 0, batch(&[b"d"])).await.0, 0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_space_or_descriptors_appends_fail_and_go_on_later() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(Disk::default()));
    for durability in ["page-cache", "fsync"] {
        let broker = start_on(dir.path(), &disk, durability).await;
        let mut client = Client::connect(broker.kafka_addr()).await;
        client.create_topic("t", 1).await;
        let (_, first) = client.produce("t", 0, batch(&[b"a"])).await;
        disk.fail("t-0", "append", ENOSPC, 2);
        for _ in 0..2 {
            assert_eq!(client.produce("t", 0, batch(&[b"b"])).await.0, STORAGE_ERROR);
            assert_eq!(values(&client.fetch("t", 0, first).await), vec![&b"a"[..]]);
        }
        assert_eq!(client.produce("t", 0, batch(&[b"b"])).await, (0, first + 1));
        broker.shutdown().await;
    }
    let broker = start_on(dir.path(), &disk, "fsync").await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("u", 1).await;
    disk.fail("u-0", "sync_dir", EMFILE, 1);
    assert_eq!(client.produce("u", 0, batch(&[b"a"])).await.0, STORAGE_ERROR);
    assert_eq!(client.produce("u", 0, batch(&[b"b"])).await, (0, 1));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_topic_may_want_more_than_the_broker_and_the_flush_settings_hold() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(Disk::default()));
    let clock = Clock::fixed(1_700_000_000_000);
    let broker = Broker::start_on(config(dir.path()), clock.clone(), disk.clone()).await.unwrap();
    let door = broker.client();
    let mut synced = Vec::new();
    for (name, setting, value) in [
        ("d", "tifo.durability", "fsync"),
        ("n", "flush.messages", "3"),
        ("m", "flush.ms", "5000"),
        ("p", "flush.ms", "9000000"),
    ] {
        let settings = [(setting.to_owned(), value.to_owned())].into();
        let spec = tifo_broker::client::TopicSpec { name: name.into(), partitions: 1, settings };
        door.ensure_topic(&spec).await.unwrap();
        for _ in 0..3 {
            let before = disk.syncs();
            door.append(name, 0, batch(&[b"a"])).await.unwrap();
            synced.push(disk.syncs() - before);
        }
    }
    assert_eq!(synced, [1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let before = disk.syncs();
    tokio::task::block_in_place(|| broker.maintain());
    assert_eq!(disk.syncs(), before);
    clock.set_ms(1_700_000_005_000);
    disk.hold("m-0", "sync_data");
    tokio::task::block_in_place(|| broker.maintain());
    held(&disk).await;
    disk.release();
    broker.shutdown().await;
}

/// What others do while the disk stalls under `t-0`: all of it must be soon.
async fn others(broker: &Broker, rounds: i64) {
    let (mut producer, mut consumer) =
        (Client::connect(broker.kafka_addr()).await, Client::connect(broker.kafka_addr()).await);
    let (_, start) = producer.produce("t", 1, batch(&[b"x"])).await;
    for offset in start + 1..start + rounds {
        let began = Instant::now();
        consumer.send(&fetch_request("t", 1, offset, 30_000), 12).await;
        assert_eq!(producer.produce("t", 1, batch(&[b"y"])).await, (0, offset));
        let (_, fetched) = consumer.receive::<kafka_protocol::messages::FetchRequest>(12).await;
        assert_eq!(values(&fetched), vec![&b"y"[..]]);
        assert!(began.elapsed() < slack(), "{:?}", began.elapsed());
        let began = Instant::now();
        broker.client().offsets("t", 1).await.unwrap();
        assert!(began.elapsed() < slack(), "{:?}", began.elapsed());
    }
}

/// A machine that is busy with other things may be given more by `TIFO_TEST_SLACK_MS`.
fn slack() -> Duration {
    std::env::var("TIFO_TEST_SLACK_MS").map_or(SOON, |ms| Duration::from_millis(ms.parse().unwrap()))
}

/// As the binary has it on a small machine: two cores.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

#[test]
fn a_disk_that_stalls_under_one_partition_delays_nobody_else() {
    for (operation, durability) in
        [("append", "page-cache"), ("append", "fsync"), ("sync_data", "fsync"), ("open", "page-cache")]
    {
        runtime().block_on(async {
            let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(Disk::default()));
            let broker = start_on(dir.path(), &disk, durability).await;
            let settings = [("segment.bytes".to_owned(), "1048576".to_owned())].into();
            let spec = tifo_broker::client::TopicSpec { name: "t".into(), partitions: 2, settings };
            broker.client().ensure_topic(&spec).await.unwrap();
            // The next one makes a new segment.
            let big = batch(&[&[b's'; 700_000]]);
            broker.client().append("t", 0, big.clone()).await.unwrap();
            disk.hold("t-0", operation);
            // Many who touch it: producers, readers, and the in-process door.
            let mut stalled = Vec::new();
            for _ in 0..8 {
                let mut client = Client::connect(broker.kafka_addr()).await;
                client.send(&produce_request("t", 0, big.clone(), -1), 9).await;
                client.send(&fetch_request("t", 0, 0, 1), 12).await;
                stalled.push(client);
            }
            tokio::time::timeout(VERY_LONG, held(&disk)).await.unwrap();
            others(&broker, 30).await;
            disk.release();
            for client in &mut stalled {
                let (_, answer) = client.receive::<kafka_protocol::messages::ProduceRequest>(9).await;
                assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
            }
            drop(stalled);
            broker.shutdown().await;
        });
    }
}

/// More than the process has threads to wait in, tokio's and ours together.
const CROWD: usize = 700;

#[test]
fn a_crowd_at_a_stalled_partition_leaves_threads_for_the_others() {
    runtime().block_on(async {
        let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(Disk::default()));
        let broker = start_on(dir.path(), &disk, "page-cache").await;
        let spec = tifo_broker::client::TopicSpec { name: "t".into(), partitions: 2, settings: Default::default() };
        broker.client().ensure_topic(&spec).await.unwrap();
        disk.hold("t-0", "append");
        let (sender, mut answers) = tokio::sync::mpsc::channel(CROWD);
        for _ in 0..CROWD {
            let (door, sender) = (broker.client(), sender.clone());
            tokio::spawn(async move { sender.send(door.append("t", 0, batch(&[b"a"])).await.is_ok()).await });
        }
        // One is at the disk, so many wait, and the others know that they may try again later.
        for _ in 0..CROWD - 1 - MAX_WAITING {
            assert!(!tokio::time::timeout(VERY_LONG, answers.recv()).await.unwrap().unwrap());
        }
        tokio::time::timeout(VERY_LONG, tokio::task::spawn_blocking(|| ())).await.unwrap().unwrap();
        others(&broker, 5).await;
        assert!(answers.try_recv().is_err(), "whoever waits has no answer before the disk has");
        disk.release();
        for _ in 0..=MAX_WAITING {
            assert!(answers.recv().await.unwrap());
        }
        assert_eq!(
            broker.client().append("t", 0, batch(&[b"b"])).await.unwrap(),
            i64::try_from(MAX_WAITING + 1).unwrap()
        );
        broker.shutdown().await;
    });
}
