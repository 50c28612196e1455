//! Old segments go: by age, by size, and below the log start offset.
//!
//! The log decides; here the steps are taken, none of which syncs a file under the log's lock: the new log start offset is on stable
//! storage before a file changes its name.

use super::{Maintenance, asked_again};
use crate::partition::{NEVER, Partition};
use std::sync::Arc;
use tifo_storage::Retention;

/// Steps of one look: a roll, a checkpoint, a removal, and the question what comes next. More wait for the next tick.
const MAX_STEPS: usize = 4;

pub fn run(maintenance: &Maintenance, partition: &Arc<Partition>, now_ms: i64) -> i64 {
    for _ in 0..MAX_STEPS {
        let verdict = match partition.retention(now_ms) {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => {
                tracing::warn!(topic = %partition.topic, partition = partition.index, %error, "retention: tried again after the next change");
                return NEVER;
            }
            Err(not_now) => return asked_again(not_now, now_ms),
        };
        let done = match verdict {
            Retention::Nothing { next_ms } => return next_ms,
            Retention::Roll => partition.roll(now_ms),
            Retention::Checkpoint => partition.checkpoint(),
            Retention::Remove { offset } => {
                partition.remove_before(offset).map(|doomed| maintenance.catalog.deletions().add(doomed, now_ms))
            }
        };
        // The error was told where it happened.
        if done.is_err() {
            return NEVER;
        }
    }
    now_ms
}
