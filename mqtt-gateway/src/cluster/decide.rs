//! Whether a cluster needs more subscribe nodes, or fewer. Pure: loads and the time go in, a decision comes out.
//!
//! A node's load is the largest of its connections, its processor time and its queue, each as part of what it can bear. So many
//! nodes are wanted that each bears [`TARGET`]. More are added at once; one is drained only when the rest would bear the crowd
//! below [`CALM`], and has been able to for [`Policy::hold`]: a crowd that comes and goes must not move nodes about.

use super::report::NodeReport;
use std::time::{Duration, Instant};

/// Load of a node that is just right; beyond it there is room for a wave of newcomers.
const TARGET: f64 = 0.7;
/// Load at which the rest may go on without a node.
const CALM: f64 = 0.5;
/// Bytes in a node's queues that are a full load.
const FULL_QUEUE_BYTES: f64 = 256.0 * 1024.0 * 1024.0;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub min: usize,
    pub max: usize,
    /// Cores that one node may use up.
    pub cores_per_node: u32,
    /// How long it must have been calm before a node goes, and how long a new one has to come up.
    pub hold: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Stay,
    Add(usize),
    /// This node is to let go of its clients.
    Drain(String),
}

/// The decisions' memory.
#[derive(Debug, Default)]
pub struct Scaler {
    /// Nodes that were asked for and have not reported yet, and until when they are expected.
    expected: Option<(usize, Instant)>,
    calm_since: Option<Instant>,
}

/// 0 idle, 1 all that it can bear.
pub fn load(node: &NodeReport, cores_per_node: u32) -> f64 {
    let connections = node.connections as f64 / node.max_connections.max(1) as f64;
    let cpu = node.cpu / f64::from(cores_per_node.max(1));
    connections.max(cpu).max(node.queued_bytes as f64 / FULL_QUEUE_BYTES)
}

impl Scaler {
    /// `nodes` are the cluster's subscribe nodes that are heard of.
    pub fn decide(&mut self, nodes: &[NodeReport], policy: &Policy, now: Instant) -> Decision {
        let active: Vec<&NodeReport> = nodes.iter().filter(|node| !node.draining).collect();
        let demand: f64 = active.iter().map(|node| load(node, policy.cores_per_node)).sum();
        // A share of a node that is all but none must not ask for a whole one.
        let wanted = ((demand / TARGET - 1e-9).ceil() as usize).clamp(policy.min, policy.max.max(policy.min));
        let coming = self.coming(active.len(), now);
        if wanted > active.len() + coming {
            self.calm_since = None;
            let missing = wanted - active.len() - coming;
            self.expected = Some((wanted, now + policy.hold));
            return Decision::Add(missing);
        }
        self.drain(&active, demand, policy, now)
    }

    /// Nodes asked for that are not there yet.
    fn coming(&mut self, active: usize, now: Instant) -> usize {
        self.expected = self.expected.filter(|(wanted, until)| *wanted > active && now < *until);
        self.expected.map_or(0, |(wanted, _)| wanted - active)
    }

    fn drain(&mut self, active: &[&NodeReport], demand: f64, policy: &Policy, now: Instant) -> Decision {
        let rest = active.len().saturating_sub(1);
        let spare = active.len() > policy.min.max(1) && demand <= CALM * rest as f64;
        if active.len() <= policy.max && !spare {
            self.calm_since = None;
            return Decision::Stay;
        }
        let since = *self.calm_since.get_or_insert(now);
        if now.saturating_duration_since(since) < policy.hold {
            return Decision::Stay;
        }
        self.calm_since = None;
        let fewest = active.iter().min_by_key(|node| (node.connections, &node.node));
        fewest.map_or(Decision::Stay, |node| Decision::Drain(node.node.clone()))
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
