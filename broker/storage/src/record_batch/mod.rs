//! Record batches, format 2 (KIP-98): reading, checking and building them.
//!
//! Used by the log, by consumers inside the process (aggregator, MQTT gateway) and to build what they write.
//! Everything here works on bytes in memory; nothing trusts a length before it is checked against what is there, and
//! decompression stops at the caller's cap.

mod builder;
mod header;
mod marker;
mod reader;
mod shapes;
#[cfg(test)]
mod tests;
pub mod varint;

pub use crate::compression::{Compression, unpack};
pub use builder::BatchBuilder;
pub use header::{BatchHeader, HEADER_LENGTH};
pub use marker::{EndTransactionMarker, TransactionResult};
pub use reader::{HeadersRef, Record, RecordBatch, RecordRef, Records, RecordsIter, batches};

pub(crate) use shapes::{RecordShape, shapes};

pub(crate) use header::{CRC_START, LENGTH_PREFIX, MAGIC_POSITION, PATCHED_PREFIX};

/// Why bytes are not a record batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BatchError(pub String);

impl BatchError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}
