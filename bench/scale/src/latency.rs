//! A window's messages on their way: from the main node through bridges and publish nodes to every viewer, event by event.
//!
//! All windows end together, so every node has its whole work at once: a channel's message waits for those before it in the publish
//! node, and a viewer for those before him in his subscribe node. A node works on what comes first, on all its cores.

use crate::figures::Node;
use crate::plan::Plan;
use crate::random::{Random, quantile};

const WINDOWS: usize = 20;
/// Viewers looked at per node and window, evenly spread over its order of delivery.
const PLACES: usize = 25;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiles {
    pub p50: f64,
    pub p99: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    pub one_hop: Quantiles,
    /// When a subscribe node has a message.
    pub at_node: Quantiles,
    pub at_viewer: Quantiles,
}

pub fn simulate(plan: &Plan, node: &Node, seed: u64) -> Latency {
    let mut random = Random(seed);
    let (mut hops, mut nodes, mut viewers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..WINDOWS {
        for members in &plan.clusters {
            let mut hop = |random: &mut Random| {
                let time = random.spread(node.hop);
                hops.push(time);
                time
            };
            let at_publish_node = hop(&mut random) + hop(&mut random);
            for member in 0..*members {
                let at_node = at_publish_node + hop(&mut random);
                one_node(plan, node, (member, *members), at_node, &mut nodes, &mut viewers);
            }
        }
    }
    Latency { one_hop: both(&mut hops), at_node: both(&mut nodes), at_viewer: both(&mut viewers) }
}

/// The publish node writes channel by channel, to each member in turn; the subscribe node then writes to that channel's viewers.
fn one_node(
    plan: &Plan,
    node: &Node,
    (member, members): (usize, usize),
    first_ms: f64,
    nodes: &mut Vec<f64>,
    viewers: &mut Vec<f64>,
) {
    let written_ms = node.delivery_us / 1e3;
    let share = plan.viewers_a_node() / PLACES as f64;
    let mut free_at = first_ms;
    for place in 0..PLACES {
        let channel = (place as f64 + 0.5) / PLACES as f64 * node.channels;
        let comes = first_ms + (channel.floor() * members as f64 + member as f64) * written_ms;
        let done = comes.max(free_at) + share * written_ms / node.cores;
        nodes.push(comes);
        viewers.push((comes.max(free_at) + done) / 2.0);
        free_at = done;
    }
}

fn both(values: &mut [f64]) -> Quantiles {
    Quantiles { p50: quantile(values, 0.5), p99: quantile(values, 0.99) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::figures::tests::built_in_node as node;

    #[test]
    fn the_same_seed_gives_the_same_figures() {
        let (node, plan) = (node(), Plan::of(2e6, &node()));
        assert_eq!(simulate(&plan, &node, 7), simulate(&plan, &node, 7));
        assert_ne!(simulate(&plan, &node, 7), simulate(&plan, &node, 8));
    }

    #[test]
    fn a_viewer_waits_for_hops_and_for_half_the_others() {
        let (node, plan) = (node(), Plan::of(2e6, &node()));
        let all = plan.viewers_a_node() * node.delivery_us / 1e3 / node.cores;
        let latency = simulate(&plan, &node, 1);
        assert!(
            latency.at_viewer.p50 > latency.at_node.p50 + 0.3 * all
                && latency.at_viewer.p50 < latency.at_node.p50 + 0.7 * all
        );
        assert!(latency.at_viewer.p99 > 0.9 * all && latency.at_viewer.p99 < all + 4.0 * node.hop.p99 + 20.0);
    }
}
