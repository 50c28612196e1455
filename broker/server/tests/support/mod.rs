//! A broker on a free port and a client that speaks kafka-protocol, one request at a time or pipelined.
#![allow(clippy::unwrap_used, dead_code)]

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, ProduceRequest,
        ProduceResponse, RequestHeader, ResponseHeader, TopicName,
        create_topics_request::CreatableTopic,
        fetch_request::{FetchPartition, FetchTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
};
use std::{fs, net::SocketAddr, path::Path};
use tifo_broker::{Broker, BrokerConfig, Clock};
use tifo_storage::record_batch::{BatchBuilder, Compression};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The timestamps of the tests' records are of long ago: retention would take them.
pub fn config(dir: &Path) -> BrokerConfig {
    BrokerConfig::new(dir).with("listeners", "127.0.0.1:0").with("log.retention.ms", -1)
}

pub async fn start(dir: &Path) -> Broker {
    Broker::start(config(dir), Clock::system()).await.unwrap()
}

pub struct Client {
    pub stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), correlation_id: 0 }
    }

    /// Sends without waiting for the answer; returns the correlation id.
    pub async fn send<Q: Request>(&mut self, request: &Q, version: i16) -> i32 {
        self.correlation_id += 1;
        let mut body = BytesMut::new();
        request.encode(&mut body, version).unwrap();
        self.send_raw(Q::KEY, version, Q::header_version(version), &body).await;
        self.correlation_id
    }

    pub async fn send_raw(&mut self, key: i16, version: i16, header_version: i16, body: &[u8]) {
        let header = RequestHeader::default()
            .with_request_api_key(key)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("test")));
        let mut frame = BytesMut::new();
        header.encode(&mut frame, header_version).unwrap();
        frame.extend_from_slice(body);
        self.send_frame(&frame).await;
    }

    pub async fn send_frame(&mut self, frame: &[u8]) {
        let size = u32::try_from(frame.len()).unwrap();
        self.stream.write_all(&[&size.to_be_bytes()[..], frame].concat()).await.unwrap();
    }

    /// One frame without its size; None when the broker closed the connection.
    pub async fn receive_frame(&mut self) -> Option<Bytes> {
        let size = self.stream.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(size).unwrap()];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame.into())
    }

    pub async fn receive<Q: Request>(&mut self, version: i16) -> (i32, Q::Response) {
        let mut frame = self.receive_frame().await.expect("the broker closed the connection");
        let header = ResponseHeader::decode(&mut frame, Q::Response::header_version(version)).unwrap();
        let response = Q::Response::decode(&mut frame, version).unwrap();
        assert!(!frame.has_remaining(), "{} bytes behind the response", frame.remaining());
        (header.correlation_id, response)
    }

    pub async fn call<Q: Request>(&mut self, request: &Q, version: i16) -> Q::Response {
        let sent = self.send(request, version).await;
        let (answered, response) = self.receive::<Q>(version).await;
        assert_eq!(sent, answered);
        response
    }

    pub async fn create_topic(&mut self, name: &str, partitions: i32) -> CreateTopicsResponse {
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(-1);
        self.call(&CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000), 7).await
    }

    /// Produces one batch; returns (error code, base offset).
    pub async fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> (i16, i64) {
        let response: ProduceResponse = self.call(&produce_request(topic, partition, batch, -1), 9).await;
        let answer = &response.responses[0].partition_responses[0];
        (answer.error_code, answer.base_offset)
    }

    pub async fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> FetchResponse {
        self.call(&fetch_request(topic, partition, offset, 0), 12).await
    }
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

pub fn produce_request(topic: &str, partition: i32, batch: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(5000).with_topic_data(vec![topic])
}

pub fn fetch_request(topic: &str, partition: i32, offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// A batch of records with these values and the key `k`.
pub fn batch(values: &[&[u8]]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.push(1_700_000_000_000, Some(b"k"), Some(value), &[]);
    }
    builder.build()
}

/// The values in the records of a fetch response's first partition.
pub fn values(response: &FetchResponse) -> Vec<Bytes> {
    let records = response.responses[0].partitions[0].records.clone().unwrap_or_default();
    let batches = tifo_storage::record_batch::batches(records);
    batches.flat_map(|batch| batch.unwrap().records(1 << 20).unwrap()).map(|record| record.value.unwrap()).collect()
}

pub fn key_of<Q: Request>() -> ApiKey {
    ApiKey::try_from(Q::KEY).unwrap()
}

/// The files as a killed process leaves them: copied under the running broker, whose lock does not matter to the copy.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
