//! Kafka's wire protocol on top of the log and the coordinators.
//!
//! `network` moves frames, `api` gives them meaning (one file per API), `partition` and `catalog` hold what exists,
//! `client` is the door for what runs in the same process. Sockets stay in `network`, files in `tifo_storage` and
//! `catalog/data_dir`.

mod api;
mod broker;
mod catalog;
pub mod client;
pub mod clock;
mod cluster;
mod config;
mod coordination;
pub mod durability;
mod errors;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod group_view;
mod groups;
mod local_client;
pub mod loggers;
mod maintenance;
mod network;
mod open_files;
mod partition;
mod services;
mod settings;
mod share;
mod telemetry;
mod transactions;

pub use broker::{Broker, BrokerError};
pub use catalog::{DataDirError, DataDirLock, OpenError};
pub use client::{ClientError, LogClient};
pub use clock::Clock;
pub use config::BrokerConfig;
pub use local_client::LocalClient;
pub use settings::ConfigError;
