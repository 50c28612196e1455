//! Records go: by age, by size, by DeleteRecords, with their topic; and their files a while later. The clock is the test's.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use kafka_protocol::{
    messages::{
        CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest,
        ListOffsetsRequest,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    },
    protocol::StrBytes,
};
use std::{fs, path::Path};
use support::*;
use tifo_broker::{Broker, Clock, LogClient};
use tifo_storage::record_batch::{BatchBuilder, Compression};

const NOW_MS: i64 = 1_700_000_000_000;
const NONE: i16 = 0;
const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const POLICY_VIOLATION: i16 = 44;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn batch_at(timestamp_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(timestamp_ms, Some(b"k"), Some(b"v"), &[]);
    builder.build()
}

async fn create(client: &mut Client, name: &str, settings: &[(&str, &str)]) {
    let configs = settings
        .iter()
        .map(|(name, value)| CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value))));
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(1)
        .with_replication_factor(-1)
        .with_configs(configs.collect());
    let created = client.call(&CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000), 7).await;
    assert_eq!(created.topics[0].error_code, NONE, "{created:?}");
}

/// A segment for each of these ages.
async fn fill(client: &mut Client, name: &str, ages_ms: &[i64]) {
    for age_ms in ages_ms {
        assert_eq!(client.produce(name, 0, batch_at(NOW_MS - age_ms)).await.0, NONE);
    }
}

async fn alter(client: &mut Client, topic: &str, name: &str, value: &str) {
    let config = AlterableConfig::default().with_name(text(name)).with_value(Some(text(value)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(topic))
        .with_configs(vec![config]);
    let altered = client.call(&IncrementalAlterConfigsRequest::default().with_resources(vec![resource]), 1).await;
    assert_eq!(altered.responses[0].error_code, NONE);
}

async fn earliest(client: &mut Client, topic: &str) -> i64 {
    let partition = ListOffsetsPartition::default().with_current_leader_epoch(-1).with_timestamp(-2);
    let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    client.call(&request, 7).await.topics[0].partitions[0].offset
}

/// Error code and low watermark.
async fn delete_records(client: &mut Client, topic: &str, offset: i64) -> (i16, i64) {
    let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000);
    let response = client.call(&request, 2).await;
    let answer = &response.topics[0].partitions[0];
    (answer.error_code, answer.low_watermark)
}

fn files(dir: &Path, end: &str) -> usize {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(end)).count()
}

async fn start_at(dir: &Path, clock: &Clock) -> (Broker, Client) {
    let mut config = config(dir);
    config.set("log.retention.check.interval.ms", 1);
    let broker = Broker::start(config, clock.clone()).await.unwrap();
    let client = Client::connect(broker.kafka_addr()).await;
    (broker, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lowered_retention_takes_existing_segments_and_their_files_later() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::fixed(NOW_MS));
    let (broker, mut client) = start_at(dir.path(), &clock).await;
    create(&mut client, "t", &[("segment.ms", "1000"), ("file.delete.delay.ms", "5000")]).await;
    fill(&mut client, "t", &[30_000, 20_000, 10_000, 0]).await;
    broker.maintain();
    assert_eq!(earliest(&mut client, "t").await, 0);
    alter(&mut client, "t", "retention.ms", "15001").await;
    clock.set_ms(NOW_MS + 1);
    broker.maintain();
    assert_eq!(earliest(&mut client, "t").await, 2);
    let fetched = client.fetch("t", 0, 1).await;
    let fetched = &fetched.responses[0].partitions[0];
    assert_eq!((fetched.error_code, fetched.log_start_offset), (OFFSET_OUT_OF_RANGE, -1));
    // One fetch ends where a segment does.
    assert_eq!(values(&client.fetch("t", 0, 2).await).len(), 1);
    let partition = dir.path().join("t-0");
    assert_eq!((files(&partition, ".log"), files(&partition, ".log.deleted")), (2, 2));
    clock.set_ms(NOW_MS + 5001);
    broker.maintain();
    assert_eq!((files(&partition, ".log"), files(&partition, ".deleted")), (2, 0));
    // In time the rest goes too, the active segment included, and writing goes on behind it.
    clock.set_ms(NOW_MS + 15_002);
    broker.maintain();
    assert_eq!(earliest(&mut client, "t").await, 4);
    assert_eq!(client.produce("t", 0, batch_at(NOW_MS + 15_002)).await, (NONE, 4));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lowered_size_takes_existing_segments() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::fixed(NOW_MS));
    let (broker, mut client) = start_at(dir.path(), &clock).await;
    create(&mut client, "t", &[("segment.ms", "1000"), ("retention.ms", "-1")]).await;
    fill(&mut client, "t", &[30_000, 20_000, 10_000, 0]).await;
    broker.maintain();
    assert_eq!(earliest(&mut client, "t").await, 0);
    let two = fs::metadata(dir.path().join("t-0/00000000000000000000.log")).unwrap().len() * 2;
    alter(&mut client, "t", "retention.bytes", &two.to_string()).await;
    broker.maintain();
    assert_eq!(earliest(&mut client, "t").await, 2);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_are_gone_and_stay_gone() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::fixed(NOW_MS));
    let (broker, mut client) = start_at(dir.path(), &clock).await;
    create(&mut client, "t", &[("segment.ms", "1000"), ("file.delete.delay.ms", "0")]).await;
    create(&mut client, "compacted", &[("cleanup.policy", "compact")]).await;
    fill(&mut client, "t", &[30_000, 20_000, 10_000, 0]).await;
    assert_eq!(delete_records(&mut client, "t", 2).await, (NONE, 2));
    assert_eq!(delete_records(&mut client, "t", 1).await, (NONE, 2));
    assert_eq!(earliest(&mut client, "t").await, 2);
    assert_eq!(client.fetch("t", 0, 1).await.responses[0].partitions[0].error_code, OFFSET_OUT_OF_RANGE);
    assert_eq!(delete_records(&mut client, "t", 5).await, (OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(delete_records(&mut client, "t", -2).await, (OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(delete_records(&mut client, "nope", 0).await, (UNKNOWN_TOPIC_OR_PARTITION, -1));
    assert_eq!(delete_records(&mut client, "compacted", 0).await, (POLICY_VIOLATION, -1));
    broker.client().commit("g", "t", &[(0, 0)]).await.unwrap();
    assert_eq!(delete_records(&mut client, "__consumer_offsets", 0).await, (INVALID_TOPIC, -1));
    let copy = tempfile::tempdir().unwrap();
    copy_tree(dir.path(), copy.path());
    broker.maintain();
    broker.maintain();
    assert_eq!(files(&dir.path().join("t-0"), ".log"), 2);
    assert_eq!(delete_records(&mut client, "t", -1).await, (NONE, 4));
    broker.shutdown().await;
    let (broker, mut client) = start_at(dir.path(), &clock).await;
    assert_eq!(earliest(&mut client, "t").await, 4);
    assert_eq!(client.produce("t", 0, batch_at(NOW_MS)).await, (NONE, 4));
    broker.shutdown().await;
    // As a kill right behind the first answer leaves it.
    let (broker, mut client) = start_at(copy.path(), &clock).await;
    assert_eq!(earliest(&mut client, "t").await, 2);
    assert_eq!(values(&client.fetch("t", 0, 2).await).len(), 1);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topics_files_go_later() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::fixed(NOW_MS));
    let (broker, mut client) = start_at(dir.path(), &clock).await;
    create(&mut client, "t", &[("file.delete.delay.ms", "1000")]).await;
    fill(&mut client, "t", &[0]).await;
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![topic_name("t")]);
    assert_eq!(client.call(&delete, 5).await.responses[0].error_code, NONE);
    broker.maintain();
    assert_eq!(files(dir.path(), "-delete"), 1);
    create(&mut client, "t", &[]).await;
    assert_eq!(earliest(&mut client, "t").await, 0);
    clock.set_ms(NOW_MS + 1000);
    broker.maintain();
    assert_eq!((files(dir.path(), "-delete"), files(dir.path(), "t-0")), (0, 1));
    broker.shutdown().await;
}
