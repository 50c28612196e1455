//! From a connection's bytes to its packets: TCP directly, WebSocket by its frames.

use super::{
    super::{
        index::Slot,
        socket,
        websocket::{self, Opening, Receiver},
        wire::{Refusal, decode, frame::Sink},
    },
    Ending, Worker,
    connection::Phase,
};
use bytes::BytesMut;

/// Reads of one connection in one turn.
const MAX_READS: usize = 4;
/// The type of CONNECT in a first byte.
const CONNECT: u8 = 1;

impl Worker {
    /// Reads what there is, to the end if the other side has `ended`.
    pub fn readable(&mut self, slot: Slot, ended: bool) {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let mut more = false;
        for turn in 1..=MAX_READS {
            let Some(connection) = self.get_mut(slot).filter(|connection| connection.is_open()) else { break };
            let read = match socket::receive(&connection.socket, &mut buffer) {
                Ok(Some(0)) | Err(_) => {
                    self.close(slot, Ending::PeerClosed);
                    break;
                }
                Ok(None) => break,
                Ok(Some(read)) => read,
            };
            let whole = read == buffer.len();
            if let Some(bytes) = buffer.get_mut(..read) {
                self.absorb(slot, bytes);
            }
            // Less than asked for was all there was; only the end of the stream comes without another event.
            if !whole && !ended {
                break;
            }
            more = turn == MAX_READS;
        }
        self.read_buffer = buffer;
        if more {
            self.unread.push(slot);
        }
    }

    /// Takes bytes of a connection, whatever they are.
    pub fn absorb(&mut self, slot: Slot, bytes: &mut [u8]) {
        let Some(connection) = self.get_mut(slot) else { return };
        let absorbed = match (connection.websocket, connection.phase) {
            (true, Phase::Opening) => self.open_websocket(slot, bytes),
            (true, _) => self.absorb_frames(slot, bytes),
            (false, _) => self.absorb_stream(slot, bytes),
        };
        if let Err(ending) = absorbed {
            self.close(slot, ending);
        }
        self.watch_partial(slot);
    }

    /// Packets are taken again: first those that were kept.
    pub fn reopen(&mut self, slot: Slot) {
        if let Err(ending) = self.absorb_stream(slot, &[]) {
            self.close(slot, ending);
        }
        self.watch_partial(slot);
        self.unread.push(slot);
    }

    fn watch_partial(&mut self, slot: Slot) {
        let now = self.outlet.tick;
        let Some(connection) = self.get_mut(slot) else { return };
        let is_partial = connection.assembler.kept_bytes() > 0;
        if is_partial && connection.partial_since == 0 {
            connection.partial_since = now;
            self.schedule(slot);
        } else if !is_partial {
            connection.partial_since = 0;
        }
    }

    fn absorb_stream(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), Ending> {
        let Some(connection) = self.get_mut(slot) else { return Ok(()) };
        let mut assembler = std::mem::take(&mut connection.assembler);
        let fed = assembler.feed(bytes, &mut Packets { worker: self, slot });
        if let Some(connection) = self.get_mut(slot) {
            connection.assembler = assembler;
        }
        fed
    }

    fn open_websocket(&mut self, slot: Slot, bytes: &mut [u8]) -> Result<(), Ending> {
        let Some(connection) = self.get_mut(slot) else { return Ok(()) };
        let extras = connection.extras();
        extras.request.extend_from_slice(bytes);
        match websocket::opening(&extras.request) {
            Opening::Incomplete => Ok(()),
            Opening::Refused(response) => {
                self.say_raw(slot, response.as_bytes())?;
                Err(Ending::NotWelcome("websocket_opening"))
            }
            Opening::Accepted { response, request_bytes } => {
                let mut rest = std::mem::take(&mut extras.request).split_off(request_bytes);
                extras.decoder = Some(websocket::Decoder::default());
                connection.phase = Phase::Connecting;
                self.say_raw(slot, response.as_bytes())?;
                self.absorb_frames(slot, &mut rest)
            }
        }
    }

    fn absorb_frames(&mut self, slot: Slot, bytes: &mut [u8]) -> Result<(), Ending> {
        let Some(mut decoder) = self.get_mut(slot).and_then(|connection| connection.extras().decoder.take()) else {
            return Ok(());
        };
        let fed = decoder.feed(bytes, &mut Frames { worker: self, slot });
        if let Some(connection) = self.get_mut(slot) {
            connection.extras().decoder = Some(decoder);
        }
        fed
    }

    /// A WebSocket control frame.
    pub fn say_control(&mut self, slot: Slot, opcode: u8, payload: &[u8]) -> Result<(), Ending> {
        let mut frame = BytesMut::new();
        websocket::control(opcode, payload, &mut frame);
        self.say_raw(slot, &frame)
    }

    fn say_raw(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), Ending> {
        let now = self.outlet.tick;
        let Some(connection) = self.get_mut(slot) else { return Ok(()) };
        let before = connection.queued_bytes();
        let said = connection.send(bytes, None, now);
        let after = connection.queued_bytes();
        self.outlet.requeued(before, after);
        if after > 0 {
            self.outlet.stalled.push(slot);
        }
        said
    }
}

/// Packets of one connection.
struct Packets<'a> {
    worker: &'a mut Worker,
    slot: Slot,
}

impl Sink for Packets<'_> {
    type Error = Ending;

    fn max_bytes(&self) -> usize {
        let limits = &self.worker.spine.limits;
        if self.phase() == Some(Phase::Connecting) { limits.max_connect_bytes } else { limits.max_packet_bytes }
    }

    /// Whoever begins otherwise speaks something else: no need to wait for what its bytes claim.
    fn may_begin(&self, first: u8) -> Result<(), Ending> {
        if self.phase() == Some(Phase::Connecting) && first >> 4 != CONNECT {
            Err(Refusal::NotConnect.into())
        } else {
            Ok(())
        }
    }

    fn packet(&mut self, frame: &[u8]) -> Result<(), Ending> {
        let now = self.worker.outlet.tick;
        let Some(connection) = self.worker.get_mut(self.slot) else { return Ok(()) };
        if connection.phase == Phase::Connecting {
            return self.worker.first_packet(self.slot, frame);
        }
        connection.heard = now;
        connection.partial_since = 0;
        let packet = decode::packet(frame, connection.version)?;
        self.worker.packet(self.slot, packet)
    }

    fn is_open(&self) -> bool {
        self.connection().is_some_and(|connection| connection.is_open())
    }
}

impl Packets<'_> {
    fn connection(&self) -> Option<&super::Connection> {
        let known = self.worker.connections.get(super::key(self.slot));
        known.filter(|connection| connection.generation == self.slot.generation)
    }

    fn phase(&self) -> Option<Phase> {
        self.connection().map(|connection| connection.phase)
    }
}

/// WebSocket frames of one connection.
struct Frames<'a> {
    worker: &'a mut Worker,
    slot: Slot,
}

impl Receiver for Frames<'_> {
    type Error = Ending;

    fn stream(&mut self, bytes: &[u8]) -> Result<(), Ending> {
        self.worker.absorb_stream(self.slot, bytes)
    }

    fn ping(&mut self, payload: &[u8]) -> Result<(), Ending> {
        self.worker.say_control(self.slot, websocket::PONG, payload)
    }

    fn closed(&mut self) -> Result<(), Ending> {
        Err(Ending::PeerClosed)
    }
}
