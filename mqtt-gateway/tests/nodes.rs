//! The tree of nodes in one process: state flows through hops in order, nodes are known and drained.

#![allow(clippy::unwrap_used)]
mod support;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use support::{MemoryLog, PATIENCE, Raw, TestRow, config, frame, start, string};
use tifo_mqtt_gateway::{Fleet, MqttConfig, MqttGateway, MqttRole, NodeReport};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const HOPS: [MqttRole; 3] = [MqttRole::Bridge, MqttRole::Publish, MqttRole::Subscribe];

fn append(log: &MemoryLog, window: i64, channel: &str) {
    log.append_rows(&[TestRow { window_start: window * 2_000, channel, reaction: "x", count: 1 }]);
}

fn follower_of(upstream: &MqttGateway, role: MqttRole) -> MqttConfig {
    MqttConfig { role, upstream: Some(upstream.addr().to_string()), ..config() }
}

async fn node(upstream: &MqttGateway, role: MqttRole) -> MqttGateway {
    let node = MqttGateway::start_node(follower_of(upstream, role), None, CancellationToken::new()).await.unwrap();
    until(|| node.is_following()).await;
    node
}

async fn until(mut done: impl FnMut() -> bool) {
    let wait = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while !done() {
            tick.tick().await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

/// Main, then each hop.
async fn chain(log: &Arc<MemoryLog>) -> Vec<MqttGateway> {
    let mut nodes = vec![start(config(), log).await];
    for role in HOPS {
        nodes.push(node(nodes.last().unwrap(), role).await);
    }
    nodes
}

/// An MQTT 5 client; each message with its user properties.
struct Viewer(rumqttc::v5::EventLoop, #[allow(dead_code)] rumqttc::v5::AsyncClient, Option<bytes::Bytes>);

impl Viewer {
    async fn new(gateway: &MqttGateway, filter: &str) -> Self {
        let mut options = rumqttc::v5::MqttOptions::new("", "127.0.0.1", gateway.addr().port());
        options.set_keep_alive(Duration::from_secs(30));
        let (client, events) = rumqttc::v5::AsyncClient::new(options, 16);
        client.subscribe(filter, rumqttc::v5::mqttbytes::QoS::AtLeastOnce).await.unwrap();
        let mut viewer = Self(events, client, None);
        while !matches!(viewer.packet().await, Some(rumqttc::v5::mqttbytes::v5::Packet::SubAck(_))) {}
        viewer
    }

    /// `None`: the connection has ended.
    async fn packet(&mut self) -> Option<rumqttc::v5::mqttbytes::v5::Packet> {
        loop {
            match timeout(PATIENCE, self.0.poll()).await.unwrap() {
                Ok(rumqttc::v5::Event::Incoming(packet)) => return Some(packet),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    async fn message(&mut self) -> (serde_json::Value, Vec<(String, String)>) {
        loop {
            if let rumqttc::v5::mqttbytes::v5::Packet::Publish(publish) = self.packet().await.unwrap() {
                // Who subscribes while it comes may get it as retained, too.
                if self.2.replace(publish.payload.clone()).as_ref() == Some(&publish.payload) {
                    continue;
                }
                let properties = publish.properties.map(|properties| properties.user_properties).unwrap_or_default();
                return (serde_json::from_slice(&publish.payload).unwrap(), properties);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_goes_through_three_hops_in_order_and_says_where_it_comes_from() {
    let log = Arc::new(MemoryLog::default());
    let nodes = chain(&log).await;
    let (mut near, mut far) = (Viewer::new(&nodes[0], "streams/#").await, Viewer::new(&nodes[3], "streams/#").await);
    let mut added = Vec::new();
    for window in 0..300 {
        append(&log, window, "c");
        let at_main = async { (near.message().await, Instant::now()) };
        let at_end = async { (far.message().await, Instant::now()) };
        let (((first, _), early), ((last, properties), late)) = tokio::join!(at_main, at_end);
        assert_eq!((&first, last["window_start"].as_i64()), (&last, Some(window * 2_000)));
        let property = |name: &str| properties.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        assert_eq!(property("tifo-sequence"), Some((window + 1).to_string()));
        let path = property("tifo-path").unwrap();
        assert_eq!(path.split(',').collect::<Vec<_>>(), nodes.iter().map(MqttGateway::node).collect::<Vec<_>>());
        assert!(property("tifo-time").unwrap().parse::<i64>().unwrap() > 0);
        added.push(late.saturating_duration_since(early));
    }
    added.sort();
    println!("three hops add p50 {:?}, p99 {:?}", added[150], added[297]);
    for node in nodes.iter().rev() {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_late_or_loses_its_upstream_has_the_newest_state() {
    let log = Arc::new(MemoryLog::default());
    let nodes = chain(&log).await;
    for channel in ["a", "b", "c"] {
        append(&log, 0, channel);
        append(&log, 1, channel);
    }
    let late = node(&nodes[2], MqttRole::Subscribe).await;
    let mut viewer = Viewer::new(&late, "streams/emoji/+").await;
    let mut seen = std::collections::BTreeMap::new();
    while seen.values().filter(|window| **window == 2_000).count() < 3 {
        let (mood, _) = viewer.message().await;
        let window = mood["window_start"].as_i64().unwrap();
        let before = seen.insert(mood["channel_id"].as_str().unwrap().to_owned(), window);
        assert!(before.is_none_or(|before| before <= window), "{seen:?}");
    }
    // Its upstream goes and another comes on the same port; main has gone on meanwhile.
    let listen = nodes[2].addr().to_string();
    nodes[2].shutdown().await;
    until(|| !late.is_following()).await;
    append(&log, 2, "a");
    let again = MqttConfig { listen, ..follower_of(&nodes[1], MqttRole::Publish) };
    let again = MqttGateway::start_node(again, None, CancellationToken::new()).await.unwrap();
    loop {
        let (mood, _) = viewer.message().await;
        if mood["window_start"] == 4_000 {
            assert_eq!(mood["channel_id"], "a");
            break;
        }
        assert_eq!(mood["window_start"], 2_000, "an older state after a newer one");
    }
    for node in [&late, &again, &nodes[3], &nodes[1], &nodes[0]] {
        node.shutdown().await;
    }
}

fn roles(report: &NodeReport) -> Vec<MqttRole> {
    let mut roles = vec![report.role];
    roles.extend(report.nodes.iter().flat_map(self::roles));
    roles
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_node_knows_the_tree_and_forgets_who_dies() {
    let log = Arc::new(MemoryLog::default());
    let nodes = chain(&log).await;
    let viewer = Viewer::new(&nodes[3], "streams/#").await;
    let at_the_end = |report: &NodeReport| report.nodes[0].nodes[0].nodes[0].connections;
    until(|| roles(&nodes[0].cluster()).len() == 4 && at_the_end(&nodes[0].cluster()) == 1).await;
    assert_eq!(roles(&nodes[0].cluster())[1..], HOPS);
    drop(viewer);
    nodes[3].shutdown().await;
    until(|| roles(&nodes[0].cluster()).len() == 3).await;
    for node in nodes[..3].iter().rev() {
        node.shutdown().await;
    }
}

/// Starts nodes in this process.
#[derive(Debug)]
struct Here {
    runtime: tokio::runtime::Handle,
    started: Arc<Mutex<Vec<Arc<MqttGateway>>>>,
}

impl Fleet for Here {
    fn start(&self, upstream: &str, cluster: &str) -> std::io::Result<()> {
        let (upstream, cluster) = (Some(upstream.to_owned()), cluster.to_owned());
        let config = MqttConfig { role: MqttRole::Subscribe, upstream, cluster, ..config() };
        let started = self.started.clone();
        self.runtime.spawn(async move {
            let node = MqttGateway::start_node(config, None, CancellationToken::new()).await.unwrap();
            started.lock().unwrap().push(Arc::new(node));
        });
        Ok(())
    }

    fn reap(&self) {}

    fn stop(&self) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_starts_nodes_and_drains_what_is_too_much() {
    let log = Arc::new(MemoryLog::default());
    let main = start(config(), &log).await;
    let started = Arc::new(Mutex::new(Vec::new()));
    let fleet = Here { runtime: tokio::runtime::Handle::current(), started: started.clone() };
    let config =
        MqttConfig { autoscale: Some("1..2".into()), scale_hold_ms: 4_000, ..follower_of(&main, MqttRole::Publish) };
    let publish = MqttGateway::start_node(config, Some(Arc::new(fleet)), CancellationToken::new()).await.unwrap();
    until(|| publish.cluster().nodes.len() == 1).await;
    let first = started.lock().unwrap()[0].clone();
    let mut moved = Raw::connect(&first).await;
    moved.send(&frame(0x10, &[&string("MQTT"), &[5, 2, 0, 0, 0], &string("moved")])).await;
    // One more than the crowd needs, with the most viewers; so the first one goes.
    let config =
        MqttConfig { websocket_listen: Some("127.0.0.1:0".into()), ..follower_of(&publish, MqttRole::Subscribe) };
    let second = MqttGateway::start_node(config, None, CancellationToken::new()).await.unwrap();
    let mut viewer = Viewer::new(&second, "streams/#").await;
    let _another = Viewer::new(&second, "streams/#").await;
    let goodbye = String::from_utf8_lossy(&moved.rest().await).into_owned();
    let websocket = second.edge().websocket_addr().unwrap();
    assert!(goodbye.ends_with(&format!("{} ws://{websocket}/mqtt", second.addr())), "{goodbye:?}");
    timeout(PATIENCE, first.drained()).await.unwrap();
    append(&log, 0, "c");
    assert_eq!(viewer.message().await.0["channel_id"], "c");
    assert!(started.lock().unwrap().len() == 1, "and nobody was started in its place");
    for node in [&*first, &second, &publish, &main] {
        node.shutdown().await;
    }
}
