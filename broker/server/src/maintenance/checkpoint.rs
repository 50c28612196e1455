//! Checkpoints now and then, so that a start after a crash scans little.
//!
//! A checkpoint costs an fsync: it is taken when much has been written since the last one, or something and long ago. A
//! log with less than that behind its checkpoint is scanned faster than it is synced.

use super::{Maintenance, asked_again};
use crate::partition::{NEVER, Partition};
use std::sync::Arc;

/// Bytes behind the last checkpoint that are not worth an fsync.
const LEAST_BYTES: u64 = 1 << 20;
/// Bytes behind the last checkpoint at which the next one is due at once: a tenth of a second of scanning.
const MOST_BYTES: u64 = 256 << 20;
/// How long something may stay behind the last checkpoint.
const MAX_AGE_MS: i64 = 60_000;

pub fn run(_: &Maintenance, partition: &Arc<Partition>, now_ms: i64) -> i64 {
    let behind = match partition.try_log(|log| log.behind_checkpoint()) {
        Ok(behind) => behind,
        Err(not_now) => return asked_again(not_now, now_ms),
    };
    let Some(behind) = behind.filter(|behind| behind.bytes >= LEAST_BYTES) else { return NEVER };
    let due_ms = if behind.bytes >= MOST_BYTES { now_ms } else { behind.since_ms.saturating_add(MAX_AGE_MS) };
    if due_ms > now_ms {
        return due_ms;
    }
    // An error is told where it happens; a log that takes no more writes has nothing to checkpoint until it is opened again.
    let _ = partition.checkpoint();
    NEVER
}
