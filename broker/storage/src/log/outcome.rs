//! What an append answers.

use crate::StorageError;

/// Who appends; decides what is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A produce request: everything is checked; control batches are refused.
    Client,
    /// This process itself (group offsets, aggregate rows, metadata): any size.
    Internal,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    pub last_offset: i64,
    /// The broker's time in ms when `message.timestamp.type=LogAppendTime`, else -1.
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    /// An idempotent producer sent it before: nothing was written, `base_offset` is that of the first time.
    pub duplicate: bool,
}

/// Why an append was refused. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("record batch is corrupt: {0}")]
    Corrupt(String),
    #[error("record batch of {size} bytes is over max.message.bytes ({limit})")]
    TooLarge { size: usize, limit: u32 },
    #[error("record format {0} is not supported, only 2")]
    UnsupportedMagic(i8),
    #[error("invalid record: {0}")]
    InvalidRecord(String),
    #[error("invalid timestamp: {0}")]
    InvalidTimestamp(String),
    #[error("sequence {got} of producer {producer_id} out of order, {expected} is due")]
    OutOfOrderSequence { producer_id: i64, expected: i32, got: i32 },
    #[error("producer {producer_id} epoch {got} is fenced by epoch {current}")]
    InvalidProducerEpoch { producer_id: i64, current: i16, got: i16 },
    #[error("producer {0} is not known here")]
    UnknownProducerId(i64),
    #[error(transparent)]
    Storage(#[from] StorageError),
}
