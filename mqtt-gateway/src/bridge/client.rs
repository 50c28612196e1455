//! The MQTT 5 client of a node: a thin layer over rumqttc, which only this file names.

use crate::message::{Message, Origin};
use bytes::Bytes;
use rumqttc::{
    NetworkOptions,
    v5::{
        AsyncClient, ConnectionError, Event, EventLoop, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{Filter, LastWill, Packet, Publish, PublishProperties},
        },
    },
};
use std::time::Duration;

/// Requests of ours that wait for the connection.
const MAX_REQUESTS: usize = 64;
/// Messages of ours that wait for their acknowledgement.
const MAX_IN_FLIGHT: u16 = 100;
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT_S: u64 = 3;
/// Largest packet that is taken.
const MAX_PACKET_BYTES: u32 = 1024 * 1024;

/// Who connects, where to, and what is said when the connection breaks.
#[derive(Debug, Clone)]
pub struct Account {
    pub client_id: String,
    pub host: String,
    pub port: u16,
    pub will: Option<Message>,
}

impl Account {
    /// `HOST:PORT` or `mqtt://HOST:PORT`.
    pub fn parse(address: &str, client_id: String) -> Option<Self> {
        let address = address.strip_prefix("mqtt://").unwrap_or(address);
        let (host, port) = address.rsplit_once(':')?;
        let (host, port) = (host.to_owned(), port.parse().ok()?);
        (!host.is_empty()).then_some(Self { client_id, host, port, will: None })
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

pub struct Client {
    pub requests: Requests,
    events: EventLoop,
}

#[derive(Debug, Clone)]
pub struct Requests(AsyncClient);

/// What a connection brings.
#[derive(Debug)]
pub enum Arrival {
    Connected,
    Subscribed,
    Message(Message),
    /// An acknowledgement of ours, a ping.
    Other,
}

impl Client {
    pub fn new(account: &Account) -> Self {
        let mut options = MqttOptions::new(account.client_id.clone(), account.host.clone(), account.port);
        options.set_keep_alive(KEEP_ALIVE).set_connection_timeout(CONNECT_TIMEOUT_S).set_clean_start(true);
        options.set_max_packet_size(Some(MAX_PACKET_BYTES)).set_outgoing_inflight_upper_limit(MAX_IN_FLIGHT);
        let mut network = NetworkOptions::new();
        // Small messages, each wanted now.
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        if let Some(will) = &account.will {
            let topic = String::from_utf8_lossy(&will.topic).into_owned();
            options.set_last_will(LastWill::new(topic, will.payload.clone(), QoS::AtLeastOnce, will.retain, None));
        }
        let (requests, events) = AsyncClient::new(options, MAX_REQUESTS);
        Self { requests: Requests(requests), events }
    }

    /// The next thing that happens; after an error the next call connects again. Cancel safe.
    pub async fn next(&mut self) -> Result<Arrival, ConnectionError> {
        match self.events.poll().await? {
            Event::Incoming(Packet::ConnAck(_)) => Ok(Arrival::Connected),
            Event::Incoming(Packet::SubAck(_)) => Ok(Arrival::Subscribed),
            Event::Incoming(Packet::Publish(publish)) => Ok(Arrival::Message(message(publish))),
            _ => Ok(Arrival::Other),
        }
    }
}

impl Requests {
    /// QoS 1, the retained messages first, and told which of the later ones are retained. `false`: no room.
    pub fn subscribe(&self, filters: &[String]) -> bool {
        let filter = |path: &String| {
            let mut filter = Filter::new(path.clone(), QoS::AtLeastOnce);
            filter.preserve_retain = true;
            filter
        };
        self.0.try_subscribe_many(filters.iter().map(filter)).is_ok()
    }

    /// Waits for room.
    pub async fn publish(&self, message: &Message) -> bool {
        let (topic, payload) = (topic(message), message.payload.clone());
        self.0
            .publish_with_properties(topic, QoS::AtLeastOnce, message.retain, payload, properties(message))
            .await
            .is_ok()
    }

    /// `false`: no room, and it is not sent.
    pub fn try_publish(&self, message: &Message) -> bool {
        let (topic, payload) = (topic(message), message.payload.clone());
        self.0.try_publish_with_properties(topic, QoS::AtMostOnce, message.retain, payload, properties(message)).is_ok()
    }

    pub fn disconnect(&self) {
        // Without room the connection breaks instead.
        let _ = self.0.try_disconnect();
    }
}

fn topic(message: &Message) -> String {
    String::from_utf8_lossy(&message.topic).into_owned()
}

fn properties(message: &Message) -> PublishProperties {
    let own = message.origin.properties().into_iter();
    PublishProperties {
        user_properties: own.map(|(name, value)| (name.to_owned(), value)).collect(),
        ..PublishProperties::default()
    }
}

fn message(publish: Publish) -> Message {
    let properties = publish.properties.iter().flat_map(|properties| &properties.user_properties);
    let origin = Origin::from_properties(properties.map(|(name, value)| (name.as_str(), value.as_str())));
    let topic: Bytes = publish.topic;
    Message { topic, payload: publish.payload, retain: publish.retain, origin }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port() {
        let read = |address: &str| Account::parse(address, "id".into()).map(|account| account.to_string());
        assert_eq!(read("mqtt://broker.example:1883").as_deref(), Some("broker.example:1883"));
        assert_eq!(read("127.0.0.1:1").as_deref(), Some("127.0.0.1:1"));
        for wrong in ["", "host", ":1883", "host:port", "host:99999", "mqtts://host"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
