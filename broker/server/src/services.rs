//! What handlers are made of: each API file takes from here only what its API needs.

use crate::{
    api::FetchSessions, catalog::Catalog, clock::Clock, cluster::Cluster, groups::Groups, loggers::Loggers,
    settings::Live, share::Shares, telemetry::Telemetry, transactions::Transactions,
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The broker's parts, shared by every connection and by the in-process door.
#[derive(Debug)]
pub struct Services {
    /// The broker's settings, as they are now.
    pub config: Arc<Live>,
    pub clock: Clock,
    pub cluster: Arc<Cluster>,
    /// Topics, their partitions and settings, and producer ids.
    pub catalog: Arc<Catalog>,
    /// What consumers asked for before (KIP-227).
    pub fetch_sessions: FetchSessions,
    /// Consumer groups and their offsets.
    pub groups: Arc<Groups>,
    /// What share groups read.
    pub shares: Arc<Shares>,
    /// Transactions across partitions.
    pub transactions: Arc<Transactions>,
    /// Levels of the log.
    pub loggers: Arc<Loggers>,
    /// What clients push (KIP-714).
    pub telemetry: Arc<Telemetry>,
    /// Cancelled when the broker stops: long polls answer what they have.
    pub shutdown: CancellationToken,
}
