//! `tifo serve`: starts the parts in the order of the flow, says when everything answers, and stops them in turn.

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
    time::Duration,
};
use tifo_aggregator::{State, Status};
use tifo_broker::{LogClient, clock::Clock, durability::patience::worker_threads};
use tifo_http_gateway::{Aggregates, Cause, Hooks, HttpGateway, Ingest, MqttEdge, NotTaken};
use tifo_mqtt_gateway::{MqttGateway, Reason, TapRefused, Taps};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    aggregates::{Door, Running},
    cli::{Role, ServeArgs},
    config::{self, Settings},
    log_side::LogSide,
    logging,
    node::Node,
};

/// Upper bounds of the latency histograms, in seconds.
const LATENCY_BUCKETS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// How often the recorder folds what histograms have gathered, so that it does not grow between scrapes.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// The one line on standard output: everything named in it answers.
#[derive(Debug, Serialize)]
struct Ready {
    event: &'static str,
    kafka: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mqtt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mqtt_ws: Option<String>,
    /// Where the log lies, if it is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<String>,
}

/// Everything that runs, in the order of the flow.
struct Parts {
    log: LogSide,
    aggregates: Option<Arc<Running>>,
    mqtt: Option<Arc<MqttGateway>>,
    http: Option<HttpGateway>,
    /// Ends the aggregators and the MQTT gateway, which keep nothing that is not in the log.
    stop_readers: CancellationToken,
}

pub fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let config::Loaded { mut settings, left_alone, .. } = config::load(args)?;
    let log = logging::start(settings.log_format, &settings.log)?;
    for variable in left_alone {
        tracing::info!("the variable {variable} is no setting of the broker and resembles none: left alone");
    }
    // Removed when `run` returns.
    let temporary = args.ephemeral.then(tempfile::tempdir).transpose().context("a folder for temporary data")?;
    if let (Some(dir), None) = (&temporary, &args.data_dir) {
        settings.data_dir = dir.path().to_owned();
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(worker_threads()).enable_all().build().context("the async runtime")?;
    runtime.block_on(serve(&settings, log))
}

async fn serve(settings: &Settings, log: logging::Log) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("the SIGTERM handler")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("the SIGINT handler")?;
    let metrics = install_metrics()?;
    if settings.is_follower() {
        return follow(settings, metrics, &mut terminate, &mut interrupt).await;
    }
    let parts = Parts::start(settings, metrics).await?;
    if let Some(broker) = parts.log.broker() {
        broker.loggers().connect(&log.filter, log.put_in_force);
    }
    say_ready(&parts.ready(&settings.data_dir))?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
    }
    parts.stop().await
}

/// A node of the fan-out tree, until a signal comes or it was drained.
async fn follow(
    settings: &Settings,
    metrics: PrometheusHandle,
    terminate: &mut Signal,
    interrupt: &mut Signal,
) -> anyhow::Result<()> {
    let node = Node::start(settings, metrics).await?;
    say_ready(&node.ready())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        () = node.drained() => tracing::info!("the clients have gone elsewhere: stopping"),
    }
    node.stop().await
}

fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&LATENCY_BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .context("the metrics recorder")?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut due = tokio::time::interval(METRICS_UPKEEP);
        loop {
            due.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

fn say_ready(ready: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, ready)?;
    writeln!(out)?;
    out.flush().context("standard output")
}

impl Parts {
    async fn start(settings: &Settings, metrics: PrometheusHandle) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let stop_readers = CancellationToken::new();
        let log = LogSide::start(settings, clock.clone()).await?;
        let client: Arc<dyn LogClient> = log.client();
        let mut aggregates = None;
        if settings.roles.contains(&Role::Aggregator) {
            let started = Running::start(settings.aggregates()?, &log, clock.clone(), stop_readers.clone()).await;
            aggregates = Some(Arc::new(started.context("the aggregators")?));
        }
        let mut mqtt = None;
        if settings.roles.contains(&Role::Mqtt) {
            let gateway = MqttGateway::start(settings.mqtt_config(), client.clone(), stop_readers.clone()).await?;
            mqtt = Some(Arc::new(gateway));
        }
        let mut http = None;
        if settings.roles.contains(&Role::Http) {
            let edge = mqtt.clone().map(|gateway| Arc::new(WebSockets(gateway)) as Arc<dyn MqttEdge>);
            let hooks = hooks(metrics, aggregates.clone(), mqtt.clone(), clock);
            let gateway = HttpGateway::start(settings.http_config(), client, edge, hooks).await?;
            if let Some(mqtt) = &mqtt {
                mqtt.take_taps(Arc::new(IntoStreams(gateway.ingest())));
                mqtt.takes_websockets_at(gateway.addr());
            }
            http = Some(gateway);
        }
        Ok(Self { log, aggregates, mqtt, http, stop_readers })
    }

    fn ready(&self, data_dir: &Path) -> Ready {
        let http = self.http.as_ref().map(|http| http.addr().to_string());
        let mqtt_ws = http.as_ref().filter(|_| self.mqtt.is_some()).map(|http| format!("ws://{http}/mqtt"));
        Ready {
            event: "ready",
            kafka: self.log.kafka_addr(),
            http,
            mqtt: self.mqtt.as_ref().map(|mqtt| mqtt.addr().to_string()),
            mqtt_ws,
            data_dir: self.log.broker().map(|_| data_dir.display().to_string()),
        }
    }

    /// From the crowd inwards, so that nothing accepted is left behind: first no more taps and all answered ones in
    /// the log, then the readers, last the log itself.
    async fn stop(self) -> anyhow::Result<()> {
        // An error here must not keep the log from being closed.
        let flushed = match self.http {
            Some(http) => http.shutdown().await,
            None => Ok(()),
        };
        self.stop_readers.cancel();
        if let Some(aggregates) = self.aggregates {
            aggregates.join().await;
        }
        if let Some(mqtt) = self.mqtt {
            mqtt.shutdown().await;
        }
        self.log.shutdown().await;
        Ok(flushed?)
    }
}

/// `/mqtt` of the HTTP gateway leads to the MQTT gateway.
pub struct WebSockets(pub Arc<MqttGateway>);

impl MqttEdge for WebSockets {
    fn has_room(&self) -> bool {
        self.0.edge().has_room()
    }

    fn adopt(&self, socket: OwnedFd, read: Vec<u8>) -> io::Result<()> {
        self.0.edge().adopt(socket, read)
    }
}

/// `taps/{stream}` of the MQTT gateway leads into the streams.
#[derive(Debug)]
struct IntoStreams(Ingest);

#[async_trait]
impl Taps for IntoStreams {
    async fn take(&self, stream: &str, events: Bytes, committed: bool) -> Result<(), TapRefused> {
        self.0.take(stream, events, committed).await.map_err(|NotTaken { cause, why }| {
            let reason = match cause {
                Cause::UnknownStream => Reason::TOPIC_INVALID,
                Cause::BadEvent => Reason::PAYLOAD_FORMAT_INVALID,
                Cause::Limit => Reason::QUOTA_EXCEEDED,
                Cause::Log => Reason::IMPLEMENTATION,
            };
            TapRefused { reason, why }
        })
    }
}

/// What the HTTP gateway shows of the others.
fn hooks(
    metrics: PrometheusHandle,
    aggregates: Option<Arc<Running>>,
    mqtt: Option<Arc<MqttGateway>>,
    clock: Clock,
) -> Hooks {
    let statuses = {
        let aggregates = aggregates.clone();
        move || aggregates.as_ref().map(|aggregates| aggregates.statuses()).unwrap_or_default()
    };
    let watched = statuses.clone();
    let not_ready = move || {
        let failed = watched().into_iter().filter(|status| status.state == State::Failed);
        failed.map(|status| format!("aggregator {}", status.name)).collect()
    };
    let tree = mqtt.clone().map(|mqtt| {
        let tree: Arc<dyn Fn() -> Value + Send + Sync> = Arc::new(move || json!(mqtt.cluster()));
        tree
    });
    let status = move || {
        let aggregates = statuses();
        let mqtt = mqtt.as_ref().map(|gateway| gateway.status());
        json!({
            "window_lag_ms": window_lag_ms(&aggregates, clock.now_ms()),
            "viewers": mqtt.as_ref().map_or(0, |mqtt| mqtt.connected_clients),
            "aggregates": aggregates,
            "mqtt": mqtt,
        })
    };
    let door = aggregates.map(|aggregates| Arc::new(Door(aggregates)) as Arc<dyn Aggregates>);
    let (not_ready, status) = (Arc::new(not_ready), Arc::new(status));
    Hooks { not_ready, metrics: Arc::new(move || metrics.render()), status, aggregates: door, mqtt_cluster: tree }
}

/// How far the published windows are behind the clock; none when nothing has been published or the event time is not
/// of today (a replay of an old match).
fn window_lag_ms(aggregates: &[Status], now_ms: i64) -> Option<i64> {
    const TODAY_MS: i64 = 24 * 60 * 60 * 1000;
    let newest = aggregates.iter().filter_map(|status| status.closed_until).max()?;
    Some(now_ms - newest).filter(|lag| (0..TODAY_MS).contains(lag))
}
