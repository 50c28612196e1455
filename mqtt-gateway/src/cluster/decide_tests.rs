#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

const CAPACITY: usize = 1_000;
const STEP: Duration = Duration::from_secs(1);
/// Steps until a new node is there, and that a draining one takes.
const SLOWNESS: usize = 3;

fn policy() -> Policy {
    Policy { min: 1, max: 20, cores_per_node: 1, hold: Duration::from_secs(10) }
}

fn node(name: &str, connections: usize) -> NodeReport {
    NodeReport { node: name.into(), connections, max_connections: CAPACITY, ..NodeReport::default() }
}

/// A cluster whose crowd spreads evenly over the nodes that take clients.
struct Cluster {
    scaler: Scaler,
    now: Instant,
    nodes: Vec<NodeReport>,
    /// Steps that are left until one more is there.
    coming: Vec<usize>,
    /// Steps that are left of each drain.
    leaving: Vec<(String, usize)>,
    started: usize,
    added: usize,
    drained: usize,
}

impl Cluster {
    fn new() -> Self {
        let nodes = vec![node("n0", 0)];
        Self {
            scaler: Scaler::default(),
            now: Instant::now(),
            nodes,
            coming: Vec::new(),
            leaving: Vec::new(),
            started: 1,
            added: 0,
            drained: 0,
        }
    }

    fn step(&mut self, crowd: usize) {
        self.now += STEP;
        self.come_and_go();
        let active = self.nodes.iter().filter(|node| !node.draining).count().max(1);
        for node in self.nodes.iter_mut() {
            node.connections = if node.draining { 0 } else { crowd / active };
        }
        match self.scaler.decide(&self.nodes, &policy(), self.now) {
            Decision::Stay => {}
            Decision::Add(count) => {
                self.added += count;
                self.coming.extend(std::iter::repeat_n(SLOWNESS, count));
            }
            Decision::Drain(name) => {
                self.drained += 1;
                self.nodes.iter_mut().find(|node| node.node == name).unwrap().draining = true;
                self.leaving.push((name, SLOWNESS));
            }
        }
    }

    fn come_and_go(&mut self) {
        self.coming.iter_mut().for_each(|left| *left -= 1);
        let there = self.coming.iter().filter(|left| **left == 0).count();
        self.coming.retain(|left| *left > 0);
        for _ in 0..there {
            self.nodes.push(node(&format!("n{}", self.started), 0));
            self.started += 1;
        }
        self.leaving.iter_mut().for_each(|(_, left)| *left -= 1);
        let gone: Vec<String> =
            self.leaving.iter().filter(|(_, left)| *left == 0).map(|(name, _)| name.clone()).collect();
        self.leaving.retain(|(_, left)| *left > 0);
        self.nodes.retain(|node| !gone.contains(&node.node));
    }

    fn active(&self) -> usize {
        self.nodes.iter().filter(|node| !node.draining).count()
    }

    fn run(&mut self, steps: usize, crowd: usize) {
        (0..steps).for_each(|_| self.step(crowd));
    }
}

#[test]
fn a_crowd_that_comes_and_goes_gets_its_nodes_and_gives_them_back() {
    let mut cluster = Cluster::new();
    cluster.run(10, 100);
    assert_eq!(cluster.active(), 1);
    cluster.run(10, 7_000);
    assert_eq!((cluster.active(), cluster.added), (10, 9), "each once, though they took their time");
    cluster.run(200, 700);
    assert_eq!(cluster.active(), 2, "one node alone would be at its target, not calm");
    cluster.run(100, 100);
    assert_eq!(cluster.active(), 1);
}

#[test]
fn a_crowd_that_wavers_moves_no_nodes_about() {
    let mut cluster = Cluster::new();
    cluster.run(20, 3_000);
    let before = (cluster.added, cluster.drained);
    for _ in 0..100 {
        cluster.run(5, 2_200);
        cluster.run(5, 3_000);
    }
    assert_eq!((cluster.added, cluster.drained), before);
}

#[test]
fn processor_and_queue_count_as_connections_do() {
    let busy = NodeReport { cpu: 1.4, ..node("a", 10) };
    assert_eq!(Scaler::default().decide(&[busy], &policy(), Instant::now()), Decision::Add(1));
    let clogged = NodeReport { queued_bytes: 1 << 28, ..node("a", 10) };
    assert_eq!(Scaler::default().decide(&[clogged], &policy(), Instant::now()), Decision::Add(1));
}

#[test]
fn a_node_that_was_lost_is_replaced_and_one_that_never_comes_asked_for_again() {
    let (mut scaler, now) = (Scaler::default(), Instant::now());
    let policy = Policy { min: 2, ..policy() };
    let one = [node("a", 10)];
    assert_eq!(scaler.decide(&one, &policy, now), Decision::Add(1));
    assert_eq!(scaler.decide(&one, &policy, now + STEP), Decision::Stay);
    assert_eq!(scaler.decide(&one, &policy, now + policy.hold), Decision::Add(1));
}

#[test]
fn the_node_with_the_fewest_clients_goes_and_never_below_the_minimum() {
    let (mut scaler, now) = (Scaler::default(), Instant::now());
    let nodes = [node("a", 30), node("b", 20), NodeReport { draining: true, ..node("c", 1) }];
    assert_eq!(scaler.decide(&nodes, &policy(), now), Decision::Stay);
    assert_eq!(scaler.decide(&nodes, &policy(), now + policy().hold), Decision::Drain("b".into()));
    let kept = Policy { min: 2, ..policy() };
    assert_eq!(scaler.decide(&nodes, &kept, now + policy().hold * 9), Decision::Stay);
}

proptest! {
    #[test]
    fn nodes_stay_within_bounds_and_bear_a_crowd_that_lasts(crowds in proptest::collection::vec(0_usize..18_000, 1..12)) {
        let mut cluster = Cluster::new();
        for crowd in crowds {
            for _ in 0..40 {
                cluster.step(crowd);
                prop_assert!((1..=20).contains(&cluster.active()));
            }
            let needed = crowd as f64 / CAPACITY as f64 / TARGET;
            prop_assert!(cluster.active() >= (needed.floor() as usize).min(20));
        }
    }
}
