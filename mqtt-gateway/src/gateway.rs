//! Wiring: starts hub, edge and delivery, and stops them in the order in which nothing accepted is lost.

use crate::{
    MqttConfig, MqttError,
    delivery::{Counters, Delivery, Settings},
    edge::{Edge, EdgeStats},
    feed::{ClientMessages, Feed},
    hub::{Hub, Publisher},
};
use serde::Serialize;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tifo_broker::LogClient;
use tokio::net::UnixStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A running MQTT gateway.
#[derive(Debug)]
pub struct MqttGateway {
    edge: Arc<Edge>,
    counters: Arc<Counters>,
    /// Stops delivery.
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
    /// Listens and delivers when this returns; stops by itself when `shutdown` is cancelled.
    pub async fn start(
        config: MqttConfig,
        client: Arc<dyn LogClient>,
        shutdown: CancellationToken,
    ) -> Result<Self, MqttError> {
        config.check()?;
        let (delivering, serving) = (shutdown.child_token(), shutdown.child_token());
        let hub = Hub::start(&config.limits)?;
        let edge = Edge::start(&config, Arc::new(ClientMessages::new(hub.clone(), &config.limits)))?;
        let serving_tasks = TaskTracker::new();
        serving_tasks.spawn(hub.clone().keep_alive(serving.clone()));

        serving_tasks.spawn(stop_edge(edge.clone(), serving.clone()));

        let feed = Arc::new(Feed { hub, edge: edge.clone() });
        let counters = Arc::new(Counters::default());
        let delivery_tasks = TaskTracker::new();
        for delivery in deliveries(&config, &client, feed, &counters, &delivering) {
            delivery_tasks.spawn(delivery.run());
        }
        tracing::info!(addr = %edge.addr(), streams = config.streams.len(), "MQTT gateway started");
        Ok(Self { edge, counters, delivering, serving, delivery_tasks, serving_tasks })
    }

    /// The public MQTT port.
    pub fn addr(&self) -> SocketAddr {
        self.edge.addr()
    }

    /// A client's connection without a socket: MQTT's bytes as they would go over TCP. For the HTTP gateway's `/mqtt`.
    pub fn open_tunnel(&self) -> io::Result<UnixStream> {
        UnixStream::from_std(self.edge.open_tunnel()?.into())
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

fn deliveries(
    config: &MqttConfig,
    client: &Arc<dyn LogClient>,
    publisher: Arc<dyn Publisher>,
    counters: &Arc<Counters>,
    shutdown: &CancellationToken,
) -> Vec<Delivery> {
    let settings = Settings {
        commit_delay: Duration::from_millis(config.commit_delay_ms),
        restart_grace: Duration::from_millis(config.restart_grace_ms),
        max_channel_bytes: config.limits.max_channel_bytes,
        max_decompressed_bytes: config.limits.max_decompressed_bytes,
    };
    let delivery = |stream: &crate::StreamConfig| Delivery {
        stream: stream.clone(),
        client: client.clone(),
        publisher: publisher.clone(),
        counters: counters.clone(),
        settings,
        shutdown: shutdown.clone(),
    };
    config.streams.iter().map(delivery).collect()
}
