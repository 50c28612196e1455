//! Settings of the gateway and of each stream's ingest. Defaults fit one machine.

use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, time::Duration};

use crate::{error::HttpError, plan::MAX_BATCH_BYTES, poll::Poll};

/// Everything that can be set about HTTP. Each limit bounds memory; none is "unlimited".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The longest that a buffered event waits before it is sent to the log.
    pub flush_interval_ms: u64,
    /// So many buffered events are sent without waiting; also the most that one flush takes.
    pub flush_events: usize,
    /// Events per stream that are accepted and not yet in the log. Full: 503.
    pub buffer_events: usize,
    /// The same in bytes.
    pub buffer_bytes: usize,
    /// Largest request body.
    pub max_body_bytes: usize,
    /// Largest single event.
    pub max_event_bytes: usize,
    /// Bodies that are being received at one time, all connections together.
    pub max_receiving_bytes: usize,
    /// For the body to arrive, and again for the log to answer a committed request.
    pub request_timeout_ms: u64,
    /// For a request's head to arrive (also ends idle connections).
    pub header_timeout_ms: u64,
    /// Connections at one time. Viewers are MQTT's, once their WebSocket is open.
    pub max_connections: usize,
    /// How long a stop waits for requests in progress, and then for the log to take what is buffered.
    pub shutdown_timeout_ms: u64,
    /// What to ingest; put here by the binary from the declared streams.
    #[serde(skip)]
    pub streams: Vec<StreamIngest>,
}

/// How one stream's events come in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamIngest {
    /// As it stands in the address; put here by the binary (the stream's name is declared once, outside).
    #[serde(skip)]
    pub name: String,
    /// The raw topic.
    pub topic: String,
    /// Partitions of the raw topic if it must be created.
    pub partitions: i32,
    /// Fields that must hold a text that is not empty. A dot goes into an object: `metadata.reaction`.
    pub required: Vec<String>,
    /// The field with the event time: ms since the epoch, or an ISO 8601 text.
    pub timestamp: String,
    /// Required fields that make the record's key, joined by `|`.
    pub key: Vec<String>,
    /// What pages show of it, if it is a poll; put here by the binary.
    #[serde(skip)]
    pub poll: Option<Poll>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            flush_interval_ms: 500,
            flush_events: 20_000,
            buffer_events: 200_000,
            buffer_bytes: 64 << 20,
            max_body_bytes: 1 << 20,
            max_event_bytes: 64 << 10,
            max_receiving_bytes: 64 << 20,
            request_timeout_ms: 10_000,
            header_timeout_ms: 30_000,
            max_connections: 10_000,
            shutdown_timeout_ms: 8_000,
            streams: Vec::new(),
        }
    }
}

impl Default for StreamIngest {
    fn default() -> Self {
        Self::emoji()
    }
}

impl StreamIngest {
    /// The stream that is there by default.
    pub fn emoji() -> Self {
        Self {
            name: "emoji".to_owned(),
            topic: "emoji".to_owned(),
            partitions: 4,
            required: ["user_id", "channel_id", "metadata.reaction"].map(str::to_owned).to_vec(),
            timestamp: "timestamp".to_owned(),
            key: ["channel_id", "user_id"].map(str::to_owned).to_vec(),
            poll: None,
        }
    }

    fn check(&self) -> Result<(), HttpError> {
        let name = &self.name;
        let unusable = |reason: String| Err(HttpError::Config(format!("stream `{name}`: {reason}")));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return unusable("a name is made of letters, digits, `.`, `_` and `-`".to_owned());
        }
        if self.partitions < 1 {
            return unusable(format!("{} partitions: at least 1 is needed", self.partitions));
        }
        if self.key.is_empty() {
            return unusable("`key` names no field".to_owned());
        }
        if let Some(field) = self.key.iter().find(|field| !self.required.contains(field)) {
            return unusable(format!("key field `{field}` is not among `required`"));
        }
        self.poll.as_ref().map_or(Ok(()), Poll::check).or_else(unusable)
    }
}

impl HttpConfig {
    /// What types alone cannot say.
    pub fn check(&self) -> Result<(), HttpError> {
        let limits = [
            ("flush_events", self.flush_events),
            ("buffer_events", self.buffer_events),
            ("max_body_bytes", self.max_body_bytes),
            ("max_event_bytes", self.max_event_bytes),
            ("max_connections", self.max_connections),
        ];
        if let Some((name, _)) = limits.iter().find(|(_, limit)| *limit == 0) {
            return Err(HttpError::Config(format!("`{name}` is 0: nothing could ever pass")));
        }
        let at_most = [
            ("max_event_bytes", self.max_event_bytes, "half a record batch", MAX_BATCH_BYTES / 2),
            ("max_body_bytes", self.max_body_bytes, "buffer_bytes", self.buffer_bytes),
            ("max_body_bytes", self.max_body_bytes, "max_receiving_bytes", self.max_receiving_bytes),
            ("max_body_bytes", self.max_body_bytes, "what an event's place can be told in", 1 << 30),
        ];
        if let Some((name, value, what, limit)) = at_most.iter().find(|(_, value, _, limit)| value > limit) {
            return Err(HttpError::Config(format!("`{name}` of {value} is over {what} ({limit})")));
        }
        self.streams.iter().try_for_each(StreamIngest::check)
    }

    pub(crate) fn flush_interval(&self) -> Duration {
        Duration::from_millis(self.flush_interval_ms)
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    pub(crate) fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn defaults_are_consistent() {
        HttpConfig { streams: vec![StreamIngest::emoji()], ..HttpConfig::default() }.check().unwrap();
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let refused = |config: HttpConfig| config.check().unwrap_err().to_string();
        assert!(refused(HttpConfig { flush_events: 0, ..HttpConfig::default() }).contains("`flush_events` is 0"));
        assert!(refused(HttpConfig { max_body_bytes: 1 << 29, ..HttpConfig::default() }).contains("over buffer_bytes"));
        let stream = StreamIngest { key: vec!["who".to_owned()], ..StreamIngest::emoji() };
        assert!(refused(HttpConfig { streams: vec![stream], ..HttpConfig::default() }).contains("key field `who`"));
        let stream = StreamIngest { name: String::new(), ..StreamIngest::emoji() };
        assert!(refused(HttpConfig { streams: vec![stream], ..HttpConfig::default() }).contains("a name is made of"));
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(serde_json::from_str::<HttpConfig>(r#"{"flush_event":1}"#).is_err());
        let config: HttpConfig = serde_json::from_str(r#"{"listen":"0.0.0.0:0"}"#).unwrap();
        assert_eq!(config.listen.port(), 0);
    }
}
