//! Broker settings that are altered while the broker runs: in force at once, on what is there, and after a restart.
#![allow(clippy::unwrap_used)]

mod support;

use kafka_protocol::{
    messages::{
        DescribeConfigsRequest, IncrementalAlterConfigsRequest, MetadataRequest,
        describe_configs_request::DescribeConfigsResource,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    },
    protocol::StrBytes,
};
use support::{Client, config};
use tifo_broker::{Broker, Clock};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_REQUEST: i16 = 42;
/// Sources of DescribeConfigs.
const OF_THE_BROKER: i8 = 2;
const OF_ALL_BROKERS: i8 = 3;

async fn alter(client: &mut Client, broker: &str, name: &str, value: Option<&str>) -> i16 {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let operation = i8::from(value.is_none());
    let config =
        AlterableConfig::default().with_name(text(name)).with_config_operation(operation).with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text(broker))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    client.call(&request, 1).await.responses[0].error_code
}

/// Value and source.
async fn describe(client: &mut Client, kind: i8, resource: &str, name: &str) -> (String, i8) {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configuration_keys(Some(vec![text(name)]));
    let answer = client.call(&DescribeConfigsRequest::default().with_resources(vec![resource]), 4).await;
    let entry = &answer.results[0].configs[0];
    (entry.value.clone().unwrap_or_default().to_string(), entry.config_source)
}

#[tokio::test]
async fn topics_take_what_is_altered_on_brokers_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = support::start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    assert_eq!(client.create_topic("t", 1).await.topics[0].error_code, 0);
    assert_eq!(client.produce("t", 0, support::batch(&[b"a"])).await, (0, 0));
    assert_eq!(alter(&mut client, "", "message.max.bytes", Some("50")).await, 0);
    assert_eq!(client.produce("t", 0, support::batch(&[b"b"])).await.0, MESSAGE_TOO_LARGE);
    assert_eq!(describe(&mut client, TOPIC, "t", "max.message.bytes").await, ("50".into(), OF_ALL_BROKERS));
    assert_eq!(alter(&mut client, "0", "message.max.bytes", Some("1000")).await, 0);
    assert_eq!(client.produce("t", 0, support::batch(&[b"b"])).await, (0, 1));
    assert_eq!(alter(&mut client, "0", "num.partitions", Some("3")).await, INVALID_REQUEST);
    broker.shutdown().await;

    let broker = support::start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    assert_eq!(describe(&mut client, TOPIC, "t", "max.message.bytes").await, ("1000".into(), OF_THE_BROKER));
    assert_eq!(alter(&mut client, "0", "message.max.bytes", None).await, 0);
    assert_eq!(client.produce("t", 0, support::batch(&[b"c"])).await.0, MESSAGE_TOO_LARGE);
    broker.shutdown().await;
}

#[tokio::test]
async fn the_advertised_address_and_the_connections_of_one_address_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path()).with("listeners", "INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.1:0");
    let broker = Broker::start(config, Clock::system()).await.unwrap();
    let mut client = Client::connect(broker.kafka_addr()).await;
    let advertised = Some("OUTSIDE://far.example:1,INSIDE://near.example:2");
    assert_eq!(alter(&mut client, "0", "advertised.listeners", advertised).await, 0);
    assert_eq!(alter(&mut client, "0", "advertised.listeners", Some("nowhere")).await, INVALID_REQUEST);
    let metadata = client.call(&MetadataRequest::default().with_topics(None), 9).await;
    assert_eq!((&*metadata.brokers[0].host, metadata.brokers[0].port), ("near.example", 2));

    assert_eq!(alter(&mut client, "", "max.connections.per.ip", Some("1")).await, 0);
    let mut refused = Client::connect(broker.kafka_addr()).await;
    assert!(refused.receive_frame().await.is_none());
    assert_eq!(alter(&mut client, "", "max.connections.per.ip.overrides", Some("127.0.0.1:2")).await, 0);
    let mut welcome = Client::connect(broker.kafka_addr()).await;
    assert_eq!(describe(&mut welcome, BROKER, "0", "max.connections.per.ip").await, ("1".into(), OF_ALL_BROKERS));
    broker.shutdown().await;
}
