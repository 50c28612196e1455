//! `POST /v1/streams/{stream}/events`: from a request to the stream's buffer, and back with the log's answer. [`Ingest`] is the
//! same way for events that come otherwise.

use axum::{
    Json,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use metrics::counter;
use serde::Serialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tifo_broker::clock::Clock;
use tokio::sync::oneshot;

use crate::{
    buffer::{Entry, NotStored, Placed, Refusal, Waiter},
    connection::BodyWatch,
    event::{EventError, Events, Format},
    gateway::Shared,
    plan::MAX_IDEMPOTENT_BYTES,
    problem::Problem,
    producer::Producer,
    stream::Stream,
};

const BUFFER_FULL: &str = "buffer-full";

/// What the log says of committed events.
type Answer = oneshot::Receiver<Result<Vec<Placed>, NotStored>>;

/// When the answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ack {
    Buffered,
    Committed,
}

/// Where an event lies in the log.
#[derive(Debug, Serialize)]
struct Stored<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
}

/// Typed, as a tree of `serde_json::Value` costs a dozen allocations an event.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum CommittedAnswer<'a> {
    One(Stored<'a>),
    Many { results: Vec<Stored<'a>> },
}

/// The streams for events that come by another protocol: the same checks, buffers and log.
#[derive(Debug, Clone)]
pub struct Ingest {
    pub(crate) streams: Arc<BTreeMap<String, Arc<Stream>>>,
    pub(crate) clock: Clock,
    /// How long the log may take to answer.
    pub(crate) patience: Duration,
}

/// Why events were not taken, in words as HTTP says them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    pub cause: Cause,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    UnknownStream,
    /// The sender's fault: as it is, it will never be taken.
    BadEvent,
    /// More than an event may have, or than is kept at the moment.
    Limit,
    /// The log did not take it, or has not answered, or the gateway is stopping.
    Log,
}

impl Ingest {
    /// Takes one JSON event, or an array of them. `committed`: returns when the log has them; else when they are buffered.
    pub async fn take(&self, stream: &str, body: Bytes, committed: bool) -> Result<(), NotTaken> {
        self.try_take(stream, body, committed).await.map_err(|problem| NotTaken::new(&problem))
    }

    async fn try_take(&self, stream: &str, body: Bytes, committed: bool) -> Result<(), Problem> {
        let stream = self.stream(stream)?;
        let events = stream.schema.read(Format::Json, &body).map_err(bad_event)?;
        if !committed {
            return self.buffer(stream, body, events).map(drop);
        }
        let (caller, answer) = oneshot::channel();
        push(stream, self.entry(body, events, Waiter::Committed(caller), None))?;
        self.committed(stream, answer).await.map(drop)
    }

    fn stream(&self, wanted: &str) -> Result<&Arc<Stream>, Problem> {
        self.streams.get(wanted).ok_or_else(|| {
            let names: Vec<&str> = self.streams.keys().map(String::as_str).collect();
            let detail = format!("there is no stream `{wanted}`; there are: {}", names.join(", "));
            Problem::new(StatusCode::NOT_FOUND, "unknown-stream", detail).with("streams", names)
        })
    }

    fn entry(&self, body: Bytes, events: Events, waiter: Waiter, producer: Option<Producer>) -> Entry {
        let received_ms = self.clock.now_ms();
        Entry { body, keys: events.keys, events: events.spans, received_ms, waiter, producer }
    }

    /// The number of events.
    fn buffer(&self, stream: &Stream, body: Bytes, events: Events) -> Result<usize, Problem> {
        let accepted = events.spans.len();
        push(stream, self.entry(body, events, Waiter::Nobody, None))?;
        count(stream, "buffered", accepted);
        Ok(accepted)
    }

    /// Where the events lie.
    async fn committed(&self, stream: &Stream, answer: Answer) -> Result<Vec<Placed>, Problem> {
        let placed = match tokio::time::timeout(self.patience, answer).await {
            Ok(Ok(Ok(placed))) => placed,
            Ok(Ok(Err(NotStored(reason)))) => return Err(refused(&reason)),
            Ok(Err(_)) => return Err(stopping()),
            Err(_) => return Err(no_answer(self.patience, stream)),
        };
        count(stream, "committed", placed.len());
        Ok(placed)
    }
}

impl NotTaken {
    fn new(problem: &Problem) -> Self {
        let cause = match problem.status() {
            StatusCode::NOT_FOUND => Cause::UnknownStream,
            StatusCode::BAD_REQUEST => Cause::BadEvent,
            StatusCode::PAYLOAD_TOO_LARGE => Cause::Limit,
            _ if problem.kind() == BUFFER_FULL => Cause::Limit,
            _ => Cause::Log,
        };
        Self { cause, why: problem.detail().to_owned() }
    }
}

pub async fn post_events(
    State(shared): State<Arc<Shared>>,
    Path(stream): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let answered = accept(&shared, &stream, request).await;
    if let Err(problem) = &answered {
        counter!("tifo_http_requests_rejected_total", "reason" => problem.kind()).increment(1);
    }
    answered
}

async fn accept(shared: &Shared, stream: &str, request: Request) -> Result<Response, Problem> {
    let stream = shared.ingest.stream(stream)?;
    let ack = ack(request.uri().query().unwrap_or_default())?;
    let format = format(request.headers())?;
    let producer = Producer::from_headers(request.headers())?;
    if producer.is_some() && ack == Ack::Buffered {
        let detail = "a numbered request needs ack=committed: 202 could not tell where its events went";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-header", detail).with("field", "ack"));
    }
    let body = receive(shared, request).await?;
    let events = stream.schema.read(format, &body).map_err(bad_event)?;
    match ack {
        Ack::Buffered => {
            let accepted = shared.ingest.buffer(stream, body, events)?;
            Ok((StatusCode::ACCEPTED, Json(json!({ "accepted": accepted }))).into_response())
        }
        Ack::Committed => committed(shared, stream, format, body, events, producer).await,
    }
}

async fn receive(shared: &Shared, request: Request) -> Result<Bytes, Problem> {
    let (parts, body): (_, Body) = request.into_parts();
    let config = &shared.config;
    let body = shared.receiving.read(&parts.headers, body, config.max_body_bytes, config.request_timeout()).await?;
    if let Some(watch) = parts.extensions.get::<BodyWatch>() {
        watch.whole();
    }
    Ok(body)
}

async fn committed(
    shared: &Shared,
    stream: &Stream,
    format: Format,
    body: Bytes,
    events: Events,
    producer: Option<Producer>,
) -> Result<Response, Problem> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let one_object = format == Format::Json && first == Some(&b'{');
    let (caller, answer) = oneshot::channel();
    let numbered = producer.is_some();
    let entry = shared.ingest.entry(body, events, Waiter::Committed(caller), producer);
    if numbered && entry.fill().bytes > MAX_IDEMPOTENT_BYTES {
        let detail = format!("a numbered request may hold {MAX_IDEMPOTENT_BYTES} bytes, keys and overhead included");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail));
    }
    push(stream, entry)?;
    let placed = shared.ingest.committed(stream, answer).await?;
    Ok(Json(committed_answer(&stream.ingest.topic, &placed, one_object)).into_response())
}

fn committed_answer<'a>(topic: &'a str, placed: &[Placed], one_object: bool) -> CommittedAnswer<'a> {
    let stored = |place: &Placed| Stored { topic, partition: place.partition, offset: place.offset };
    match placed {
        [place] if one_object => CommittedAnswer::One(stored(place)),
        _ => CommittedAnswer::Many { results: placed.iter().map(stored).collect() },
    }
}

fn push(stream: &Stream, entry: Entry) -> Result<(), Problem> {
    stream.buffer.push(entry).map_err(|refusal| match refusal {
        Refusal::Closed => stopping(),
        Refusal::TooLarge => {
            let detail = format!("more events than the buffer holds ({})", stream.buffer.limits().events);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
        }
        Refusal::Full => {
            let detail =
                "the buffer is full: the log takes events more slowly than they come; nothing of this was kept";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, BUFFER_FULL, detail).retry_after(1)
        }
    })
}

fn count(stream: &Stream, ack: &'static str, events: usize) {
    let events = u64::try_from(events).unwrap_or(u64::MAX);
    stream.accepted.fetch_add(events, Ordering::Relaxed);
    counter!("tifo_http_events_accepted_total", "stream" => stream.ingest.name.clone(), "ack" => ack).increment(events);
}

fn ack(query: &str) -> Result<Ack, Problem> {
    match query.split('&').find_map(|part| part.strip_prefix("ack=")) {
        None | Some("buffered") => Ok(Ack::Buffered),
        Some("committed") => Ok(Ack::Committed),
        Some(other) => {
            let detail = format!("ack must be `buffered` or `committed`, not `{other}`");
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail).with("field", "ack"))
        }
    }
}

fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let unsupported =
        |detail: String| Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail));
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        return unsupported(format!("content-encoding {encoding:?} is not understood; send the body as it is"));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/json" => Ok(Format::Json),
        "application/x-ndjson" | "application/ndjson" => Ok(Format::Ndjson),
        "" => unsupported("content-type is missing; send application/json or application/x-ndjson".to_owned()),
        other => {
            unsupported(format!("content-type {other} is not taken; send application/json or application/x-ndjson"))
        }
    }
}

fn bad_event(error: EventError) -> Problem {
    let bad = |kind, detail: String| Problem::new(StatusCode::BAD_REQUEST, kind, detail);
    let at = |index: Option<usize>| index.map_or_else(String::new, |index| format!("event {index}: "));
    let (problem, index) = match error {
        EventError::Empty => (bad("no-events", "the body holds no event".to_owned()), None),
        EventError::NotUtf8 { byte } => (bad("bad-json", format!("byte {byte} is not UTF-8")).with("byte", byte), None),
        EventError::Syntax { reason, line, column, index } => {
            let detail = format!("{}{reason} at line {line} column {column}", at(index));
            (bad("bad-json", detail).with("line", line).with("column", column), index)
        }
        EventError::Field { field, reason, index } => {
            (bad("bad-field", format!("{}{field} {reason}", at(index))).with("field", field), index)
        }
        EventError::NotAnObject { index } => {
            (bad("bad-event", format!("{}an event is a JSON object", at(index))), index)
        }
        EventError::TooLarge { bytes, limit, index } => {
            let detail = format!("{}{bytes} bytes, an event may have {limit}", at(index));
            (Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "event-too-large", detail), index)
        }
    };
    match index {
        Some(index) => problem.with("index", index),
        None => problem,
    }
}

fn refused(reason: &str) -> Problem {
    let detail = format!("the log did not take all of it: {reason}");
    Problem::new(StatusCode::CONFLICT, "refused-by-log", detail)
}

fn stopping() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the gateway is stopping").retry_after(1)
}

fn no_answer(patience: Duration, stream: &Stream) -> Problem {
    let patience_ms = patience.as_millis();
    let why = stream.trouble().map_or_else(String::new, |trouble| format!(" ({trouble})"));
    let detail = format!("the log has not answered within {patience_ms} ms{why}; the events may or may not be stored");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "commit-timeout", detail).retry_after(1)
}
