//! Start and stop of the broker: data directory, catalog, listener, and the in-process door.

use crate::{
    LocalClient,
    api::{ApiMetrics, FetchSessions},
    catalog::{Catalog, OpenError},
    clock::Clock,
    cluster::Cluster,
    config::BrokerConfig,
    durability::patience::Rouser,
    groups::Groups,
    loggers::Loggers,
    maintenance::{self, Maintenance},
    network::{
        connection::Shared,
        listener::{self, Places},
    },
    open_files,
    services::Services,
    settings::{ConfigError, Listener, Live},
    share::Shares,
    telemetry::Telemetry,
    transactions::{Markers, Transactions},
};
use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tifo_storage::{
    Durability,
    file_system::{FileSystem, RealFileSystem},
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Why the broker does not start: one line that names the thing and the way out.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "cannot listen on {address} ({source}): stop what uses it, or choose another with --kafka (port 0 takes any free one)"
    )]
    Listen { address: String, source: std::io::Error },
    #[error("a task of the broker ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// How long connections may take to end when the broker stops; clients that do not read are left behind then.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    services: Arc<Services>,
    client: Arc<LocalClient>,
    kafka_addr: SocketAddr,
    maintenance: Arc<Maintenance>,
    tasks: TaskTracker,
    _rouser: Rouser,
}

impl Broker {
    /// Opens the data and answers on the port when this returns.
    pub async fn start(config: BrokerConfig, clock: Clock) -> Result<Self, BrokerError> {
        Self::start_on(config, clock, Arc::new(RealFileSystem)).await
    }

    /// The same on another file system: tests have one that fails and stalls.
    pub async fn start_on(
        config: BrokerConfig,
        clock: Clock,
        file_system: Arc<dyn FileSystem>,
    ) -> Result<Self, BrokerError> {
        let started_with = config.in_force()?;
        let config_dir = config.data_dir;
        started_with.without_effect().iter().for_each(|line| tracing::info!("{line}"));
        open_files::share_out(started_with.log_max_open_files);
        let opened = Opened::open(&started_with.listeners).await?;
        let kafka_addr = opened.address;
        let config = Arc::new(Live::new(started_with));
        let catalog = {
            let (config, clock) = (config.clone(), clock.clone());
            tokio::task::spawn_blocking(move || Catalog::open(&config_dir, config, clock, file_system)).await??
        };
        let now = config.now();
        let tasks = TaskTracker::new();
        let services = Arc::new(assemble(config, clock, Arc::new(catalog), opened.names, &tasks));
        services.groups.start(&tasks);
        services.transactions.start();
        services.shares.start(&tasks);
        let maintenance =
            Arc::new(Maintenance::new(services.catalog.clone(), services.clock.clone(), services.config.clone()));
        tasks.spawn(maintenance.clone().run(services.shutdown.clone()));
        let shared = Arc::new(Shared { services: services.clone(), metrics: ApiMetrics::register() });
        let places = Arc::new(Places::new(services.config.clone()));
        for listener in opened.listeners {
            tasks.spawn(listener::run(listener, shared.clone(), places.clone(), tasks.clone()));
        }
        let acknowledged = match now.durability() {
            Durability::PageCache => "in the page cache",
            Durability::Fsync => "on stable storage",
        };
        tracing::info!(%kafka_addr, data_dir = %services.catalog.data_dir().display(), "broker is up; acknowledged means {acknowledged}");
        Ok(Self {
            client: Arc::new(LocalClient::new(services.clone())),
            services,
            kafka_addr,
            maintenance,
            tasks,
            _rouser: Rouser::start(),
        })
    }

    /// An address that a client on this machine can dial.
    pub fn kafka_addr(&self) -> SocketAddr {
        self.kafka_addr
    }

    /// The in-process door.
    pub fn client(&self) -> Arc<LocalClient> {
        self.client.clone()
    }

    /// Levels of the log, to be told who writes it.
    pub fn loggers(&self) -> Arc<Loggers> {
        self.services.loggers.clone()
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn services(&self) -> Arc<Services> {
        self.services.clone()
    }

    /// One round of the maintenance, here and now: for tests, which set the clock instead of waiting.
    pub fn maintain(&self) {
        self.maintenance.tick();
    }

    /// Stops accepting, answers what is in flight, lets the maintenance end, closes the logs cleanly.
    pub async fn shutdown(self) {
        self.services.shutdown.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!("connections that made no progress are cut off");
        }
        let (maintenance, catalog) = (self.maintenance, self.services.catalog.clone());
        let close = move || {
            if !maintenance.stop(maintenance::STOP_TIMEOUT) {
                tracing::warn!("the maintenance is still waiting for the disk; the next start does what it has left");
            }
            catalog.close();
        };
        if let Err(error) = tokio::task::spawn_blocking(close).await {
            tracing::error!(%error, "closing the logs failed");
        }
        tracing::info!("broker stopped");
    }
}

/// The parts on what was opened, none of them at work yet. `listeners`: names by port.
fn assemble(
    config: Arc<Live>,
    clock: Clock,
    catalog: Arc<Catalog>,
    listeners: HashMap<u16, String>,
    tasks: &TaskTracker,
) -> Services {
    let now = config.now();
    let cluster_id = catalog.cluster_id().to_owned();
    let cluster = Cluster { cluster_id, node_id: now.node_id, listeners, config: config.clone() };
    let shutdown = CancellationToken::new();
    let groups = Groups::new(catalog.clone(), clock.clone(), &now.groups, config.clone(), shutdown.clone());
    let markers = Markers {
        catalog: catalog.clone(),
        groups: groups.clone(),
        clock: clock.clone(),
        tasks: tasks.clone(),
        shutdown: shutdown.clone(),
    };
    let shares = Shares::new(catalog.clone(), clock.clone(), config.clone(), groups.clone(), shutdown.clone());
    Services {
        cluster: Arc::new(cluster),
        fetch_sessions: FetchSessions::new(now.fetch_session_slots),
        groups,
        shares,
        transactions: Transactions::new(&now.transactions, markers),
        loggers: Arc::default(),
        telemetry: Arc::new(Telemetry::new(catalog.clone(), config.clone(), clock.clone())),
        config,
        clock,
        catalog,
        shutdown,
    }
}

/// The listeners, open.
struct Opened {
    listeners: Vec<TcpListener>,
    /// Their names by port.
    names: HashMap<u16, String>,
    /// Where a client on this machine dials the first.
    address: SocketAddr,
}

impl Opened {
    async fn open(wanted: &[Listener]) -> Result<Self, BrokerError> {
        let mut opened =
            Self { listeners: Vec::new(), names: HashMap::new(), address: (Ipv4Addr::LOCALHOST, 0).into() };
        for listener in wanted {
            let host = if listener.host.is_empty() { "0.0.0.0" } else { &listener.host };
            let failed = |source| BrokerError::Listen { address: format!("{host}:{}", listener.port), source };
            let socket = TcpListener::bind((host, listener.port)).await.map_err(failed)?;
            let bound = socket.local_addr().map_err(failed)?;
            if opened.listeners.is_empty() {
                opened.address = dialable(bound);
            }
            opened.names.insert(bound.port(), listener.name().to_owned());
            opened.listeners.push(socket);
        }
        Ok(opened)
    }
}

/// The loopback address stands for "all addresses".
fn dialable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound {
        SocketAddr::V4(address) if address.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => bound.ip(),
    };
    SocketAddr::new(ip, bound.port())
}
