//! The few bytes of MQTT 3.1.1 and WebSocket that a subscriber needs, and nothing else, so that the load costs little.
//!
//! It must never copy a message: packets are looked at where they were read.

use crate::Result;

pub const CONNACK: u8 = 2;
pub const PUBLISH: u8 = 3;
pub const SUBACK: u8 = 9;
/// Longer than any run: the load never pings.
const KEEP_ALIVE_S: u16 = 7_200;
const MAX_PACKET: usize = 1 << 20;
/// What a client's frame is masked with; zeros leave the bytes as they are.
const MASK: [u8; 4] = [0; 4];

/// Clean session.
pub fn connect(client_id: &str) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2];
    body.extend_from_slice(&KEEP_ALIVE_S.to_be_bytes());
    push_text(&mut body, client_id);
    framed(0x10, &body)
}

pub fn subscribe(filter: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    push_text(&mut body, filter);
    body.push(0);
    framed(0x82, &body)
}

/// QoS 0; the payload begins with the time in nanoseconds at which it was due.
pub fn publish(topic: &str, due_ns: u64, payload_bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + payload_bytes + 2);
    push_text(&mut body, topic);
    body.extend_from_slice(&due_ns.to_be_bytes());
    body.resize(topic.len() + 2 + payload_bytes.max(8), b'x');
    framed(0x30, &body)
}

/// The upgrade request; the key is the one of RFC 6455's example.
pub fn upgrade(host: &str) -> Vec<u8> {
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    .into_bytes()
}

/// One binary frame of a client; all that a subscriber sends is shorter than 126 bytes.
pub fn masked(packet: &[u8]) -> Vec<u8> {
    let length = u8::try_from(packet.len()).unwrap_or(125).min(125);
    [&[0x82, 0x80 | length], &MASK[..], packet].concat()
}

/// What a PUBLISH of QoS 0 carries.
pub fn payload(body: &[u8]) -> Option<&[u8]> {
    let (length, rest) = body.split_first_chunk::<2>()?;
    rest.get(usize::from(u16::from_be_bytes(*length))..)
}

/// When the message of a PUBLISH was due.
pub fn due_ns(payload: &[u8]) -> Option<u64> {
    payload.first_chunk::<8>().map(|stamp| u64::from_be_bytes(*stamp))
}

/// The first packet of the bytes: its type, its body, and how long it is in all. None when it is not whole.
pub fn first(bytes: &[u8]) -> Result<Option<(u8, &[u8], usize)>> {
    let Some((&head, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let (mut length, mut digits) = (0usize, 0u32);
    loop {
        let Some(&digit) = rest.get(digits as usize) else {
            return Ok(None);
        };
        length |= usize::from(digit & 0x7f) << (7 * digits);
        digits += 1;
        if digit & 0x80 == 0 {
            break;
        }
        if digits == 4 {
            return Err("remaining length is malformed".into());
        }
    }
    if length > MAX_PACKET {
        return Err("packet is too large".into());
    }
    let from = 1 + digits as usize;
    Ok(bytes.get(from..from + length).map(|body| (head >> 4, body, from + length)))
}

/// The payload of the first frame of a server, and how long the frame is in all. None when it is not whole.
pub fn first_frame(bytes: &[u8]) -> Result<Option<(&[u8], usize)>> {
    let Some((&[head, short], rest)) = bytes.split_first_chunk::<2>() else {
        return Ok(None);
    };
    if !matches!(head, 0x82 | 0x89 | 0x8a) {
        return Err(format!("a WebSocket frame that begins with {head:#x}").into());
    }
    let (from, length) = match short {
        0..=125 => (2, usize::from(short)),
        126 => match rest.first_chunk::<2>() {
            Some(length) => (4, usize::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        _ => return Err("a WebSocket frame that is masked or over 64 KiB".into()),
    };
    let payload = bytes.get(from..from + length);
    Ok(payload.map(|payload| (if head == 0x82 { payload } else { &[][..] }, from + length)))
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}

fn framed(head: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![head];
    let mut left = body.len();
    while left > 0x7f {
        packet.push(0x80 | (left & 0x7f) as u8);
        left >>= 7;
    }
    packet.push(left as u8);
    packet.extend_from_slice(body);
    packet
}
