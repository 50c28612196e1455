//! The input: figures of one node and of the world around it, each with its source. `figures.toml` beside `Cargo.toml` is built in.

use std::collections::BTreeMap;

use figment::{
    Figment,
    providers::{Format, Toml},
};
use serde::Deserialize;

const BUILT_IN: &str = include_str!("../figures.toml");

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    pub value: f64,
    pub unit: String,
    pub source: String,
}

/// By table and name.
#[derive(Debug, Clone)]
pub struct Figures {
    tables: BTreeMap<String, BTreeMap<String, Figure>>,
    pub node: Node,
}

/// The figures by their own names. All times in milliseconds but for `_us`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Node {
    pub channels: f64,
    pub window_ms: f64,
    pub wire_bytes: f64,
    pub cores: f64,
    pub memory_bytes: f64,
    pub network_bytes_per_ms: f64,
    pub price_per_hour: f64,
    pub price_per_gb: f64,
    pub delivery_us: f64,
    pub greeting_us: f64,
    pub bytes_a_viewer: f64,
    pub base_bytes: f64,
    /// One bridge hop between two machines.
    pub hop: Spread,
    pub start_ms: f64,
    pub viewers_a_node: f64,
    pub utilisation: f64,
    pub burst_ms: f64,
    pub nodes_a_cluster: f64,
    pub detect_ms: f64,
    pub restart_ms: f64,
    pub replace_ms: f64,
    pub back_off_first_ms: f64,
    pub back_off_most_ms: f64,
    pub jitter_ms: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub p50: f64,
    pub p99: f64,
}

impl Figures {
    pub fn built_in() -> Result<Self, String> {
        Self::read(BUILT_IN)
    }

    pub fn read(text: &str) -> Result<Self, String> {
        let tables: BTreeMap<String, BTreeMap<String, Figure>> =
            Figment::from(Toml::string(text)).extract().map_err(|e| e.to_string())?;
        let node = node(&tables)?;
        Ok(Self { tables, node })
    }

    /// Table, name, figure.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str, &Figure)> {
        self.tables.iter().flat_map(|(table, figures)| {
            figures.iter().map(move |(name, figure)| (table.as_str(), name.as_str(), figure))
        })
    }
}

fn node(tables: &BTreeMap<String, BTreeMap<String, Figure>>) -> Result<Node, String> {
    let get = |table: &str, name: &str| match tables.get(table).and_then(|figures| figures.get(name)) {
        Some(figure) if figure.value.is_finite() && figure.value > 0.0 => Ok(figure.value),
        Some(figure) => Err(format!("{table}.{name}: {} is not above 0", figure.value)),
        None => Err(format!("{table}.{name} is missing")),
    };
    let recovery = |name| get("recovery", name);
    Ok(Node {
        channels: get("load", "channels")?,
        window_ms: get("load", "window_ms")?,
        wire_bytes: get("load", "wire_bytes")?,
        cores: get("machine", "cores")?,
        memory_bytes: get("machine", "memory_gib")? * 1024.0 * 1024.0 * 1024.0,
        network_bytes_per_ms: get("machine", "network_gbit")? * 1e9 / 8.0 / 1e3,
        price_per_hour: get("machine", "price_per_hour")?,
        price_per_gb: get("machine", "price_per_gb")?,
        delivery_us: get("node", "delivery_us")?,
        greeting_us: get("node", "greeting_us")?,
        bytes_a_viewer: get("node", "bytes_a_viewer")? + get("node", "kernel_bytes_a_viewer")?,
        base_bytes: get("node", "base_mib")? * 1024.0 * 1024.0,
        hop: Spread {
            p50: get("node", "hop_p50_ms")? + recovery("network_p50_ms")?,
            p99: get("node", "hop_p99_ms")? + recovery("network_p99_ms")?,
        },
        start_ms: get("node", "start_ms")?,
        viewers_a_node: get("limits", "viewers_a_node")?,
        utilisation: get("limits", "utilisation")?,
        burst_ms: get("limits", "burst_ms")?,
        nodes_a_cluster: get("limits", "nodes_a_cluster")?,
        detect_ms: recovery("detect_ms")?,
        restart_ms: recovery("restart_ms")?,
        replace_ms: recovery("replace_ms")?,
        back_off_first_ms: recovery("back_off_first_ms")?,
        back_off_most_ms: recovery("back_off_most_ms")?,
        jitter_ms: recovery("jitter_ms")?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub mod tests {
    use super::*;

    /// The node of the figures that are built in, for the other tests.
    pub fn built_in_node() -> Node {
        Figures::built_in().unwrap().node
    }

    #[test]
    fn a_missing_figure_is_named() {
        let without = BUILT_IN.replace("delivery_us", "delivery_ns");
        assert_eq!(Figures::read(&without).unwrap_err(), "node.delivery_us is missing");
    }

    #[test]
    fn nothing_may_be_free() {
        let free = BUILT_IN.replace("delivery_us = { value = ", "delivery_us = { value = -");
        assert!(Figures::read(&free).unwrap_err().starts_with("node.delivery_us: -"));
    }
}
