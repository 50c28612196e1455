//! The broker over a real socket: what connections do with good, bad and many requests.
#![allow(clippy::unwrap_used)]

mod support;

use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, DeleteTopicsRequest, FetchRequest,
        MetadataRequest, ProduceRequest, create_topics_request::CreatableTopic, metadata_request::MetadataRequestTopic,
    },
    protocol::{Decodable, StrBytes},
};
use std::time::Duration;
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

#[tokio::test]
async fn api_versions_and_the_downgrade_answer() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    let named = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("test"))
        .with_client_software_version(StrBytes::from_static_str("1.0"));
    for version in 0..=4 {
        let request = if version >= 3 { named.clone() } else { ApiVersionsRequest::default() };
        let response = client.call(&request, version).await;
        assert_eq!(response.error_code, 0);
        let produce = response.api_keys.iter().find(|api| api.api_key == ApiKey::Produce as i16).unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
    }
    client.send_raw(ApiKey::ApiVersions as i16, 99, 1, b"whatever").await;
    let mut frame = client.receive_frame().await.unwrap().split_off(4);
    let refused = ApiVersionsResponse::decode(&mut frame, 0).unwrap();
    assert_eq!((refused.error_code, refused.api_keys.len()), (35, 1));
    assert_eq!(client.call(&ApiVersionsRequest::default(), 0).await.error_code, 0);
    let unnamed = client.call(&ApiVersionsRequest::default(), 3).await;
    assert_eq!((unnamed.error_code, unnamed.api_keys.len()), (42, 0));
    broker.shutdown().await;
}

#[tokio::test]
async fn records_come_back_as_they_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("t", 1).await;
    let large = vec![7_u8; 200_000];
    assert_eq!(client.produce("t", 0, batch(&[b"a", b"b"])).await, (0, 0));
    assert_eq!(client.produce("t", 0, batch(&[&large])).await, (0, 2));
    // Small runs are copied, large ones leave by sendfile.
    let response = client.fetch("t", 0, 0).await;
    let got = values(&response);
    assert_eq!((got.len(), &got[0][..], got[2].len()), (3, &b"a"[..], 200_000));
    assert_eq!(response.responses[0].partitions[0].high_watermark, 3);
    // The first batch comes whole whatever the limit.
    let mut tiny = fetch_request("t", 0, 2, 0).with_max_bytes(1);
    tiny.topics[0].partitions[0].partition_max_bytes = 1;
    assert_eq!(values(&client.call(&tiny, 12).await).len(), 1);
    for version in 4..=12 {
        let response = client.call(&fetch_request("t", 0, 0, 0), version).await;
        assert_eq!(values(&response).len(), 3, "version {version}");
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn fetch_by_topic_id() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    let id = client.create_topic("t", 1).await.topics[0].topic_id;
    client.produce("t", 0, batch(&[b"a"])).await;
    for version in 13..=18 {
        let mut request = fetch_request("", 0, 0, 0);
        request.topics[0].topic_id = id;
        let response = client.call(&request, version).await;
        assert_eq!((response.responses[0].topic_id, values(&response).len()), (id, 1));
        request.topics[0].topic_id = uuid::Uuid::from_u128(5);
        let response = client.call(&request, version).await;
        assert_eq!(response.responses[0].partitions[0].error_code, 100);
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn a_long_poll_wakes_at_the_append_and_ends_with_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut reader = Client::connect(broker.kafka_addr()).await;
    let mut writer = Client::connect(broker.kafka_addr()).await;
    writer.create_topic("t", 1).await;
    let begun = Instant::now();
    reader.send(&fetch_request("t", 0, 0, 30_000), 12).await;
    // Behind the poll on the same connection: answered after it, in order.
    reader.send(&ApiVersionsRequest::default(), 0).await;
    writer.produce("t", 0, batch(&[b"wake"])).await;
    let (_, response) = reader.receive::<FetchRequest>(12).await;
    assert_eq!(values(&response), vec![&b"wake"[..]]);
    reader.receive::<ApiVersionsRequest>(0).await;
    reader.send(&fetch_request("t", 0, 1, 30_000), 12).await;
    writer.call(&ApiVersionsRequest::default(), 0).await;
    let stopping = tokio::spawn(broker.shutdown());
    reader.receive_frame().await;
    stopping.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn an_empty_fetch_waits_as_long_as_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("t", 1).await;
    let begun = Instant::now();
    let response = client.call(&fetch_request("t", 0, 0, 150), 12).await;
    assert_eq!(values(&response).len(), 0);
    assert!(begun.elapsed() >= Duration::from_millis(150));
    broker.shutdown().await;
}

#[tokio::test]
async fn pipelined_requests_are_done_and_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("t", 1).await;
    let mut sent = Vec::new();
    for i in 0..200_i32 {
        sent.push(client.send(&produce_request("t", 0, batch(&[&i.to_be_bytes()]), 1), 9).await);
    }
    for (i, id) in (0..).zip(sent) {
        let (answered, response) = client.receive::<ProduceRequest>(9).await;
        assert_eq!((answered, response.responses[0].partition_responses[0].base_offset), (id, i));
    }
    let got = values(&client.fetch("t", 0, 0).await);
    let expected: Vec<_> = (0..200_i32).map(|i| i.to_be_bytes().to_vec()).collect();
    assert_eq!(got, expected);
    broker.shutdown().await;
}

#[tokio::test]
async fn acks_0_is_not_answered_and_a_failure_costs_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("t", 1).await;
    client.send(&produce_request("t", 0, batch(&[b"silent"]), 0), 9).await;
    assert_eq!(values(&client.fetch("t", 0, 0).await), vec![&b"silent"[..]]);
    client.send(&produce_request("no-such", 0, batch(&[b"x"]), 0), 9).await;
    assert!(client.receive_frame().await.is_none());
    broker.shutdown().await;
}

#[tokio::test]
async fn garbage_costs_the_connection_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut state = 0x2545_f491_u32;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let killers: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0xff; 64],
        vec![0, 0, 0, 0],
        vec![0, 0, 0, 3, 0, 3, 0],
        [&[0, 0, 0, 15, 0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff][..], &[0x7f, 0xff, 0xff, 0xff, 0x00]].concat(),
        [&[0, 0, 0, 15, 0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff][..], &[0x03, 0x3c, 0x0c, 0x00, 0xb6]].concat(),
    ];
    let noise = (0..64).map(|_| {
        let size = random() % 200;
        let body: Vec<u8> = (0..size).map(|_| random().to_be_bytes()[0]).collect();
        [&size.to_be_bytes()[..], &body].concat()
    });
    for bytes in killers.into_iter().chain(noise.collect::<Vec<_>>()) {
        let mut client = Client::connect(broker.kafka_addr()).await;
        client.stream.write_all(&bytes).await.unwrap();
        client.stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let ended = timeout(Duration::from_secs(5), client.stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "not closed after {bytes:?}");
    }
    let mut client = Client::connect(broker.kafka_addr()).await;
    assert_eq!(client.call(&ApiVersionsRequest::default(), 0).await.error_code, 0);
    // Versions and keys that are not served cost the connection, as in Kafka.
    for (key, version) in [(0, 2), (3, 99), (999, 0), (-1, 0), (1, 3)] {
        let mut client = Client::connect(broker.kafka_addr()).await;
        client.send_raw(key, version, 1, &[0; 20]).await;
        assert!(client.receive_frame().await.is_none(), "{key} {version}");
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn limits_on_frames_and_connections() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.set("socket.request.max.bytes", 1000);
    config.set("max.connections", 2);
    config.set("connections.max.idle.ms", 300);
    let broker = tifo_broker::Broker::start(config, tifo_broker::Clock::system()).await.unwrap();
    let mut first = Client::connect(broker.kafka_addr()).await;
    first.stream.write_all(&1001_i32.to_be_bytes()).await.unwrap();
    assert!(first.receive_frame().await.is_none(), "a frame over the limit");
    let mut second = Client::connect(broker.kafka_addr()).await;
    let mut third = Client::connect(broker.kafka_addr()).await;
    second.call(&ApiVersionsRequest::default(), 0).await;
    third.call(&ApiVersionsRequest::default(), 0).await;
    // One too many: served once another has gone, here by idling.
    let mut fourth = Client::connect(broker.kafka_addr()).await;
    fourth.call(&ApiVersionsRequest::default(), 0).await;
    assert!(second.receive_frame().await.is_none() || third.receive_frame().await.is_none());
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_use_delete_from_16_clients_without_one_retriable_error() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let address = broker.kafka_addr();
    let clients: Vec<_> = (0..16)
        .map(|client| {
            tokio::spawn(async move {
                let mut admin = Client::connect(address).await;
                let mut user = Client::connect(address).await;
                for round in 0..4 {
                    create_use_delete(&mut admin, &mut user, &format!("t-{client}-{}", round % 2)).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    broker.shutdown().await;
}

async fn create_use_delete(admin: &mut Client, user: &mut Client, name: &str) {
    assert_eq!(admin.create_topic(name, 2).await.topics[0].error_code, 0);
    assert_eq!(user.produce(name, 1, batch(&[b"x"])).await, (0, 0));
    assert_eq!(values(&user.fetch(name, 1, 0).await).len(), 1);
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![topic_name(name)]).with_timeout_ms(5000);
    assert_eq!(admin.call(&delete, 5).await.responses[0].error_code, 0);
    assert_eq!(user.produce(name, 1, batch(&[b"x"])).await.0, 3);
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let metadata = MetadataRequest::default().with_topics(Some(vec![asked])).with_allow_auto_topic_creation(false);
    assert_eq!(user.call(&metadata, 9).await.topics[0].error_code, 3);
}

#[tokio::test]
async fn the_address_that_a_client_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    let metadata = client.call(&MetadataRequest::default().with_topics(None), 9).await;
    assert_eq!(&*metadata.brokers[0].host, "127.0.0.1");
    assert_eq!(metadata.brokers[0].port, i32::from(broker.kafka_addr().port()));
    broker.shutdown().await;
    let mut config = config(dir.path());
    config.set("advertised.listeners", "PLAINTEXT://kafka.example:19092");
    let broker = tifo_broker::Broker::start(config, tifo_broker::Clock::system()).await.unwrap();
    let mut client = Client::connect(broker.kafka_addr()).await;
    let metadata = client.call(&MetadataRequest::default().with_topics(None), 9).await;
    assert_eq!((&*metadata.brokers[0].host, metadata.brokers[0].port), ("kafka.example", 19092));
    broker.shutdown().await;
}

#[tokio::test]
async fn validate_only_and_duplicates_create_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    let topic = |name: &str| {
        CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(1).with_replication_factor(1)
    };
    let request = CreateTopicsRequest::default().with_topics(vec![topic("v")]).with_validate_only(true);
    assert_eq!(client.call(&request, 7).await.topics[0].error_code, 0);
    let request = CreateTopicsRequest::default().with_topics(vec![topic("d"), topic("d"), topic("e")]);
    let answers: Vec<_> = client.call(&request, 7).await.topics.iter().map(|one| one.error_code).collect();
    assert_eq!(answers, vec![42, 0]);
    let all = client.call(&MetadataRequest::default().with_topics(None), 9).await;
    let names: Vec<_> = all.topics.iter().map(|topic| topic.name.clone().unwrap().0).collect();
    assert_eq!(names, vec![StrBytes::from_static_str("e")]);
    broker.shutdown().await;
}

/// Plain requests in every version that is served: a field that an old version lacks must not break its answer.
#[tokio::test]
async fn every_version_answers() {
    use kafka_protocol::messages::*;
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("t", 1).await;
    for version in 0..=13 {
        let all = if version == 0 { Some(vec![]) } else { None };
        let metadata = client.call(&MetadataRequest::default().with_topics(all), version).await;
        assert!(metadata.topics.iter().any(|topic| topic.name == Some(topic_name("t"))), "{version}");
    }
    for version in 2..=7 {
        let topic = CreatableTopic::default()
            .with_name(topic_name(&format!("v{version}")))
            .with_num_partitions(1)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        assert_eq!(client.call(&request, version).await.topics[0].error_code, 0, "{version}");
        assert_eq!(client.call(&request, version).await.topics[0].error_code, 36, "{version}");
    }
    for version in 1..=6 {
        let name = topic_name(&format!("v{}", version + 1));
        let state = delete_topics_request::DeleteTopicState::default().with_name(Some(name.clone()));
        let request = match version {
            6 => DeleteTopicsRequest::default().with_topics(vec![state]),
            _ => DeleteTopicsRequest::default().with_topic_names(vec![name]),
        };
        assert_eq!(client.call(&request, version).await.responses[0].error_code, 0, "{version}");
        assert_eq!(client.call(&request, version).await.responses[0].error_code, 3, "{version}");
    }
    for version in 3..=12 {
        let response = client.call(&produce_request("t", 0, batch(&[b"x"]), 1), version).await;
        assert_eq!(response.responses[0].partition_responses[0].base_offset, i64::from(version) - 3);
        let response = client.call(&produce_request("nope", 0, batch(&[b"x"]), 1), version).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, 3);
    }
    for version in 1..=10 {
        for (timestamp, offset) in [(-1, 10), (-2, 0), (0, 0)] {
            let partition = list_offsets_request::ListOffsetsPartition::default()
                .with_current_leader_epoch(-1)
                .with_timestamp(timestamp);
            let topic = list_offsets_request::ListOffsetsTopic::default()
                .with_name(topic_name("t"))
                .with_partitions(vec![partition]);
            let response = client.call(&ListOffsetsRequest::default().with_topics(vec![topic]), version).await;
            assert_eq!(response.topics[0].partitions[0].offset, offset, "{version} {timestamp}");
        }
    }
    for version in 0..=3 {
        let topic = create_partitions_request::CreatePartitionsTopic::default()
            .with_name(topic_name("t"))
            .with_count(2 + i32::from(version))
            .with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![topic]);
        assert_eq!(client.call(&request, version).await.results[0].error_code, 0);
    }
    for version in 0..=2 {
        let response = client.call(&DescribeClusterRequest::default(), version).await;
        assert_eq!(response.brokers.len(), 1);
    }
    for version in 0..=5 {
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        assert_eq!(client.call(&request, version).await.error_code, 0);
        // A transaction that may last no time at all: INVALID_TRANSACTION_TIMEOUT.
        let request = request.with_transactional_id(Some(TransactionalId(StrBytes::from_static_str("tx"))));
        assert_eq!(client.call(&request, version).await.error_code, 50);
    }
    for version in 2..=4 {
        let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default().with_topic(topic_name("t"));
        let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default().with_leader_epoch(0);
        let topics = vec![topic.with_partitions(vec![partition])];
        let response = client.call(&OffsetForLeaderEpochRequest::default().with_topics(topics), version).await;
        assert_eq!(response.topics[0].partitions[0].end_offset, 10);
    }
    for version in 1..=4 {
        for (kind, name) in [(2, "t"), (4, "0")] {
            let resource = describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(StrBytes::from_static_str(name))
                .with_configuration_keys(None);
            let request = DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
            let request = request.with_include_documentation(version >= 3);
            assert!(client.call(&request, version).await.results[0].configs.len() > 20);
        }
    }
    broker.shutdown().await;
}
