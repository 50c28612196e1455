//! How a partition loses its oldest records: DeleteRecords moves the log start offset, the maintenance removes what is out of range.
//!
//! Lock order: `start_changes`, then `log`. The former is held while the new start is written, the latter is not.

use super::{NotNow, Partition};
use crate::errors::RequestError;
use tifo_storage::{Doomed, Durability, Retention, StartChange, StorageError};

impl Partition {
    /// From now on the partition starts at `offset`, at the high watermark if None; the offset at which it really starts.
    /// Nothing happens if that lies behind already.
    pub fn delete_records(&self, offset: Option<i64>) -> Result<i64, RequestError> {
        let end = self.offsets()?.high_watermark;
        let offset = offset.unwrap_or(end);
        if !(0..=end).contains(&offset) {
            return Err(RequestError::OffsetOutOfRange { start: 0, end });
        }
        let _one_at_a_time = self.lock_in_turn(&self.start_changes)?;
        let (change, durability) = self.ask_log(|log| Ok((log.plan_start(offset)?, log.config().durability)))?;
        if change.moves() {
            self.persist(&change, durability == Durability::Fsync)?;
            self.with_log(|log| log.move_start(&change))?;
            self.upkeep.changed();
        }
        Ok(self.offsets()?.log_start_offset)
    }

    /// What retention asks for now.
    pub fn retention(&self, now_ms: i64) -> Result<Result<Retention, StorageError>, NotNow> {
        self.try_log(|log| log.retention(log.high_watermark(), now_ms))
    }

    /// Begins a new segment, so that all that is there can go.
    pub fn roll(&self, now_ms: i64) -> Result<(), RequestError> {
        self.with_log(|log| log.roll_active(now_ms))
    }

    /// The partition starts at `offset` or later, and the files of the segments below have their last names. The start is on
    /// stable storage before.
    pub fn remove_before(&self, offset: i64) -> Result<Doomed, RequestError> {
        let _one_at_a_time = self.start_changes.lock();
        let change = self.with_log(|log| log.plan_start(offset))?;
        self.persist(&change, true)?;
        let removed = self.with_log(|log| {
            log.move_start(&change)?;
            Ok(log.take_out_of_range())
        })?;
        removed.doom().map_err(|error| self.told(error))
    }

    /// Whether `cleanup.policy` asks for compaction and nothing else.
    pub fn is_only_compacted(&self) -> Result<bool, RequestError> {
        self.with_log(|log| Ok(log.config().compacted && !log.config().delete))
    }

    fn persist(&self, change: &StartChange, sync: bool) -> Result<(), RequestError> {
        change.persist(sync).map_err(|error| self.told(error))
    }

    /// A fault beside the log: it is told, and the log goes on.
    fn told(&self, error: StorageError) -> RequestError {
        tracing::error!(topic = %self.topic, partition = self.index, %error, "the log start offset could not be moved");
        error.into()
    }
}
