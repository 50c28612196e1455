//! Messages from the worker to its connections: the hot path.
//!
//! A delivery is a look at the connection and one `send` of bytes that all with the same wishes share. Who cannot take a message
//! gets the newest of its topic when he can.

use super::{
    super::{
        index::Slot,
        session::{MAX_IN_FLIGHT, Pending},
        timers::Tick,
        wire::{
            Options,
            publish::{Frame, Publication, Variant},
        },
    },
    Ending,
    connection::{Connection, Phase},
};
use std::{sync::Arc, time::Instant};

/// Encodings of one message kept at a time; beyond them (many subscription identifiers) each is made when it is needed.
const MAX_VARIANTS: usize = 32;

/// What a subscription gets.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub publication: &'a Arc<Publication>,
    pub options: Options,
    pub id: u32,
    pub more_ids: &'a [u32],
    /// Because of a new subscription, not because it has just been published.
    pub retained: bool,
}

#[derive(Debug)]
pub struct Outlet {
    pub now: Instant,
    pub tick: Tick,
    /// Connections whose sockets failed; the worker closes them.
    pub failed: Vec<(Slot, Ending)>,
    /// Connections that cannot take more for now; the worker watches their progress.
    pub stalled: Vec<Slot>,
    pub sent: u64,
    pub dropped: u64,
    /// Change of the bytes that wait for sockets.
    pub queued: isize,
    scratch: Vec<u8>,
    frames: Frames,
}

impl Outlet {
    pub fn new(now: Instant) -> Self {
        Self {
            now,
            tick: 1,
            failed: Vec::new(),
            stalled: Vec::new(),
            sent: 0,
            dropped: 0,
            queued: 0,
            scratch: Vec::new(),
            frames: Frames::default(),
        }
    }

    /// Sends the message, or lets it wait.
    pub fn deliver(&mut self, connection: &mut Connection, slot: Slot, message: Message<'_>) {
        let publication = message.publication;
        let qos = message.options.qos().min(publication.qos);
        let own = message.options.no_local() && publication.publisher == Some(connection.publisher(slot));
        let Some(session) = connection.session.as_deref_mut().filter(|_| !own) else { return };
        let retain = message.retained || (message.options.retain_as_published() && publication.retain);
        let blocked = connection.outbox.is_some() || connection.phase != Phase::Live || session.has_backlog();
        let window = usize::from(connection.receive_maximum.min(MAX_IN_FLIGHT));
        if qos == 0 && !blocked {
            self.pass(connection, slot, publication, qos, retain, message.id, message.more_ids, None);
            return;
        }
        let more_ids = (!message.more_ids.is_empty()).then(|| message.more_ids.into());
        let pending = Pending { publication: publication.clone(), qos, retain, id: message.id, more_ids };
        if blocked || session.in_flight() >= window {
            self.dropped += u64::from(session.wait(pending));
        } else {
            self.fly(connection, slot, pending);
        }
    }

    /// Lets messages that wait go, as far as socket and window take them; `true`: nothing waits any more.
    pub fn pump(&mut self, connection: &mut Connection, slot: Slot) -> bool {
        loop {
            if connection.outbox.is_some() || connection.phase != Phase::Live {
                return false;
            }
            let window = connection.window();
            let Some(session) = connection.session.as_deref_mut() else { return false };
            if let Some((packet_id, pending)) = session.outgoing.as_mut().and_then(|outgoing| outgoing.again(window)) {
                self.send_qos_1(connection, slot, &pending, (packet_id, true));
                continue;
            }
            let has_window = session.in_flight() < window;
            let next = session.outgoing.as_mut().and_then(|outgoing| outgoing.next(has_window));
            match next {
                Some(pending) if pending.qos > 0 => self.fly(connection, slot, pending),
                Some(pending) => {
                    let ids = pending.more_ids.as_deref().unwrap_or_default();
                    self.pass(connection, slot, &pending.publication, 0, pending.retain, pending.id, ids, None);
                }
                None => return !session.has_backlog(),
            }
        }
    }

    fn fly(&mut self, connection: &mut Connection, slot: Slot, pending: Pending) {
        if pending.publication.has_expired(self.now) {
            return;
        }
        let Some(session) = connection.session.as_deref_mut() else { return };
        let packet_id = session.outgoing().fly(pending.clone());
        self.send_qos_1(connection, slot, &pending, (packet_id, false));
    }

    /// `place`: packet id and repetition. What the client does not take at all is as good as acknowledged.
    fn send_qos_1(&mut self, connection: &mut Connection, slot: Slot, pending: &Pending, place: (u16, bool)) {
        let ids = pending.more_ids.as_deref().unwrap_or_default();
        let fits = self.pass(connection, slot, &pending.publication, 1, pending.retain, pending.id, ids, Some(place));
        if !fits && let Some(session) = connection.session.as_deref_mut() {
            session.acknowledged(place.0);
        }
    }

    /// A connection's waiting bytes were `before` and are `after`.
    pub fn requeued(&mut self, before: usize, after: usize) {
        let bytes = |count: usize| isize::try_from(count).unwrap_or(isize::MAX);
        self.queued += bytes(after) - bytes(before);
    }

    /// To the socket; `false`: the client does not take packets of this size (3.1.2.11.4). `place`: packet id and repetition.
    #[allow(clippy::too_many_arguments)]
    fn pass(
        &mut self,
        connection: &mut Connection,
        slot: Slot,
        publication: &Arc<Publication>,
        qos: u8,
        retain: bool,
        id: u32,
        more_ids: &[u32],
        place: Option<(u16, bool)>,
    ) -> bool {
        if publication.has_expired(self.now) {
            return true;
        }
        let alias = connection.alias(publication);
        let (version, websocket) = (connection.version, connection.websocket);
        let variant = Variant { version, websocket, qos, retain, id, alias };
        let frame = self.frames.get(publication, variant, more_ids, self.now);
        if frame.packet_bytes() > usize::try_from(connection.max_packet_bytes).unwrap_or(usize::MAX) {
            self.dropped += 1;
            return false;
        }
        connection.learn_alias(publication, alias);
        let before = connection.queued_bytes();
        let sent = match place {
            Some((packet_id, duplicate)) => {
                frame.with_packet_id(packet_id, duplicate, &mut self.scratch);
                connection.send(&self.scratch, None, self.tick)
            }
            None => connection.send(&frame.bytes, Some(&frame.bytes), self.tick),
        };
        self.requeued(before, connection.queued_bytes());
        match sent {
            Ok(()) => self.sent += 1,
            Err(ending) => {
                connection.phase = Phase::Closing;
                self.failed.push((slot, ending));
            }
        }
        if connection.outbox.is_some() {
            self.stalled.push(slot);
        }
        true
    }
}

/// The encodings of the message that is being delivered.
#[derive(Debug, Default)]
struct Frames {
    publication: Option<Arc<Publication>>,
    frames: Vec<(Variant, Frame)>,
    single: Option<Frame>,
}

impl Frames {
    fn get(&mut self, publication: &Arc<Publication>, variant: Variant, more_ids: &[u32], now: Instant) -> &Frame {
        if !self.publication.as_ref().is_some_and(|known| Arc::ptr_eq(known, publication)) {
            self.frames.clear();
            self.publication = Some(publication.clone());
        }
        let known = self.frames.iter().position(|(known, _)| *known == variant);
        let shareable = more_ids.is_empty() && !publication.ages();
        let place = match known.filter(|_| shareable) {
            Some(place) => Some(place),
            None if shareable && self.frames.len() < MAX_VARIANTS => {
                self.frames.push((variant, publication.encode(variant, &[], now)));
                Some(self.frames.len() - 1)
            }
            None => None,
        };
        match place.and_then(|place| self.frames.get(place)) {
            Some((_, frame)) => frame,
            None => self.single.insert(publication.encode(variant, more_ids, now)),
        }
    }
}
