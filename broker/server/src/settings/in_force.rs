//! The broker's settings as its parts read them, and the place where those in force are found while they can change.

use super::{ConfigError, Layers, Listener, check, listeners};
use crate::{groups::GroupSettings, maintenance::cleaner, transactions::TransactionSettings};
use parking_lot::RwLock;
use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};
use tifo_storage::{CleanerSettings, Durability};

/// What is in force, read once; a change makes a new one.
#[derive(Debug, Clone)]
pub struct InForce {
    pub layers: Layers,
    pub node_id: i32,
    pub listeners: Vec<Listener>,
    /// Empty: each client is told the address that it dialled.
    pub advertised: Vec<Listener>,
    pub auto_create_topics_enable: bool,
    pub num_partitions: i32,
    pub default_replication_factor: i16,
    pub delete_topic_enable: bool,
    pub connections: ConnectionLimits,
    pub fetch_max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots` (KIP-227).
    pub fetch_session_slots: usize,
    /// `max.request.partition.size.limit`: partitions in one answer of DescribeTopicPartitions.
    pub request_partition_limit: i32,
    /// None: half of what the operating system lets the process open.
    pub log_max_open_files: Option<usize>,
    pub groups: GroupSettings,
    pub transactions: TransactionSettings,
    /// None: there is no cleaner.
    pub cleaner: Option<CleanerSettings>,
}

/// What a connection may do, and how many there may be.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    pub max_connections: usize,
    pub max_connections_per_ip: usize,
    pub per_ip_overrides: HashMap<IpAddr, usize>,
    pub max_idle: Duration,
    pub socket_request_max_bytes: usize,
}

impl InForce {
    /// Reads the settings, or says what is wrong with them.
    pub fn read(layers: Layers) -> Result<Self, ConfigError> {
        check::check(&layers)?;
        let illegal = |name: &str| {
            let name = name.to_owned();
            move |complaint| ConfigError::Illegal { name, complaint }
        };
        Ok(Self {
            node_id: layers.read("node.id").unwrap_or(0),
            listeners: listeners::to_open(&layers).map_err(illegal("listeners"))?,
            advertised: listeners::advertised(&layers).map_err(illegal("advertised.listeners"))?,
            auto_create_topics_enable: layers.flag("auto.create.topics.enable"),
            num_partitions: layers.read("num.partitions").unwrap_or(1),
            default_replication_factor: layers.read("default.replication.factor").unwrap_or(1),
            delete_topic_enable: layers.flag("delete.topic.enable"),
            connections: ConnectionLimits::read(&layers)?,
            fetch_max_bytes: layers.size("fetch.max.bytes"),
            fetch_session_slots: layers.size("max.incremental.fetch.session.cache.slots"),
            request_partition_limit: layers.read("max.request.partition.size.limit").unwrap_or(1),
            log_max_open_files: layers.read("log.max.open.files"),
            groups: GroupSettings::read(&layers),
            transactions: TransactionSettings::read(&layers),
            cleaner: cleaner::settings(&layers),
            layers,
        })
    }

    /// Broker-wide; also that of the metadata log.
    pub fn durability(&self) -> Durability {
        super::log_config(&super::Settings::new(), &self.layers).durability
    }

    /// One line for each setting that was given and has no effect here.
    pub fn without_effect(&self) -> Vec<String> {
        check::without_effect(&self.layers)
    }
}

impl ConnectionLimits {
    fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let name = "max.connections.per.ip.overrides".to_owned();
        let idle_ms = layers.long("connections.max.idle.ms");
        Ok(Self {
            max_connections: layers.size("max.connections"),
            max_connections_per_ip: layers.size("max.connections.per.ip"),
            per_ip_overrides: check::per_ip_overrides(layers)
                .map_err(|complaint| ConfigError::Illegal { name, complaint })?,
            // Below zero means never, as in Kafka.
            max_idle: u64::try_from(idle_ms).map_or(NEVER, |idle_ms| Duration::from_millis(idle_ms).min(NEVER)),
            socket_request_max_bytes: layers.size("socket.request.max.bytes"),
        })
    }

    /// How many connections may come from that address.
    pub fn of_address(&self, address: IpAddr) -> usize {
        self.per_ip_overrides.get(&address.to_canonical()).copied().unwrap_or(self.max_connections_per_ip)
    }
}

/// Longer than any connection.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Where the settings in force are found. Whoever reads one asks each time, so that a change holds at once.
#[derive(Debug)]
pub struct Live(RwLock<Arc<InForce>>);

impl Live {
    pub fn new(in_force: InForce) -> Self {
        Self(RwLock::new(Arc::new(in_force)))
    }

    pub fn now(&self) -> Arc<InForce> {
        self.0.read().clone()
    }

    pub fn replace(&self, in_force: InForce) {
        *self.0.write() = Arc::new(in_force);
    }
}
