//! `tifo serve --mqtt-role publish|subscribe|bridge`: a node of the fan-out tree, without a log of its own.

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use std::sync::Arc;
use tifo_http_gateway::{Hooks, HttpConfig, HttpGateway, MqttEdge};
use tifo_mqtt_gateway::{Fleet, MqttGateway};
use tokio_util::sync::CancellationToken;

use crate::{cli::Role, config::Settings, fleet::LocalFleet, no_log::NoLog, serve::WebSockets};

pub struct Node {
    mqtt: Arc<MqttGateway>,
    http: Option<HttpGateway>,
}

impl Node {
    pub async fn start(settings: &Settings, metrics: PrometheusHandle) -> anyhow::Result<Self> {
        let config = settings.mqtt_config();
        let fleet = match config.autoscale()? {
            Some(_) => Some(Arc::new(LocalFleet::new(config.listen_ip().context("mqtt.listen")?)) as Arc<dyn Fleet>),
            None => None,
        };
        let mqtt = Arc::new(MqttGateway::start_node(config, fleet, CancellationToken::new()).await?);
        let mut http = None;
        if settings.roles.contains(&Role::Http) {
            let edge = Arc::new(WebSockets(mqtt.clone())) as Arc<dyn MqttEdge>;
            let config = HttpConfig { streams: Vec::new(), ..settings.http_config() };
            let gateway = HttpGateway::start(config, Arc::new(NoLog), Some(edge), hooks(metrics, &mqtt)).await?;
            mqtt.takes_websockets_at(gateway.addr());
            http = Some(gateway);
        }
        Ok(Self { mqtt, http })
    }

    /// The ready line.
    pub fn ready(&self) -> Value {
        let mut ready = json!({ "event": "ready", "mqtt": self.mqtt.addr().to_string(), "node": self.mqtt.node() });
        if let Some(http) = &self.http {
            ready["http"] = json!(http.addr().to_string());
            ready["mqtt_ws"] = json!(format!("ws://{}/mqtt", http.addr()));
        }
        ready
    }

    /// Returns when the node was drained: it has no clients left and is to leave.
    pub async fn drained(&self) {
        self.mqtt.drained().await;
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        let stopped = match self.http {
            Some(http) => http.shutdown().await,
            None => Ok(()),
        };
        self.mqtt.shutdown().await;
        Ok(stopped?)
    }
}

fn hooks(metrics: PrometheusHandle, mqtt: &Arc<MqttGateway>) -> Hooks {
    let (following, shown, tree) = (mqtt.clone(), mqtt.clone(), mqtt.clone());
    let not_ready = move || if following.is_following() { Vec::new() } else { vec!["the node upstream".to_owned()] };
    let status = move || {
        let mqtt = shown.status();
        json!({ "viewers": mqtt.connected_clients, "mqtt": mqtt })
    };
    Hooks {
        not_ready: Arc::new(not_ready),
        metrics: Arc::new(move || metrics.render()),
        status: Arc::new(status),
        mqtt_cluster: Some(Arc::new(move || json!(tree.cluster()))),
        ..Hooks::default()
    }
}
