//! What can be set, and every limit of this room by name.

use crate::MqttError;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Threads beyond this bring nothing.
const MAX_WORKERS: usize = 256;

/// The whole gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttConfig {
    /// Address of the public MQTT port; port 0 is any free one.
    pub listen: String,
    /// Address of a port of MQTT over WebSocket of its own, beside `/mqtt` on the HTTP port.
    pub websocket_listen: Option<String>,
    /// Threads that serve clients; 0: one per core.
    pub workers: usize,
    /// Put here by the binary from the declared streams.
    #[serde(skip)]
    pub streams: Vec<StreamConfig>,
    /// Clients may publish to topics that begin with one of these, and to no others.
    pub publish_prefixes: Vec<String>,
    /// Offsets are committed this long after the hub accepted their messages, so that what a crash caught between hub and
    /// socket is sent again.
    pub commit_delay_ms: u64,
    /// After a restart, delivery waits this long for subscribers to come back. A group without commits does not wait.
    pub restart_grace_ms: u64,
    pub limits: Limits,
}

/// One stream's fan-out: `aggregate_topic` to `streams/{name}/{channel_id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamConfig {
    pub name: String,
    pub aggregate_topic: String,
    /// Reactions kept in a message; the tail stays in the aggregate topic.
    pub top_n: usize,
}

/// Bounds on what clients can make this process hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub max_connections: usize,
    /// The first packet, will included.
    pub max_connect_bytes: usize,
    /// Any later packet of a client.
    pub max_packet_bytes: usize,
    pub max_client_id_bytes: usize,
    pub max_filter_bytes: usize,
    pub max_filters_per_client: usize,
    /// Different filters over all clients.
    pub max_filters: usize,
    /// Different topics published to by clients.
    pub max_client_topics: usize,
    /// Sessions kept for clients that come with clean session 0; the one longest away is dropped first.
    pub max_saved_sessions: usize,
    /// Longest session expiry granted, also for clean session 0 of MQTT 3.1.1.
    pub max_session_expiry_s: u32,
    /// From the connection to the end of CONNECT.
    pub connect_timeout_ms: u64,
    /// From the first byte of a packet to its last; and without any progress in sending.
    pub stall_timeout_ms: u64,
    /// What the hub keeps per filter for subscribers that lag; beyond it the oldest is lost to them.
    pub max_filter_log_bytes: usize,
    /// Channel ids longer than this, once escaped, are not published.
    pub max_channel_bytes: usize,
    /// A record batch of the aggregate topic, decompressed.
    pub max_decompressed_bytes: usize,
    /// Topics whose last message is kept for a restart of the hub.
    pub max_retained_topics: usize,
}

impl Default for MqttConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:1883".into(),
            websocket_listen: None,
            workers: 0,
            streams: vec![StreamConfig::default()],
            publish_prefixes: vec!["clients/".into()],
            commit_delay_ms: 2_000,
            restart_grace_ms: 2_000,
            limits: Limits::default(),
        }
    }
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self { name: "emoji".into(), aggregate_topic: "emoji-counts".into(), top_n: 10 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_connect_bytes: 64 * 1024,
            max_packet_bytes: 256 * 1024,
            max_client_id_bytes: 256,
            max_filter_bytes: 1024,
            max_filters_per_client: 100,
            max_filters: 100_000,
            max_client_topics: 10_000,
            max_saved_sessions: 10_000,
            max_session_expiry_s: 24 * 60 * 60,
            connect_timeout_ms: 5_000,
            stall_timeout_ms: 30_000,
            max_filter_log_bytes: 4 * 1024 * 1024,
            max_channel_bytes: 512,
            max_decompressed_bytes: 64 * 1024 * 1024,
            max_retained_topics: 100_000,
        }
    }
}

impl Limits {
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn stall_timeout(&self) -> Duration {
        Duration::from_millis(self.stall_timeout_ms)
    }
}

impl MqttConfig {
    pub(crate) fn edge_workers(&self) -> usize {
        let workers =
            if self.workers > 0 { self.workers } else { std::thread::available_parallelism().map_or(1, usize::from) };
        workers.min(MAX_WORKERS)
    }

    /// Refuses what would only fail later, with the setting's name.
    pub(crate) fn check(&self) -> Result<(), MqttError> {
        for stream in &self.streams {
            if stream.name.is_empty() || stream.aggregate_topic.is_empty() || stream.top_n == 0 {
                return Err(MqttError::Config(format!(
                    "mqtt.streams: name and aggregate_topic must not be empty and top_n must be at least 1, got {stream:?}"
                )));
            }
        }
        for prefix in &self.publish_prefixes {
            // An empty prefix would open the streams to forgers; the hub's matcher cuts a topic's first byte off as a character.
            let open = prefix.starts_with("streams") || "streams/".starts_with(prefix.as_str());
            if open || !prefix.starts_with(|first: char| first.is_ascii_alphanumeric()) {
                return Err(MqttError::Config(format!(
                    "mqtt.publish_prefixes: {prefix:?} must begin with a letter or digit and must not reach into streams/"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert!(MqttConfig::default().check().is_ok());
    }

    #[test]
    fn prefixes_that_reach_the_streams_are_refused() {
        for prefix in ["", "s", "streams/", "streams/emoji", "/", "+", "$SYS/", "été/"] {
            let config = MqttConfig { publish_prefixes: vec![prefix.into()], ..MqttConfig::default() };
            assert!(config.check().is_err(), "{prefix:?}");
        }
    }
}
