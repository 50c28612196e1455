//! Whether what the file, the environment and the flags say can be: names, types, ranges, and what several settings say together.

use super::{Layers, find, listeners, names};
use std::{collections::HashMap, net::IpAddr};

/// Why the settings are not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("setting {name} is not known; did you mean {nearest}?")]
    Unknown { name: String, nearest: String },
    #[error("setting {name}: {complaint}")]
    Illegal { name: String, complaint: String },
}

impl ConfigError {
    /// The setting that it is about.
    pub fn setting(&self) -> &str {
        match self {
            Self::Unknown { name, .. } | Self::Illegal { name, .. } => name,
        }
    }
}

/// Refuses what no part of the broker would understand.
pub fn check(layers: &Layers) -> Result<(), ConfigError> {
    layers.fixed.iter().try_for_each(|(name, value)| check_fixed(name, value))?;
    let together: [(&str, Result<(), String>); 5] = [
        ("listeners", listeners::to_open(layers).map(drop)),
        ("advertised.listeners", listeners::advertised(layers).map(drop)),
        ("node.id", node_id(layers)),
        ("max.connections.per.ip.overrides", per_ip_overrides(layers).map(drop)),
        ("log.cleaner.dedupe.buffer.size", dedupe_buffer(layers)),
    ];
    together.into_iter().try_for_each(|(name, checked)| {
        checked.map_err(|complaint| ConfigError::Illegal { name: name.to_owned(), complaint })
    })
}

fn check_fixed(name: &str, value: &str) -> Result<(), ConfigError> {
    match find(name) {
        Some(setting) => {
            let illegal = |complaint| ConfigError::Illegal { name: name.to_owned(), complaint };
            setting.check(value).map_err(illegal)
        }
        None if names::is_foreign(name) => Ok(()),
        None => Err(ConfigError::Unknown { name: name.to_owned(), nearest: names::nearest(name).0.to_owned() }),
    }
}

fn node_id(layers: &Layers) -> Result<(), String> {
    match (layers.long("node.id"), layers.long("broker.id")) {
        (id, other) if id == other => Ok(()),
        (id, other) => Err(format!("it is {id}, but broker.id is {other}: they are the same setting")),
    }
}

/// `max.connections.per.ip.overrides`: `address:number`, separated by commas. The complaint of a pair without number is Kafka's.
pub fn per_ip_overrides(layers: &Layers) -> Result<HashMap<IpAddr, usize>, String> {
    let complaint = |pair: &str| format!("{pair} is not address:number");
    let one = |pair: &str| {
        let (address, number) = pair.trim().rsplit_once(':').ok_or_else(|| complaint(pair))?;
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let address = match address.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => resolve(address).ok_or_else(|| complaint(pair))?,
        };
        Ok((address.to_canonical(), number.trim().parse().map_err(|_| complaint(pair))?))
    };
    super::list(layers.text("max.connections.per.ip.overrides")).map(one).collect()
}

/// A host's name is looked up once, as in Kafka.
fn resolve(host: &str) -> Option<IpAddr> {
    use std::net::ToSocketAddrs;
    (host, 0).to_socket_addrs().ok()?.next().map(|address| address.ip())
}

fn dedupe_buffer(layers: &Layers) -> Result<(), String> {
    const LEAST_PER_THREAD: i64 = 1 << 20;
    let threads = layers.long("log.cleaner.threads").max(1);
    match layers.long("log.cleaner.dedupe.buffer.size") / threads < LEAST_PER_THREAD {
        true => {
            Err("requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.".into())
        }
        false => Ok(()),
    }
}

/// One line for each setting that was given and has no effect here.
pub fn without_effect(layers: &Layers) -> Vec<String> {
    let lines = layers.fixed.keys().filter_map(|name| match find(name) {
        Some(setting) if setting.is_idle => Some(format!("setting {name}: {}", setting.documentation)),
        Some(_) => None,
        None => Some(format!("setting {name}: Without effect here.")),
    });
    lines.collect()
}
