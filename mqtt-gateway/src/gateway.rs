//! Wiring: starts hub, edge and delivery, and stops them in the order in which nothing accepted is lost.

use crate::{
    MqttConfig, MqttError,
    cluster::{Fleet, NodeReport, REPORTS},
    config::MqttRole,
    delivery::{Counters, Delivery, Settings},
    edge::{Edge, EdgeStats},
    feed::{ClientMessages, Feed},
    hub::{Hub, Publisher},
    node::{Host, Load, Node},
    reception::{Reception, STREAMS, TAPS, Taps},
};
use serde::Serialize;
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tifo_broker::LogClient;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Name of the main node unless it has one of its own.
const MAIN_NODE: &str = "main";

/// A running MQTT gateway.
#[derive(Debug)]
pub struct MqttGateway {
    edge: Arc<Edge>,
    counters: Arc<Counters>,
    node: Arc<Node>,
    reception: Arc<Reception>,
    /// Stops delivery, and following another node.
    delivering: CancellationToken,
    /// Stops the hub.
    serving: CancellationToken,
    delivery_tasks: TaskTracker,
    serving_tasks: TaskTracker,
}

/// Numbers for the status page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MqttStatus {
    /// MQTT clients with a session, over TCP and WebSocket.
    pub connected_clients: usize,
    /// Messages of the streams published since the start.
    pub messages_published: u64,
    /// Records of the aggregate topics not yet delivered.
    pub lag: i64,
    pub edge: EdgeStats,
}

impl MqttGateway {
    /// The main node: listens and delivers when this returns; stops by itself when `shutdown` is cancelled.
    pub async fn start(
        config: MqttConfig,
        client: Arc<dyn LogClient>,
        shutdown: CancellationToken,
    ) -> Result<Self, MqttError> {
        config.check()?;
        let hub = Hub::start(&config.limits)?;
        let clients = ClientMessages::new(hub.clone(), &config.limits);
        let gateway = Self::serve(&config, Some(clients), &shutdown)?;
        gateway.serving_tasks.spawn(hub.clone().keep_alive(gateway.serving.clone()));
        let feed = Arc::new(Feed { hub, edge: gateway.edge.clone() });
        gateway.node.start(feed.clone(), None, &gateway.delivery_tasks, &gateway.delivering)?;
        for delivery in gateway.deliveries(&config, &client, feed) {
            gateway.delivery_tasks.spawn(delivery.run());
        }
        tracing::info!(addr = %gateway.addr(), streams = config.streams.len(), "MQTT gateway started");
        Ok(gateway)
    }

    /// A node without a log, which follows another or is brought everything by a bridge. `fleet` starts further nodes, if the
    /// settings want them.
    pub async fn start_node(
        config: MqttConfig,
        fleet: Option<Arc<dyn Fleet>>,
        shutdown: CancellationToken,
    ) -> Result<Self, MqttError> {
        config.check()?;
        let gateway = Self::serve(&config, None, &shutdown)?;
        gateway.node.start(gateway.edge.clone(), fleet, &gateway.delivery_tasks, &gateway.delivering)?;
        tracing::info!(addr = %gateway.addr(), node = gateway.node.name, role = ?config.role, "MQTT node started");
        Ok(gateway)
    }

    /// The edge, and what it knows of the tree.
    fn serve(
        config: &MqttConfig,
        clients: Option<ClientMessages>,
        shutdown: &CancellationToken,
    ) -> Result<Self, MqttError> {
        let mut open = config.clone();
        open.publish_prefixes.push(REPORTS.to_owned());
        if clients.is_some() {
            open.publish_prefixes.push(TAPS.to_owned());
        }
        if config.role == MqttRole::Publish && config.upstream.is_none() {
            open.publish_prefixes.push(STREAMS.to_owned());
        }
        let reception = Arc::new(Reception::new(clients));
        let edge = Edge::start(&open, reception.clone())?;
        let node = Node::new(node_name(config), config, &edge, Arc::new(EdgeHost(edge.clone())));
        // Reports that came before this were refused, and come again.
        let _ = reception.node.set(node.clone());
        let (delivering, serving) = (shutdown.child_token(), shutdown.child_token());
        let serving_tasks = TaskTracker::new();
        serving_tasks.spawn(stop_edge(edge.clone(), serving.clone()));
        let (counters, delivery_tasks) = (Arc::default(), TaskTracker::new());
        Ok(Self { edge, counters, node, reception, delivering, serving, delivery_tasks, serving_tasks })
    }

    /// From now on what clients publish on `taps/{stream}` goes there; it can be said once.
    pub fn take_taps(&self, taps: Arc<dyn Taps>) {
        let _ = self.reception.taps.set(taps);
    }

    /// `/mqtt` of the HTTP port leads here: what a node that drains tells its clients about this one.
    pub fn takes_websockets_at(&self, http: SocketAddr) {
        self.node.takes_websockets_at(http);
    }

    /// This node's name in the tree.
    pub fn node(&self) -> &str {
        &self.node.name
    }

    /// This node, and all that follow it.
    pub fn cluster(&self) -> NodeReport {
        self.node.report()
    }

    /// The node upstream is there; who follows nobody has none to miss.
    pub fn is_following(&self) -> bool {
        self.node.is_following()
    }

    /// Returns when the node was ordered to let go of its clients, and has.
    pub async fn drained(&self) {
        self.node.drained.cancelled().await;
    }

    /// The public MQTT port.
    pub fn addr(&self) -> SocketAddr {
        self.edge.addr()
    }

    pub fn edge(&self) -> &Arc<Edge> {
        &self.edge
    }

    pub fn status(&self) -> MqttStatus {
        let edge = self.edge.stats();
        MqttStatus {
            connected_clients: edge.clients,
            messages_published: self.counters.published.load(Ordering::Relaxed),
            lag: self.counters.lag.load(Ordering::Relaxed),
            edge,
        }
    }

    fn deliveries(
        &self,
        config: &MqttConfig,
        client: &Arc<dyn LogClient>,
        publisher: Arc<dyn Publisher>,
    ) -> Vec<Delivery> {
        let settings = Settings {
            node: self.node.name.clone(),
            commit_delay: Duration::from_millis(config.commit_delay_ms),
            restart_grace: Duration::from_millis(config.restart_grace_ms),
            max_channel_bytes: config.limits.max_channel_bytes,
            max_channels: config.limits.max_channels,
            restored_rows: config.restored_rows,
            max_decompressed_bytes: config.limits.max_decompressed_bytes,
        };
        let delivery = |stream: &crate::StreamConfig| Delivery {
            stream: stream.clone(),
            client: client.clone(),
            publisher: publisher.clone(),
            counters: self.counters.clone(),
            settings: settings.clone(),
            shutdown: self.delivering.clone(),
        };
        config.streams.iter().map(delivery).collect()
    }

    /// Delivery first (its last commit needs the log), then clients and hub. Returns when all tasks have ended.
    pub async fn shutdown(&self) {
        self.delivering.cancel();
        self.delivery_tasks.close();
        self.delivery_tasks.wait().await;
        self.edge.shutdown().await;
        self.serving.cancel();
        self.serving_tasks.close();
        self.serving_tasks.wait().await;
    }
}

async fn stop_edge(edge: Arc<Edge>, serving: CancellationToken) {
    serving.cancelled().await;
    edge.stop();
}

impl Drop for MqttGateway {
    fn drop(&mut self) {
        self.delivering.cancel();
        self.serving.cancel();
    }
}

/// The edge as the node sees it.
#[derive(Debug)]
struct EdgeHost(Arc<Edge>);

impl Host for EdgeHost {
    fn load(&self) -> Load {
        let EdgeStats { clients: connections, queued_bytes, sent, dropped, cpu_ms, .. } = self.0.stats();
        Load { connections, queued_bytes, sent, dropped, cpu_ms }
    }

    fn drain(&self, address: Option<&str>) {
        self.0.drain(address);
    }
}

/// The main node is always the same one; of the others each start is another, unless it is named.
fn node_name(config: &MqttConfig) -> String {
    if !config.node.is_empty() {
        return config.node.clone();
    }
    let random = uuid::Uuid::new_v4().simple().to_string();
    let short = random.get(..8).unwrap_or_default();
    match config.role {
        MqttRole::Main => MAIN_NODE.to_owned(),
        MqttRole::Publish => format!("publish-{short}"),
        MqttRole::Subscribe => format!("subscribe-{short}"),
        MqttRole::Bridge => format!("bridge-{short}"),
    }
}
