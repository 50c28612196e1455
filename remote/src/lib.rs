//! The log door to an Apache Kafka cluster elsewhere: what `client.rs` of the broker is in the process, over `rdkafka`.
//!
//! `log` is the door itself; `writer` appends, `reader` fetches, `groups` shows groups; `member` is a group's member whose
//! output and progress are committed as one. `cluster` knows the address and
//! the settings of every client that is made here. Only this room names rdkafka. It keeps no state but connections:
//! whatever must survive is in the cluster.

mod assignment;
mod cluster;
mod errors;
mod groups;
mod log;
mod member;
mod reader;
mod records;
mod writer;

pub use cluster::Cluster;
pub use log::RemoteLog;
