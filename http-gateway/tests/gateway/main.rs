//! The gateway over real sockets, on a log in memory.
#![allow(clippy::unwrap_used)]

mod aggregates;
mod groups;
mod idempotence;
mod ingest;
mod log;
mod overload;
mod sockets;
mod surface;
mod websocket;

use log::TestLog;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use tifo_http_gateway::{Hooks, HttpConfig, HttpGateway, MqttEdge, StreamIngest};

pub const JSON: &str = "application/json";
pub const NDJSON: &str = "application/x-ndjson";

/// A running gateway, its log, and a client.
pub struct Rig {
    pub gateway: HttpGateway,
    pub log: Arc<TestLog>,
    pub client: Client,
    pub base: String,
}

/// Short times; the emoji stream.
pub fn config() -> HttpConfig {
    HttpConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        flush_interval_ms: 5,
        shutdown_timeout_ms: 2000,
        streams: vec![StreamIngest { partitions: 6, ..StreamIngest::emoji() }],
        ..HttpConfig::default()
    }
}

pub async fn rig() -> Rig {
    rig_with(config(), None, Hooks::default()).await
}

pub async fn rig_with(config: HttpConfig, edge: Option<Arc<dyn MqttEdge>>, hooks: Hooks) -> Rig {
    let log = Arc::new(TestLog::default());
    let gateway = HttpGateway::start(config, log.clone(), edge, hooks).await.unwrap();
    let base = format!("http://{}", gateway.addr());
    Rig { gateway, log, client: Client::builder().no_proxy().build().unwrap(), base }
}

impl Rig {
    pub async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    pub async fn post(&self, query: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Response {
        let url = format!("{}/v1/streams/emoji/events{query}", self.base);
        self.client.post(url).header("content-type", content_type).body(body).send().await.unwrap()
    }

    /// Waits until the topics are there.
    pub async fn ready(&self) {
        while self.get("/readyz").await.status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    }
}

pub fn event(user: &str) -> String {
    format!(
        r#"{{"emoji_id":"e","user_id":"{user}","timestamp":1503806734200,"channel_id":"c","metadata":{{"reaction":"🥊"}}}}"#
    )
}

/// Checks that it is a problem of RFC 9457 and returns it.
pub async fn problem(response: Response, status: u16) -> Value {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    assert!(problem["type"].as_str().unwrap().starts_with("urn:tifo:problem:"));
    assert!(!problem["title"].as_str().unwrap().is_empty() && !problem["detail"].as_str().unwrap().is_empty());
    problem
}
