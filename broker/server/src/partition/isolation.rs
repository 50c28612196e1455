//! What a reader is shown: up to where, which transactions it must leave out, and whether its history is ours.
//!
//! Readers of committed records (KIP-98) stop at the last stable offset, and are told which transactions below were aborted. A
//! reader that names the epoch of what it read last (KIP-595) is told where its history and ours part.

use super::{Offsets, Partition, PartitionRead};
use crate::{cluster::LEADER_EPOCH, errors::RequestError};
use tifo_storage::{AbortedTransaction, Log, LogSlice, StorageError};

/// How much of the log a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    #[default]
    ReadUncommitted,
    ReadCommitted,
}

/// What a reader asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub offset: i64,
    pub max_bytes: usize,
    /// The first batch comes whole whatever its size.
    pub min_one: bool,
    pub isolation: Isolation,
    /// Leader epoch of the last record that the reader has; None: it does not say.
    pub last_fetched_epoch: Option<i32>,
}

/// A leader epoch and the offset at which it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    pub leader_epoch: i32,
    pub end_offset: i64,
}

impl From<i8> for Isolation {
    fn from(level: i8) -> Self {
        if level == 1 { Self::ReadCommitted } else { Self::ReadUncommitted }
    }
}

impl Offsets {
    pub(super) fn of(log: &mut Log) -> Self {
        let high_watermark = log.high_watermark();
        Self {
            log_start_offset: log.log_start_offset(),
            high_watermark,
            last_stable_offset: log.last_stable_offset(high_watermark),
        }
    }

    /// The offset behind the last that may be read.
    pub fn end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset,
        }
    }
}

impl Partition {
    /// Where `leader_epoch` ended here: it, or the largest one before it. None: it is none of ours (OffsetForLeaderEpoch).
    pub fn epoch_end(&self, leader_epoch: i32) -> Result<Option<EpochEnd>, RequestError> {
        self.ask_log(|log| Ok(epoch_end(log, leader_epoch)))
    }
}

/// Reads from the log under its lock. The inner error is the reader's mistake.
pub(super) fn read(log: &mut Log, wanted: &Wanted) -> Result<Result<PartitionRead, RequestError>, StorageError> {
    let offsets = Offsets::of(log);
    let nothing = PartitionRead { offsets, slice: None, aborted: None, diverging: None, isolation: wanted.isolation };
    match check_history(log, wanted, offsets) {
        Ok(None) => {}
        Ok(diverging) => return Ok(Ok(PartitionRead { diverging, ..nothing })),
        Err(error) => return Ok(Err(error)),
    }
    let Offsets { log_start_offset: start, high_watermark: end, .. } = offsets;
    if wanted.offset < start || wanted.offset > end {
        return Ok(Err(RequestError::OffsetOutOfRange { start, end }));
    }
    let limit = offsets.end(wanted.isolation);
    let slice = log.read(wanted.offset, limit, wanted.max_bytes, wanted.min_one)?;
    let aborted = aborted(log, wanted, slice.as_ref(), limit)?;
    Ok(Ok(PartitionRead { slice, aborted, ..nothing }))
}

fn aborted(
    log: &Log,
    wanted: &Wanted,
    slice: Option<&LogSlice>,
    limit: i64,
) -> Result<Option<Vec<AbortedTransaction>>, StorageError> {
    if wanted.isolation == Isolation::ReadUncommitted {
        return Ok(None);
    }
    let Some(slice) = slice else { return Ok(Some(Vec::new())) };
    let to = slice.next_offset.unwrap_or(limit);
    log.aborted_transactions(wanted.offset, to).map(Some)
}

/// Where the reader's history leaves ours, if it does.
fn check_history(log: &Log, wanted: &Wanted, offsets: Offsets) -> Result<Option<EpochEnd>, RequestError> {
    let Some(epoch) = wanted.last_fetched_epoch else { return Ok(None) };
    let out_of_range = RequestError::OffsetOutOfRange { start: offsets.log_start_offset, end: offsets.high_watermark };
    let Some(ours) = epoch_end(log, epoch) else { return Err(out_of_range) };
    if wanted.offset < offsets.log_start_offset {
        return Err(out_of_range);
    }
    Ok((ours.leader_epoch < epoch || ours.end_offset < wanted.offset).then_some(ours))
}

/// The current epoch ends where readers do; epochs before the first that is known end where that began.
fn epoch_end(log: &Log, leader_epoch: i32) -> Option<EpochEnd> {
    let end = |(leader_epoch, end_offset)| EpochEnd { leader_epoch, end_offset };
    match leader_epoch {
        LEADER_EPOCH => Some(end((LEADER_EPOCH, log.high_watermark()))),
        ..0 => None,
        epoch if epoch > LEADER_EPOCH => None,
        epoch => Some(end(log.end_offset_for_leader_epoch(epoch).unwrap_or((epoch, log.log_start_offset())))),
    }
}
