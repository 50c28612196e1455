//! The HTTP gateway: where taps come in, and where people and probes look in.
//!
//! tap -> `connection` (limits, time-outs) -> `routes` -> `ingest` (validate, place in the stream's bounded `buffer`)
//! -> `batcher` (one per stream) -> the log, through `tifo_broker::LogClient`.
//! It never answers 202 for what it cannot keep, never answers 200 for what the log has not, and never holds more than
//! its configuration says. Only this crate names the HTTP framework.

mod aggregates;
mod batcher;
mod body;
mod buffer;
mod config;
mod connection;
mod error;
mod event;
mod gateway;
mod groups;
mod ingest;
mod observe;
mod page;
mod partitioner;
mod plan;
mod poll;
mod problem;
mod producer;
mod rate;
mod routes;
mod stream;
mod timestamp;
mod websocket;

pub use aggregates::{Aggregates, Notation, Refusal};
pub use config::{HttpConfig, StreamIngest};
pub use error::HttpError;
pub use gateway::{Hooks, HttpGateway};
pub use ingest::{Cause, Ingest, NotTaken};
pub use partitioner::{murmur2, partition_of};
pub use poll::{Answer, Poll, Rounds};
pub use producer::{EPOCH_HEADER, PRODUCER_ID_HEADER, SEQUENCES_HEADER, next_sequence};
pub use timestamp::{format_iso_8601, parse_iso_8601};
pub use websocket::MqttEdge;
