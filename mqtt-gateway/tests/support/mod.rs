//! A log in memory behind the in-process door, and MQTT clients: a stock one, and one that may say anything.

#![allow(clippy::unwrap_used, dead_code)]

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tifo_broker::client::{ClientError, Fetched, LogClient, TopicSpec};
use tifo_mqtt_gateway::{MqttConfig, MqttGateway};
use tifo_storage::record_batch::{BatchBuilder, Compression};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const TOPIC: &str = "emoji-counts";

/// One topic with one partition.
#[derive(Debug, Default)]
pub struct MemoryLog {
    state: Mutex<State>,
    appended: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// (base offset, last offset, bytes)
    batches: Vec<(i64, i64, Bytes)>,
    end: i64,
    committed: BTreeMap<String, i64>,
}

pub struct TestRow<'a> {
    pub window_start: i64,
    pub channel: &'a str,
    pub reaction: &'a str,
    pub count: u64,
}

impl MemoryLog {
    pub fn append_rows(&self, rows: &[TestRow<'_>]) {
        let mut builder = BatchBuilder::new(Compression::None);
        for row in rows {
            let key = format!("{}|{}|{}", row.channel, row.reaction, row.window_start);
            let value = serde_json::json!({
                "window_start": row.window_start, "window_end": row.window_start + 2_000, "channel_id": row.channel,
                "reaction": row.reaction, "count": row.count, "rev": 0, "final": true,
            });
            builder.push(row.window_start + 1_999, Some(key.as_bytes()), Some(value.to_string().as_bytes()), &[]);
        }
        self.append_batch(&builder.build(), rows.len());
    }

    pub fn append_value(&self, value: &[u8]) {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(0, None, Some(value), &[]);
        self.append_batch(&builder.build(), 1);
    }

    pub fn committed_offset(&self) -> Option<i64> {
        self.state.lock().unwrap().committed.get("tifo-mqtt-emoji").copied()
    }

    pub fn end(&self) -> i64 {
        self.state.lock().unwrap().end
    }

    fn append_batch(&self, batch: &[u8], records: usize) {
        let mut state = self.state.lock().unwrap();
        let base = state.end;
        let mut bytes = BytesMut::from(batch);
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        state.end += records as i64;
        let last = state.end - 1;
        state.batches.push((base, last, bytes.freeze()));
        self.appended.notify_waiters();
    }

    fn read(&self, offset: i64, max_bytes: usize) -> Fetched {
        let state = self.state.lock().unwrap();
        let mut found = BytesMut::new();
        let first = state.batches.partition_point(|(_, last, _)| *last < offset);
        for (_, _, bytes) in &state.batches[first..] {
            if !found.is_empty() && found.len() + bytes.len() > max_bytes {
                break;
            }
            found.extend_from_slice(bytes);
        }
        Fetched { batches: found.freeze(), log_start_offset: 0, high_watermark: state.end }
    }
}

#[async_trait]
impl LogClient for MemoryLog {
    async fn ensure_topic(&self, _: &TopicSpec) -> Result<(), ClientError> {
        Ok(())
    }

    async fn partitions(&self, _: &str) -> Result<i32, ClientError> {
        Ok(1)
    }

    async fn append(&self, _: &str, _: i32, _: Bytes) -> Result<i64, ClientError> {
        Err(ClientError::Refused("tests append rows".into()))
    }

    async fn fetch(&self, _: &str, _: i32, offset: i64, max: usize, wait: Duration) -> Result<Fetched, ClientError> {
        let appended = self.appended.notified();
        let fetched = self.read(offset, max);
        if !fetched.batches.is_empty() {
            return Ok(fetched);
        }
        let _ = timeout(wait, appended).await;
        Ok(self.read(offset, max))
    }

    async fn offsets(&self, _: &str, _: i32) -> Result<(i64, i64), ClientError> {
        Ok((0, self.end()))
    }

    async fn commit(&self, group: &str, _: &str, offsets: &[(i32, i64)]) -> Result<(), ClientError> {
        self.state.lock().unwrap().committed.insert(group.into(), offsets[0].1);
        Ok(())
    }

    async fn committed(&self, group: &str, _: &str) -> Result<BTreeMap<i32, i64>, ClientError> {
        Ok(self.state.lock().unwrap().committed.get(group).map(|offset| (0, *offset)).into_iter().collect())
    }
}

/// Any free port, no waiting after restarts.
pub fn config() -> MqttConfig {
    MqttConfig { listen: "127.0.0.1:0".into(), restart_grace_ms: 0, commit_delay_ms: 0, ..MqttConfig::default() }
}

pub async fn start(config: MqttConfig, log: &Arc<MemoryLog>) -> MqttGateway {
    MqttGateway::start(config, log.clone(), CancellationToken::new()).await.unwrap()
}

/// A stock client that follows one filter.
pub struct Follower {
    client: rumqttc::AsyncClient,
    events: rumqttc::EventLoop,
    /// The payload of the last of `news`.
    last: Option<Bytes>,
}

impl Follower {
    pub async fn subscribe(gateway: &MqttGateway, client_id: &str, filter: &str, qos: rumqttc::QoS) -> Self {
        let mut options = rumqttc::MqttOptions::new(client_id, "127.0.0.1", gateway.addr().port());
        options.set_keep_alive(Duration::from_secs(30));
        let (client, events) = rumqttc::AsyncClient::new(options, 64);
        client.subscribe(filter, qos).await.unwrap();
        let mut follower = Self { client, events, last: None };
        while !matches!(follower.packet().await, rumqttc::Packet::SubAck(_)) {}
        follower
    }

    pub async fn packet(&mut self) -> rumqttc::Packet {
        loop {
            if let rumqttc::Event::Incoming(packet) = timeout(PATIENCE, self.events.poll()).await.unwrap().unwrap() {
                return packet;
            }
        }
    }

    pub async fn message(&mut self) -> rumqttc::Publish {
        loop {
            if let rumqttc::Packet::Publish(publish) = self.packet().await {
                return publish;
            }
        }
    }

    /// The next message that is not the last one again: who subscribes while it comes may get it as retained, too.
    pub async fn news(&mut self) -> rumqttc::Publish {
        loop {
            let message = self.message().await;
            if self.last.replace(message.payload.clone()).as_ref() != Some(&message.payload) {
                return message;
            }
        }
    }

    pub async fn mood(&mut self) -> serde_json::Value {
        serde_json::from_slice(&self.news().await.payload).unwrap()
    }
}

/// A client that says what it is told to.
pub struct Raw<S>(pub S);

impl Raw<TcpStream> {
    pub async fn connect(gateway: &MqttGateway) -> Self {
        Self(TcpStream::connect(gateway.addr()).await.unwrap())
    }

    pub async fn welcomed(gateway: &MqttGateway, client_id: &str, clean: bool) -> Self {
        let mut raw = Self::connect(gateway).await;
        raw.send(&connect(client_id, clean, 0)).await;
        assert_eq!(raw.receive(4).await[3], 0);
        raw
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub async fn send(&mut self, bytes: &[u8]) {
        // The other side may have closed already; what it answered counts.
        let _ = self.0.write_all(bytes).await;
    }

    pub async fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        timeout(PATIENCE, self.0.read_exact(&mut bytes)).await.unwrap().unwrap();
        bytes
    }

    /// All that still comes until the other side closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await.unwrap();
        bytes
    }

    pub async fn ping(&mut self) {
        self.send(&[0xc0, 0]).await;
        assert_eq!(self.receive(2).await, [0xd0, 0]);
    }
}

pub fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

pub fn frame(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    assert!(body.len() < 128);
    let mut bytes = vec![first, u8::try_from(body.len()).unwrap()];
    bytes.extend(body);
    bytes
}

pub fn connect(client_id: &str, clean: bool, keep_alive_s: u8) -> Vec<u8> {
    frame(0x10, &[&string("MQTT"), &[4, if clean { 2 } else { 0 }, 0, keep_alive_s], &string(client_id)])
}

pub fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    frame(0x82, &[&[0, 9], &string(filter), &[qos]])
}

pub fn publish(topic: &str, payload: &str) -> Vec<u8> {
    frame(0x30, &[&string(topic), payload.as_bytes()])
}
