//! WebSocket under MQTT (section 6 of MQTT 5, RFC 6455): the opening request and the frames, without a buffer of its own.
//!
//! A client's frames are unmasked where they lie in the worker's read buffer; what stays with the connection between two reads
//! is one [`Decoder`] of fixed size. Our own frames are a header before the packet (`wire::publish`). Pure.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha1::{Digest, Sha1};

/// The opening request, headers included.
pub const MAX_REQUEST_BYTES: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;
/// Payload of a control frame (5.5 of RFC 6455).
const MAX_CONTROL_BYTES: usize = 125;
/// Appended to the key (1.3 of RFC 6455).
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Names of the subprotocol: today's, and that of MQTT 3.1.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// Where MQTT is on a port of its own.
const PATHS: [&str; 2] = ["/mqtt", "/"];

/// What the opening request deserves.
#[derive(Debug, PartialEq, Eq)]
pub enum Opening {
    /// More bytes are needed.
    Incomplete,
    /// The answer, and how many bytes the request had.
    Accepted { response: String, request_bytes: usize },
    /// The answer; then the connection is closed.
    Refused(&'static str),
}

pub fn opening(bytes: &[u8]) -> Opening {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(request_bytes)) => match answer(&request) {
            Ok(response) => Opening::Accepted { response, request_bytes },
            Err(refusal) => Opening::Refused(refusal),
        },
        Ok(httparse::Status::Partial) if bytes.len() < MAX_REQUEST_BYTES => Opening::Incomplete,
        Ok(httparse::Status::Partial) => Opening::Refused(refusal::TOO_LARGE),
        Err(_) => Opening::Refused(refusal::BAD_REQUEST),
    }
}

mod refusal {
    macro_rules! response {
        ($status:literal, $extra:literal) => {
            concat!("HTTP/1.1 ", $status, "\r\nConnection: close\r\nContent-Length: 0\r\n", $extra, "\r\n")
        };
    }
    pub static BAD_REQUEST: &str = response!("400 Bad Request", "");
    pub static NOT_FOUND: &str = response!("404 Not Found", "");
    pub static UPGRADE: &str = response!("426 Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    pub static TOO_LARGE: &str = response!("431 Request Header Fields Too Large", "");
}

fn answer(request: &httparse::Request<'_, '_>) -> Result<String, &'static str> {
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    if request.method != Some("GET") {
        return Err(refusal::BAD_REQUEST);
    }
    if !PATHS.contains(&path) {
        return Err(refusal::NOT_FOUND);
    }
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let lists = |name: &str, word: &str| {
        header(name).is_some_and(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
    };
    if !lists("Upgrade", "websocket")
        || !lists("Connection", "upgrade")
        || header("Sec-WebSocket-Version") != Some("13")
    {
        return Err(refusal::UPGRADE);
    }
    let key = header("Sec-WebSocket-Key").ok_or(refusal::BAD_REQUEST)?;
    let subprotocol = SUBPROTOCOLS.into_iter().find(|name| lists("Sec-WebSocket-Protocol", name));
    let subprotocol = subprotocol.ok_or(refusal::BAD_REQUEST)?;
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n",
        accept_key(key)
    ))
}

fn accept_key(key: &str) -> String {
    let digest = Sha1::new().chain_update(key.trim()).chain_update(ACCEPT_SUFFIX).finalize();
    BASE64_STANDARD.encode(digest)
}

/// Why a client's frames end the connection; the number is the close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation(pub u16);

const PROTOCOL_ERROR: Violation = Violation(1002);
/// MQTT travels in binary frames only (MQTT-6.0.0-1).
const NOT_BINARY: Violation = Violation(1003);

/// What frames bring.
pub trait Receiver {
    type Error: From<Violation>;

    /// Bytes of the MQTT stream; packets and frames need not align (MQTT-6.0.0-2).
    fn stream(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    fn ping(&mut self, payload: &[u8]) -> Result<(), Self::Error>;

    fn closed(&mut self) -> Result<(), Self::Error>;
}

/// Where the client's frames have been read to.
#[derive(Debug, Default)]
pub struct Decoder {
    /// An incomplete header, or a control frame, which is short.
    held: Vec<u8>,
    left: u64,
    mask: [u8; 4],
    /// Bytes of the frame unmasked so far, modulo 4.
    turned: usize,
    /// A message goes on in the next frame.
    fragmented: bool,
}

struct Header {
    opcode: u8,
    is_final: bool,
    length: u64,
    mask: [u8; 4],
    bytes: usize,
}

impl Decoder {
    /// Unmasks `input` in place and hands on what it carries.
    pub fn feed<R: Receiver>(&mut self, mut input: &mut [u8], receiver: &mut R) -> Result<(), R::Error> {
        loop {
            if self.left > 0 {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
                let (payload, rest) = input.split_at_mut(count);
                self.unmask(payload);
                self.left -= u64::try_from(count).unwrap_or(self.left);
                input = rest;
                if !payload.is_empty() {
                    receiver.stream(payload)?;
                }
                if self.left > 0 {
                    return Ok(());
                }
            }
            if self.held.is_empty() && input.is_empty() {
                return Ok(());
            }
            input = match self.next_frame(input, receiver)? {
                Some(rest) => rest,
                None => return Ok(()),
            };
        }
    }

    /// Begins the next frame: what is left of `input` behind its header, or behind all of it when it is a control frame.
    fn next_frame<'a, R: Receiver>(
        &mut self,
        input: &'a mut [u8],
        receiver: &mut R,
    ) -> Result<Option<&'a mut [u8]>, R::Error> {
        let before = self.held.len();
        self.held.extend(input.iter().take(MAX_HELD_BYTES - before.min(MAX_HELD_BYTES)));
        let Some(header) = header(&self.held)? else { return Ok(None) };
        let mut used = header.bytes;
        if header.opcode >= 8 {
            let length = usize::try_from(header.length).unwrap_or(usize::MAX);
            used += length;
            let Some(payload) = self.held.get(header.bytes..used) else { return Ok(None) };
            let turned = payload.iter().zip(header.mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
            let payload: Vec<u8> = turned.collect();
            match header.opcode {
                8 => receiver.closed()?,
                9 => receiver.ping(&payload)?,
                10 => {}
                _ => return Err(PROTOCOL_ERROR.into()),
            }
        } else {
            self.begin_data(&header)?;
        }
        self.held = Vec::new();
        Ok(input.get_mut(used.saturating_sub(before)..))
    }

    fn begin_data(&mut self, header: &Header) -> Result<(), Violation> {
        match (header.opcode, self.fragmented) {
            (2, false) | (0, true) => {}
            (1, _) => return Err(NOT_BINARY),
            _ => return Err(PROTOCOL_ERROR),
        }
        self.fragmented = !header.is_final;
        (self.left, self.mask, self.turned) = (header.length, header.mask, 0);
        Ok(())
    }

    fn unmask(&mut self, payload: &mut [u8]) {
        for byte in payload.iter_mut() {
            if let Some(mask) = self.mask.get(self.turned & 3) {
                *byte ^= mask;
            }
            self.turned = self.turned.wrapping_add(1);
        }
    }
}

/// Header and payload of the longest control frame.
const MAX_HELD_BYTES: usize = 14 + MAX_CONTROL_BYTES;

/// 5.2 of RFC 6455; `None`: not all of it is there.
fn header(bytes: &[u8]) -> Result<Option<Header>, Violation> {
    let (Some(first), Some(second)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
    let (opcode, is_final) = (first & 0x0f, first & 0x80 != 0);
    let long = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let is_control = opcode >= 8;
    // No extension is agreed, clients mask, control frames are short and whole.
    if first & 0x70 != 0 || second & 0x80 == 0 || (is_control && (long != 0 || !is_final)) {
        return Err(PROTOCOL_ERROR);
    }
    let Some(length_bytes) = bytes.get(2..2 + long) else { return Ok(None) };
    let Some(mask) = bytes.get(2 + long..6 + long).and_then(|mask| mask.try_into().ok()) else { return Ok(None) };
    let length = match long {
        0 => u64::from(second & 0x7f),
        _ => length_bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    if length >> 63 != 0 {
        return Err(PROTOCOL_ERROR);
    }
    Ok(Some(Header { opcode, is_final, length, mask, bytes: 6 + long }))
}

/// A control frame of ours.
pub fn control(opcode: u8, payload: &[u8], out: &mut bytes::BytesMut) {
    let payload = payload.get(..payload.len().min(MAX_CONTROL_BYTES)).unwrap_or_default();
    out.extend_from_slice(&[0x80 | opcode, u8::try_from(payload.len()).unwrap_or_default()]);
    out.extend_from_slice(payload);
}

pub const CLOSE: u8 = 8;
pub const PONG: u8 = 10;

#[cfg(test)]
#[path = "websocket_tests.rs"]
mod tests;
