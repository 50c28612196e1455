//! One partition: its log behind a lock, the high watermark, and those who wait for more.
//!
//! One writer at a time. On a single node the high watermark is the log's end, with durability `fsync` its durable end. The lock is
//! never held across an await, nor while a file is synced; a reader takes a slice under it and sends the bytes after
//! releasing it. A fault of the storage takes this partition offline and no other.
//! Lock order: the cleaner's, `checkpointing`, `start_changes`, `log`, `waiters`.

mod cleaning;
mod group_sync;
mod isolation;
mod retention;
mod transactions;
mod upkeep;
mod waiters;

pub use group_sync::UntilDurable;
pub use isolation::{EpochEnd, Isolation, Wanted};
pub use upkeep::{NEVER, Upkeep};
pub use waiters::Watch;

use crate::{
    cluster::LEADER_EPOCH,
    durability::patience::{self, InStorage},
    errors::RequestError,
};
use bytes::Bytes;
use cleaning::Cleaning;
use group_sync::GroupSync;
use parking_lot::{Mutex, MutexGuard};
use std::sync::{Arc, atomic::AtomicUsize};
use tifo_storage::{
    AbortedTransaction, AppendError, Appended, Durability, Log, LogConfig, LogSlice, Origin, StorageError,
    TimestampAndOffset,
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
    /// Requests of clients that wait for a lock of this partition.
    waiting: AtomicUsize,
    /// Held by whoever moves the log start offset; taken before `log`.
    start_changes: Mutex<()>,
    cleaning: Cleaning,
    /// Held as long as a checkpoint is written beside the log's lock: the directory must stay.
    checkpointing: Mutex<()>,
    sync: GroupSync,
    waiters: Arc<Waiters>,
}

/// An append that is in the log.
#[derive(Debug)]
pub struct Accepted {
    pub appended: Appended,
    /// To be waited for before the append is acknowledged; None: it may be at once.
    pub until_durable: Option<UntilDurable>,
}

impl Accepted {
    /// Returns when the append may be acknowledged.
    pub async fn acknowledged(self) -> Result<Appended, RequestError> {
        if let Some(until_durable) = self.until_durable {
            until_durable.reached().await?;
        }
        Ok(self.appended)
    }
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
            waiting: AtomicUsize::new(0),
            start_changes: Mutex::default(),
            cleaning: Cleaning::default(),
            checkpointing: Mutex::default(),
            sync: GroupSync::default(),
            waiters: Arc::default(),
        }
    }

    /// Appends whole batches as they came; wakes who waits for them. What the topic's durability asks for comes after: the
    /// caller waits for it before it acknowledges.
    pub fn append(self: &Arc<Self>, batches: &Bytes, origin: Origin, now_ms: i64) -> Result<Accepted, RequestError> {
        let accepted = self.append_if(|_| true, batches, origin, now_ms)?;
        accepted.ok_or_else(|| RequestError::Unexpected("an append without a condition was not made".into()))
    }

    /// The same, unless `holds` says no to the log as it is then.
    fn append_if(
        self: &Arc<Self>,
        holds: impl FnOnce(&Log) -> bool,
        batches: &Bytes,
        origin: Origin,
        now_ms: i64,
    ) -> Result<Option<Accepted>, RequestError> {
        let failures = self.sync.failures();
        let (appended, must_wait, is_visible) = {
            let (_in_storage, mut hosted) = (InStorage::enter(), self.lock_in_turn(&self.log)?);
            let log = hosted.log()?;
            if !holds(log) {
                return Ok(None);
            }
            match log.append(batches, origin, LEADER_EPOCH, now_ms) {
                Ok(appended) => {
                    (appended, must_be_durable(log, &appended), log.high_watermark() > appended.last_offset)
                }
                Err(error) => return Err(self.refused(&mut hosted, error)),
            }
        };
        self.upkeep.changed();
        let until_durable = must_wait.then(|| self.until_durable(appended.last_offset + 1, failures));
        if is_visible {
            self.waiters.wake_all();
        }
        Ok(Some(Accepted { appended, until_durable }))
    }

    /// For what clients ask for: refused when too many wait already.
    fn lock_in_turn<'a, T>(&self, mutex: &'a Mutex<T>) -> Result<MutexGuard<'a, T>, RequestError> {
        patience::lock_in_turn(mutex, &self.waiting).ok_or(RequestError::Stalled)
    }

    /// Batches from `offset` on, below the high watermark.
    pub fn read(&self, offset: i64, max_bytes: usize, min_one: bool) -> Result<PartitionRead, RequestError> {
        let isolation = Isolation::ReadUncommitted;
        self.read_as(&Wanted { offset, max_bytes, min_one, isolation, last_fetched_epoch: None })
    }

    /// Batches as far as the reader's isolation level allows.
    pub fn read_as(&self, wanted: &Wanted) -> Result<PartitionRead, RequestError> {
        self.ask_log(|log| isolation::read(log, wanted))?
    }

    pub fn offsets(&self) -> Result<Offsets, RequestError> {
        self.ask_log(|log| Ok(Offsets::of(log)))
    }

    /// Size of its segments.
    pub fn size_bytes(&self) -> Result<u64, RequestError> {
        self.with_log(|log| Ok(log.size_bytes()))
    }

    /// The first record that is not older than `timestamp_ms`.
    pub fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<TimestampAndOffset>, RequestError> {
        self.ask_log(|log| log.offset_for_timestamp(timestamp_ms))
    }

    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampAndOffset>, RequestError> {
        self.ask_log(|log| log.offset_of_max_timestamp())
    }

    /// `notify` is told of every append until the guard is dropped.
    pub fn watch(&self, notify: &Arc<Notify>) -> Watch {
        self.waiters.watch(notify)
    }

    /// Who waits for records may find some: those of a share group have come back.
    pub fn wake(&self) {
        self.waiters.wake_all();
    }

    pub fn set_config(self: &Arc<Self>, config: LogConfig) -> Result<(), RequestError> {
        let becomes_durable = config.durability == Durability::Fsync;
        self.with_log(|log| {
            log.set_config(config);
            Ok(())
        })?;
        self.upkeep.changed();
        if becomes_durable {
            self.ask_for_sync();
        }
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

    /// Notes that all is good up to here, on stable storage. Waits for the disk, but appends and reads do not wait for it.
    pub fn checkpoint(&self) -> Result<(), RequestError> {
        let _alone = self.checkpointing.lock();
        let Some(work) = self.with_log(Log::begin_checkpoint)? else { return Ok(()) };
        let done = work.run();
        let finished = self.with_log(|log| log.finish_checkpoint(done));
        match finished {
            // It may be only the checkpoint's own file that found no space.
            Err(error) if self.with_log(|log| Ok(!log.is_offline())).unwrap_or(false) => Err(error),
            finished => self.after_sync(finished),
        }
    }

    /// Ends the partition for good; its log's files are the caller's to remove.
    pub fn abandon(&self) {
        self.cleaning.end();
        let _alone = self.checkpointing.lock();
        *self.log.lock() = Hosted::Gone;
        self.sync.note_failure();
        self.waiters.wake_all();
    }

    /// Ends the partition; its log, if it has one, is the caller's to close and to tell by [`Partition::closed`].
    pub fn take_log(&self) -> Option<Log> {
        self.cleaning.end();
        let _alone = self.checkpointing.lock();
        let hosted = std::mem::replace(&mut *self.log.lock(), Hosted::Gone);
        match hosted {
            Hosted::Online(log) => Some(*log),
            Hosted::Offline | Hosted::Gone => None,
        }
    }

    /// Its log, which ended at `end`, was closed cleanly, or was not: who waits for a sync is told.
    pub fn closed(&self, end: i64, cleanly: bool) {
        if cleanly { self.sync.note(end) } else { self.sync.note_failure() }
    }

    /// What this process does of its own accord.
    fn with_log<T>(&self, act: impl FnOnce(&mut Log) -> Result<T, StorageError>) -> Result<T, RequestError> {
        let (_in_storage, mut hosted) = (InStorage::enter(), patience::lock(&self.log));
        act(hosted.log()?).map_err(|error| self.failed(&mut hosted, error))
    }

    /// What a client asks for.
    fn ask_log<T>(&self, act: impl FnOnce(&mut Log) -> Result<T, StorageError>) -> Result<T, RequestError> {
        let (_in_storage, mut hosted) = (InStorage::enter(), self.lock_in_turn(&self.log)?);
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
                tracing::error!(topic = %self.topic, partition = self.index, %error, "partition is offline: stop the broker and run `tifo log check` on its directory");
                *hosted = Hosted::Offline;
            }
        }
        error.into()
    }
}

/// Whether the append is acknowledged only after a sync: always with fsync, else if it reached `flush.messages`.
fn must_be_durable(log: &Log, appended: &Appended) -> bool {
    let is_durable = log.durable_offset() > appended.last_offset;
    !is_durable && (log.config().durability == Durability::Fsync || log.flush_is_due())
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
