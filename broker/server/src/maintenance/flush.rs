//! `flush.ms`, and the sync of what was sealed: a roll does not wait for the disk.

use super::{Maintenance, asked_again};
use crate::partition::{NEVER, Partition};
use std::sync::Arc;

pub fn run(_: &Maintenance, partition: &Arc<Partition>, now_ms: i64) -> i64 {
    let asked = partition.try_log(|log| {
        let since_ms = log.unsynced_since_ms();
        since_ms.map(|since_ms| (since_ms.saturating_add(log.config().flush_ms), log.has_unsynced_segments()))
    });
    match asked {
        Err(not_now) => asked_again(not_now, now_ms),
        Ok(None) => NEVER,
        Ok(Some((due_ms, is_sealed))) if is_sealed || due_ms <= now_ms => {
            partition.ask_for_sync();
            NEVER
        }
        Ok(Some((due_ms, _))) => due_ms,
    }
}
