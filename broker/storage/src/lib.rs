//! The log of one partition, in Kafka's own files.
//!
//! Synchronous. It knows record batches and files, nothing of requests, sockets or other partitions.
//! The caller serialises writers: one `&mut Log` at a time. Readers take a [`LogSlice`] under the caller's
//! lock and read from the file after releasing it; a slice keeps its segment's file open.

pub mod check;
mod checkpoint;
mod clean_shutdown;
mod compaction;
mod compression;
mod error;
pub mod file_system;
mod index;
mod leader_epochs;
mod log;
mod open_files;
mod partition_metadata;
mod producer_state;
pub mod record_batch;
mod recovery;
mod segment;
mod start_offset;
#[cfg(any(test, feature = "testing"))]
#[allow(clippy::unwrap_used, missing_docs)]
pub mod testing;

pub use clean_shutdown::{mark_clean_shutdown, withdraw_clean_shutdown};
pub use compaction::{Cleaned, CleanerSettings, CleaningError, Dirt, LogDoor, clean};
pub use error::StorageError;
pub use index::AbortedTransaction;
pub use log::{
    AppendError, Appended, BehindCheckpoint, CheckpointDone, CheckpointWork, DELETE_SUFFIX, Doomed, Durability, Log,
    LogConfig, LogSlice, Origin, RecordError, RecordProblem, Recovered, RemovedSegments, Retention, StartChange,
    StoredCompression, SyncDone, SyncWork, TimestampAndOffset, close_all,
};
pub use open_files::{limit_open_files, open_file_count};
pub use partition_metadata::{
    create_partition_metadata, read_partition_metadata, topic_id_from_string, topic_id_to_string,
    write_partition_metadata,
};
pub use producer_state::ActiveProducer;
