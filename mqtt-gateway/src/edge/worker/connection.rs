//! One connection: small while idle, because there may be a quarter of a million of them.

use super::{
    super::{
        frame_bytes,
        index::Slot,
        session::{MAX_IN_FLIGHT, Session},
        socket,
        timers::Tick,
        websocket::Decoder,
        wire::{
            Connect, Version, Will,
            frame::Assembler,
            publish::{Alias, Publication, Publisher},
        },
    },
    Ending,
};
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    os::fd::OwnedFd,
    sync::Arc,
};

/// Bytes that wait for the socket before the client is not read on: what it asks for, it must take.
const MAX_OUTBOX_BYTES: usize = 64 * 1024;
/// Messages of a client without an answer before it is not read on.
const MAX_UNANSWERED: u16 = 64;
/// Aliases given to topics of one connection.
const MAX_ALIASES_OUT: u16 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The opening request of a WebSocket.
    Opening,
    /// CONNECT is awaited.
    Connecting,
    /// Another connection with the same client id is letting go.
    Waiting,
    Live,
    /// Nothing can be sent any more; it is about to be removed.
    Closing,
}

#[derive(Debug)]
pub struct Connection {
    pub socket: OwnedFd,
    pub generation: u32,
    pub phase: Phase,
    pub version: Version,
    pub websocket: bool,
    /// Words beside reason codes are wanted.
    pub problem_information: bool,
    pub unanswered: u16,
    pub keep_alive_s: u16,
    pub receive_maximum: u16,
    pub max_packet_bytes: u32,
    /// The last packet; before CONNECT, the beginning.
    pub heard: Tick,
    /// When the wheel looks at it; 0: never.
    pub look_at: Tick,
    /// Since when a packet is incomplete; 0: none is.
    pub partial_since: Tick,
    pub session: Option<Box<Session>>,
    pub outbox: Option<Box<Outbox>>,
    pub assembler: Assembler,
    /// What few connections need.
    pub extras: Option<Box<Extras>>,
}

/// Bytes that the socket did not take: the rest of a packet, and answers.
#[derive(Debug, Default)]
pub struct Outbox {
    parts: VecDeque<Bytes>,
    bytes: usize,
    /// When the socket took something last.
    pub progress: Tick,
}

#[derive(Debug, Default)]
pub struct Extras {
    /// CONNECT of a waiting connection.
    pub connect: Option<Box<Connect>>,
    pub will: Option<Box<Will>>,
    /// The opening request of a WebSocket, then its frames.
    pub request: Vec<u8>,
    pub decoder: Option<Decoder>,
    /// Topics that the client has given aliases, by alias.
    pub aliases_in: Vec<Option<Arc<str>>>,
    /// Topics that the client knows by an alias.
    pub aliases_out: HashMap<u64, u16>,
    pub topic_alias_maximum: u16,
    /// When a draining node ends it; 0: not.
    pub close_at: Tick,
}

impl Connection {
    pub fn new(socket: OwnedFd, generation: u32, websocket: bool, opened: bool, now: Tick) -> Self {
        let extras = websocket.then(|| {
            let decoder = opened.then(Decoder::default);
            Box::new(Extras { decoder, ..Extras::default() })
        });
        Self {
            socket,
            generation,
            phase: if websocket && !opened { Phase::Opening } else { Phase::Connecting },
            version: Version::V3,
            websocket,
            problem_information: false,
            unanswered: 0,
            keep_alive_s: 0,
            receive_maximum: 1,
            max_packet_bytes: u32::MAX,
            heard: now,
            look_at: 0,
            partial_since: 0,
            session: None,
            outbox: None,
            assembler: Assembler::default(),
            extras,
        }
    }

    pub fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    pub fn publisher(&self, slot: Slot) -> Publisher {
        Publisher(u64::from(self.generation) << 32 | u64::from(slot.index))
    }

    pub fn window(&self) -> usize {
        usize::from(self.receive_maximum.min(MAX_IN_FLIGHT))
    }

    /// Whether packets of the client are taken now.
    pub fn is_open(&self) -> bool {
        let owed = self.outbox.as_ref().map_or(0, |outbox| outbox.bytes);
        matches!(self.phase, Phase::Opening | Phase::Connecting | Phase::Live)
            && self.unanswered < MAX_UNANSWERED
            && owed <= MAX_OUTBOX_BYTES
    }

    pub fn queued_bytes(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.bytes)
    }

    /// Sends a whole packet, or keeps what the socket does not take. `shared`: the same bytes, to be kept without a copy.
    pub fn send(&mut self, bytes: &[u8], shared: Option<&Bytes>, now: Tick) -> Result<(), Ending> {
        let sent = match &self.outbox {
            Some(_) => 0,
            None => socket::send(&self.socket, bytes).map_err(|_| Ending::PeerClosed)?.unwrap_or(0),
        };
        if sent < bytes.len() {
            let rest = match shared {
                Some(shared) => shared.slice(sent..),
                None => Bytes::copy_from_slice(bytes.get(sent..).unwrap_or_default()),
            };
            let outbox = self.outbox.get_or_insert_with(|| Box::new(Outbox { progress: now, ..Outbox::default() }));
            outbox.bytes += rest.len();
            outbox.parts.push_back(rest);
        }
        Ok(())
    }

    /// Sends packets that are no messages, in a frame of their own if it is a WebSocket.
    pub fn say(&mut self, packets: &[u8], now: Tick) -> Result<(), Ending> {
        if self.websocket { self.send(&frame_bytes(packets), None, now) } else { self.send(packets, None, now) }
    }

    /// Goes on where the socket stopped; `true`: everything is out.
    pub fn flush(&mut self, now: Tick) -> Result<bool, Ending> {
        let Some(outbox) = &mut self.outbox else { return Ok(true) };
        while let Some(part) = outbox.parts.front_mut() {
            let Some(sent) = socket::send(&self.socket, part).map_err(|_| Ending::PeerClosed)? else {
                return Ok(false);
            };
            outbox.progress = now;
            outbox.bytes = outbox.bytes.saturating_sub(sent);
            if sent < part.len() {
                drop(part.split_to(sent));
                return Ok(false);
            }
            outbox.parts.pop_front();
        }
        self.outbox = None;
        Ok(true)
    }

    /// The alias for a topic that the client knows, or may get to know (3.3.2.3.4).
    pub fn alias(&self, publication: &Publication) -> Alias {
        let Some(extras) = &self.extras else { return Alias::None };
        let max = extras.topic_alias_maximum.min(MAX_ALIASES_OUT);
        match extras.aliases_out.get(&publication.topic_hash) {
            Some(alias) => Alias::Use(*alias),
            None => match u16::try_from(extras.aliases_out.len()) {
                Ok(known) if known < max => Alias::Set(known + 1),
                _ => Alias::None,
            },
        }
    }

    /// The client will know the alias by the packet that is sent now.
    pub fn learn_alias(&mut self, publication: &Publication, alias: Alias) {
        if let Alias::Set(alias) = alias {
            self.extras().aliases_out.insert(publication.topic_hash, alias);
        }
    }
}
