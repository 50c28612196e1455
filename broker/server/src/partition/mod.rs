//! One partition: its log behind a lock, the high watermark, and those who wait for more.
//!
//! One writer at a time. On a single node the high watermark is the log's end. The lock is never held across an await; a
//! reader takes a slice under it and sends the bytes after releasing it. A fault of the storage takes this partition
//! offline and no other. Lock order: the cleaner's, `start_changes`, `log`, `waiters`.

mod cleaning;
mod isolation;
mod retention;
mod upkeep;
mod waiters;

pub use isolation::{EpochEnd, Isolation, Wanted};
pub use upkeep::{NEVER, Upkeep};
pub use waiters::Watch;

use crate::{cluster::LEADER_EPOCH, errors::RequestError};
use bytes::Bytes;
use cleaning::Cleaning;
use parking_lot::Mutex;
use std::sync::Arc;
use tifo_storage::{
    AbortedTransaction, AppendError, Appended, Log, LogConfig, LogSlice, Origin, StorageError, TimestampAndOffset,
};
use tokio::sync::Notify;
use waiters::Waiters;

/// One partition of a topic on this node.
#[derive(Debug)]
pub struct Partition {
    pub topic: Arc<str>,
    pub index: i32,
    /// When the maintenance looks in.
    pub upkeep: Upkeep,
    log: Mutex<Hosted>,
    /// Held by whoever moves the log start offset; taken before `log`.
    start_changes: Mutex<()>,
    cleaning: Cleaning,
    waiters: Arc<Waiters>,
}

#[derive(Debug)]
enum Hosted {
    Online(Box<Log>),
    /// A storage fault, told in the log when it happened.
    Offline,
    /// The topic was deleted, or the broker stops.
    Gone,
}

/// Why the maintenance does not get at the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNow {
    /// Somebody else is at it; maybe waiting for the disk.
    Busy,
    /// Offline, or gone.
    Closed,
}

/// Where a partition begins and ends for readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    pub log_start_offset: i64,
    pub high_watermark: i64,
    /// Below it every transaction is decided; where readers of committed records stop.
    pub last_stable_offset: i64,
}

/// What a reader gets.
#[derive(Debug)]
pub struct PartitionRead {
    pub offsets: Offsets,
    /// None: nothing there yet.
    pub slice: Option<LogSlice>,
    /// For readers of committed records: which transactions in the slice were aborted.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// The reader's history is not ours: here they part.
    pub diverging: Option<EpochEnd>,
    pub isolation: Isolation,
}

impl Partition {
    pub fn new(topic: Arc<str>, index: i32, log: Option<Log>) -> Self {
        let log = log.map_or(Hosted::Offline, |log| Hosted::Online(Box::new(log)));
        Self {
            topic,
            index,
            upkeep: Upkeep::default(),
            log: Mutex::new(log),
            start_changes: Mutex::default(),
            cleaning: Cleaning::default(),
            waiters: Arc::default(),
        }
    }

    /// Appends whole batches as they came; wakes who waits for them.
    pub fn append(&self, batches: &Bytes, origin: Origin, now_ms: i64) -> Result<Appended, RequestError> {
        let appended = {
            let mut hosted = self.log.lock();
            let appended = hosted.log()?.append(batches, origin, LEADER_EPOCH, now_ms);
            appended.map_err(|error| self.refused(&mut hosted, error))?
        };
        self.upkeep.changed();
        self.waiters.wake_all();
        Ok(appended)
    }

    /// Batches from `offset` on, below the high watermark.
    pub fn read(&self, offset: i64, max_bytes: usize, min_one: bool) -> Result<PartitionRead, RequestError> {
        let isolation = Isolation::ReadUncommitted;
        self.read_as(&Wanted { offset, max_bytes, min_one, isolation, last_fetched_epoch: None })
    }

    /// Batches as far as the reader's isolation level allows.
    pub fn read_as(&self, wanted: &Wanted) -> Result<PartitionRead, RequestError> {
        self.with_log(|log| isolation::read(log, wanted))?
    }

    pub fn offsets(&self) -> Result<Offsets, RequestError> {
        self.with_log(|log| Ok(Offsets::of(log)))
    }

    /// The first record that is not older than `timestamp_ms`.
    pub fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<TimestampAndOffset>, RequestError> {
        self.with_log(|log| log.offset_for_timestamp(timestamp_ms))
    }

    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampAndOffset>, RequestError> {
        self.with_log(|log| log.offset_of_max_timestamp())
    }

    /// `notify` is told of every append until the guard is dropped.
    pub fn watch(&self, notify: &Arc<Notify>) -> Watch {
        self.waiters.watch(notify)
    }

    pub fn set_config(&self, config: LogConfig) -> Result<(), RequestError> {
        self.with_log(|log| {
            log.set_config(config);
            Ok(())
        })?;
        self.upkeep.changed();
        Ok(())
    }

    /// What the maintenance asks of the log, without waiting for its lock. `ask` must not wait for the disk to sync.
    pub fn try_log<T>(&self, ask: impl FnOnce(&mut Log) -> T) -> Result<T, NotNow> {
        match self.log.try_lock().as_deref_mut() {
            Some(Hosted::Online(log)) => Ok(ask(log)),
            Some(Hosted::Offline | Hosted::Gone) => Err(NotNow::Closed),
            None => Err(NotNow::Busy),
        }
    }

    /// Notes that all is good up to here, on stable storage.
    pub fn checkpoint(&self) -> Result<(), RequestError> {
        self.with_log(Log::checkpoint)
    }

    /// Ends the partition for good; its log's files are the caller's to remove.
    pub fn abandon(&self) {
        self.cleaning.end();
        *self.log.lock() = Hosted::Gone;
        self.waiters.wake_all();
    }

    /// Ends the partition cleanly, so that the next start scans nothing.
    pub fn close(&self) -> Result<(), StorageError> {
        self.cleaning.end();
        let hosted = std::mem::replace(&mut *self.log.lock(), Hosted::Gone);
        match hosted {
            Hosted::Online(log) => log.close(),
            Hosted::Offline | Hosted::Gone => Ok(()),
        }
    }

    fn with_log<T>(&self, act: impl FnOnce(&mut Log) -> Result<T, StorageError>) -> Result<T, RequestError> {
        let mut hosted = self.log.lock();
        act(hosted.log()?).map_err(|error| self.failed(&mut hosted, error))
    }

    fn refused(&self, hosted: &mut Hosted, error: AppendError) -> RequestError {
        match error {
            AppendError::Storage(error) => self.failed(hosted, error),
            refused => refused.into(),
        }
    }

    /// The log itself refuses writes after a fault that it cannot undo; damage takes reading offline too.
    fn failed(&self, hosted: &mut Hosted, error: StorageError) -> RequestError {
        match &error {
            StorageError::Offline { .. } => {
                tracing::debug!(topic = %self.topic, partition = self.index, %error, "offline")
            }
            StorageError::Io { .. } => {
                tracing::error!(topic = %self.topic, partition = self.index, %error, "storage failed")
            }
            StorageError::Corrupt { .. } => {
                tracing::error!(topic = %self.topic, partition = self.index, %error, "partition is offline until restart");
                *hosted = Hosted::Offline;
            }
        }
        error.into()
    }
}

impl Hosted {
    fn log(&mut self) -> Result<&mut Log, RequestError> {
        match self {
            Hosted::Online(log) => Ok(log),
            Hosted::Offline => Err(RequestError::Offline),
            Hosted::Gone => Err(RequestError::UnknownTopicOrPartition),
        }
    }
}
