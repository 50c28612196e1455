//! What can be set, and every limit of this room by name.

use crate::{
    MqttError,
    message::is_node_name,
    reception::{STREAMS, TAPS},
};
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
    /// Where clients of other nodes are sent to, HOST:PORT, if it is not the listening address.
    pub advertise: Option<String>,
    /// The same for WebSockets: `ws://…` or `wss://…`.
    pub advertise_websocket: Option<String>,
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
    /// Rows before the committed offset that a start reads again, to know each channel's newest window and its score.
    pub restored_rows: i64,
    /// This node's name in the tree, letters, digits, `-`, `_` and `.`; empty: one is made up.
    pub node: String,
    /// What this process is in the tree of nodes.
    pub role: MqttRole,
    /// The node that this one follows, HOST:PORT; none at the main node, nor at a publish node that a bridge brings everything to.
    pub upstream: Option<String>,
    /// The cluster that this node is of.
    pub cluster: String,
    /// Nodes report to nodes with the same key only.
    pub cluster_key: String,
    /// An MQTT broker elsewhere that gets everything in place of this node's clients, mqtt://HOST:PORT; for a bridge.
    pub downstream: Option<String>,
    /// What is followed.
    pub bridge_filters: Vec<String>,
    /// A publish node starts and drains subscribe nodes on this machine: MIN..MAX of them.
    pub autoscale: Option<String>,
    /// How long a cluster must have been calm before a node is drained, and how long a new one has to come up.
    pub scale_hold_ms: u64,
    pub limits: Limits,
}

/// A node's place in the tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MqttRole {
    /// Has the log; everything begins here.
    #[default]
    Main,
    /// The first node of a cluster.
    Publish,
    /// Serves the crowd.
    Subscribe,
    /// Between clusters, or to a broker elsewhere.
    Bridge,
}

/// `autoscale`, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Autoscale {
    pub min: usize,
    pub max: usize,
}

/// One stream's fan-out: `aggregate_topic` to `streams/{name}/{channel_id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamConfig {
    pub name: String,
    pub aggregate_topic: String,
    /// Groups kept in a message; the tail stays in the aggregate topic.
    pub top_n: usize,
    /// At most one message per channel in this time, the latest; 0: each window's.
    pub min_interval_ms: u64,
    /// The binary form as well, on `…/bin`.
    pub binary: bool,
    /// The field of a row that names the channel; none: the whole stream is the channel `all`.
    pub channel_field: Option<String>,
    /// The fields that tell a channel's groups apart.
    pub group_fields: Vec<String>,
    /// The measure that shares are of.
    pub measure: String,
    /// Length of a window that is told in steps: the steps before its end are running results.
    pub cumulate_ms: Option<i64>,
    /// From this event time on nothing counts any more.
    pub close_ms: Option<i64>,
    /// Corrections bring all groups of their window again.
    pub whole_corrections: bool,
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
    /// Channels of one partition whose newest window delivery knows; those silent for longest are forgotten.
    pub max_channels: usize,
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
            advertise: None,
            advertise_websocket: None,
            workers: 0,
            streams: vec![StreamConfig::default()],
            publish_prefixes: vec!["clients/".into()],
            commit_delay_ms: 2_000,
            restart_grace_ms: 2_000,
            restored_rows: 50_000,
            node: String::new(),
            role: MqttRole::Main,
            upstream: None,
            cluster: "local".into(),
            cluster_key: String::new(),
            downstream: None,
            bridge_filters: vec!["streams/#".into()],
            autoscale: None,
            scale_hold_ms: 30_000,
            limits: Limits::default(),
        }
    }
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            name: "emoji".into(),
            aggregate_topic: "emoji-counts".into(),
            top_n: 10,
            min_interval_ms: 0,
            binary: false,
            channel_field: Some("channel_id".into()),
            group_fields: vec!["reaction".into()],
            measure: "count".into(),
            cumulate_ms: None,
            close_ms: None,
            whole_corrections: false,
        }
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
            max_channels: 10_000,
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
            if stream.group_fields.is_empty() || stream.measure.is_empty() {
                return Err(MqttError::Config(format!(
                    "mqtt.streams: {} has no field that tells its groups apart, or no measure to take shares of",
                    stream.name
                )));
            }
            if stream.name.is_empty() || stream.aggregate_topic.is_empty() || stream.top_n == 0 {
                return Err(MqttError::Config(format!(
                    "mqtt.streams: name and aggregate_topic must not be empty and top_n must be at least 1, got {stream:?}"
                )));
            }
        }
        if !self.node.is_empty() && !is_node_name(&self.node) {
            return Err(MqttError::Config(format!(
                "mqtt.node: {:?} must be letters, digits, `-`, `_` and `.`, at most 64",
                self.node
            )));
        }
        self.check_place()?;
        self.check_advertised()?;
        for prefix in &self.publish_prefixes {
            // An empty prefix would open the streams to forgers; the hub's matcher cuts a topic's first byte off as a character.
            let reaches = |topics: &str| prefix.starts_with(topics) || topics.starts_with(prefix.as_str());
            let open = prefix.starts_with("streams") || reaches(STREAMS) || reaches(TAPS);
            if open || !prefix.starts_with(|first: char| first.is_ascii_alphanumeric()) {
                return Err(MqttError::Config(format!(
                    "mqtt.publish_prefixes: {prefix:?} must begin with a letter or digit and must not reach into {STREAMS} or {TAPS}"
                )));
            }
        }
        Ok(())
    }

    /// What the role needs, and what it has no use for.
    fn check_place(&self) -> Result<(), MqttError> {
        let wrong = |text: &str| Err(MqttError::Config(format!("mqtt: {text}")));
        match (self.role, &self.upstream) {
            (MqttRole::Main, Some(_)) => {
                return wrong("the main node follows nobody: `upstream` goes with another `role`");
            }
            (MqttRole::Subscribe | MqttRole::Bridge, None) => {
                return wrong("this `role` follows another node: `upstream` must say which");
            }
            _ => {}
        }
        if self.downstream.is_some() && self.role != MqttRole::Bridge {
            return wrong("`downstream` goes with `role = \"bridge\"`");
        }
        if self.autoscale()?.is_some() && self.role != MqttRole::Publish {
            return wrong("`autoscale` goes with `role = \"publish\"`");
        }
        Ok(())
    }

    /// A Server Reference is addresses with spaces between: what is none would lead clients astray.
    fn check_advertised(&self) -> Result<(), MqttError> {
        let is_place = |text: &str| {
            let known = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            known.is_some_and(|(_, port)| port.parse::<u16>().is_ok()) && !text.contains([' ', '/'])
        };
        if let Some(place) = self.advertise.as_deref().filter(|place| !is_place(place)) {
            return Err(MqttError::Config(format!("mqtt.advertise: {place:?} is not HOST:PORT")));
        }
        let is_url = |text: &str| text.starts_with("ws://") || text.starts_with("wss://");
        match &self.advertise_websocket {
            Some(url) if !is_url(url) || url.contains(' ') => Err(MqttError::Config(format!(
                "mqtt.advertise_websocket: {url:?} is neither ws://HOST:PORT/PATH nor wss://HOST:PORT/PATH"
            ))),
            _ => Ok(()),
        }
    }

    /// `MIN..MAX`, both included.
    pub fn autoscale(&self) -> Result<Option<Autoscale>, MqttError> {
        /// More processes than that are no use on one machine.
        const MOST: usize = 256;
        let Some(text) = &self.autoscale else { return Ok(None) };
        let bounds = text.split_once("..").and_then(|(min, max)| Some((min.parse().ok()?, max.parse().ok()?)));
        match bounds {
            Some((min, max)) if min <= max && (1..=MOST).contains(&max) => Ok(Some(Autoscale { min, max })),
            _ => Err(MqttError::Config(format!("mqtt.autoscale: {text:?} is not MIN..MAX, with MAX up to {MOST}"))),
        }
    }

    /// The address that `listen` names, if it is numeric.
    pub fn listen_ip(&self) -> Option<std::net::IpAddr> {
        self.listen.parse::<std::net::SocketAddr>().ok().map(|address| address.ip())
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
    fn a_stream_needs_groups_and_a_node_a_plain_name() {
        let streams = vec![StreamConfig { group_fields: Vec::new(), ..StreamConfig::default() }];
        assert!(MqttConfig { streams, ..MqttConfig::default() }.check().is_err());
        assert!(MqttConfig { node: "a,b".into(), ..MqttConfig::default() }.check().is_err());
    }

    #[test]
    fn a_role_has_what_it_needs_and_nothing_else() {
        let upstream = Some("127.0.0.1:1883".to_owned());
        let follower = MqttConfig { role: MqttRole::Publish, upstream: upstream.clone(), ..MqttConfig::default() };
        assert!(follower.check().is_ok());
        assert!(MqttConfig { upstream: None, ..follower.clone() }.check().is_ok(), "a bridge may bring everything");
        assert!(MqttConfig { upstream: None, role: MqttRole::Subscribe, ..follower.clone() }.check().is_err());
        assert!(MqttConfig { upstream, ..MqttConfig::default() }.check().is_err());
        assert!(MqttConfig { downstream: Some("a:1".into()), ..follower.clone() }.check().is_err());
        let scaled = |text: &str| MqttConfig { autoscale: Some(text.into()), ..follower.clone() };
        assert_eq!(scaled("1..4").autoscale().ok().flatten(), Some(Autoscale { min: 1, max: 4 }));
        for wrong in ["", "4", "4..1", "1..", "0..0", "1..1000", "a..b"] {
            assert!(scaled(wrong).check().is_err(), "{wrong}");
        }
        assert!(MqttConfig { role: MqttRole::Subscribe, ..scaled("1..4") }.check().is_err());
    }

    #[test]
    fn what_is_advertised_is_an_address() {
        let advertised = |place: &str, url: &str| MqttConfig {
            advertise: Some(place.into()),
            advertise_websocket: Some(url.into()),
            ..MqttConfig::default()
        };
        for (place, url) in [("a.example:1883", "wss://a.example/mqtt"), ("[::1]:1", "ws://[::1]:2/mqtt")] {
            assert!(advertised(place, url).check().is_ok(), "{place} {url}");
        }
        for wrong in ["", "a", ":1", "a:b", "a:1 b:2", "mqtt://a:1"] {
            assert!(advertised(wrong, "ws://a").check().is_err(), "{wrong:?}");
        }
        for wrong in ["", "a:1", "http://a", "ws://a b"] {
            assert!(advertised("a:1", wrong).check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn prefixes_that_reach_the_streams_are_refused() {
        for prefix in ["", "t", "taps/", "taps/emoji", "s", "streams/", "streams/emoji", "/", "+", "$SYS/", "été/"] {
            let config = MqttConfig { publish_prefixes: vec![prefix.into()], ..MqttConfig::default() };
            assert!(config.check().is_err(), "{prefix:?}");
        }
    }
}
