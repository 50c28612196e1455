//! What people, probes and pages look at: health, readiness, metrics, streams, status; and producer ids.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use std::sync::{Arc, atomic::Ordering};
use tifo_broker::ClientError;

use crate::{gateway::Shared, problem::Problem, stream::Stream};

/// The process lives.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Every part answers, and every raw topic is there.
pub async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let mut missing = (shared.hooks.not_ready)();
    let waiting = shared.ingest.streams.values().filter(|stream| !stream.is_ready());
    missing.extend(waiting.map(|stream| format!("topic {} of stream {}", stream.ingest.topic, stream.ingest.name)));
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    let detail = format!("not ready: {}", missing.join(", "));
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail)
        .with("not_ready", missing)
        .retry_after(1)
        .into_response()
}

pub async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (shared.hooks.metrics)()).into_response()
}

/// What there is to send to.
pub async fn streams(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let streams: Vec<Value> = shared.ingest.streams.values().map(|stream| describe(stream)).collect();
    Json(json!({ "streams": streams }))
}

fn describe(stream: &Stream) -> Value {
    let ingest = &stream.ingest;
    let mut described = json!({
        "name": ingest.name,
        "topic": ingest.topic,
        "partitions": stream.partitions(),
        "required": ingest.required,
        "timestamp": ingest.timestamp,
        "key": ingest.key,
    });
    if let Some(poll) = &ingest.poll {
        described["poll"] = poll.describe();
    }
    described
}

/// This node of the fan-out, and all that follow it.
pub async fn mqtt_cluster(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Problem> {
    let none = || Problem::new(StatusCode::NOT_FOUND, "no-mqtt", "no MQTT node runs in this process");
    shared.hooks.mqtt_cluster.as_ref().map(|cluster| Json(cluster())).ok_or_else(none)
}

/// The state of all parts: the binary's members, `http` with this gateway's own, and what a small panel shows.
pub async fn status(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let mut members = match (shared.hooks.status)() {
        Value::Object(members) => members,
        other => Map::from_iter([("status".to_owned(), other)]),
    };
    let streams: Map<String, Value> =
        shared.ingest.streams.iter().map(|(name, stream)| (name.clone(), stream_status(stream))).collect();
    let events_per_second = json!(shared.rate.per_second());
    let own = json!({
        "accepted_total": shared.accepted(),
        "events_per_second": events_per_second,
        "streams": streams,
    });
    members.insert("http".to_owned(), own);
    members.insert("events_per_second".to_owned(), events_per_second);
    members.insert("now_ms".to_owned(), json!(shared.ingest.clock.now_ms()));
    Json(Value::Object(members))
}

fn stream_status(stream: &Stream) -> Value {
    let (fill, limits) = (stream.buffer.fill(), stream.buffer.limits());
    json!({
        "accepted_total": stream.accepted.load(Ordering::Relaxed),
        "buffer": {
            "events": fill.events,
            "bytes": fill.bytes,
            "max_events": limits.events,
            "max_bytes": limits.bytes,
        },
    })
}

/// `POST /v1/producers`: a numbering for a client that wants to repeat requests safely.
pub async fn new_producer(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    match shared.client.init_producer_id().await {
        Ok((producer_id, epoch)) => {
            Ok((StatusCode::CREATED, Json(json!({ "producer_id": producer_id, "epoch": epoch }))).into_response())
        }
        Err(ClientError::Unavailable(reason)) => {
            let detail = format!("the log does not answer: {reason}");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "log-unavailable", detail).retry_after(1))
        }
        Err(refused) => Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "no-producers", refused.to_string())),
    }
}
