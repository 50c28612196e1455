//! How this node presents itself to clients: node id, cluster id, and the address that each client is told.

use crate::errors::RequestError;
use std::{cmp::Ordering, net::SocketAddr};

/// The epoch of the one leader that every partition has here.
pub const LEADER_EPOCH: i32 = 0;

/// KIP-320: a client that knows of another leader epoch than ours is told so; -1 does not say.
pub fn check_leader_epoch(known: i32) -> Result<(), RequestError> {
    match (known, known.cmp(&LEADER_EPOCH)) {
        (-1, _) | (_, Ordering::Equal) => Ok(()),
        (_, Ordering::Less) => Err(RequestError::FencedLeaderEpoch),
        (_, Ordering::Greater) => Err(RequestError::UnknownLeaderEpoch),
    }
}

/// This node, as clients see it.
#[derive(Debug)]
pub struct Cluster {
    pub cluster_id: String,
    pub node_id: i32,
    /// `advertised.listeners`; None: each client is told the address that it dialled.
    pub advertised: Option<Endpoint>,
}

/// Host and port that a client can dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

impl Cluster {
    /// What to tell a client that dialled `local`.
    pub fn endpoint(&self, local: SocketAddr) -> Endpoint {
        let dialled = || Endpoint { host: local.ip().to_canonical().to_string(), port: local.port() };
        match &self.advertised {
            Some(endpoint) if endpoint.port == 0 => Endpoint { host: endpoint.host.clone(), port: local.port() },
            Some(endpoint) => endpoint.clone(),
            None => dialled(),
        }
    }
}

impl Endpoint {
    /// Reads `PLAINTEXT://host:port`, `host:port`, `[::1]:port` or `:port`; of a list the first.
    pub fn parse(text: &str) -> Option<Self> {
        let first = text.split(',').next()?.trim();
        let address = first.split_once("://").map_or(first, |(_, address)| address);
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn listener_forms() {
        let endpoint = |host: &str, port| Some(Endpoint { host: host.into(), port });
        assert_eq!(Endpoint::parse("PLAINTEXT://a.b:1,SSL://c:2"), endpoint("a.b", 1));
        assert_eq!(Endpoint::parse("localhost:9092"), endpoint("localhost", 9092));
        assert_eq!(Endpoint::parse("PLAINTEXT://[::1]:7"), endpoint("::1", 7));
        assert_eq!(Endpoint::parse("PLAINTEXT://:9092"), endpoint("", 9092));
        assert_eq!(Endpoint::parse("nothing"), None);
        assert_eq!(Endpoint::parse("host:70000"), None);
    }
}
