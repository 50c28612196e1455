//! After a node is gone: how long until the last viewer sees the newest state again.
//!
//! A lost subscribe node costs its viewers their connections: they come back to the other nodes of the cluster, spread by their jitter, and
//! wait in each node's queue of greetings behind its deliveries. Any other lost node costs nobody a connection: viewers keep
//! the last state until it is started again and the nodes below it, whose attempts back off, have found it and taken the retained messages.

use crate::figures::Node;
use crate::latency::Quantiles;
use crate::plan::Plan;
use crate::random::{Random, quantile};

/// Nodes below a lost one, or viewers, that are followed one by one.
const FOLLOWED: usize = 4_000;
/// Part of a back-off by which it is shortened at random.
const BACK_OFF_JITTER: f64 = 0.5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Main,
    Bridge,
    Publish,
    Subscribe,
}

/// Process or machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    Process,
    Machine,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recovery {
    pub viewers: f64,
    pub reconnecting: f64,
    pub back_ms: Quantiles,
    /// Windows of which the viewers saw nothing: latest wins.
    pub windows_missed: f64,
}

pub fn simulate(plan: &Plan, node: &Node, role: Role, loss: Loss, seed: u64) -> Recovery {
    let mut random = Random(seed);
    let members = plan.clusters.first().copied().unwrap_or(1);
    let cluster = plan.viewers_a_node() * members as f64;
    let (viewers, mut back) = match role {
        Role::Subscribe => (plan.viewers_a_node(), reconnected(plan, node, members, &mut random)),
        Role::Main => (plan.viewers, found_again(plan, node, loss, 3, &mut random)),
        Role::Bridge => (cluster, found_again(plan, node, loss, 2, &mut random)),
        Role::Publish => (cluster, found_again(plan, node, loss, 1, &mut random)),
    };
    let back_ms = Quantiles { p50: quantile(&mut back, 0.5), p99: quantile(&mut back, 0.99) };
    Recovery {
        viewers,
        reconnecting: if role == Role::Subscribe { viewers } else { 0.0 },
        back_ms,
        windows_missed: (back_ms.p50 / node.window_ms).floor(),
    }
}

/// The time at which each viewer of a lost subscribe node has the retained message.
fn reconnected(plan: &Plan, node: &Node, members: usize, random: &mut Random) -> Vec<f64> {
    let coming = plan.viewers_a_node() / members.saturating_sub(1).max(1) as f64;
    let weight = coming / FOLLOWED as f64;
    let mut arrivals: Vec<f64> = (0..FOLLOWED).map(|_| node.detect_ms + random.unit() * node.jitter_ms).collect();
    arrivals.sort_by(f64::total_cmp);
    let mut free_at = 0.0_f64;
    let service = weight * (node.greeting_us + node.delivery_us) / 1e3 / (node.cores * spare(plan, node));
    let served = arrivals.into_iter().map(|at| {
        free_at = free_at.max(at) + service;
        free_at
    });
    served.collect()
}

/// What deliveries leave of a node's CPU.
fn spare(plan: &Plan, node: &Node) -> f64 {
    (1.0 - plan.viewers_a_node() * node.delivery_us / 1e3 / node.cores / node.window_ms).max(0.05)
}

/// The time at which each of the nodes below is served again; then the retained messages go down, `hops` to the viewer's node.
fn found_again(plan: &Plan, node: &Node, loss: Loss, hops: usize, random: &mut Random) -> Vec<f64> {
    let gone = node.start_ms
        + match loss {
            Loss::Process => node.restart_ms,
            Loss::Machine => node.replace_ms,
        };
    let burst = plan.viewers_a_node() * node.delivery_us / 1e3 / node.cores;
    let followed = (0..FOLLOWED).map(|_| {
        let linked = node.detect_ms + first_try_after(gone, node, random);
        let down: f64 = (0..hops).map(|_| random.spread(node.hop)).sum();
        linked + down + random.unit() * burst
    });
    followed.collect()
}

/// Attempts at doubling intervals, each shortened at random; the first one that finds the node there.
fn first_try_after(gone_ms: f64, node: &Node, random: &mut Random) -> f64 {
    let (mut at, mut pause) = (0.0, node.back_off_first_ms);
    while at < gone_ms {
        at += pause * (1.0 - BACK_OFF_JITTER * random.unit());
        pause = (pause * 2.0).min(node.back_off_most_ms);
    }
    at
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::figures::tests::built_in_node as node;

    #[test]
    fn nobody_is_back_before_the_node_or_after_the_longest_back_off() {
        let (node, plan) = (node(), Plan::of(1e7, &node()));
        for role in [Role::Main, Role::Bridge, Role::Publish] {
            for (loss, gone) in [(Loss::Process, node.restart_ms), (Loss::Machine, node.replace_ms)] {
                let back = simulate(&plan, &node, role, loss, 3).back_ms;
                assert!(
                    back.p50 >= gone && back.p99 <= gone + node.back_off_most_ms + node.burst_ms + 100.0,
                    "{back:?}"
                );
            }
        }
    }

    #[test]
    fn a_slow_greeting_makes_the_others_queue() {
        let (node, plan) = (node(), Plan::of(250_000.0, &node()));
        let quick = simulate(&plan, &node, Role::Subscribe, Loss::Process, 3).back_ms;
        assert!(quick.p99 >= 0.95 * node.jitter_ms && quick.p99 < 5_000.0 + node.jitter_ms);
        let slow = Node { greeting_us: 1_000.0, ..node };
        let slow = simulate(&plan, &slow, Role::Subscribe, Loss::Process, 3).back_ms;
        assert!(slow.p99 > 3.0 * quick.p99, "{slow:?} {quick:?}");
    }
}
