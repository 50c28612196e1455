//! What survives a stop, clean or not, and how a start fails.
#![allow(clippy::unwrap_used)]

mod support;

use kafka_protocol::messages::{
    CreatePartitionsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest,
    MetadataRequest, create_partitions_request::CreatePartitionsTopic,
    describe_configs_request::DescribeConfigsResource, incremental_alter_configs_request,
};
use kafka_protocol::protocol::StrBytes;
use std::fs;
use support::*;
use tifo_broker::{Broker, Clock, LogClient};

async fn all_topics(client: &mut Client) -> Vec<(String, uuid::Uuid, usize)> {
    let all = client.call(&MetadataRequest::default().with_topics(None), 12).await;
    all.topics
        .iter()
        .map(|topic| (topic.name.clone().unwrap().to_string(), topic.topic_id, topic.partitions.len()))
        .collect()
}

async fn fill(client: &mut Client) {
    client.create_topic("kept", 2).await;
    client.create_topic("gone", 3).await;
    let grow = CreatePartitionsTopic::default().with_name(topic_name("kept")).with_count(5).with_assignments(None);
    let grown = client.call(&CreatePartitionsRequest::default().with_topics(vec![grow]), 3).await;
    assert_eq!(grown.results[0].error_code, 0);
    assert_eq!(client.produce("kept", 4, batch(&[b"one", b"two"])).await, (0, 0));
    let config = incremental_alter_configs_request::AlterableConfig::default()
        .with_name(StrBytes::from_static_str("retention.ms"))
        .with_value(Some(StrBytes::from_static_str("1234567")));
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(StrBytes::from_static_str("kept"))
        .with_configs(vec![config]);
    let altered = client.call(&IncrementalAlterConfigsRequest::default().with_resources(vec![resource]), 1).await;
    assert_eq!(altered.responses[0].error_code, 0);
    let delete = kafka_protocol::messages::DeleteTopicsRequest::default().with_topic_names(vec![topic_name("gone")]);
    assert_eq!(client.call(&delete, 5).await.responses[0].error_code, 0);
}

async fn check(client: &mut Client, before: &[(String, uuid::Uuid, usize)]) {
    assert_eq!(all_topics(client).await, before);
    assert_eq!(values(&client.fetch("kept", 4, 0).await), vec![&b"one"[..], &b"two"[..]]);
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(StrBytes::from_static_str("kept"))
        .with_configuration_keys(Some(vec![StrBytes::from_static_str("retention.ms")]));
    let described = client.call(&DescribeConfigsRequest::default().with_resources(vec![resource]), 4).await;
    let retention = &described.results[0].configs[0];
    assert_eq!((retention.value.as_deref(), retention.config_source), (Some("1234567"), 1));
}

#[tokio::test]
async fn a_restart_keeps_topics_ids_settings_records_and_producer_ids() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    fill(&mut client).await;
    let before = all_topics(&mut client).await;
    let first = client.call(&InitProducerIdRequest::default().with_transactional_id(None), 4).await;
    broker.shutdown().await;
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    check(&mut client, &before).await;
    let second = client.call(&InitProducerIdRequest::default().with_transactional_id(None), 4).await;
    assert!(second.producer_id.0 > first.producer_id.0);
    assert_eq!(client.produce("kept", 4, batch(&[b"three"])).await, (0, 2));
    broker.shutdown().await;
}

/// The files as a killed process leaves them: copied under the running broker, whose lock does not matter to the copy.
#[tokio::test]
async fn a_kill_keeps_what_was_answered() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    fill(&mut client).await;
    let before = all_topics(&mut client).await;
    copy_tree(dir.path(), copy.path());
    broker.shutdown().await;
    // What a deletion that was cut short leaves behind.
    fs::create_dir(copy.path().join(format!("gone-0.{}-delete", "0".repeat(32)))).unwrap();
    let broker = start(copy.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    check(&mut client, &before).await;
    broker.maintain();
    broker.shutdown().await;
    let left: Vec<_> = fs::read_dir(copy.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().starts_with("gone")), "{left:?}");
}

#[tokio::test]
async fn a_directory_of_an_unknown_topic_is_set_aside_not_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("t-0")).unwrap();
    fs::write(dir.path().join("t-0/partition.metadata"), "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n").unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("t", 1).await;
    assert_eq!(client.produce("t", 0, batch(&[b"x"])).await, (0, 0));
    broker.shutdown().await;
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().any(|name| name.to_str().unwrap().ends_with("-stray")), "{names:?}");
}

#[tokio::test]
async fn a_failed_start_names_the_thing_and_the_way_out() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = start(one.path()).await;
    let in_use = Broker::start(config(one.path()), Clock::system()).await.unwrap_err().to_string();
    assert!(in_use.contains("in use by another process") && in_use.contains("--data-dir"), "{in_use}");
    let mut taken = config(two.path());
    taken.set("listeners", broker.kafka_addr());
    let taken = Broker::start(taken, Clock::system()).await.unwrap_err().to_string();
    assert!(taken.contains("cannot listen on") && taken.contains("--kafka"), "{taken}");
    broker.shutdown().await;
    let file = two.path().join("file");
    fs::write(&file, "").unwrap();
    let unusable = Broker::start(config(&file), Clock::system()).await.unwrap_err().to_string();
    assert!(unusable.contains("cannot be written"), "{unusable}");
    let mut typo = config(two.path());
    typo.settings.insert("log.retention.m".into(), "1".into());
    let typo = Broker::start(typo, Clock::system()).await.unwrap_err().to_string();
    assert_eq!(typo, "setting log.retention.m is not known; did you mean log.retention.ms?");
    for error in [in_use, taken, unusable] {
        assert!(!error.contains('\n'));
    }
}

#[tokio::test]
async fn the_in_process_door() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let door = broker.client();
    let spec = tifo_broker::client::TopicSpec { name: "d".into(), partitions: 2, ..Default::default() };
    door.ensure_topic(&spec).await.unwrap();
    door.ensure_topic(&spec).await.unwrap();
    assert_eq!(door.partitions("d").await.unwrap(), 2);
    let waiting = {
        let door = door.clone();
        tokio::spawn(async move { door.fetch("d", 1, 0, 1 << 20, std::time::Duration::from_secs(30)).await })
    };
    assert_eq!(door.append("d", 1, batch(&[b"a", b"b"])).await.unwrap(), 0);
    let fetched = waiting.await.unwrap().unwrap();
    assert_eq!((fetched.batches.is_empty(), fetched.high_watermark), (false, 2));
    assert_eq!(door.offsets("d", 1).await.unwrap(), (0, 2));
    assert!(door.append("d", 7, batch(&[b"a"])).await.unwrap_err().to_string().contains("no partition 7"));
    assert!(door.partitions("nope").await.unwrap_err().to_string().contains("does not exist"));
    let out_of_range = door.fetch("d", 1, 99, 100, std::time::Duration::ZERO).await.unwrap_err().to_string();
    assert_eq!(out_of_range, "offset 99 of d-1 is out of range 0..=2");
    let (first, second) = (door.init_producer_id().await.unwrap(), door.init_producer_id().await.unwrap());
    assert_ne!(first, second);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_damaged_partition_is_offline_alone() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("t", 2).await;
    client.produce("t", 0, batch(&[b"a"])).await;
    client.produce("t", 1, batch(&[b"b"])).await;
    broker.shutdown().await;
    let segment = dir.path().join("t-0/00000000000000000000.log");
    fs::remove_file(&segment).unwrap();
    fs::create_dir(&segment).unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    assert_eq!(client.produce("t", 0, batch(&[b"c"])).await.0, 56);
    assert_eq!(client.fetch("t", 0, 0).await.responses[0].partitions[0].error_code, 56);
    assert_eq!(client.produce("t", 1, batch(&[b"c"])).await, (0, 1));
    broker.shutdown().await;
}

#[tokio::test]
async fn damaged_metadata_ends_the_start_with_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("t", 1).await;
    broker.shutdown().await;
    let log = dir.path().join("metadata/00000000000000000000.log");
    let mut bytes = fs::read(&log).unwrap();
    bytes[70] ^= 1;
    fs::write(&log, bytes).unwrap();
    let error = Broker::start(config(dir.path()), Clock::system()).await.unwrap_err().to_string();
    assert!(error.contains("metadata") && error.contains("restore") && !error.contains('\n'), "{error}");
}
