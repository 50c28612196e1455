//! Starting the gateway, what its parts share, and stopping it without losing what was accepted.

use axum::Router;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tifo_broker::{LogClient, clock::Clock};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    aggregates::Aggregates, batcher::Batcher, body::Receiving, config::HttpConfig, connection::Server,
    error::HttpError, ingest::Ingest, rate::Rate, routes, stream::Stream, websocket::MqttEdge,
};

/// How often the rates are taken.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// What the binary knows and the gateway shows.
#[derive(Clone)]
pub struct Hooks {
    /// The parts of the process that do not answer yet; empty: all do.
    pub not_ready: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// All metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// A JSON object with the state of the other parts.
    pub status: Arc<dyn Fn() -> Value + Send + Sync>,
    /// None if no aggregator runs here.
    pub aggregates: Option<Arc<dyn Aggregates>>,
    /// The tree of MQTT nodes as a JSON object; none if no MQTT runs here.
    pub mqtt_cluster: Option<Arc<dyn Fn() -> Value + Send + Sync>>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            not_ready: Arc::new(Vec::new),
            metrics: Arc::new(String::new),
            status: Arc::new(|| Value::Object(serde_json::Map::new())),
            aggregates: None,
            mqtt_cluster: None,
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Hooks")
    }
}

/// What requests need.
pub struct Shared {
    pub config: HttpConfig,
    pub ingest: Ingest,
    pub client: Arc<dyn LogClient>,
    pub mqtt_edge: Option<Arc<dyn MqttEdge>>,
    pub hooks: Hooks,
    pub receiving: Receiving,
    pub rate: Rate,
    pub stop: CancellationToken,
    /// WebSockets on their way to MQTT.
    pub handovers: TaskTracker,
}

impl Shared {
    pub fn accepted(&self) -> u64 {
        self.ingest.streams.values().map(|stream| stream.accepted.load(Ordering::Relaxed)).sum()
    }
}

/// The running gateway. Dropping it stops nothing; [`HttpGateway::shutdown`] does.
pub struct HttpGateway {
    addr: SocketAddr,
    shared: Arc<Shared>,
    connections: TaskTracker,
    batchers: JoinSet<u64>,
    abandon: CancellationToken,
}

impl fmt::Debug for HttpGateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HttpGateway").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl HttpGateway {
    /// Listens and takes events; the raw topics are made as soon as the log answers (see `/readyz`). `mqtt_edge`: None
    /// if no MQTT runs here.
    pub async fn start(
        config: HttpConfig,
        client: Arc<dyn LogClient>,
        mqtt_edge: Option<Arc<dyn MqttEdge>>,
        hooks: Hooks,
    ) -> Result<Self, HttpError> {
        config.check()?;
        let streams = streams(&config)?;
        let listen = |source| HttpError::Listen { addr: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let abandon = CancellationToken::new();
        let mut batchers = JoinSet::new();
        for stream in streams.values() {
            let (stream, client, abandon) = (stream.clone(), client.clone(), abandon.clone());
            batchers.spawn(Batcher { stream, client, abandon }.run());
        }
        let shared = Arc::new(Shared {
            receiving: Receiving::new(config.max_receiving_bytes),
            ingest: Ingest { streams: Arc::new(streams), clock: Clock::system(), patience: config.request_timeout() },
            config,
            client,
            mqtt_edge,
            hooks,
            rate: Rate::default(),
            stop: CancellationToken::new(),
            handovers: TaskTracker::new(),
        });
        tokio::spawn(sample(shared.clone()));
        let connections = serve(routes::router(shared.clone()), &shared, listener);
        tracing::info!(%addr, "HTTP gateway answers");
        Ok(Self { addr, shared, connections, batchers, abandon })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The streams, for events that come otherwise than over HTTP; refuses them once the gateway stops.
    pub fn ingest(&self) -> Ingest {
        self.shared.ingest.clone()
    }

    /// Events accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted()
    }

    /// Accepts nothing more, answers what is in progress, brings everything that was answered 202 into the log.
    pub async fn shutdown(mut self) -> Result<(), HttpError> {
        let patience = self.shared.config.shutdown_timeout();
        self.shared.stop.cancel();
        self.connections.close();
        self.shared.handovers.close();
        // Requests in progress may wait for the batchers, so these go on meanwhile.
        let in_progress = async {
            self.connections.wait().await;
            self.shared.handovers.wait().await;
        };
        if tokio::time::timeout(patience, in_progress).await.is_err() {
            tracing::warn!("some HTTP connections did not end in time");
        }
        self.shared.ingest.streams.values().for_each(|stream| stream.buffer.close());
        let abandon = self.abandon.clone();
        let clock = tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            abandon.cancel();
        });
        let mut lost = 0;
        while let Some(ended) = self.batchers.join_next().await {
            lost += ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
        clock.abort();
        if lost == 0 { Ok(()) } else { Err(HttpError::Lost(lost)) }
    }
}

fn streams(config: &HttpConfig) -> Result<BTreeMap<String, Arc<Stream>>, HttpError> {
    let mut streams = BTreeMap::new();
    for ingest in &config.streams {
        let stream = Arc::new(Stream::new(ingest.clone(), config));
        if streams.insert(ingest.name.clone(), stream).is_some() {
            return Err(HttpError::Config(format!("stream `{}` is declared twice", ingest.name)));
        }
    }
    Ok(streams)
}

fn serve(router: Router, shared: &Shared, listener: TcpListener) -> TaskTracker {
    let connections = TaskTracker::new();
    let server = Server {
        router,
        permits: Arc::new(Semaphore::new(shared.config.max_connections)),
        header_timeout: shared.config.header_timeout(),
        stop: shared.stop.clone(),
        connections: connections.clone(),
    };
    connections.spawn(server.run(listener));
    connections
}

async fn sample(shared: Arc<Shared>) {
    let mut due = tokio::time::interval(SAMPLE_INTERVAL);
    while shared.stop.run_until_cancelled(due.tick()).await.is_some() {
        shared.rate.sample(shared.accepted());
    }
}
