//! One connection: handshake, session, then reading and writing side by side until either ends.
//!
//! The reader turns checked packets into requests to the hub. What the client must be told once the hub has done it waits in
//! `answers` for the hub's barrier; the writer sends it then. Messages come from the hub as finished frames.

use super::{
    Shared, count_rejection, filter, handshake,
    packet::{self, Connect, Packet, Publish, Refusal, SUBSCRIBE_FAILURE, Will, return_code},
    sessions::Lease,
    stream::{Ending, FrameReader, ReadLimits, idle_limit, write_all},
};
use crate::hub::{HubError, Link, LinkEvent, LinkReceiver, LinkSender};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use parking_lot::Mutex;
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::mpsc,
};

/// Answers that wait for the hub; a client that asks for more without reading them is not read on.
const MAX_WAITING_ANSWERS: usize = 64;
/// QoS 2 messages of a client between PUBLISH and PUBREL.
const MAX_INCOMING_QOS2: usize = 100;
/// Frames are gathered up to this before they are written.
const WRITE_CHUNK_BYTES: usize = 64 * 1024;

/// Serves a byte stream to its end.
pub async fn serve<S>(stream: S, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read);
    let welcomed = tokio::select! {
        () = shared.shutdown.cancelled() => Err(Ending::Shutdown),
        welcomed = handshake::accept(&mut reader, &mut write, &shared) => welcomed,
    };
    match welcomed {
        Ok(connect) => session(reader, write, connect, shared).await,
        Err(ending) => {
            count_rejection(reason(ending));
            let _ = write.shutdown().await;
        }
    }
}

async fn session<S>(reader: FrameReader<ReadHalf<S>>, mut write: WriteHalf<S>, connect: Connect, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // Declared before the link: dropped after it, so that the slot is free only once the link is closed.
    let mut lease = shared.sessions.enter(&connect.client_id, connect.clean_session).await;
    let mut link = match open_link(&mut lease, &connect, &shared).await {
        Ok(link) => link,
        Err(error) => {
            tracing::warn!(%error, "no place in the hub for an MQTT client");
            count_rejection(reason(Ending::Hub));
            let refusal = packet::connack(false, return_code::SERVER_UNAVAILABLE);
            let _ = write_all(&mut write, refusal, shared.limits.stall_timeout()).await;
            return;
        }
    };
    metrics::counter!("tifo_mqtt_connections_total").increment(1);
    metrics::gauge!("tifo_mqtt_clients").increment(1.0);
    let ending = converse(reader, &mut write, &mut lease, &mut link, &connect, &shared).await;
    finish(ending, &link.sender, connect.will.as_ref(), &shared);
    let _ = write.shutdown().await;
    metrics::gauge!("tifo_mqtt_clients").decrement(1.0);
    metrics::counter!("tifo_mqtt_disconnections_total", "reason" => reason(ending)).increment(1);
    tracing::debug!(client_id = connect.client_id, %ending, "MQTT client left");
}

/// The hub's link with the session's filters in place.
async fn open_link(lease: &mut Lease, connect: &Connect, shared: &Shared) -> Result<Link, HubError> {
    if lease.must_wipe {
        shared.hub.attach(&lease.slot(), true).await?.sender.close();
        lease.must_wipe = false;
    }
    let link = shared.hub.attach(&lease.slot(), connect.clean_session).await?;
    if !link.session_present {
        lease.filters.clear();
    } else if !lease.filters.is_empty() {
        // The hub has them, but forgets whose they are for unsubscribing.
        link.sender.subscribe(&lease.filters);
    }
    Ok(link)
}

async fn converse<S>(
    reader: FrameReader<ReadHalf<S>>,
    write: &mut WriteHalf<S>,
    lease: &mut Lease,
    link: &mut Link,
    connect: &Connect,
    shared: &Shared,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (answers, waiting) = mpsc::channel(MAX_WAITING_ANSWERS);
    let taken_over = lease.taken_over();
    let unacknowledged = Mutex::new(VecDeque::new());
    let (sender, receiver) = (&link.sender, &mut link.receiver);
    let requests =
        Requests { shared, lease, sender, answers, unacknowledged: &unacknowledged, incoming_qos2: HashSet::new() };
    let replies = Replies { shared, receiver, waiting, unacknowledged: &unacknowledged, buffer: BytesMut::new() };
    let connack = packet::connack(link.session_present, return_code::ACCEPTED);
    tokio::select! {
        ending = requests.run(reader, connect) => ending,
        ending = replies.run(connack, write) => ending,
        () = taken_over.cancelled() => Ending::TakenOver,
        () = shared.shutdown.cancelled() => Ending::Shutdown,
    }
}

/// The will goes out unless the client said goodbye or we do; then the link ends.
fn finish(ending: Ending, sender: &LinkSender, will: Option<&Will>, shared: &Shared) {
    if let Some(will) = will
        && !matches!(ending, Ending::Disconnect | Ending::Shutdown)
        && shared.hub.admit_client_topic(&will.topic)
    {
        sender.queue(will.topic.clone(), will.payload.clone(), will.retain);
    }
    sender.close();
}

/// What is told to the client when the hub's barrier comes back.
type Answer = Bytes;

/// The reading side.
struct Requests<'a> {
    shared: &'a Shared,
    lease: &'a mut Lease,
    sender: &'a LinkSender,
    answers: mpsc::Sender<Answer>,
    unacknowledged: &'a Mutex<VecDeque<u16>>,
    incoming_qos2: HashSet<u16>,
}

impl Requests<'_> {
    async fn run<R: AsyncRead + Unpin>(mut self, mut reader: FrameReader<R>, connect: &Connect) -> Ending {
        let limits = ReadLimits {
            max_bytes: self.shared.limits.max_packet_bytes,
            idle: idle_limit(connect.keep_alive_s),
            stall: self.shared.limits.stall_timeout(),
        };
        loop {
            let handled = match reader.packet(limits).await {
                Ok(packet) => self.handle(packet).await,
                Err(ending) => Err(ending),
            };
            if let Err(ending) = handled {
                return ending;
            }
        }
    }

    async fn handle(&mut self, packet: Packet) -> Result<(), Ending> {
        match packet {
            Packet::Publish(publish) => self.publish(publish).await,
            Packet::PubAck(id) => self.acknowledged(id),
            Packet::PubRel(id) => {
                self.incoming_qos2.remove(&id);
                self.answer(packet::pubcomp(id)).await
            }
            Packet::Subscribe { packet_id, filters } => self.subscribe(packet_id, filters).await,
            Packet::Unsubscribe { packet_id, filters } => self.unsubscribe(packet_id, filters).await,
            Packet::PingReq => self.answer(packet::pingresp()).await,
            Packet::Disconnect => Err(Ending::Disconnect),
            Packet::Connect(_) => Err(Refusal::Unexpected.into()),
        }
    }

    /// 3.1.1 has no answer for a forbidden topic: the connection ends, so that nobody takes silence for success.
    async fn publish(&mut self, publish: Publish) -> Result<(), Ending> {
        if !handshake::may_publish(&publish.topic, self.shared) {
            return Err(Ending::PublishForbidden);
        }
        if !self.shared.hub.admit_client_topic(&publish.topic) {
            return Err(Ending::Topics);
        }
        let repeated = publish.qos == 2 && self.incoming_qos2.contains(&publish.packet_id);
        if publish.qos == 2 && !repeated {
            if self.incoming_qos2.len() >= MAX_INCOMING_QOS2 {
                return Err(Ending::InFlight);
            }
            self.incoming_qos2.insert(publish.packet_id);
        }
        if !repeated {
            metrics::counter!("tifo_mqtt_messages_received_total").increment(1);
            self.sender.publish(publish.topic, publish.payload, publish.retain).map_err(|_| Ending::Hub)?;
        }
        match publish.qos {
            0 => Ok(()),
            1 => self.answer(packet::puback(publish.packet_id)).await,
            _ => self.answer(packet::pubrec(publish.packet_id)).await,
        }
    }

    /// Acknowledgements come in the order of the messages (4.6); the hub takes no other.
    fn acknowledged(&mut self, packet_id: u16) -> Result<(), Ending> {
        match self.unacknowledged.lock().pop_front() {
            Some(oldest) if oldest == packet_id => {}
            _ => return Err(Ending::Acknowledgement),
        }
        self.sender.acknowledge(packet_id).map_err(|_| Ending::Hub)
    }

    async fn subscribe(&mut self, packet_id: u16, filters: Vec<(String, u8)>) -> Result<(), Ending> {
        let mut granted = Vec::new();
        let mut codes = Vec::with_capacity(filters.len());
        for (filter, qos) in filters {
            // QoS 2 is granted as 1.
            let qos = qos.min(1);
            if self.admit(&filter, qos) {
                granted.push((filter, qos));
                codes.push(qos);
            } else {
                codes.push(SUBSCRIBE_FAILURE);
            }
        }
        if !granted.is_empty() {
            self.sender.subscribe(&granted);
        }
        self.answer(packet::suback(packet_id, &codes)).await
    }

    fn admit(&mut self, filter: &str, qos: u8) -> bool {
        let limits = &self.shared.limits;
        if let Err(refusal) = filter::check(filter, limits.max_filter_bytes) {
            count_rejection(match refusal {
                filter::FilterRefusal::Invalid => "filter_invalid",
                filter::FilterRefusal::TooLong => "filter_too_long",
                filter::FilterRefusal::Dollar => "filter_dollar",
            });
            return false;
        }
        let admitted =
            self.shared.hub.admit_filter(filter) && self.lease.add_filter(filter, qos, limits.max_filters_per_client);
        if !admitted {
            count_rejection("too_many_filters");
        }
        admitted
    }

    async fn unsubscribe(&mut self, packet_id: u16, mut filters: Vec<String>) -> Result<(), Ending> {
        filters.retain(|filter| self.lease.remove_filter(filter));
        if !filters.is_empty() {
            self.sender.unsubscribe(filters);
        }
        self.answer(packet::unsuback(packet_id)).await
    }

    /// Sends `answer` once all requests before it have had their effect. Waits while too many answers wait.
    async fn answer(&mut self, answer: Answer) -> Result<(), Ending> {
        self.answers.send(answer).await.map_err(|_| Ending::PeerClosed)?;
        self.sender.barrier().map_err(|_| Ending::Hub)
    }
}

/// The writing side.
struct Replies<'a> {
    shared: &'a Shared,
    receiver: &'a mut LinkReceiver,
    waiting: mpsc::Receiver<Answer>,
    unacknowledged: &'a Mutex<VecDeque<u16>>,
    buffer: BytesMut,
}

impl Replies<'_> {
    async fn run<W: AsyncWrite + Unpin>(mut self, connack: Bytes, write: &mut W) -> Ending {
        self.buffer.extend_from_slice(&connack);
        loop {
            let sent = self.send(write).await;
            let gathered = match sent {
                Ok(()) => self.gather().await,
                Err(ending) => Err(ending),
            };
            if let Err(ending) = gathered {
                return ending;
            }
        }
    }

    async fn send<W: AsyncWrite + Unpin>(&mut self, write: &mut W) -> Result<(), Ending> {
        let bytes = self.buffer.split().freeze();
        write_all(write, bytes, self.shared.limits.stall_timeout()).await
    }

    /// Waits for one event, then takes what is there already.
    async fn gather(&mut self) -> Result<(), Ending> {
        let event = self.receiver.next().await.map_err(|_| Ending::Hub)?;
        self.take(event);
        while self.buffer.len() < WRITE_CHUNK_BYTES {
            match self.receiver.next().now_or_never() {
                Some(event) => self.take(event.map_err(|_| Ending::Hub)?),
                None => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Message { frame, packet_id } => {
                self.unacknowledged.lock().extend(packet_id);
                self.buffer.extend_from_slice(&frame);
                metrics::counter!("tifo_mqtt_deliveries_total").increment(1);
            }
            LinkEvent::Barrier => {
                if let Ok(answer) = self.waiting.try_recv() {
                    self.buffer.extend_from_slice(&answer);
                }
            }
        }
    }
}

/// A label for metrics.
fn reason(ending: Ending) -> &'static str {
    match ending {
        Ending::Refused(Refusal::Malformed) => "malformed",
        Ending::Refused(Refusal::TooLong) => "packet_too_long",
        Ending::Refused(Refusal::NotConnect) => "not_connect",
        Ending::Refused(Refusal::Level(_)) => "protocol_level",
        Ending::Refused(Refusal::Topic) => "invalid_topic",
        Ending::Refused(Refusal::Unexpected) => "unexpected_packet",
        Ending::Disconnect => "disconnect",
        Ending::PeerClosed => "peer_closed",
        Ending::KeepAlive => "keep_alive",
        Ending::Stalled => "stalled",
        Ending::ConnectTimeout => "connect_timeout",
        Ending::ClientId => "client_id",
        Ending::PublishForbidden => "publish_forbidden",
        Ending::Acknowledgement => "unordered_acknowledgement",
        Ending::InFlight => "too_many_in_flight",
        Ending::Topics => "too_many_topics",
        Ending::TakenOver => "taken_over",
        Ending::Hub => "hub_unavailable",
        Ending::Shutdown => "shutdown",
    }
}
