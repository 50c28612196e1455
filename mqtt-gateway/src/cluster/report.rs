//! What a node tells upwards, and the topics on which nodes speak about themselves.

use crate::config::MqttRole;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Reports of all nodes, one level below this.
pub const REPORTS: &str = "$tifo/nodes/";
/// Orders, one level below this: the only topics with `$` that may be subscribed to.
pub const ORDERS: &str = "$tifo/orders/";

/// A node's numbers at this moment, and those of the nodes that follow it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeReport {
    pub node: String,
    pub role: MqttRole,
    pub cluster: String,
    /// Where clients connect.
    pub address: String,
    /// Where they connect by WebSocket, `ws://…`, if the node has a port for that.
    pub websocket: Option<String>,
    /// Clients with a session, following nodes included.
    pub connections: usize,
    pub max_connections: usize,
    /// Processor time in the last interval, in cores.
    pub cpu: f64,
    /// Bytes that wait for slow clients.
    pub queued_bytes: usize,
    /// Messages to subscribers since the start.
    pub sent: u64,
    /// Messages that newer ones replaced.
    pub dropped: u64,
    /// It lets go of its clients and takes no new ones.
    pub draining: bool,
    /// Follows its node upstream; true at the main node.
    pub connected: bool,
    /// Nodes that follow it.
    pub nodes: Vec<NodeReport>,
}

/// A report on its way; nodes with another key are not of this tree.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sealed {
    pub key: String,
    #[serde(flatten)]
    pub report: NodeReport,
}

/// What a node is told by the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Let go of the clients; those that speak MQTT 5 are told these addresses.
    Drain(Option<String>),
}

pub fn report_topic(node: &str) -> String {
    format!("{REPORTS}{node}")
}

pub fn orders_topic(node: &str) -> String {
    format!("{ORDERS}{node}")
}

impl NodeReport {
    /// Where clients of another node may go, as a Server Reference: addresses with spaces between (4.11 of MQTT 5). None: it
    /// listens on every address of its machine, none of which is known here.
    pub fn reference(&self) -> Option<String> {
        let ways = [Some(&self.address), self.websocket.as_ref()].into_iter().flatten();
        let told: Vec<&str> = ways.map(String::as_str).filter(|way| !is_unspecified(way)).collect();
        (!told.is_empty()).then(|| told.join(" "))
    }

    /// Itself and all that follow it.
    pub fn count(&self) -> usize {
        1 + self.nodes.iter().map(Self::count).sum::<usize>()
    }
}

/// `0.0.0.0:…` or `[::]:…`, by itself or as a WebSocket's.
fn is_unspecified(address: &str) -> bool {
    let place = address.strip_prefix("ws://").and_then(|url| url.split('/').next()).unwrap_or(address);
    place.parse::<SocketAddr>().is_ok_and(|place| place.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_every_way_in() {
        let mut report = NodeReport { address: "10.0.0.1:1883".into(), ..NodeReport::default() };
        let told = |report: &NodeReport| report.reference().unwrap_or_default();
        assert_eq!(told(&report), "10.0.0.1:1883");
        report.websocket = Some("ws://10.0.0.1:9001/mqtt".into());
        assert_eq!(told(&report), "10.0.0.1:1883 ws://10.0.0.1:9001/mqtt");
        report.address = "0.0.0.0:1883".into();
        assert_eq!(told(&report), "ws://10.0.0.1:9001/mqtt");
        report.websocket = Some("ws://[::]:9001/mqtt".into());
        assert_eq!(report.reference(), None);
    }
}
