//! A member is given records: those that came back first, then new ones, up to a number that batches of the log may exceed.

use super::{
    partition::{InFlight, Limits, RecordState, SharePartition},
    runs::Runs,
};
use std::sync::Arc;

/// What was delivered less often is nothing special.
const LEAST_SUSPICIOUS: i16 = 2;

/// A record batch that was read from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBatch {
    pub first_offset: i64,
    pub last_offset: i64,
    /// Part of a transaction that was aborted, and the reader wants committed records alone.
    pub is_aborted: bool,
}

#[derive(Debug, Clone)]
pub struct Acquire<'a> {
    pub member: Arc<str>,
    pub now_ms: i64,
    /// Most records; a batch of the log is not cut for it.
    pub max_records: i64,
    /// New records are told in batches of about this size.
    pub batch_size: i64,
    pub limits: Limits,
    /// From where the log was read: what lies between and the first batch is not there any more.
    pub read_from: i64,
    pub batches: &'a [LogBatch],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcquiredRecords {
    pub first_offset: i64,
    pub last_offset: i64,
    pub delivery_count: i16,
}

impl SharePartition {
    /// The member holds what is returned.
    pub fn acquire(&mut self, request: &Acquire<'_>) -> Vec<AcquiredRecords> {
        let (Some(first), Some(last)) = (request.batches.first(), request.batches.last()) else { return Vec::new() };
        self.archive_available(request.read_from, first.first_offset - 1);
        let first_offset = first.first_offset.max(self.start_offset);
        let (mut acquired, left) = self.acquire_again(first_offset, last.last_offset, request);
        if left > 0 {
            acquired.extend(self.acquire_new(first_offset, last.last_offset, left, request));
        }
        self.archive_aborted(&mut acquired, request.batches);
        self.advance();
        acquired
    }

    /// Records that came back, and how many more there may be. What has come back often is given in ever smaller parts, and alone.
    fn acquire_again(&mut self, first: i64, last: i64, request: &Acquire<'_>) -> (Vec<AcquiredRecords>, i64) {
        let last = last.min(self.end_offset - 1);
        let available: Vec<(i64, i64, i16)> = self
            .runs
            .within(first, last)
            .filter(|(_, _, record)| record.state == RecordState::Available)
            .map(|(first, last, record)| (first, last, record.delivery_count))
            .collect();
        let (mut acquired, mut left) = (Vec::new(), request.max_records);
        for (first, last, delivered) in available {
            let together = (last - first + 1).max(size_of_batch(first, request.batches));
            let part = suspects(together, delivered, request.limits.delivery_count);
            if left <= 0 || part.is_some() && !acquired.is_empty() {
                return (acquired, 0);
            }
            let last = match part {
                Some(part) => last.min(first + part - 1),
                None => align(first, last, left, request.batches),
            };
            left -= last - first + 1;
            acquired.push(self.hold(first, last, delivered.saturating_add(1), request));
            if part.is_some() {
                return (acquired, 0);
            }
        }
        (acquired, left)
    }

    /// Records that nobody had yet.
    fn acquire_new(&mut self, first: i64, last: i64, most: i64, request: &Acquire<'_>) -> Vec<AcquiredRecords> {
        let first = first.max(self.end_offset);
        let most = most.min(self.room(&request.limits));
        if first > last || most <= 0 {
            return Vec::new();
        }
        self.pass_over(first);
        let last = align(first, last, most, request.batches);
        self.hold(first, last, 1, request);
        self.end_offset = last + 1;
        in_batches(first, last, request)
    }

    /// The log has nothing between the end and `first`.
    fn pass_over(&mut self, first: i64) {
        if self.runs.is_empty() {
            self.start_offset = first;
        } else if first > self.end_offset {
            self.runs.set(self.end_offset, first - 1, InFlight::new(RecordState::Archived, 0));
        }
        self.end_offset = first;
    }

    fn hold(&mut self, first_offset: i64, last_offset: i64, delivery_count: i16, by: &Acquire<'_>) -> AcquiredRecords {
        let until_ms = by.now_ms.saturating_add(by.limits.lock_duration_ms);
        let state = RecordState::Acquired { member: by.member.clone(), until_ms };
        self.runs.set(first_offset, last_offset, InFlight::new(state, delivery_count));
        self.earliest_lock_ms = self.earliest_lock_ms.min(until_ms);
        AcquiredRecords { first_offset, last_offset, delivery_count }
    }

    /// Nobody will be given these.
    fn archive_available(&mut self, first: i64, last: i64) {
        let last = last.min(self.end_offset - 1);
        let gone: Vec<(i64, i64, i16)> = self
            .runs
            .within(first, last)
            .filter(|(_, _, record)| record.state == RecordState::Available)
            .map(|(first, last, record)| (first, last, record.delivery_count))
            .collect();
        for (first, last, delivered) in gone {
            self.runs.set(first, last, InFlight::new(RecordState::Archived, delivered));
        }
    }

    /// What was aborted is taken out of what was just acquired, for good.
    fn archive_aborted(&mut self, acquired: &mut Vec<AcquiredRecords>, batches: &[LogBatch]) {
        for batch in batches.iter().filter(|batch| batch.is_aborted) {
            let mut left = Vec::new();
            for records in acquired.drain(..) {
                let (first, last) =
                    (records.first_offset.max(batch.first_offset), records.last_offset.min(batch.last_offset));
                if first > last {
                    left.push(records);
                    continue;
                }
                self.runs.set(first, last, InFlight::new(RecordState::Archived, records.delivery_count));
                let before = AcquiredRecords { last_offset: first - 1, ..records };
                let behind = AcquiredRecords { first_offset: last + 1, ..records };
                left.extend([before, behind].into_iter().filter(|part| part.first_offset <= part.last_offset));
            }
            *acquired = left;
        }
    }
}

/// How many of `count` records, which came together, are given at a time, if they have been delivered so often that one of them may be bad, and is not to
/// take its neighbours along: from half of the limit on halves, quarters, …; for the last time one by one.
fn suspects(count: i64, delivered: i16, limit: i16) -> Option<i64> {
    let suspicious = ((limit + 1) / 2).max(LEAST_SUSPICIOUS);
    if limit > LEAST_SUSPICIOUS && delivered == limit - 1 {
        return Some(1);
    }
    (delivered >= suspicious).then(|| (count >> (delivered - suspicious + 1)).max(1))
}

/// The last offset of at most so many from `first` on, or that of the batch in which it lies.
fn align(first: i64, last: i64, most: i64, batches: &[LogBatch]) -> i64 {
    let wanted = first.saturating_add(most - 1);
    if wanted >= last {
        return last;
    }
    batch_of(wanted, batches).map_or(wanted, |batch| batch.last_offset).min(last)
}

fn size_of_batch(offset: i64, batches: &[LogBatch]) -> i64 {
    batch_of(offset, batches).map_or(0, |batch| batch.last_offset - batch.first_offset + 1)
}

fn batch_of(offset: i64, batches: &[LogBatch]) -> Option<&LogBatch> {
    batches.iter().find(|batch| (batch.first_offset..=batch.last_offset).contains(&offset))
}

/// New records, told in whole batches of the log until there are enough for one.
fn in_batches(first: i64, last: i64, request: &Acquire<'_>) -> Vec<AcquiredRecords> {
    let mut told: Runs<i64> = Runs::default();
    let mut start = first;
    for batch in request.batches.iter().filter(|batch| batch.first_offset > first && batch.first_offset <= last) {
        if batch.first_offset - start >= request.batch_size {
            told.set(start, batch.first_offset - 1, start);
            start = batch.first_offset;
        }
    }
    told.set(start, last, start);
    let records = |(first_offset, last_offset, _)| AcquiredRecords { first_offset, last_offset, delivery_count: 1 };
    told.iter().map(records).collect()
}
