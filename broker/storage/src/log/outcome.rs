//! What an append answers.

use crate::StorageError;

/// Who appends; decides what is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A produce request: everything is checked; control batches are refused.
    Client,
    /// This process itself (group offsets, aggregate rows, metadata): any size.
    Internal,
    /// The transaction coordinator: as `Internal`, and the only one that writes control batches.
    Coordinator,
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

/// A record at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordError {
    /// Place in its batch.
    pub index: i32,
    pub problem: RecordProblem,
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordProblem {
    /// A compacted topic wants keys.
    NoKey,
    /// Outside of `least..=most`.
    Timestamp { timestamp_ms: i64, offset: i64, least: i64, most: i64 },
    /// The batch claims to bear the broker's time.
    Stamped { timestamp_ms: i64, offset: i64 },
}

impl RecordProblem {
    pub fn is_about_time(self) -> bool {
        !matches!(self, Self::NoKey)
    }
}

/// Why an append was refused. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("record batch is corrupt: {0}")]
    Corrupt(String),
    #[error("record batch of {size} bytes is over max.message.bytes ({limit})")]
    TooLarge { size: usize, limit: u32 },
    #[error("{size} bytes do not fit into a segment (segment.bytes is {limit})")]
    OverSegment { size: usize, limit: u32 },
    #[error("record format {0} is not supported, only 2")]
    UnsupportedMagic(i8),
    #[error("invalid record: {0}")]
    InvalidRecord(String),
    /// Some of the records break a rule; `first` names so many of the `count` as an answer may hold.
    #[error("{count} records of the batch break a rule")]
    InvalidRecords { count: usize, is_about_time: bool, first: Vec<RecordError> },
    #[error("sequence {got} of producer {producer_id} out of order, {expected} is due")]
    OutOfOrderSequence { producer_id: i64, expected: i32, got: i32 },
    #[error("producer {producer_id} epoch {got} is fenced by epoch {current}")]
    InvalidProducerEpoch { producer_id: i64, current: i16, got: i16 },
    #[error("producer {producer_id}: {reason}")]
    InvalidTransactionState { producer_id: i64, reason: &'static str },
    #[error("producer {producer_id}: coordinator epoch {got} is fenced by {current}")]
    CoordinatorFenced { producer_id: i64, current: i32, got: i32 },
    #[error("producer {0} is not known here")]
    UnknownProducerId(i64),
    #[error(transparent)]
    Storage(#[from] StorageError),
}
