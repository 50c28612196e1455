//! The log of one partition, in Kafka's own files.
//!
//! Synchronous. It knows record batches and files, nothing of requests, sockets or other partitions.
//! The caller serialises writers: one `&mut Log` at a time. Readers take a [`LogSlice`] under the caller's
//! lock and read from the file after releasing it; a slice keeps its segment's file open.

mod error;
pub mod file_system;
mod log;
pub mod record_batch;

pub use error::StorageError;
pub use log::{AppendError, Appended, Log, LogConfig, LogSlice, Origin, Recovered, TimestampAndOffset};
