//! Keeps a cluster as large as its crowd needs, with processes on this machine.
//!
//! Looks at the registry once a second, asks [`super::decide`], and has a [`Fleet`] start what is missing. A node that is to go
//! is ordered to let go of its clients, and leaves by itself when they are gone.

use super::{
    decide::{Decision, Policy, Scaler},
    registry::Registry,
    report::{NodeReport, Order, orders_topic},
};
use crate::{
    config::MqttRole,
    hub::Publisher,
    message::{Message, Origin},
};
use parking_lot::Mutex;
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Starts subscribe nodes on this machine; the binary knows how.
pub trait Fleet: Send + Sync + std::fmt::Debug + 'static {
    /// One more that follows the node at `upstream`.
    fn start(&self, upstream: &str, cluster: &str) -> io::Result<()>;

    /// Sees who has ended.
    fn reap(&self);

    /// Ends all of them.
    fn stop(&self);
}

#[derive(Debug)]
pub struct Scaling {
    pub policy: Policy,
    pub fleet: Arc<dyn Fleet>,
    pub registry: Arc<Mutex<Registry>>,
    pub publisher: Arc<dyn Publisher>,
    pub upstream: String,
    pub cluster: String,
}

impl Scaling {
    /// Runs until shutdown, then ends the fleet.
    pub async fn run(self, shutdown: CancellationToken) {
        let (mut scaler, mut due) = (Scaler::default(), tokio::time::interval(LOOK_INTERVAL));
        while shutdown.run_until_cancelled(due.tick()).await.is_some() {
            self.fleet.reap();
            let nodes = self.subscribe_nodes();
            match scaler.decide(&nodes, &self.policy, Instant::now()) {
                Decision::Stay => {}
                Decision::Add(count) => self.add(count),
                Decision::Drain(node) => self.drain(&node, &nodes).await,
            }
        }
        let fleet = self.fleet.clone();
        // It waits for its processes.
        let _ = tokio::task::spawn_blocking(move || fleet.stop()).await;
    }

    fn subscribe_nodes(&self) -> Vec<NodeReport> {
        let nodes = self.registry.lock().nodes();
        nodes.into_iter().filter(|node| node.role == MqttRole::Subscribe).collect()
    }

    fn add(&self, count: usize) {
        tracing::info!(cluster = self.cluster, count, "the crowd grows: starting subscribe nodes");
        for _ in 0..count {
            match self.fleet.start(&self.upstream, &self.cluster) {
                Ok(()) => metrics::counter!("tifo_mqtt_nodes_started_total").increment(1),
                Err(error) => tracing::error!(%error, "a subscribe node does not start"),
            }
        }
    }

    async fn drain(&self, node: &str, nodes: &[NodeReport]) {
        let rest = nodes.iter().filter(|other| other.node != node && !other.draining);
        let address = rest.min_by_key(|other| other.connections).and_then(NodeReport::reference);
        tracing::info!(cluster = self.cluster, node, ?address, "the crowd shrinks: draining a subscribe node");
        metrics::counter!("tifo_mqtt_nodes_drained_total").increment(1);
        if let Err(error) = self.publisher.publish(&[order(node, &Order::Drain(address))]).await {
            tracing::warn!(%error, node, "the order to drain was not taken");
        }
    }
}

/// Not retained: a node that comes later must not obey it.
fn order(node: &str, order: &Order) -> Message {
    let payload = serde_json::to_vec(order).unwrap_or_default();
    Message { topic: orders_topic(node).into(), payload: payload.into(), retain: false, origin: Origin::default() }
}
