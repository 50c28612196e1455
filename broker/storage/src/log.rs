//! One partition's log: a chain of segments, the last of which is written.

use crate::{StorageError, file_system::FileSystem};
use bytes::Bytes;
use std::{path::Path, sync::Arc};

/// Kafka's topic settings, as far as the log acts on them. Kafka's names and units.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    pub segment_bytes: u32,
    pub segment_ms: i64,
    pub index_interval_bytes: u32,
    pub max_message_bytes: u32,
    /// `message.timestamp.type=LogAppendTime`: the log writes its own clock into each batch.
    pub log_append_time: bool,
    /// `cleanup.policy` holds `compact`: a record without key is refused.
    pub compacted: bool,
    /// Cap on what one batch may decompress to (`max.decompressed.message.bytes`, Tifo's own setting).
    pub max_decompressed_message_bytes: usize,
    /// `message.timestamp.before.max.ms`: how far behind the broker's clock a client's timestamp may lie.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far ahead of the broker's clock a client's timestamp may lie.
    pub timestamp_after_max_ms: i64,
    /// `producer.id.expiration.ms`: an idempotent producer silent for so long is forgotten.
    pub producer_id_expiration_ms: i64,
}

/// Kafka's defaults.
impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            index_interval_bytes: 4096,
            max_message_bytes: 1_048_588,
            log_append_time: false,
            compacted: false,
            max_decompressed_message_bytes: 128 << 20,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            producer_id_expiration_ms: 24 * 3_600_000,
        }
    }
}

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

/// A contiguous run of whole record batches in one segment file.
#[derive(Debug, Clone)]
pub struct LogSlice {
    /// Open segment file; stays readable after the segment is deleted.
    pub file: Arc<std::fs::File>,
    /// Where that file was when it was opened; for messages only.
    pub path: Arc<Path>,
    pub position: u64,
    pub length: usize,
    /// Offset of the first batch in the slice (may be below the one asked for: batches are whole).
    pub base_offset: i64,
}

impl LogSlice {
    /// The bytes, through user space. `length` is at most what `max_bytes` allowed, or one batch.
    pub fn read(&self) -> Result<Bytes, StorageError> {
        todo!()
    }
}

/// Answer to a search by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampAndOffset {
    pub timestamp_ms: i64,
    pub offset: i64,
    pub leader_epoch: i32,
}

/// What opening a log had to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    pub segments: usize,
    /// Bytes scanned because the last stop was not clean.
    pub scanned_bytes: u64,
    /// Bytes cut off behind the last whole batch.
    pub truncated_bytes: u64,
}

/// One partition's log.
#[derive(Debug)]
pub struct Log {}

impl Log {
    /// Opens the log in `dir` (created if missing); after an unclean stop scans from the last known good point
    /// and cuts a torn tail. `now_ms` is the broker's clock, ms since the epoch.
    pub fn open(
        file_system: Arc<dyn FileSystem>,
        dir: &Path,
        config: LogConfig,
        now_ms: i64,
    ) -> Result<(Log, Recovered), StorageError> {
        let _ = (file_system, dir, config, now_ms);
        todo!()
    }

    /// Appends one or more whole v2 batches as they came, giving them offsets and `leader_epoch`.
    pub fn append(
        &mut self,
        batches: &Bytes,
        origin: Origin,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let _ = (batches, origin, leader_epoch, now_ms);
        todo!()
    }

    /// Whole batches from the one that holds `offset` on, below `end` (high watermark or last stable offset), at most
    /// `max_bytes` except that with `min_one` the first batch comes whole whatever its size. None: nothing there.
    /// The caller has checked that `log_start_offset <= offset <= log_end_offset`.
    pub fn read(
        &self,
        offset: i64,
        end: i64,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<Option<LogSlice>, StorageError> {
        let _ = (offset, end, max_bytes, min_one);
        todo!()
    }

    /// The first record whose timestamp is at least `timestamp_ms`, also inside a compressed batch.
    pub fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<TimestampAndOffset>, StorageError> {
        let _ = timestamp_ms;
        todo!()
    }

    /// The first record that bears the highest timestamp (ListOffsets -3).
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampAndOffset>, StorageError> {
        todo!()
    }

    pub fn log_start_offset(&self) -> i64 {
        todo!()
    }

    pub fn log_end_offset(&self) -> i64 {
        todo!()
    }

    /// Size of all segments in bytes.
    pub fn size_bytes(&self) -> u64 {
        todo!()
    }

    /// New settings; they hold from the next append on.
    pub fn set_config(&mut self, config: LogConfig) {
        let _ = config;
        todo!()
    }

    /// Everything to stable storage (fdatasync).
    pub fn flush(&mut self) -> Result<(), StorageError> {
        todo!()
    }

    /// Flushes, writes producer snapshot, and marks a clean end, so that the next open scans nothing.
    pub fn close(self) -> Result<(), StorageError> {
        todo!()
    }

    /// Removes the files. Slices handed out before stay readable.
    pub fn delete(self) -> Result<(), StorageError> {
        todo!()
    }
}
