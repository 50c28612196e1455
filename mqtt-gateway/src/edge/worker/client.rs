//! A client comes, is welcomed or not, and goes: CONNECT, take-over, sessions, wills.

use super::{
    super::{
        count_rejection,
        index::{Entry, Slot},
        session::Session,
        shares::{Member, Place},
        socket,
        spine::{Command, Entered},
        wire::{Connect, Reason, Refusal, Version, Will, answer, check, decode, publish::Publication},
    },
    Ending, Worker,
    connection::Phase,
    is_alive,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// Reads thrown away before a socket is closed: what lies unread there would make the kernel drop our last words.
const MAX_LAST_READS: usize = 8;

impl Worker {
    /// CONNECT, or what should be one.
    pub fn first_packet(&mut self, slot: Slot, frame: &[u8]) -> Result<(), Ending> {
        let mut connect = match decode::connect(frame) {
            Ok(connect) => connect,
            Err(refusal) => return self.not_welcome(slot, frame, refusal),
        };
        let Some(connection) = self.get_mut(slot) else { return Ok(()) };
        connection.version = connect.version;
        let limits = &self.spine.limits;
        let forbidden = connect.will.as_ref().is_some_and(|will| !self.spine.may_publish(&will.topic));
        let refusal = if connect.authentication {
            Some((Reason::BAD_AUTHENTICATION_METHOD, "authentication"))
        } else if connect.client_id.len() > limits.max_client_id_bytes {
            Some((Reason::CLIENT_ID_NOT_VALID, "client_id"))
        } else if forbidden {
            Some((Reason::NOT_AUTHORIZED, "publish_forbidden"))
        } else if self.draining {
            Some((Reason::SERVER_UNAVAILABLE, "draining"))
        } else {
            None
        };
        if let Some((reason, label)) = refusal {
            return self.refuse(slot, reason, label);
        }
        let assigned = connect.client_id.is_empty();
        if assigned {
            connect.client_id = format!("auto-{}", uuid::Uuid::new_v4().simple());
        }
        self.enter(slot, connect, assigned)
    }

    /// The refusals that CONNACK has a word for get it, each in the words of its version.
    fn not_welcome(&mut self, slot: Slot, frame: &[u8], refusal: Refusal) -> Result<(), Ending> {
        let version = match refusal {
            Refusal::Level(level) if level < 5 => Version::V3,
            Refusal::Level(_) => Version::V5,
            _ => check::connect(frame).unwrap_or(Version::V3),
        };
        if let Some(connection) = self.get_mut(slot) {
            connection.version = version;
        }
        let said = version == Version::V5 && refusal == Refusal::Topic;
        if matches!(refusal, Refusal::Level(_) | Refusal::ClientId) || said {
            return self.refuse(slot, refusal.reason(), refusal.label());
        }
        Err(refusal.into())
    }

    fn refuse(&mut self, slot: Slot, reason: Reason, label: &'static str) -> Result<(), Ending> {
        self.say(slot, |version, out| answer::refused(version, reason, out))?;
        Err(Ending::NotWelcome(label))
    }

    /// Becomes the client, or waits until whoever is lets go.
    fn enter(&mut self, slot: Slot, connect: Box<Connect>, assigned: bool) -> Result<(), Ending> {
        let place = Place { worker: self.number, slot };
        let spine = self.spine.clone();
        let entered = self.settle(&spine).enter(&connect.client_id, connect.clean_start, place);
        if connect.clean_start {
            // The end of an old session may bring its will.
            spine.due.notify_one();
        }
        let (session, present) = match entered {
            Entered::Busy(other) => {
                self.wait_for(slot, connect, other);
                return Ok(());
            }
            Entered::New(client_id) => (Box::new(Session::new(client_id, 0)), false),
            Entered::Resumed(session) => (session, true),
        };
        self.welcome(slot, *connect, session, present, assigned)
    }

    fn wait_for(&mut self, slot: Slot, connect: Box<Connect>, other: Place) {
        if let Some(connection) = self.get_mut(slot) {
            connection.phase = Phase::Waiting;
            connection.extras().connect = Some(connect);
        }
        // Also when the other is one of ours: through the queue, so that no close happens within another's packet.
        let waiting = Place { worker: self.number, slot };
        self.spine.command(other.worker, Command::TakeOver { slot: other.slot, waiting });
    }

    /// The client id may be free now.
    pub fn retry(&mut self, slot: Slot) {
        let Some(connection) = self.get_mut(slot).filter(|connection| connection.phase == Phase::Waiting) else {
            return;
        };
        let Some(connect) = connection.extras().connect.take() else { return };
        connection.phase = Phase::Connecting;
        match self.enter(slot, connect, false) {
            Ok(()) => self.reopen(slot),
            Err(ending) => self.close(slot, ending),
        }
    }

    fn welcome(
        &mut self,
        slot: Slot,
        connect: Connect,
        mut session: Box<Session>,
        present: bool,
        assigned: bool,
    ) -> Result<(), Ending> {
        let limits = &self.spine.limits;
        let (max_packet_bytes, max_expiry_s) = (limits.max_packet_bytes, limits.max_session_expiry_s);
        session.expiry_s = connect.session_expiry_s.min(max_expiry_s);
        let welcome = answer::Welcome {
            session_present: present,
            assigned_client_id: assigned.then_some(&*connect.client_id),
            session_expiry_s: (session.expiry_s != connect.session_expiry_s).then_some(session.expiry_s),
            max_packet_bytes: u32::try_from(max_packet_bytes).unwrap_or(u32::MAX),
        };
        self.subscribe_again(slot, &session);
        let now = self.outlet.tick;
        let Some(connection) = self.get_mut(slot) else { return Ok(()) };
        connection.phase = Phase::Live;
        connection.heard = now;
        connection.keep_alive_s = connect.keep_alive_s;
        connection.receive_maximum = connect.receive_maximum;
        connection.max_packet_bytes = connect.max_packet_bytes;
        connection.problem_information = connect.problem_information;
        connection.session = Some(session);
        if connect.will.is_some() || connect.topic_alias_maximum > 0 {
            let extras = connection.extras();
            extras.will = connect.will;
            extras.topic_alias_maximum = connect.topic_alias_maximum;
        } else if !connection.websocket {
            connection.extras = None;
        }
        self.spine.counters.clients.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("tifo_mqtt_connections_total").increment(1);
        metrics::gauge!("tifo_mqtt_clients").increment(1.0);
        self.say(slot, |version, out| answer::welcome(version, welcome, out))?;
        self.schedule(slot);
        if present {
            self.pump(slot);
        }
        Ok(())
    }

    /// A resumed session's filters, in this worker's index.
    fn subscribe_again(&mut self, slot: Slot, session: &Session) {
        for subscription in &session.subscriptions {
            self.index_subscription(slot, &subscription.filter, subscription.options, subscription.id);
        }
    }

    pub fn index_subscription(&mut self, slot: Slot, filter: &Arc<str>, options: super::super::wire::Options, id: u32) {
        if filter.starts_with("$share/") {
            let member = Member { place: Place { worker: self.number, slot }, options, id };
            self.spine.state().shares.join(filter, member);
        } else {
            let connections = &self.connections;
            self.index.add(filter, Entry { slot, id, options }, |slot| is_alive(connections, slot));
        }
    }

    /// Ends the connection; what its session and its will deserve is done.
    pub fn close(&mut self, slot: Slot, ending: Ending) {
        let Some(connection) = self.get_mut(slot) else { return };
        let was_live = connection.session.is_some();
        if was_live {
            self.farewell(slot, ending);
        }
        if let Some(connection) = self.get_mut(slot) {
            connection.phase = Phase::Closing;
        }
        let keeps =
            self.get_mut(slot).and_then(|connection| connection.session.as_ref()).is_some_and(|kept| kept.expiry_s > 0);
        let spine = self.spine.clone();
        // Messages published before now are still this session's.
        let mut state = if keeps { self.settle(&spine) } else { spine.state() };
        let Some(mut connection) = self.give_back(slot) else { return };
        let place = Place { worker: self.number, slot };
        let session = connection.session.take();
        let (client_id, expiry_s) =
            session.as_ref().map(|session| (session.client_id.clone(), session.expiry_s)).unzip();
        let forgotten = session.map_or(0, |session| state.leave(session, place));
        drop(state);
        if forgotten > 0 {
            metrics::counter!("tifo_mqtt_sessions_forgotten_total").increment(forgotten.try_into().unwrap_or(u64::MAX));
        }
        spine.due.notify_one();
        let will = connection.extras.as_mut().and_then(|extras| extras.will.take());
        if let (Some(will), Some(client_id), true) = (will, &client_id, ending.publishes_will()) {
            self.publish_will(client_id, *will, expiry_s.unwrap_or(0), connection.publisher(slot));
        }
        self.count_ending(client_id.is_some(), ending);
        hang_up(&connection.socket, &mut self.read_buffer);
    }

    /// DISCONNECT, which only MQTT 5 has; what cannot go at once does not go.
    fn farewell(&mut self, slot: Slot, ending: Ending) {
        let server_reference = self.server_reference.clone().filter(|_| ending == Ending::Moved);
        let reason = match ending.reason() {
            // Without an address there is nowhere to send the client.
            Some(Reason::SERVER_MOVED) if server_reference.is_none() => Some(Reason::SERVER_SHUTTING_DOWN),
            reason => reason,
        };
        if let Some(reason) = reason {
            let _ =
                self.say(slot, |version, out| answer::disconnect(version, reason, server_reference.as_deref(), out));
        }
        if let Ending::WebSocket(violation) = ending {
            let _ = self.say_control(slot, super::super::websocket::CLOSE, &violation.0.to_be_bytes());
        }
    }

    fn publish_will(
        &mut self,
        client_id: &Arc<str>,
        will: Will,
        expiry_s: u32,
        publisher: super::super::wire::publish::Publisher,
    ) {
        let Some(mut publication) =
            Publication::new(&will.topic, will.payload, will.qos.min(1), will.retain, &will.properties)
        else {
            return;
        };
        publication.publisher = Some(publisher);
        // The session's end brings the will at the latest (3.1.3.2.2).
        let delay_s = will.delay_s.min(expiry_s);
        let at = (delay_s > 0).then(|| self.outlet.now.checked_add(Duration::from_secs(delay_s.into()))).flatten();
        self.spine.will(client_id, publication, at);
    }

    fn count_ending(&self, was_live: bool, ending: Ending) {
        if was_live {
            self.spine.counters.clients.fetch_sub(1, Ordering::Relaxed);
            metrics::gauge!("tifo_mqtt_clients").decrement(1.0);
            metrics::counter!("tifo_mqtt_disconnections_total", "reason" => ending.label()).increment(1);
        } else {
            count_rejection(ending.label());
        }
    }
}

/// Half closes, and empties what has come, so that the client gets what we said last.
fn hang_up(connection: &std::os::fd::OwnedFd, buffer: &mut Vec<u8>) {
    let _ = rustix::net::shutdown(connection, rustix::net::Shutdown::Write);
    if buffer.is_empty() {
        // The connection is being read: its buffer is in use.
        buffer.resize(4096, 0);
    }
    for _ in 0..MAX_LAST_READS {
        if !matches!(socket::receive(connection, buffer), Ok(Some(1..))) {
            return;
        }
    }
}
