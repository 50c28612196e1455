//! The records of a batch, one after the other: structure, offset deltas, timestamps, keys.
//!
//! Only lengths are read, keys and values are skipped. A compressed batch is decompressed into a buffer that its thread keeps,
//! up to the cap; one thread appends one batch at a time, so there are as many such buffers as worker threads.

use crate::{
    LogConfig, Origin,
    compression::{self, Compression},
    log::{AppendError, RecordError, RecordProblem},
    record_batch::{BatchHeader, HEADER_LENGTH, RecordBatch, RecordShape, shapes},
};
use std::{cell::RefCell, ops::RangeInclusive};

/// What a thread keeps of its buffer between two batches.
const KEPT_BYTES: usize = 1 << 20;
/// Records at fault that an answer names; all of them are counted.
const MAX_RECORD_ERRORS: usize = 1000;

/// What the records must obey.
pub(super) struct Rules {
    keys_required: bool,
    timestamps: Option<TimestampRule>,
}

enum TimestampRule {
    /// CreateTime: within these bounds, both included.
    Within(i64, i64),
    /// LogAppendTime: a batch must not claim that it is stamped already.
    NotStamped,
}

/// What was learned on the way.
pub(super) struct Walked {
    /// Of all records, -1 if none bears one.
    pub max_timestamp: i64,
}

impl Rules {
    pub fn of(config: &LogConfig, origin: Origin, now_ms: i64) -> Self {
        let bounds = || {
            let least = now_ms.saturating_sub(config.timestamp_before_max_ms);
            TimestampRule::Within(least, now_ms.saturating_add(config.timestamp_after_max_ms))
        };
        let timestamps = match (origin, config.log_append_time) {
            (Origin::Client, false) => Some(bounds()),
            (Origin::Client, true) => Some(TimestampRule::NotStamped),
            _ => None,
        };
        Self { keys_required: config.compacted, timestamps }
    }

    /// A record with such a timestamp, and with a key if one is required, is not at fault; any other is looked at closely, and all
    /// are where no timestamp is usual.
    fn usual_timestamps(&self, header: &BatchHeader) -> Option<RangeInclusive<i64>> {
        match self.timestamps {
            // -1 is no time, and may be a fault of another kind.
            Some(TimestampRule::Within(least, most)) => Some(least.max(0)..=most),
            Some(TimestampRule::NotStamped) if header.is_log_append_time() => None,
            _ => Some(i64::MIN..=i64::MAX),
        }
    }

    fn problem(&self, header: &BatchHeader, shape: &RecordShape, timestamp_ms: i64) -> Option<RecordProblem> {
        if self.keys_required && shape.key_length.is_none() {
            return Some(RecordProblem::NoKey);
        }
        let offset = i64::from(shape.index);
        match self.timestamps {
            // Kafka looks at the type only where there is no time to look at.
            Some(TimestampRule::Within(least, most)) if timestamp_ms != NO_TIMESTAMP => {
                let is_inside = (least..=most).contains(&timestamp_ms);
                (!is_inside).then_some(RecordProblem::Timestamp { timestamp_ms, offset, least, most })
            }
            Some(_) if header.is_log_append_time() => Some(RecordProblem::Stamped { timestamp_ms, offset }),
            _ => None,
        }
    }
}

const NO_TIMESTAMP: i64 = -1;

/// Walks the decompressed records; a refusal names those at fault.
pub(super) fn walk(header: &BatchHeader, plain: &[u8], rules: &Rules) -> Result<Walked, AppendError> {
    let mut max_timestamp = NO_TIMESTAMP;
    let mut faults = Faults::default();
    let stamped = header.is_log_append_time().then_some(header.max_timestamp);
    let usual = rules.usual_timestamps(header);
    shapes(plain, header.record_count, |shape| {
        let timestamp = stamped.unwrap_or_else(|| header.base_timestamp.wrapping_add(shape.timestamp_delta));
        max_timestamp = max_timestamp.max(timestamp);
        let has_key = !rules.keys_required || shape.key_length.is_some();
        if has_key && usual.as_ref().is_some_and(|usual| usual.contains(&timestamp)) {
            return;
        }
        if let Some(problem) = rules.problem(header, shape, timestamp) {
            faults.add(shape.index, problem);
        }
    })
    .map_err(|error| AppendError::InvalidRecord(error.0))?;
    faults.verdict().map(|()| Walked { max_timestamp })
}

/// Shows `act` the batch's records, decompressed if need be.
pub(super) fn with_plain<T>(
    batch: &RecordBatch,
    source: Compression,
    cap: usize,
    act: impl FnOnce(&[u8]) -> Result<T, AppendError>,
) -> Result<T, AppendError> {
    thread_local! {
        static PLAIN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let stored = batch.bytes.get(HEADER_LENGTH..).unwrap_or_default();
    if source == Compression::None {
        return act(stored);
    }
    PLAIN.with_borrow_mut(|plain| {
        let done = compression::decompress_into(source, stored, cap, plain)
            .map_err(|error| AppendError::InvalidRecord(error.0))
            .and_then(|()| act(plain));
        plain.clear();
        plain.shrink_to(KEPT_BYTES);
        done
    })
}

#[derive(Default)]
struct Faults {
    count: usize,
    is_about_time: bool,
    first: Vec<RecordError>,
}

impl Faults {
    fn add(&mut self, index: i32, problem: RecordProblem) {
        self.count += 1;
        self.is_about_time |= problem.is_about_time();
        if self.first.len() < MAX_RECORD_ERRORS {
            self.first.push(RecordError { index, problem });
        }
    }

    fn verdict(self) -> Result<(), AppendError> {
        match self.count {
            0 => Ok(()),
            count => Err(AppendError::InvalidRecords { count, is_about_time: self.is_about_time, first: self.first }),
        }
    }
}
