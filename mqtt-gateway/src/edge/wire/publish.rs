//! Messages on their way out: one [`Publication`] for all subscribers, one [`Frame`] for all that want the same bytes.
//!
//! The only encoder of ours: it runs once per message and variant, so that a delivery is one `send` of shared bytes. With QoS 1
//! only the packet id differs; it is put into a copy.

use super::{Properties, Version};
use bytes::{BufMut, Bytes, BytesMut};
use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

/// The length of a topic or property on the wire.
const MAX_STRING_BYTES: usize = u16::MAX as usize;
/// A remaining length on the wire (2.2.3).
const MAX_REMAINING: usize = 268_435_455;
const PAYLOAD_FORMAT: u8 = 0x01;
const MESSAGE_EXPIRY: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const SUBSCRIPTION_ID: u8 = 0x0b;
const TOPIC_ALIAS: u8 = 0x23;
const USER_PROPERTY: u8 = 0x26;
/// A final WebSocket frame of binary data (5.2 of RFC 6455).
const WEBSOCKET_BINARY: u8 = 0x82;

/// The client that published a message, for the option No Local.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publisher(pub u64);

/// A message for whoever wants it.
#[derive(Debug)]
pub struct Publication {
    topic: Arc<str>,
    /// Tells topics apart where only the newest message of each counts; keyed, so that nobody can make two meet.
    pub topic_hash: u64,
    pub payload: Bytes,
    pub qos: u8,
    pub retain: bool,
    /// What goes to every MQTT 5 subscriber, encoded.
    properties: Bytes,
    expires: Option<Instant>,
    pub publisher: Option<Publisher>,
}

/// What makes two subscribers want different bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    pub version: Version,
    pub websocket: bool,
    pub qos: u8,
    pub retain: bool,
    /// Subscription identifier; 0: none.
    pub id: u32,
    pub alias: Alias,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alias {
    None,
    /// Topic and alias: the client learns it.
    Set(u16),
    /// The alias stands for the topic.
    Use(u16),
}

/// A PUBLISH packet, ready to send but for its packet id.
#[derive(Debug, Clone)]
pub struct Frame {
    pub bytes: Bytes,
    /// Where the packet's first byte and its id stand.
    pub first_at: usize,
    pub id_at: usize,
}

impl Publication {
    /// `None`: the topic or a property is longer than MQTT can say.
    pub fn new(topic: &str, payload: Bytes, qos: u8, retain: bool, properties: &Properties) -> Option<Self> {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let expires = properties
            .message_expiry_interval
            .and_then(|s| Instant::now().checked_add(Duration::from_secs(s.get().into())));
        let encoded = encode_properties(properties)?;
        (topic.len() <= MAX_STRING_BYTES && payload.len() + topic.len() + encoded.len() < MAX_REMAINING / 2).then(
            || Self {
                topic_hash: HASHER.hash_one(topic),
                topic: topic.into(),
                payload,
                qos,
                retain,
                properties: encoded,
                expires,
                publisher: None,
            },
        )
    }

    /// A message without properties that everybody with QoS 1 gets so.
    pub fn plain(topic: &str, payload: Bytes, retain: bool) -> Option<Self> {
        Self::new(topic, payload, 1, retain, &Properties::default())
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub fn shared_topic(&self) -> Arc<str> {
        self.topic.clone()
    }

    /// Its message expiry interval has passed (3.3.2.3.3).
    pub fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// The bytes change with the time.
    pub fn ages(&self) -> bool {
        self.expires.is_some()
    }

    /// `more_ids`: further subscriptions that the message matches.
    pub fn encode(&self, variant: Variant, more_ids: &[u32], now: Instant) -> Frame {
        let mut properties = BytesMut::new();
        if variant.version == Version::V5 {
            self.variant_properties(variant, more_ids, now, &mut properties);
        }
        let topic = if matches!(variant.alias, Alias::Use(_)) { "" } else { self.topic() };
        let id_bytes = if variant.qos > 0 { 2 } else { 0 };
        let remaining = 2 + topic.len() + id_bytes + properties.len() + self.payload.len();
        let packet = 1 + variable_length(remaining) + remaining;
        let mut frame = BytesMut::with_capacity(packet + 10);
        if variant.websocket {
            websocket_header(packet, &mut frame);
        }
        let first_at = frame.len();
        frame.put_u8(0x30 | variant.qos << 1 | u8::from(variant.retain));
        put_variable(remaining, &mut frame);
        put_string(topic.as_bytes(), &mut frame);
        let id_at = frame.len();
        frame.put_bytes(0, id_bytes);
        frame.put_slice(&properties);
        frame.put_slice(&self.payload);
        Frame { bytes: frame.freeze(), first_at, id_at }
    }

    /// Length and list (2.2.2).
    fn variant_properties(&self, variant: Variant, more_ids: &[u32], now: Instant, out: &mut BytesMut) {
        let mut list = BytesMut::with_capacity(self.properties.len() + 16);
        list.put_slice(&self.properties);
        if let Some(expires) = self.expires {
            list.put_u8(MESSAGE_EXPIRY);
            list.put_u32(u32::try_from(expires.saturating_duration_since(now).as_secs()).unwrap_or(u32::MAX));
        }
        for id in std::iter::once(variant.id).chain(more_ids.iter().copied()).filter(|id| *id != 0) {
            list.put_u8(SUBSCRIPTION_ID);
            put_variable(usize::try_from(id).unwrap_or(MAX_REMAINING), &mut list);
        }
        if let Alias::Set(alias) | Alias::Use(alias) = variant.alias {
            list.put_u8(TOPIC_ALIAS);
            list.put_u16(alias);
        }
        put_variable(list.len(), out);
        out.put_slice(&list);
    }
}

impl Frame {
    /// Length as the client counts it, without the WebSocket header.
    pub fn packet_bytes(&self) -> usize {
        self.bytes.len() - self.first_at
    }

    /// The bytes with a packet id, as a repetition or not.
    pub fn with_packet_id(&self, packet_id: u16, duplicate: bool, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        if let Some(place) = out.get_mut(self.id_at..self.id_at + 2) {
            place.copy_from_slice(&packet_id.to_be_bytes());
        }
        if duplicate && let Some(first) = out.get_mut(self.first_at) {
            *first |= 0b1000;
        }
    }
}

fn encode_properties(properties: &Properties) -> Option<Bytes> {
    let mut out = BytesMut::new();
    if properties.is_utf8_payload {
        out.put_slice(&[PAYLOAD_FORMAT, 1]);
    }
    let strings = [
        (CONTENT_TYPE, properties.content_type.as_ref().map(|text| &text.as_bytes()[..])),
        (RESPONSE_TOPIC, properties.response_topic.as_ref().map(|text| &text.as_bytes()[..])),
        (CORRELATION_DATA, properties.correlation_data.as_deref()),
    ];
    for (property, value) in strings.into_iter().filter_map(|(property, value)| Some((property, value?))) {
        out.put_u8(property);
        checked_string(value, &mut out)?;
    }
    for (key, value) in &properties.user_properties {
        out.put_u8(USER_PROPERTY);
        checked_string(key.as_bytes(), &mut out)?;
        checked_string(value.as_bytes(), &mut out)?;
    }
    Some(out.freeze())
}

fn checked_string(bytes: &[u8], out: &mut BytesMut) -> Option<()> {
    (bytes.len() <= MAX_STRING_BYTES).then(|| put_string(bytes, out))
}

/// Its length has been checked.
fn put_string(bytes: &[u8], out: &mut BytesMut) {
    out.put_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    out.put_slice(bytes);
}

fn variable_length(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

fn put_variable(mut value: usize, out: &mut BytesMut) {
    while value > 0x7f {
        out.put_u8(0x80 | u8::try_from(value & 0x7f).unwrap_or_default());
        value >>= 7;
    }
    out.put_u8(u8::try_from(value).unwrap_or_default());
}

/// The header of one WebSocket message of `length` bytes; a server does not mask.
pub fn websocket_header(length: usize, out: &mut BytesMut) {
    out.put_u8(WEBSOCKET_BINARY);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.put_u8(short),
        (_, Ok(medium)) => {
            out.put_u8(126);
            out.put_u16(medium);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(u64::try_from(length).unwrap_or(u64::MAX));
        }
    }
}
