//! A node of the tree: what it does beside serving its clients.
//!
//! Every node knows who follows it (reports come in through [`Node::hear`]) and shows it. All but the main node follow one
//! upstream: its messages come by the [`crate::bridge`] to this process's publisher, or to a broker elsewhere. The gateway lends
//! it a [`Host`], what serves the clients here.

use crate::{
    MqttConfig, MqttError,
    bridge::{self, Account, Elsewhere, Lane, Report, Uplink},
    cluster::{Fleet, NodeReport, Order, Policy, Registry, Scaling, Sealed, report_topic},
    config::Autoscale,
    edge::Edge,
    hub::Publisher,
    message::{Message, Origin},
};
use parking_lot::Mutex;
use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Orders that wait; they come one in minutes.
const MAX_ORDERS: usize = 8;
/// Between two looks at who is silent and how the node fares.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A drained node that still has clients after this ends nevertheless.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// What serves the clients of this process.
pub trait Host: Send + Sync + std::fmt::Debug + 'static {
    fn load(&self) -> Load;

    /// Lets all clients go; those that can be told are told the address.
    fn drain(&self, address: Option<&str>);
}

/// A host's numbers at this moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    pub connections: usize,
    pub queued_bytes: usize,
    pub sent: u64,
    pub dropped: u64,
    /// Processor time since the start.
    pub cpu_ms: u64,
}

#[derive(Debug)]
pub struct Node {
    pub name: String,
    config: MqttConfig,
    address: SocketAddr,
    /// Where WebSockets are taken: a port of the edge, or one of HTTP that is told later.
    websocket: OnceLock<SocketAddr>,
    host: Arc<dyn Host>,
    registry: Arc<Mutex<Registry>>,
    connected: Arc<AtomicBool>,
    draining: AtomicBool,
    cores: Mutex<Cores>,
    /// Cancelled when the node has let go of its clients.
    pub drained: CancellationToken,
}

/// Processor time as cores: between the last two looks.
#[derive(Debug)]
struct Cores {
    at: Instant,
    cpu_ms: u64,
    used: f64,
}

impl Node {
    pub fn new(name: String, config: &MqttConfig, edge: &Edge, host: Arc<dyn Host>) -> Arc<Self> {
        Arc::new(Self {
            name,
            config: config.clone(),
            address: edge.addr(),
            websocket: edge.websocket_addr().map(OnceLock::from).unwrap_or_default(),
            registry: Arc::new(Mutex::new(Registry::new(&config.cluster_key))),
            connected: Arc::new(AtomicBool::new(config.upstream.is_none())),
            draining: AtomicBool::new(false),
            cores: Mutex::new(Cores { at: Instant::now(), cpu_ms: host.load().cpu_ms, used: 0.0 }),
            drained: CancellationToken::new(),
            host,
        })
    }

    /// Follows the node upstream, if the role has one, and looks after those that follow.
    pub fn start(
        self: &Arc<Self>,
        publisher: Arc<dyn Publisher>,
        fleet: Option<Arc<dyn Fleet>>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<(), MqttError> {
        tasks.spawn(self.clone().look(shutdown.clone()));
        if let (Some(Autoscale { min, max }), Some(fleet)) = (self.config.autoscale()?, fleet) {
            let policy = Policy { min, max, cores_per_node: 1, hold: Duration::from_millis(self.config.scale_hold_ms) };
            let (registry, publisher) = (self.registry.clone(), publisher.clone());
            let (upstream, cluster) = (self.address.to_string(), self.config.cluster.clone());
            let scaling = Scaling { policy, fleet, registry, publisher, upstream, cluster };
            tasks.spawn(scaling.run(shutdown.clone()));
        }
        let Some(upstream) = &self.config.upstream else { return Ok(()) };
        let publisher = match &self.config.downstream {
            Some(address) => {
                let account = account("downstream", address, format!("{}-down", self.name))?;
                let (elsewhere, keep) =
                    Elsewhere::new(account, self.config.limits.max_retained_topics, shutdown.clone());
                tasks.spawn(keep);
                elsewhere
            }
            None => publisher,
        };
        self.follow(upstream, publisher, tasks, shutdown)
    }

    fn follow(
        self: &Arc<Self>,
        upstream: &str,
        publisher: Arc<dyn Publisher>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<(), MqttError> {
        let mut account = account("upstream", upstream, format!("tifo-{}", self.name))?;
        account.will = Some(Message { payload: Default::default(), ..self.report_message() });
        let lane = Arc::new(Lane::new(self.config.limits.max_retained_topics));
        let (orders, ordered) = mpsc::channel(MAX_ORDERS);
        let node = self.clone();
        let report: Arc<Report> = Arc::new(move || node.report_message());
        let uplink = Uplink {
            node: self.name.clone(),
            account,
            filters: self.config.bridge_filters.clone(),
            lane: lane.clone(),
            report,
            orders,
            connected: self.connected.clone(),
            max_topics: self.config.limits.max_retained_topics,
            shutdown: shutdown.clone(),
        };
        tasks.spawn(uplink.run());
        tasks.spawn(bridge::forward(lane, publisher, shutdown.clone()));
        tasks.spawn(self.clone().obey(ordered, shutdown.clone()));
        Ok(())
    }

    /// A message on a topic of nodes; `false`: it is none of theirs.
    pub fn hear(&self, topic: &str, payload: &[u8]) -> bool {
        self.registry.lock().hear(topic, payload, Instant::now())
    }

    pub fn is_following(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Itself and all that follow it.
    pub fn report(&self) -> NodeReport {
        let load = self.host.load();
        NodeReport {
            node: self.name.clone(),
            role: self.config.role,
            cluster: self.config.cluster.clone(),
            address: self.config.advertise.clone().unwrap_or_else(|| self.address.to_string()),
            websocket: self.websocket(),
            connections: load.connections,
            max_connections: self.config.limits.max_connections,
            cpu: self.cores.lock().used,
            queued_bytes: load.queued_bytes,
            sent: load.sent,
            dropped: load.dropped,
            draining: self.draining.load(Ordering::Relaxed),
            connected: self.is_following(),
            nodes: self.registry.lock().nodes(),
        }
    }

    /// `/mqtt` of an HTTP port leads here too; a port of the edge's own goes before it.
    pub fn takes_websockets_at(&self, address: SocketAddr) {
        let _ = self.websocket.set(address);
    }

    fn websocket(&self) -> Option<String> {
        let own = || self.websocket.get().map(|address| format!("ws://{address}/mqtt"));
        self.config.advertise_websocket.clone().or_else(own)
    }

    fn report_message(&self) -> Message {
        let sealed = Sealed { key: self.config.cluster_key.clone(), report: self.report() };
        // Numbers and texts only: serialising does not fail.
        let payload = serde_json::to_vec(&sealed).unwrap_or_default();
        Message {
            topic: report_topic(&self.name).into(),
            payload: payload.into(),
            retain: false,
            origin: Origin::default(),
        }
    }

    async fn look(self: Arc<Self>, shutdown: CancellationToken) {
        let mut due = tokio::time::interval(LOOK_INTERVAL);
        while shutdown.run_until_cancelled(due.tick()).await.is_some() {
            self.registry.lock().expire(Instant::now());
            let load = self.host.load();
            let used = self.cores.lock().see(load.cpu_ms, Instant::now());
            metrics::gauge!("tifo_mqtt_node_cores").set(used);
            metrics::gauge!("tifo_mqtt_node_connections").set(load.connections as f64);
            metrics::gauge!("tifo_mqtt_node_queued_bytes").set(load.queued_bytes as f64);
            metrics::gauge!("tifo_mqtt_nodes").set(self.report().count() as f64);
        }
    }

    async fn obey(self: Arc<Self>, mut orders: mpsc::Receiver<Order>, shutdown: CancellationToken) {
        while let Some(Some(order)) = shutdown.run_until_cancelled(orders.recv()).await {
            let Order::Drain(address) = order;
            if !self.draining.swap(true, Ordering::Relaxed) {
                tracing::info!(node = self.name, ?address, "draining: the clients are told to go");
                self.host.drain(address.as_deref());
                tokio::spawn(self.clone().leave_when_empty(shutdown.clone()));
            }
        }
    }

    async fn leave_when_empty(self: Arc<Self>, shutdown: CancellationToken) {
        let empty = async {
            let mut due = tokio::time::interval(LOOK_INTERVAL);
            // The first tick is at once, before anybody was told.
            due.tick().await;
            loop {
                due.tick().await;
                if self.host.load().connections == 0 {
                    return;
                }
            }
        };
        let _ = shutdown.run_until_cancelled(tokio::time::timeout(DRAIN_TIMEOUT, empty)).await;
        tracing::info!(node = self.name, "drained");
        self.drained.cancel();
    }
}

impl Cores {
    fn see(&mut self, cpu_ms: u64, now: Instant) -> f64 {
        let elapsed_ms = now.saturating_duration_since(self.at).as_secs_f64() * 1_000.0;
        if elapsed_ms > 0.0 {
            self.used = cpu_ms.saturating_sub(self.cpu_ms) as f64 / elapsed_ms;
        }
        (self.at, self.cpu_ms) = (now, cpu_ms);
        self.used
    }
}

fn account(setting: &str, address: &str, client_id: String) -> Result<Account, MqttError> {
    Account::parse(address, client_id)
        .ok_or_else(|| MqttError::Config(format!("mqtt.{setting}: {address:?} is not HOST:PORT or mqtt://HOST:PORT")))
}
