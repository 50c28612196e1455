//! A node's connection to the node before it: the retained state first, then what is new, into the lane.
//!
//! upstream --MQTT 5--> here: is it newer, has it been here, how old is it -> lane -> [`super::forward`] -> the next node or broker.
//! Upwards go the node's reports (`$tifo/nodes/{node}`), downwards come orders for it (`$tifo/orders/{node}`).
//!
//! Never: give up (it reconnects with back-off), or wait for the far side (the lane absorbs its pace).

use super::{
    backoff::Backoff,
    client::{Account, Arrival, Client},
    lane::{Lane, Put},
    newest::{Newest, Place},
};
use crate::{
    cluster::{Order, orders_topic},
    message::{Message, NodePath, Origin},
};
use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tifo_broker::clock::Clock;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Between two reports; a node that is silent for some of these is taken for dead.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(500);

/// What a node tells upwards at this moment.
pub type Report = dyn Fn() -> Message + Send + Sync;

pub struct Uplink {
    pub node: String,
    pub account: Account,
    pub filters: Vec<String>,
    pub lane: Arc<Lane>,
    pub report: Arc<Report>,
    pub orders: mpsc::Sender<Order>,
    pub connected: Arc<AtomicBool>,
    pub max_topics: usize,
    pub shutdown: CancellationToken,
}

/// What the uplink remembers between messages.
struct Arrivals {
    newest: Newest,
    orders_topic: String,
    /// The last path seen, and the same with this node: most messages have the same.
    path: (NodePath, NodePath),
}

impl Uplink {
    /// Runs until shutdown.
    pub async fn run(self) {
        let mut client = Client::new(&self.account);
        let mut arrivals = Arrivals {
            newest: Newest::new(&self.node, self.max_topics),
            orders_topic: orders_topic(&self.node),
            path: (NodePath::default(), NodePath::from_text(&self.node)),
        };
        let (mut backoff, random) = (Backoff::default(), RandomState::new());
        let mut due = tokio::time::interval(REPORT_INTERVAL);
        loop {
            let arrival = tokio::select! {
                () = self.shutdown.cancelled() => return client.requests.disconnect(),
                _ = due.tick() => {
                    self.tell(&client);
                    continue;
                }
                arrival = client.next() => arrival,
            };
            match arrival {
                Ok(arrival) => self.arrived(arrival, &client, &mut arrivals, &mut backoff),
                Err(error) => {
                    self.lost(&error);
                    let wait = backoff.next(random.hash_one(Clock::system().now_ms()));
                    tokio::select! {
                        () = self.shutdown.cancelled() => return,
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }

    fn arrived(&self, arrival: Arrival, client: &Client, arrivals: &mut Arrivals, backoff: &mut Backoff) {
        match arrival {
            Arrival::Connected => {
                let own = std::iter::once(arrivals.orders_topic.clone());
                let filters: Vec<String> = self.filters.iter().cloned().chain(own).collect();
                if !client.requests.subscribe(&filters) {
                    tracing::warn!("no room for the subscription at the node upstream");
                }
                self.tell(client);
            }
            Arrival::Subscribed => {
                backoff.succeeded();
                self.connected.store(true, Ordering::Relaxed);
                metrics::gauge!("tifo_mqtt_bridge_connected").set(1.0);
                tracing::info!(node = self.node, upstream = %self.account, "follows the node upstream");
            }
            Arrival::Message(message) if *message.topic == *arrivals.orders_topic.as_bytes() => self.ordered(&message),
            Arrival::Message(message) => self.take(message, arrivals),
            Arrival::Other => {}
        }
    }

    fn lost(&self, error: &dyn std::fmt::Display) {
        if self.connected.swap(false, Ordering::Relaxed) {
            tracing::warn!(node = self.node, upstream = %self.account, %error, "lost the node upstream: trying again");
        }
        metrics::gauge!("tifo_mqtt_bridge_connected").set(0.0);
        metrics::counter!("tifo_mqtt_bridge_failures_total").increment(1);
    }

    fn tell(&self, client: &Client) {
        if self.connected.load(Ordering::Relaxed) && !client.requests.try_publish(&(self.report)()) {
            tracing::debug!("a report found no room");
        }
    }

    fn ordered(&self, message: &Message) {
        match serde_json::from_slice(&message.payload) {
            // Without room the same order is there already.
            Ok(order) => drop(self.orders.try_send(order)),
            Err(error) => tracing::warn!(%error, "an order that is none"),
        }
    }

    fn take(&self, mut message: Message, arrivals: &mut Arrivals) {
        let place = arrivals.newest.see(&message);
        match place {
            Place::Loop => return dropped("loop"),
            Place::Older => return dropped("older"),
            Place::First => {}
            Place::Newer | Place::AfterGap => measure(&message.origin),
        }
        if place == Place::AfterGap {
            metrics::counter!("tifo_mqtt_hop_gaps_total").increment(1);
        }
        if arrivals.path.0 != message.origin.path {
            arrivals.path = (message.origin.path.clone(), message.origin.path.with(&self.node));
        }
        message.origin.path = arrivals.path.1.clone();
        match self.lane.put(message) {
            Put::Queued => metrics::counter!("tifo_mqtt_bridge_messages_total").increment(1),
            Put::Replaced => dropped("superseded"),
            Put::Full => dropped("full"),
        }
    }
}

/// How long ago the main node sent it; the number of the hop tells where.
fn measure(origin: &Origin) {
    if origin.time_ms == 0 {
        return;
    }
    let age_ms = Clock::system().now_ms().saturating_sub(origin.time_ms).max(0);
    let hop = origin.path.nodes().count().to_string();
    metrics::histogram!("tifo_mqtt_hop_seconds", "hop" => hop).record(age_ms as f64 / 1_000.0);
}

fn dropped(reason: &'static str) {
    metrics::counter!("tifo_mqtt_bridge_dropped_total", "reason" => reason).increment(1);
}
