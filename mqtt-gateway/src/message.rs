//! What goes through the nodes: a message, and where it comes from.
//!
//! The main node stamps the origin once; each hop adds its own name to the path and changes nothing else. So every node can tell
//! whether a message is newer than the one it has (sequence), how long it took (time), and whether it has been here before (path).

use bytes::Bytes;
use std::sync::Arc;

/// User properties that carry an origin over MQTT 5.
const TIME: &str = "tifo-time";
const SEQUENCE: &str = "tifo-sequence";
const PREVIOUS: &str = "tifo-previous";
const PATH: &str = "tifo-path";
/// A longer path comes from nobody who is honest.
const MAX_PATH_BYTES: usize = 2_048;

/// Parts the nodes of a path in its text; no node's name contains it.
const SEPARATOR: char = ',';

/// One message of the gateway itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: Bytes,
    pub payload: Bytes,
    /// Kept for newcomers.
    pub retain: bool,
    pub origin: Origin,
}

/// Where and when a message came into the tree of nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// When the main node sent it, ms since the epoch; 0: unknown.
    pub time_ms: i64,
    /// Grows with each message of one topic, also over a restart of the main node; 0: unknown, never compared.
    pub sequence: u64,
    /// Sequence of the message before it on the same topic, so that who has an older one knows that he missed something; 0: unknown.
    pub previous: u64,
    /// The nodes it went through, the main node first.
    pub path: NodePath,
}

impl Origin {
    /// As MQTT 5 user properties; what is unknown is left out.
    pub fn properties(&self) -> Vec<(&'static str, String)> {
        let known = |number: u64| (number != 0).then(|| number.to_string());
        let time = (self.time_ms != 0).then(|| self.time_ms.to_string());
        let path = (!self.path.as_str().is_empty()).then(|| self.path.as_str().to_owned());
        let all = [(TIME, time), (SEQUENCE, known(self.sequence)), (PREVIOUS, known(self.previous)), (PATH, path)];
        all.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
    }

    /// The reverse; properties of others and values that are none are passed over.
    pub fn from_properties<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut origin = Self::default();
        for (name, value) in properties {
            match name {
                TIME => origin.time_ms = value.parse().unwrap_or_default(),
                SEQUENCE => origin.sequence = value.parse().unwrap_or_default(),
                PREVIOUS => origin.previous = value.parse().unwrap_or_default(),
                PATH if value.len() <= MAX_PATH_BYTES => origin.path = NodePath::from_text(value),
                _ => {}
            }
        }
        origin
    }
}

/// Names of nodes in order, as text: `main,cluster-a,edge-1`. Shared: cloning costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodePath(Option<Arc<str>>);

impl NodePath {
    pub fn from_text(text: &str) -> Self {
        Self((!text.is_empty()).then(|| Arc::from(text)))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.as_str().split(SEPARATOR).filter(|node| !node.is_empty())
    }

    /// The main node's name.
    pub fn source(&self) -> &str {
        self.nodes().next().unwrap_or_default()
    }

    pub fn contains(&self, node: &str) -> bool {
        self.nodes().any(|passed| passed == node)
    }

    /// The same path and one node more.
    #[must_use]
    pub fn with(&self, node: &str) -> Self {
        match self.as_str() {
            "" => Self::from_text(node),
            path => Self(Some(Arc::from(format!("{path}{SEPARATOR}{node}")))),
        }
    }
}

/// A node's name is part of topics and paths.
pub fn is_node_name(name: &str) -> bool {
    const MAX_NODE_NAME_BYTES: usize = 64;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= MAX_NODE_NAME_BYTES && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_knows_who_is_in_it_by_whole_names() {
        let path = NodePath::default().with("main").with("cluster-a").with("edge-1");
        assert_eq!(path.as_str(), "main,cluster-a,edge-1");
        assert_eq!(path, NodePath::from_text("main,cluster-a,edge-1"));
        assert_eq!(path.source(), "main");
        assert!(path.contains("cluster-a") && !path.contains("cluster"));
        assert_eq!((NodePath::default().nodes().count(), NodePath::default().source()), (0, ""));
    }

    #[test]
    fn an_origin_goes_through_properties_unchanged() {
        let path = NodePath::from_text("main,edge-1");
        let origin = Origin { time_ms: 1_500_000_000_000, sequence: u64::MAX, previous: 7, path };
        let properties = origin.properties();
        assert_eq!(properties[0], ("tifo-time", "1500000000000".to_owned()));
        let others = [("other", "1"), ("tifo-time", "soon")];
        let read = |properties: &[(&'static str, String)]| {
            let own = properties.iter().map(|(name, value)| (*name, value.as_str()));
            Origin::from_properties(others.into_iter().chain(own))
        };
        assert_eq!(read(&properties), origin);
        assert_eq!(Origin::default().properties(), []);
        let endless = "x".repeat(MAX_PATH_BYTES + 1);
        assert_eq!(
            Origin::from_properties([("tifo-path", endless.as_str()), ("tifo-sequence", "-1")]),
            Origin::default()
        );
    }

    #[test]
    fn a_name_cannot_break_a_path_or_a_topic() {
        assert!(is_node_name("edge-1.example_a"));
        for name in ["", "a,b", "a/b", "a b", "é", "+", "#", &"x".repeat(65)] {
            assert!(!is_node_name(name), "{name}");
        }
    }
}
