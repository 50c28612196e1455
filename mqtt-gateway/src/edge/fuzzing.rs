//! A door for fuzzers: what the edge makes of a client's bytes, without a socket and without a session.

use super::{
    websocket::{self, Decoder, Opening, Receiver, Violation},
    wire::{
        Refusal, Version, decode,
        frame::{Assembler, Sink},
    },
};
use crate::Limits;

/// How the bytes come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Tcp,
    /// The frames behind an opening.
    WebSocket,
    /// The opening request of a WebSocket.
    Opening,
}

impl Door {
    /// Each byte opens one.
    pub fn of(byte: u8) -> Self {
        match byte % 3 {
            0 => Self::Tcp,
            1 => Self::WebSocket,
            _ => Self::Opening,
        }
    }
}

/// What was read, which is the same whatever pieces it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub packets: usize,
    /// Why nothing more is read.
    pub ending: Option<Ending>,
}

/// The reason of MQTT, WebSocket's close code, or `closed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending(pub String);

impl Ending {
    fn closed() -> Self {
        Self("closed".to_owned())
    }
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.to_string())
    }
}

impl From<Violation> for Ending {
    fn from(violation: Violation) -> Self {
        Self(violation.0.to_string())
    }
}

/// Reads a client's bytes in pieces of `piece_bytes`, from its first packet on.
pub fn read(door: Door, stream: &[u8], piece_bytes: usize) -> Outcome {
    if door == Door::Opening {
        return open(stream);
    }
    let (mut reader, mut decoder) = (Reader::default(), Decoder::default());
    let mut ending = None;
    for piece in stream.chunks(piece_bytes.max(1)) {
        let read = match door {
            Door::WebSocket => decoder.feed(&mut piece.to_vec(), &mut reader),
            _ => reader.stream(piece),
        };
        ending = read.err();
        if ending.is_some() {
            break;
        }
    }
    Outcome { packets: reader.packets.count, ending }
}

fn open(request: &[u8]) -> Outcome {
    match websocket::opening(request) {
        Opening::Accepted { request_bytes, .. } => {
            assert!(request_bytes <= request.len(), "an opening longer than what came");
            Outcome { packets: 1, ending: None }
        }
        Opening::Incomplete => Outcome { packets: 0, ending: None },
        Opening::Refused(_) => Outcome { packets: 0, ending: Some(Ending::closed()) },
    }
}

#[derive(Default)]
struct Reader {
    assembler: Assembler,
    packets: Packets,
}

/// The packets of one client, which begin with CONNECT.
#[derive(Default)]
struct Packets {
    limits: Limits,
    version: Option<Version>,
    count: usize,
}

impl Sink for Packets {
    type Error = Ending;

    fn max_bytes(&self) -> usize {
        if self.version.is_none() { self.limits.max_connect_bytes } else { self.limits.max_packet_bytes }
    }

    fn may_begin(&self, first: u8) -> Result<(), Ending> {
        if self.version.is_none() && first >> 4 != 1 { Err(Refusal::NotConnect.into()) } else { Ok(()) }
    }

    fn packet(&mut self, frame: &[u8]) -> Result<(), Ending> {
        match self.version {
            None => self.version = Some(decode::connect(frame)?.version),
            Some(version) => drop(decode::packet(frame, version)?),
        }
        self.count += 1;
        Ok(())
    }

    fn is_open(&self) -> bool {
        true
    }
}

impl Receiver for Reader {
    type Error = Ending;

    fn stream(&mut self, bytes: &[u8]) -> Result<(), Ending> {
        self.assembler.feed(bytes, &mut self.packets)
    }

    fn ping(&mut self, _: &[u8]) -> Result<(), Ending> {
        Ok(())
    }

    fn closed(&mut self) -> Result<(), Ending> {
        Err(Ending::closed())
    }
}
