//! The least MQTT 3.1.1 subscriber, over TCP or WebSocket: one wildcard subscription at QoS 0, every message stamped as it is read.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::Result;
use crate::options::Options;
use crate::websocket::{self, Frames};

const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const SUBACK: u8 = 9;
const MAX_PACKET: usize = 1 << 20;

/// One window's message of one channel.
pub struct Arrival {
    pub at: Instant,
    pub wall_ms: i64,
    pub channel: String,
    pub window_start: i64,
    pub window_end: i64,
    pub total: u64,
}

/// Subscribes, and returns once the server has confirmed it; arrivals are collected by a thread.
pub fn subscribe(options: &Options, filter: &str) -> Result<Arc<Mutex<Vec<Arrival>>>> {
    let over_websocket = !options.websocket.is_empty();
    let address = if over_websocket { &options.websocket } else { &options.mqtt };
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    if over_websocket {
        websocket::upgrade(&mut stream, address)?;
    }
    let bytes = BufReader::with_capacity(1 << 16, stream.try_clone()?);
    let mut reader: Box<dyn Read + Send> =
        if over_websocket { Box::new(Frames { inner: bytes, left: 0 }) } else { Box::new(bytes) };
    let wrap = |packet: Vec<u8>| if over_websocket { websocket::masked(&packet) } else { packet };
    stream.write_all(&wrap(connect_packet("tap-load")))?;
    expect(&mut reader, CONNACK)?;
    stream.write_all(&wrap(subscribe_packet(filter)))?;
    expect(&mut reader, SUBACK)?;
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let kept = arrivals.clone();
    thread::spawn(move || {
        let _open = stream;
        if let Err(error) = collect(&mut reader, &kept) {
            eprintln!("tap-load: MQTT: {error}");
        }
    });
    Ok(arrivals)
}

fn collect(reader: &mut impl Read, arrivals: &Mutex<Vec<Arrival>>) -> Result<()> {
    loop {
        let (kind, body) = packet(reader)?;
        if kind != PUBLISH {
            continue;
        }
        let (at, wall) = (Instant::now(), SystemTime::now());
        let topic_length =
            usize::from(u16::from_be_bytes([*body.first().ok_or("empty")?, *body.get(1).ok_or("short")?]));
        let payload = body.get(2 + topic_length..).ok_or("short message")?;
        let value: Value = serde_json::from_slice(payload)?;
        let number = |name: &str| value[name].as_i64().ok_or_else(|| format!("{name} is missing in {value}"));
        arrivals.lock().map_err(|_| "poisoned")?.push(Arrival {
            at,
            wall_ms: i64::try_from(wall.duration_since(UNIX_EPOCH)?.as_millis())?,
            channel: value["channel_id"].as_str().ok_or("channel_id is missing")?.to_owned(),
            window_start: number("window_start")?,
            window_end: number("window_end")?,
            total: u64::try_from(number("total")?)?,
        });
    }
}

fn expect(reader: &mut impl Read, kind: u8) -> Result<()> {
    let (got, body) = packet(reader)?;
    let refused = body.last().is_some_and(|code| *code >= 0x80 || (kind == CONNACK && *code != 0));
    if got != kind || refused { Err(format!("the MQTT server answered {got} {body:?}").into()) } else { Ok(()) }
}

fn packet(reader: &mut impl Read) -> Result<(u8, Vec<u8>)> {
    let mut byte = [0];
    reader.read_exact(&mut byte)?;
    let kind = byte[0] >> 4;
    let (mut length, mut shift) = (0usize, 0);
    loop {
        reader.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
        if shift > 21 {
            return Err("remaining length is malformed".into());
        }
    }
    if length > MAX_PACKET {
        return Err("packet is too large".into());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((kind, body))
}

/// Clean session; a keep-alive of ten minutes, longer than any run, as this client never pings.
fn connect_packet(client_id: &str) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2];
    body.extend_from_slice(&600u16.to_be_bytes());
    push_text(&mut body, client_id);
    framed(0x10, &body)
}

fn subscribe_packet(filter: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    push_text(&mut body, filter);
    body.push(0);
    framed(0x82, &body)
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}

/// Both packets are shorter than 128 bytes, so the length is one byte.
fn framed(head: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap_or(127).min(127);
    let mut packet = vec![head, length];
    packet.extend_from_slice(body);
    packet
}
