//! Which segments may go: by age, by size, and below the log start offset. The decision is the log's, the work the maintenance's.
//!
//! Segments go from the oldest on, never one out of the middle. The active segment goes too when all of it has expired: then the log
//! rolls first. A segment in which the last checkpoint lies, or a later one, waits for the next checkpoint: recovery starts from there.

use super::{Doomed, Log};
use crate::{
    StorageError,
    index::AbortDigest,
    segment::{Segment, SegmentFiles},
};

/// What is to be done about old segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Nothing until then (ms since the epoch; i64::MAX: until something changes).
    Nothing { next_ms: i64 },
    /// The active segment has expired: roll, then ask again.
    Roll,
    /// The last checkpoint lies in what is to go: take one, then ask again.
    Checkpoint,
    /// Move the log start offset to `offset` at least, then take the segments below it away.
    Remove { offset: i64 },
}

/// When retention asks again after it met the cleaner at a segment.
const WAIT_FOR_CLEANER_MS: i64 = 1000;

impl Log {
    /// What `retention.ms`, `retention.bytes` and the log start offset ask for now. Nothing at or above `high_watermark` goes.
    pub fn retention(&mut self, high_watermark: i64, now_ms: i64) -> Result<Retention, StorageError> {
        let mut going = self.below_start();
        let mut next_ms = i64::MAX;
        if self.config.delete {
            going += self.over_size(going);
            (going, next_ms) = self.expired(going, now_ms)?;
        }
        let going = going.min(self.count_below(high_watermark));
        let free = self.sealed.iter().take_while(|segment| !self.is_being_swapped(segment)).count();
        if free < going.min(self.sealed.len()) {
            return Ok(Retention::Nothing { next_ms: now_ms.saturating_add(WAIT_FOR_CLEANER_MS) });
        }
        Ok(self.verdict(going, next_ms))
    }

    fn verdict(&self, going: usize, next_ms: i64) -> Retention {
        let Some(last) = going.checked_sub(1) else { return Retention::Nothing { next_ms } };
        let Some(last) = self.sealed.get(last) else { return Retention::Roll };
        if self.checkpointed_segment.is_none_or(|segment| segment <= last.base_offset()) {
            return Retention::Checkpoint;
        }
        Retention::Remove { offset: self.sealed.get(going).unwrap_or(&self.active).base_offset() }
    }

    /// Segments, oldest first, all of whose records are below the log start offset.
    fn below_start(&self) -> usize {
        self.ends().take(self.sealed.len()).take_while(|end| *end <= self.log_start_offset).count()
    }

    fn count_below(&self, high_watermark: i64) -> usize {
        self.ends().take_while(|end| *end <= high_watermark).count()
    }

    /// Of each segment the offset behind its last record, or where the next one begins.
    fn ends(&self) -> impl Iterator<Item = i64> {
        self.segments().skip(1).map(Segment::base_offset).chain([self.log_end_offset])
    }

    /// How many behind the first `going` must go so that what is left is not below `retention.bytes`, but next to it.
    fn over_size(&self, going: usize) -> usize {
        let Ok(limit) = u64::try_from(self.config.retention_bytes) else { return 0 };
        let sizes = || self.segments().skip(going).map(Segment::size);
        let mut over = sizes().sum::<u64>().saturating_sub(limit);
        let fits = |size: &u64| {
            let fits = *size > 0 && *size <= over;
            over -= if fits { *size } else { 0 };
            fits
        };
        sizes().take_while(fits).count()
    }

    /// How many go once age counts too, and when the next one will.
    fn expired(&self, going: usize, now_ms: i64) -> Result<(usize, i64), StorageError> {
        let (mut going, retention_ms) = (going, self.config.retention_ms);
        if retention_ms < 0 {
            return Ok((going, i64::MAX));
        }
        for segment in self.segments().skip(going).take_while(|segment| segment.size() > 0) {
            let expires_ms = segment.largest_timestamp()?.saturating_add(retention_ms).max(self.stays_until(segment));
            if expires_ms >= now_ms {
                return Ok((going, expires_ms.saturating_add(1)));
            }
            going += 1;
        }
        Ok((going, i64::MAX))
    }

    /// Up to which millisecond a segment stays however old its records say they are.
    fn stays_until(&self, segment: &Segment) -> i64 {
        let stays_ms = self.config.retention_ms.min(self.config.retention_check_interval_ms);
        segment.appended_ms().saturating_add(stays_ms) - 1
    }

    /// Begins a new segment, so that the one that is active now can go.
    pub fn roll_active(&mut self, now_ms: i64) -> Result<(), StorageError> {
        self.check_online()?;
        if self.active.size() > 0 { self.roll(now_ms) } else { Ok(()) }
    }

    /// Takes the segments below the log start offset, and before the last checkpoint's, out of the log. Their files are still there.
    pub fn take_out_of_range(&mut self) -> RemovedSegments {
        let checkpointed = self.checkpointed_segment.unwrap_or(0);
        let may_go = self
            .sealed
            .iter()
            .take(self.below_start())
            .take_while(|segment| segment.base_offset() < checkpointed && !self.is_being_swapped(segment));
        let gone = may_go.count();
        let removed: Vec<Segment> = self.sealed.drain(..gone).collect();
        self.note_indexes_gone(
            removed.iter().map(Segment::abort_digest).fold(AbortDigest::default(), AbortDigest::plus),
        );
        let segments = removed.iter().map(|segment| segment.files().clone()).collect();
        RemovedSegments { segments, delay_ms: self.config.file_delete_delay_ms }
    }
}

/// Segments that are not in the log any more.
#[derive(Debug)]
pub struct RemovedSegments {
    segments: Vec<SegmentFiles>,
    delay_ms: i64,
}

impl RemovedSegments {
    /// Renames the files. A crash before or within it leaves segments below the log start offset, which the next open drops.
    pub fn doom(self) -> Result<Doomed, StorageError> {
        Doomed::segments(self.segments, self.delay_ms)
    }
}
