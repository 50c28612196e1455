//! Kafka's wire protocol on top of the log and the coordinators.

pub mod client;
pub mod clock;

pub use client::{ClientError, LogClient};
