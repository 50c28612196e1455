//! How many nodes: the smallest tree in which no limit of a node is passed, also with one node of a cluster gone.

use crate::figures::Node;

/// A bridge and a publish node.
const HEADS_A_CLUSTER: usize = 2;
const HOUR_MS: f64 = 3_600_000.0;

/// Every cluster alike but for one node more or less.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub viewers: f64,
    /// Subscribe nodes of each cluster, the spare one included.
    pub clusters: Vec<usize>,
    pub bound_by: &'static str,
}

impl Plan {
    pub fn of(viewers: f64, node: &Node) -> Self {
        let (most, bound_by) = most_viewers(node);
        let needed = whole(viewers / most);
        let in_use = (node.nodes_a_cluster as usize).saturating_sub(1).max(1);
        let count = needed.div_ceil(in_use);
        let clusters = (0..count).map(|index| needed / count + usize::from(index < needed % count) + 1).collect();
        let mut plan = Self { viewers, clusters, bound_by };
        // The load is spread over all nodes alike, so the smallest cluster finds the loss of one hardest.
        while plan.viewers_a_node_after_a_loss() > most
            && let Some(smallest) = plan.clusters.iter_mut().min()
        {
            *smallest += 1;
        }
        plan
    }

    /// In the smallest cluster.
    fn viewers_a_node_after_a_loss(&self) -> f64 {
        let nodes = self.clusters.iter().min().copied().unwrap_or(2).max(2) as f64;
        self.viewers_a_node() * nodes / (nodes - 1.0)
    }

    pub fn subscribe_nodes(&self) -> usize {
        self.clusters.iter().sum()
    }

    /// The load is spread over the spare node too.
    pub fn viewers_a_node(&self) -> f64 {
        self.viewers / self.subscribe_nodes() as f64
    }

    /// Subscribe nodes have a machine each; all other nodes together cost a core each and share machines.
    pub fn machines(&self, node: &Node) -> usize {
        let others = 1 + HEADS_A_CLUSTER * self.clusters.len();
        self.subscribe_nodes() + whole(others as f64 / node.cores)
    }

    pub fn processes(&self) -> usize {
        1 + HEADS_A_CLUSTER * self.clusters.len() + self.subscribe_nodes()
    }

    /// CPU of all deliveries, as cores in use on average.
    pub fn busy_cores(&self, node: &Node) -> f64 {
        self.viewers * node.delivery_us / 1e3 / node.window_ms
    }

    pub fn memory_bytes(&self, node: &Node) -> f64 {
        self.viewers * node.bytes_a_viewer + self.processes() as f64 * node.base_bytes
    }

    pub fn gbit_per_s(&self, node: &Node) -> f64 {
        self.viewers * node.wire_bytes * 8.0 / (node.window_ms * 1e6)
    }

    pub fn machines_per_hour(&self, node: &Node) -> f64 {
        self.machines(node) as f64 * node.price_per_hour
    }

    pub fn traffic_per_hour(&self, node: &Node) -> f64 {
        self.viewers * node.wire_bytes * (HOUR_MS / node.window_ms) / 1e9 * node.price_per_gb
    }
}

/// The most viewers of one node, and what bounds it.
pub fn most_viewers(node: &Node) -> (f64, &'static str) {
    let per_viewer_ms = node.delivery_us / 1e3 / node.cores;
    let bounds = [
        (node.viewers_a_node, "connections"),
        (node.burst_ms / per_viewer_ms, "burst"),
        (node.utilisation * node.window_ms / per_viewer_ms, "CPU"),
        ((node.utilisation * node.memory_bytes - node.base_bytes) / node.bytes_a_viewer, "memory"),
        (node.utilisation * node.network_bytes_per_ms * node.burst_ms / node.wire_bytes, "network"),
    ];
    bounds.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((1.0, "connections"))
}

fn whole(value: f64) -> usize {
    value.ceil().max(1.0) as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::figures::Figures;

    #[test]
    fn no_node_is_over_its_limit_with_one_of_its_cluster_gone() {
        let node = Figures::built_in().unwrap().node;
        let (most, _) = most_viewers(&node);
        for viewers in [1.0, 249_999.0, 250_000.0, 2e6, 1.7e7, 5e7] {
            let plan = Plan::of(viewers, &node);
            for nodes in &plan.clusters {
                assert!(*nodes >= 2 && *nodes <= node.nodes_a_cluster as usize, "{plan:?}");
                let cluster = plan.viewers_a_node() * *nodes as f64;
                assert!(cluster / (*nodes as f64 - 1.0) <= most * 1.000_001, "{plan:?}");
            }
        }
    }

    #[test]
    fn dearer_deliveries_take_more_machines() {
        let node = Figures::built_in().unwrap().node;
        let dear = Node { delivery_us: node.delivery_us * 4.0, ..node };
        assert!(Plan::of(1e7, &dear).machines(&dear) > 2 * Plan::of(1e7, &node).machines(&node));
    }
}
