//! One rumqttd router thread and links to it, without any socket.
//!
//! What kills or confuses the thread of rumqttd 0.20, and how it is kept from it:
//! - a `Ready` for a connection that it has removed: it removes one only when we say `Disconnect`, and both are said under one lock;
//! - a wrong acknowledgement makes it remove the connection by itself: our links subscribe with QoS 0 only;
//! - client ids with `+ $ # /` are never answered: it only sees our own names;
//! - a topic whose first character is not one byte long panics the matcher: topics begin with `streams/` or a checked prefix;
//! - `$share` filters (a lost member panics): the edge keeps shared subscriptions by itself;
//! - it takes no QoS from links; who needs to know that something arrived sends a barrier (a ping, answered in order).

use super::HubError;
use crate::config::Limits;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use parking_lot::Mutex;
use rumqttd::{
    Notification, Router, RouterConfig,
    local::{LinkBuilder, LinkRx, LinkTx},
    protocol::{Disconnect, DisconnectReasonCode, Packet, PingReq, Protocol, Publish, v4::V4},
};
use std::sync::Arc;

/// Segments that a filter's log is divided into; retention works by whole segments.
const FILTER_LOG_SEGMENTS: usize = 16;
/// Smallest segment that rumqttd takes.
const MIN_SEGMENT_BYTES: usize = 1024;
/// QoS 0 messages read from a filter's log at once; also how many retained ones a QoS 0 wildcard brings.
const MAX_OUTGOING_PACKETS: u64 = 1_000;
/// Links of the gateway itself: publisher, pulse, and those that are just being closed.
const MAX_LINKS: usize = 64;

type Connect = dyn Fn(&str, bool) -> Result<(LinkTx, LinkRx, Notification), HubError> + Send + Sync;

/// A running router.
pub struct RouterHandle {
    pub generation: u64,
    /// Owns the router's channel, whose event type rumqttd does not name publicly.
    connect: Box<Connect>,
}

/// Both directions of one session.
#[derive(Debug)]
pub struct Link {
    pub sender: LinkSender,
    pub receiver: LinkReceiver,
}

/// What a link brings.
#[derive(Debug)]
pub enum LinkEvent {
    /// A PUBLISH packet of MQTT 3.1.1, for a link that has subscribed.
    Message(#[cfg_attr(not(test), expect(dead_code, reason = "links of the gateway only publish"))] Bytes),
    /// All that was sent before the barrier has had its effect.
    Barrier,
}

pub struct LinkSender {
    link: Mutex<LinkTx>,
    gate: Arc<Mutex<Gate>>,
}

pub struct LinkReceiver {
    link: LinkRx,
    gate: Arc<Mutex<Gate>>,
}

/// Whether the router still knows the connection.
#[derive(Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Closed,
}

impl RouterHandle {
    pub fn spawn(generation: u64, limits: &Limits) -> Result<Self, HubError> {
        let router = Router::new(0, router_config(limits)).spawn();
        let connect = move |slot: &str, clean_session: bool| {
            LinkBuilder::new(slot, router.clone())
                .clean_session(clean_session)
                .build()
                .map_err(|e| HubError(format!("the hub takes no connection: {e}")))
        };
        Ok(Self { generation, connect: Box::new(connect) })
    }

    /// Blocks until the router has answered.
    pub fn attach(&self, slot: &str, clean_session: bool) -> Result<Link, HubError> {
        let (tx, rx, _) = (self.connect)(slot, clean_session)?;
        let gate = Arc::new(Mutex::new(Gate::Open));
        Ok(Link {
            sender: LinkSender { link: Mutex::new(tx), gate: gate.clone() },
            receiver: LinkReceiver { link: rx, gate },
        })
    }

    #[cfg(test)]
    pub fn crash(&self) {
        let Ok((mut tx, rx, _)) = (self.connect)("crash", true) else { return };
        let _ = push(&mut tx, disconnect());
        let _ = rx.ready();
    }
}

fn router_config(limits: &Limits) -> RouterConfig {
    RouterConfig {
        max_connections: MAX_LINKS,
        max_outgoing_packet_count: MAX_OUTGOING_PACKETS,
        max_segment_size: (limits.max_filter_log_bytes / FILTER_LOG_SEGMENTS).max(MIN_SEGMENT_BYTES),
        max_segment_count: FILTER_LOG_SEGMENTS,
        ..RouterConfig::default()
    }
}

impl LinkSender {
    /// Queues a message; it goes with the next request.
    pub fn queue(&self, topic: Bytes, payload: Bytes, retain: bool) {
        self.enqueue(Packet::Publish(Publish::new(topic, payload, retain), None));
    }

    /// Asks for a [`LinkEvent::Barrier`] after all that was said before.
    pub fn barrier(&self) -> Result<(), HubError> {
        self.send(Packet::PingReq(PingReq))
    }

    /// Goes with the next barrier, so that the barrier comes back before the first message.
    #[cfg(test)]
    pub fn subscribe(&self, filter: &str) {
        use rumqttd::protocol::{Filter, QoS, RetainForwardRule, Subscribe};
        let retain_forward_rule = RetainForwardRule::OnEverySubscribe;
        let path = filter.to_owned();
        let filter = Filter { path, qos: QoS::AtMostOnce, nolocal: false, preserve_retain: false, retain_forward_rule };
        self.enqueue(Packet::Subscribe(Subscribe { pkid: 1, filters: vec![filter] }, None));
    }

    /// Ends the session's link; nothing may be said after it.
    pub fn close(&self) {
        let mut gate = self.gate.lock();
        if *gate == Gate::Open {
            *gate = Gate::Closed;
            let _ = self.send(disconnect());
        }
    }

    fn enqueue(&self, packet: Packet) {
        self.link.lock().buffer().push_back(packet);
    }

    fn send(&self, packet: Packet) -> Result<(), HubError> {
        push(&mut self.link.lock(), packet)
    }
}

impl Drop for LinkSender {
    fn drop(&mut self) {
        self.close();
    }
}

impl LinkReceiver {
    /// The next event; an error when the router is gone. Cancel safe.
    pub async fn next(&mut self) -> Result<LinkEvent, HubError> {
        loop {
            let Some(notification) = self.link.next().await.map_err(|_| gone())? else { continue };
            match Option::<Packet>::from(notification) {
                None => self.resume()?,
                Some(Packet::PingResp(_)) => return Ok(LinkEvent::Barrier),
                Some(Packet::Publish(publish, _)) => return message(publish),
                Some(Packet::Disconnect(..)) => return Err(gone()),
                // SUBACK and UNSUBACK are the front's business; a barrier tells when.
                Some(_) => {}
            }
        }
    }

    /// Throws away messages up to the next barrier.
    pub async fn until_barrier(&mut self) -> Result<(), HubError> {
        while !matches!(self.next().await?, LinkEvent::Barrier) {}
        Ok(())
    }

    /// The router stops after a buffer full and waits for this.
    fn resume(&self) -> Result<(), HubError> {
        let gate = self.gate.lock();
        if *gate == Gate::Closed {
            return Err(gone());
        }
        self.link.ready().map_err(|_| gone())
    }
}

fn message(publish: Publish) -> Result<LinkEvent, HubError> {
    let mut frame = BytesMut::with_capacity(publish.payload.len() + publish.topic.len() + 8);
    V4.write(Packet::Publish(publish, None), &mut frame).map_err(|e| HubError(format!("the hub's message: {e}")))?;
    Ok(LinkEvent::Message(frame.freeze()))
}

fn disconnect() -> Packet {
    Packet::Disconnect(Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection }, None)
}

/// Queues `packet` and tells the router. The call is async in name only: it is done when it is first polled, and waits on the
/// thread while 1,000 events are before it.
fn push(link: &mut LinkTx, packet: Packet) -> Result<(), HubError> {
    match link.send(packet).now_or_never() {
        Some(Ok(_)) => Ok(()),
        _ => Err(gone()),
    }
}

fn gone() -> HubError {
    HubError("the hub is gone".into())
}

impl std::fmt::Debug for RouterHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouterHandle").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LinkSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkSender").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LinkReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkReceiver").finish_non_exhaustive()
    }
}
