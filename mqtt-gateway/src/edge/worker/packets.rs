//! What a client asks for after CONNECT, and the answers.

use super::{
    super::{
        count_rejection,
        filter::{self, FilterRefusal},
        inbound::{Answer, Request},
        index::Slot,
        session::{CatchUp, Subscription},
        shares::Place,
        wire::{Goodbye, Options, Packet, Publish, Reason, Refusal, Version, answer, publish::Publication},
    },
    Ending, Worker,
    connection::Phase,
    key,
    outlet::Message,
};
use bytes::BytesMut;
use std::sync::Arc;

/// Retained messages sent in one go; then the socket is asked whether it takes more.
const CATCH_UP_BATCH: usize = 32;

impl Worker {
    pub fn packet(&mut self, slot: Slot, packet: Packet) -> Result<(), Ending> {
        match packet {
            Packet::Publish(publish) => self.publish(slot, *publish),
            Packet::PubAck(packet_id) => self.acknowledged(slot, packet_id),
            Packet::PubRel(packet_id) => self.release(slot, packet_id),
            Packet::Subscribe { packet_id, id, filters } => self.subscribe(slot, packet_id, id, filters),
            Packet::Unsubscribe { packet_id, filters } => self.unsubscribe(slot, packet_id, &filters),
            Packet::PingReq => self.say(slot, |_, out| answer::pingresp(out)),
            Packet::Disconnect(goodbye) => self.goodbye(slot, goodbye),
        }
    }

    /// Encodes an answer and sends it.
    pub fn say(&mut self, slot: Slot, encode: impl FnOnce(Version, &mut BytesMut)) -> Result<(), Ending> {
        let now = self.outlet.tick;
        let Some(connection) = self.connections.get_mut(key(slot)).filter(|known| known.generation == slot.generation)
        else {
            return Ok(());
        };
        self.answers.clear();
        encode(connection.version, &mut self.answers);
        if self.answers.is_empty() {
            return Ok(());
        }
        let before = connection.queued_bytes();
        let said = connection.say(&self.answers, now);
        self.outlet.requeued(before, connection.queued_bytes());
        if connection.outbox.is_some() {
            self.outlet.stalled.push(slot);
        }
        said
    }

    fn subscribe(
        &mut self,
        slot: Slot,
        packet_id: u16,
        id: u32,
        filters: Vec<(String, Options)>,
    ) -> Result<(), Ending> {
        let mut codes = Vec::with_capacity(filters.len());
        let mut catch_up = Vec::new();
        for (filter, options) in filters {
            match self.subscribe_one(slot, &filter, id, options)? {
                Ok(wanted) => {
                    codes.push(options.granted().qos());
                    catch_up.extend(wanted);
                }
                Err(reason) => codes.push(reason.0),
            }
        }
        self.say(slot, |version, out| answer::suback(version, packet_id, &codes, out))?;
        let session = self.get_mut(slot).and_then(|connection| connection.session.as_deref_mut());
        if let Some(session) = session.filter(|_| !catch_up.is_empty()) {
            session.outgoing().catch_up.extend(catch_up);
            self.pump(slot);
        }
        Ok(())
    }

    /// The retained messages to send, or why not; an error ends the connection.
    fn subscribe_one(
        &mut self,
        slot: Slot,
        text: &str,
        id: u32,
        options: Options,
    ) -> Result<Result<Option<CatchUp>, Reason>, Ending> {
        let limits = &self.spine.limits;
        let (max_filters, max_of_client) = (limits.max_filters, limits.max_filters_per_client);
        let parsed = match filter::parse(text, limits.max_filter_bytes) {
            Ok(parsed) => parsed,
            Err(refusal) => return Ok(Err(refused_filter(refusal))),
        };
        let is_shared = parsed.group.is_some();
        // MQTT-3.8.3-4.
        if is_shared && options.no_local() {
            return Err(Ending::NoLocalShared);
        }
        let Some(filter) = self.spine.state().intern(text, max_filters) else {
            count_rejection("too_many_filters");
            return Ok(Err(Reason::QUOTA_EXCEEDED));
        };
        let options_granted = options.granted();
        let session = self.get_mut(slot).and_then(|connection| connection.session.as_deref_mut());
        let Some(session) = session else { return Ok(Err(Reason::UNSPECIFIED)) };
        let subscription = Subscription { filter: filter.clone(), options: options_granted, id };
        let Ok(is_new) = session.subscribe(subscription, max_of_client) else {
            count_rejection("too_many_filters");
            return Ok(Err(Reason::QUOTA_EXCEEDED));
        };
        if !is_new && !is_shared {
            self.index.remove(&filter, slot);
        }
        self.index_subscription(slot, &filter, options_granted, id);
        // Shared subscriptions get none (4.8.2).
        let wanted = !is_shared && options.wants_retained(is_new);
        Ok(Ok(wanted.then_some(CatchUp { filter, options: options_granted, id, after: None })))
    }

    fn unsubscribe(&mut self, slot: Slot, packet_id: u16, filters: &[String]) -> Result<(), Ending> {
        let codes: Vec<Reason> = filters.iter().map(|filter| self.unsubscribe_one(slot, filter)).collect();
        self.say(slot, |version, out| answer::unsuback(version, packet_id, &codes, out))
    }

    fn unsubscribe_one(&mut self, slot: Slot, filter: &str) -> Reason {
        let session = self.get_mut(slot).and_then(|connection| connection.session.as_deref_mut());
        if session.and_then(|session| session.unsubscribe(filter)).is_none() {
            return Reason::NO_SUBSCRIPTION_EXISTED;
        }
        if filter.starts_with("$share/") {
            self.spine.state().shares.leave(filter, Place { worker: self.number, slot });
        } else {
            self.index.remove(filter, slot);
        }
        Reason::SUCCESS
    }

    /// Retained messages of new subscriptions, as far as socket and window take them.
    pub fn catch_up(&mut self, slot: Slot) {
        let spine = self.spine.clone();
        loop {
            let Some(connection) = self.get_mut(slot) else { return };
            let window = connection.window();
            let blocked = connection.outbox.is_some() || connection.phase != Phase::Live;
            let Some(session) = connection.session.as_deref_mut().filter(|_| !blocked) else { return };
            let full = session.has_backlog() || session.in_flight() >= window;
            let Some(next) = session.outgoing.as_mut().and_then(|outgoing| outgoing.catch_up.front()) else { return };
            if full && next.options.qos() > 0 {
                return;
            }
            let (filter, after) = (next.filter.clone(), next.after.clone());
            let (options, id) = (next.options, next.id);
            // Settled: nothing older than these can come after them.
            let found = self.settle(&spine).retained.next(&filter, after.as_deref(), CATCH_UP_BATCH);
            self.advance_catch_up(slot, found.last().map(|last| last.shared_topic()), found.len());
            let Some(connection) =
                self.connections.get_mut(key(slot)).filter(|known| known.generation == slot.generation)
            else {
                return;
            };
            for publication in &found {
                let message = Message { publication, options, id, more_ids: &[], retained: true };
                self.outlet.deliver(connection, slot, message);
            }
        }
    }

    fn advance_catch_up(&mut self, slot: Slot, last: Option<Arc<str>>, found: usize) {
        let session = self.get_mut(slot).and_then(|connection| connection.session.as_deref_mut());
        let Some(outgoing) = session.and_then(|session| session.outgoing.as_mut()) else { return };
        if found < CATCH_UP_BATCH {
            outgoing.catch_up.pop_front();
        } else if let Some(next) = outgoing.catch_up.front_mut() {
            next.after = last;
        }
    }

    /// PUBACK. One for nothing is a client that has lost count: it would never get what waits behind.
    fn acknowledged(&mut self, slot: Slot, packet_id: u16) -> Result<(), Ending> {
        let session = self.get_mut(slot).and_then(|connection| connection.session.as_deref_mut());
        if !session.is_some_and(|session| session.acknowledged(packet_id)) {
            return Err(Ending::UnorderedAcknowledgement);
        }
        self.pump(slot);
        Ok(())
    }

    fn publish(&mut self, slot: Slot, publish: Publish) -> Result<(), Ending> {
        let topic = self.topic_of(slot, &publish)?;
        let Some(connection) = self.get_mut(slot) else { return Ok(()) };
        let (version, publisher) = (connection.version, connection.publisher(slot));
        let Some(session) = connection.session.as_deref_mut() else { return Ok(()) };
        let client_id = session.client_id.clone();
        if !self.spine.may_publish(&topic) {
            count_rejection("publish_forbidden");
            return self.refuse_publish(slot, &publish, version, Reason::NOT_AUTHORIZED);
        }
        if publish.qos == 2 && !self.is_first(slot, publish.packet_id)? {
            return self.say_received(slot, (2, publish.packet_id), Reason::SUCCESS, None);
        }
        let properties = publish.properties.as_deref().cloned().unwrap_or_default();
        // Subscribers get QoS 1 at most.
        let qos = publish.qos.min(1);
        let Some(mut publication) = Publication::new(&topic, publish.payload.clone(), qos, publish.retain, &properties)
        else {
            return Err(Refusal::Malformed.into());
        };
        publication.publisher = Some(publisher);
        let answer = Answer { worker: self.number, slot, qos: publish.qos, packet_id: publish.packet_id };
        if !self.spine.submit(Request { client_id, publication, answer: Some(answer) }) {
            count_rejection("inbound_full");
            return self.refuse_publish(slot, &publish, version, Reason::QUOTA_EXCEEDED);
        }
        if let Some(connection) = self.get_mut(slot) {
            connection.unanswered = connection.unanswered.saturating_add(1);
        }
        Ok(())
    }

    /// The topic, by its alias if need be (3.3.2.3.4).
    fn topic_of(&mut self, slot: Slot, publish: &Publish) -> Result<Arc<str>, Ending> {
        if publish.alias == 0 {
            return Ok(publish.topic.as_str().into());
        }
        let known = usize::from(publish.alias - 1);
        let Some(connection) = self.get_mut(slot).filter(|_| publish.alias <= answer::TOPIC_ALIAS_MAXIMUM) else {
            return Err(Ending::TopicAlias);
        };
        let aliases = &mut connection.extras().aliases_in;
        if publish.topic.is_empty() {
            return aliases.get(known).cloned().flatten().ok_or(Refusal::Unexpected.into());
        }
        if aliases.len() <= known {
            aliases.resize(known + 1, None);
        }
        let topic: Arc<str> = publish.topic.as_str().into();
        if let Some(place) = aliases.get_mut(known) {
            *place = Some(topic.clone());
        }
        Ok(topic)
    }

    /// `false`: a repetition of a QoS 2 message that we have (4.3.3).
    fn is_first(&mut self, slot: Slot, packet_id: u16) -> Result<bool, Ending> {
        let session = self.get_mut(slot).and_then(|connection| connection.session.as_deref_mut());
        let Some(session) = session else { return Ok(false) };
        let received = session.received.get_or_insert_default();
        if !received.contains(&packet_id) && received.len() >= usize::from(answer::RECEIVE_MAXIMUM) {
            return Err(Ending::ReceiveMaximum);
        }
        Ok(received.insert(packet_id))
    }

    /// MQTT 5 has a reason code for QoS 1 and 2; where there is none, the connection ends, so that nobody takes silence for
    /// success.
    fn refuse_publish(
        &mut self,
        slot: Slot,
        publish: &Publish,
        version: Version,
        reason: Reason,
    ) -> Result<(), Ending> {
        if version == Version::V3 || publish.qos == 0 {
            return Err(Ending::PublishForbidden(reason));
        }
        self.say_received(slot, (publish.qos, publish.packet_id), reason, None)
    }

    fn say_received(
        &mut self,
        slot: Slot,
        message: (u8, u16),
        reason: Reason,
        why: Option<&str>,
    ) -> Result<(), Ending> {
        let Some(connection) = self.get_mut(slot) else { return Ok(()) };
        let why = why.filter(|_| connection.problem_information);
        let max_bytes = connection.max_packet_bytes;
        self.say(slot, |version, out| answer::received(version, message, (reason, why), max_bytes, out))
    }

    /// The decision about a client's message has come.
    pub fn answered(&mut self, answer: Answer, reason: Reason, why: Option<&str>) {
        let slot = answer.slot;
        let Some(connection) = self.get_mut(slot) else { return };
        let was_open = connection.is_open();
        connection.unanswered = connection.unanswered.saturating_sub(1);
        let reopens = connection.is_open() && !was_open;
        let version = connection.version;
        if reason.is_error() && answer.qos == 2 {
            self.forget_received(slot, answer.packet_id);
        }
        let said = if reason.is_error() && (version == Version::V3 || answer.qos == 0) {
            Err(Ending::PublishForbidden(reason))
        } else if answer.qos > 0 {
            self.say_received(slot, (answer.qos, answer.packet_id), reason, why)
        } else {
            Ok(())
        };
        match said {
            Err(ending) => self.close(slot, ending),
            Ok(()) if reopens => self.reopen(slot),
            Ok(()) => {}
        }
    }

    /// PUBREL.
    fn release(&mut self, slot: Slot, packet_id: u16) -> Result<(), Ending> {
        let reason = if self.forget_received(slot, packet_id) { Reason::SUCCESS } else { Reason::PACKET_ID_NOT_FOUND };
        self.say(slot, |version, out| answer::released(version, packet_id, reason, out))
    }

    fn forget_received(&mut self, slot: Slot, packet_id: u16) -> bool {
        let session = self.get_mut(slot).and_then(|connection| connection.session.as_deref_mut());
        let Some(session) = session else { return false };
        let known = session.received.as_mut().is_some_and(|received| received.remove(&packet_id));
        session.received.take_if(|received| received.is_empty());
        known
    }

    fn goodbye(&mut self, slot: Slot, goodbye: Goodbye) -> Result<(), Ending> {
        let max = self.spine.limits.max_session_expiry_s;
        let session = self.get_mut(slot).and_then(|connection| connection.session.as_deref_mut());
        if let (Some(session), Some(expiry_s)) = (session, goodbye.session_expiry_s) {
            // 3.14.2.2.2: a session that was to end with the connection stays so.
            if session.expiry_s == 0 && expiry_s > 0 {
                return Err(Ending::SessionExpiry);
            }
            session.expiry_s = expiry_s.min(max);
        }
        Err(Ending::Goodbye { publish_will: goodbye.publish_will })
    }
}

fn refused_filter(refusal: FilterRefusal) -> Reason {
    count_rejection(match refusal {
        FilterRefusal::Invalid => "filter_invalid",
        FilterRefusal::TooLong => "filter_too_long",
        FilterRefusal::Dollar => "filter_dollar",
    });
    match refusal {
        FilterRefusal::Invalid => Reason::FILTER_INVALID,
        FilterRefusal::TooLong => Reason::QUOTA_EXCEEDED,
        FilterRefusal::Dollar => Reason::NOT_AUTHORIZED,
    }
}
