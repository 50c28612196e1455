//! How this node presents itself to clients: node id, cluster id, and the address that each client is told.

use crate::{errors::RequestError, settings::Live};
use std::{cmp::Ordering, collections::HashMap, net::SocketAddr, sync::Arc};

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
    /// Listeners by the port on which they are open.
    pub listeners: HashMap<u16, String>,
    pub config: Arc<Live>,
}

/// Host and port that a client can dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

impl Cluster {
    /// What to tell a client that dialled `local`: what is advertised for that listener, else the address that it dialled.
    pub fn endpoint(&self, local: SocketAddr) -> Endpoint {
        let listener = self.listeners.get(&local.port()).map(String::as_str);
        let config = self.config.now();
        let mut advertised = config.advertised.iter();
        match advertised.find(|one| one.name.is_none() || one.name.as_deref() == listener) {
            Some(one) if one.port == 0 => Endpoint { host: one.host.clone(), port: local.port() },
            Some(one) => Endpoint { host: one.host.clone(), port: one.port },
            None => Endpoint { host: local.ip().to_canonical().to_string(), port: local.port() },
        }
    }
}
