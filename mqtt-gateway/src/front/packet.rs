//! MQTT 3.1.1 packets: what clients send, decoded with every length checked, and what we answer, encoded.
//!
//! Decoding takes a whole frame, whose size [`frame_length`] has bounded; it neither allocates by a length on the wire nor
//! panics. Section numbers are those of the OASIS specification of MQTT 3.1.1.

use bytes::{BufMut, Bytes, BytesMut};

/// A packet from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    Connect(Connect),
    Publish(Publish),
    PubAck(u16),
    PubRel(u16),
    Subscribe { packet_id: u16, filters: Vec<(String, u8)> },
    Unsubscribe { packet_id: u16, filters: Vec<String> },
    PingReq,
    Disconnect,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    pub client_id: String,
    pub clean_session: bool,
    pub keep_alive_s: u16,
    pub will: Option<Will>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    pub topic: Bytes,
    pub payload: Bytes,
    pub retain: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    pub topic: Bytes,
    pub payload: Bytes,
    pub retain: bool,
    pub qos: u8,
    /// 0 for QoS 0.
    pub packet_id: u16,
}

/// Why bytes are no packet that we take; the text is also the label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("malformed")]
    Malformed,
    #[error("too_long")]
    TooLong,
    #[error("not_connect")]
    NotConnect,
    /// A level that is not 4; the answer is the CONNACK of that level.
    #[error("protocol_level")]
    Level(u8),
    #[error("invalid_topic")]
    Topic,
    /// A packet that is no client's to send, or not now.
    #[error("unexpected_packet")]
    Unexpected,
}

/// CONNACK return codes (3.2.2.3).
pub mod return_code {
    pub const ACCEPTED: u8 = 0;
    pub const UNACCEPTABLE_PROTOCOL_VERSION: u8 = 1;
    pub const IDENTIFIER_REJECTED: u8 = 2;
    pub const SERVER_UNAVAILABLE: u8 = 3;
    pub const NOT_AUTHORIZED: u8 = 5;
}

/// SUBACK's refusal of one filter (3.9.3).
pub const SUBSCRIBE_FAILURE: u8 = 0x80;
const MQTT_5: u8 = 5;
const MQTT_5_UNSUPPORTED_PROTOCOL_VERSION: u8 = 0x84;
/// Bytes of a remaining length (2.2.3).
const MAX_LENGTH_BYTES: usize = 4;

/// The length of the frame that `bytes` begin with; `None`: more bytes are needed to know it.
pub fn frame_length(bytes: &[u8], max_bytes: usize) -> Result<Option<usize>, Refusal> {
    let mut remaining = 0_usize;
    for index in 0..MAX_LENGTH_BYTES {
        let Some(byte) = bytes.get(1 + index) else { return Ok(None) };
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let length = remaining + index + 2;
            return if length <= max_bytes { Ok(Some(length)) } else { Err(Refusal::TooLong) };
        }
    }
    Err(Refusal::Malformed)
}

/// Decodes one whole frame.
pub fn decode(frame: &Bytes) -> Result<Packet, Refusal> {
    let first = *frame.first().ok_or(Refusal::Malformed)?;
    let header = 1 + frame.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let mut body = Reader { bytes: frame.get(header..).map(|rest| frame.slice_ref(rest)).ok_or(Refusal::Malformed)? };
    let packet = match (first >> 4, first & 0x0f) {
        (1, 0) => Packet::Connect(connect(&mut body)?),
        (3, flags) => Packet::Publish(publish(&mut body, flags)?),
        (4, 0) => Packet::PubAck(body.packet_id()?),
        (6, 0b0010) => Packet::PubRel(body.packet_id()?),
        (8, 0b0010) => Packet::Subscribe { packet_id: body.packet_id()?, filters: body.all(Reader::subscription)? },
        (10, 0b0010) => Packet::Unsubscribe { packet_id: body.packet_id()?, filters: body.all(Reader::string)? },
        (12, 0) => Packet::PingReq,
        (14, 0) => Packet::Disconnect,
        // PUBREC and PUBCOMP answer QoS 2, which is never granted; the rest is a server's.
        (2 | 5 | 7 | 9 | 11 | 13, _) => return Err(Refusal::Unexpected),
        _ => return Err(Refusal::Malformed),
    };
    if body.bytes.is_empty() { Ok(packet) } else { Err(Refusal::Malformed) }
}

/// 3.1. Protocol name and level come first and decide about the rest.
fn connect(body: &mut Reader) -> Result<Connect, Refusal> {
    let name = body.string()?;
    let level = body.byte()?;
    match (name.as_str(), level) {
        ("MQTT", 4) => {}
        ("MQTT" | "MQIsdp", level) => return Err(Refusal::Level(level)),
        _ => return Err(Refusal::Malformed),
    }
    let flags = body.byte()?;
    let (user_name, password) = (flags & 0x80 != 0, flags & 0x40 != 0);
    let (will, will_qos, will_retain) = (flags & 0x04 != 0, flags >> 3 & 0b11, flags & 0x20 != 0);
    let unset_but_used = !will && (will_qos != 0 || will_retain);
    if flags & 1 != 0 || will_qos == 3 || unset_but_used || (password && !user_name) {
        return Err(Refusal::Malformed);
    }
    let keep_alive_s = body.u16()?;
    let client_id = body.string()?;
    let will =
        if will { Some(Will { topic: body.topic()?, payload: body.prefixed()?, retain: will_retain }) } else { None };
    // Taken and not asked for: access control is a later matter.
    if user_name {
        body.string()?;
    }
    if password {
        body.prefixed()?;
    }
    Ok(Connect { client_id, clean_session: flags & 0x02 != 0, keep_alive_s, will })
}

/// 3.3
fn publish(body: &mut Reader, flags: u8) -> Result<Publish, Refusal> {
    let (duplicate, qos, retain) = (flags & 0b1000 != 0, flags >> 1 & 0b11, flags & 1 != 0);
    if qos == 3 || (qos == 0 && duplicate) {
        return Err(Refusal::Malformed);
    }
    let topic = body.topic()?;
    let packet_id = if qos == 0 { 0 } else { body.packet_id()? };
    Ok(Publish { topic, payload: std::mem::take(&mut body.bytes), retain, qos, packet_id })
}

/// The body of a frame, from front to back.
struct Reader {
    bytes: Bytes,
}

impl Reader {
    fn take(&mut self, count: usize) -> Result<Bytes, Refusal> {
        if count > self.bytes.len() {
            return Err(Refusal::Malformed);
        }
        Ok(self.bytes.split_to(count))
    }

    fn byte(&mut self) -> Result<u8, Refusal> {
        self.take(1)?.first().copied().ok_or(Refusal::Malformed)
    }

    fn u16(&mut self) -> Result<u16, Refusal> {
        Ok(u16::from(self.byte()?) << 8 | u16::from(self.byte()?))
    }

    fn prefixed(&mut self) -> Result<Bytes, Refusal> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// 1.5.3: UTF-8 without U+0000.
    fn string(&mut self) -> Result<String, Refusal> {
        let bytes = self.prefixed()?;
        match std::str::from_utf8(&bytes) {
            Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
            _ => Err(Refusal::Malformed),
        }
    }

    /// 4.7: a topic to publish to, not empty and without wildcards.
    fn topic(&mut self) -> Result<Bytes, Refusal> {
        let topic = self.string()?;
        if topic.is_empty() || topic.contains(['+', '#']) { Err(Refusal::Topic) } else { Ok(topic.into()) }
    }

    /// 2.3.1: not 0.
    fn packet_id(&mut self) -> Result<u16, Refusal> {
        match self.u16()? {
            0 => Err(Refusal::Malformed),
            id => Ok(id),
        }
    }

    fn subscription(&mut self) -> Result<(String, u8), Refusal> {
        let filter = self.string()?;
        match self.byte()? {
            qos @ 0..=2 => Ok((filter, qos)),
            _ => Err(Refusal::Malformed),
        }
    }

    /// At least one of them (3.8.3, 3.10.3); their number is bounded by the frame's size.
    fn all<T>(&mut self, one: impl Fn(&mut Self) -> Result<T, Refusal>) -> Result<Vec<T>, Refusal> {
        let mut list = vec![one(self)?];
        while !self.bytes.is_empty() {
            list.push(one(self)?);
        }
        Ok(list)
    }
}

pub fn connack(session_present: bool, return_code: u8) -> Bytes {
    Bytes::copy_from_slice(&[0x20, 2, u8::from(session_present), return_code])
}

/// The refusal of a protocol level in that level's own form.
pub fn connack_for_level(level: u8) -> Bytes {
    if level == MQTT_5 {
        Bytes::from_static(&[0x20, 3, 0, MQTT_5_UNSUPPORTED_PROTOCOL_VERSION, 0])
    } else {
        connack(false, return_code::UNACCEPTABLE_PROTOCOL_VERSION)
    }
}

pub fn puback(packet_id: u16) -> Bytes {
    with_packet_id(0x40, packet_id, &[])
}

pub fn pubrec(packet_id: u16) -> Bytes {
    with_packet_id(0x50, packet_id, &[])
}

pub fn pubcomp(packet_id: u16) -> Bytes {
    with_packet_id(0x70, packet_id, &[])
}

pub fn suback(packet_id: u16, codes: &[u8]) -> Bytes {
    with_packet_id(0x90, packet_id, codes)
}

pub fn unsuback(packet_id: u16) -> Bytes {
    with_packet_id(0xb0, packet_id, &[])
}

pub fn pingresp() -> Bytes {
    Bytes::from_static(&[0xd0, 0])
}

fn with_packet_id(first: u8, packet_id: u16, rest: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(rest.len() + 8);
    frame.put_u8(first);
    let mut remaining = rest.len() + 2;
    while remaining >= 0x80 {
        // The low seven bits fit.
        frame.put_u8(0x80 | (remaining & 0x7f) as u8);
        remaining >>= 7;
    }
    frame.put_u8(remaining as u8);
    frame.put_u16(packet_id);
    frame.put_slice(rest);
    frame.freeze()
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
