//! The nodes that follow this one, as far as they have been heard of lately. Pure: the time is an argument.

use super::report::{NodeReport, REPORTS, Sealed};
use crate::message::is_node_name;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Nodes that one node knows, those behind others included.
pub const MAX_NODES: usize = 10_000;
/// Without a report for so long a node is taken for dead. A broken connection says so at once.
pub const SILENCE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub struct Registry {
    key: String,
    nodes: BTreeMap<String, Heard>,
}

#[derive(Debug)]
struct Heard {
    report: NodeReport,
    at: Instant,
}

impl Registry {
    /// Takes reports that bear `key` only.
    pub fn new(key: &str) -> Self {
        Self { key: key.to_owned(), nodes: BTreeMap::new() }
    }

    /// A message on a report's topic; an empty one is a node's goodbye. `false`: it is none of ours.
    pub fn hear(&mut self, topic: &str, payload: &[u8], now: Instant) -> bool {
        let Some(node) = topic.strip_prefix(REPORTS).filter(|node| is_node_name(node)) else { return false };
        if payload.is_empty() {
            // Whoever may not report must not bury either; silence does it then.
            return self.key.is_empty() && self.nodes.remove(node).is_some();
        }
        let Ok(Sealed { key, report }) = serde_json::from_slice::<Sealed>(payload) else { return false };
        let others = self.nodes.iter().filter(|(name, _)| *name != node).map(|(_, heard)| heard.report.count());
        if key != self.key || report.node != node || others.sum::<usize>() + report.count() > MAX_NODES {
            return false;
        }
        self.nodes.insert(node.to_owned(), Heard { report, at: now });
        true
    }

    /// Forgets the nodes that are silent.
    pub fn expire(&mut self, now: Instant) {
        self.nodes.retain(|_, heard| now.saturating_duration_since(heard.at) < SILENCE);
    }

    pub fn nodes(&self) -> Vec<NodeReport> {
        self.nodes.values().map(|heard| heard.report.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sealed(node: &str, key: &str) -> Vec<u8> {
        let report = NodeReport { node: node.into(), connections: 7, ..NodeReport::default() };
        serde_json::to_vec(&Sealed { key: key.into(), report }).unwrap()
    }

    fn names(registry: &Registry) -> Vec<String> {
        registry.nodes().into_iter().map(|node| node.node).collect()
    }

    #[test]
    fn nodes_are_known_while_they_report() {
        let (mut registry, now) = (Registry::new(""), Instant::now());
        assert!(registry.hear("$tifo/nodes/a", &sealed("a", ""), now));
        assert!(registry.hear("$tifo/nodes/b", &sealed("b", ""), now + SILENCE / 2));
        registry.expire(now + SILENCE);
        assert_eq!(names(&registry), ["b"]);
        assert!(registry.hear("$tifo/nodes/b", b"", now));
        assert!(registry.nodes().is_empty());
    }

    #[test]
    fn what_is_no_report_of_this_tree_is_refused() {
        let (mut registry, now) = (Registry::new("key"), Instant::now());
        for (topic, payload) in [
            ("$tifo/nodes/a", sealed("a", "other")),
            ("$tifo/nodes/a", sealed("b", "key")),
            ("$tifo/nodes/a/b", sealed("a/b", "key")),
            ("streams/a", sealed("a", "key")),
            ("$tifo/nodes/a", b"{}".to_vec()),
            ("$tifo/nodes/a", b"no".to_vec()),
        ] {
            assert!(!registry.hear(topic, &payload, now), "{topic}");
        }
        assert!(registry.hear("$tifo/nodes/a", &sealed("a", "key"), now));
        assert!(!registry.hear("$tifo/nodes/a", b"", now));
        assert_eq!(names(&registry), ["a"]);
    }
}
