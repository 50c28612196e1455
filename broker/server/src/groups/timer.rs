//! The one task that watches the clock for all groups: wakes at the earliest deadline of all shards.

use super::Groups;
use std::{sync::Arc, time::Duration};

/// The longest sleep: the wall clock may be set while we sleep.
const LONGEST_SLEEP_MS: i64 = 60_000;

pub async fn run(groups: Arc<Groups>) {
    loop {
        let now_ms = groups.clock.now_ms();
        if let Some(hosted) = groups.known_shards() {
            hosted.shards.iter().filter(|shard| shard.deadline_ms() <= now_ms).for_each(|shard| shard.expire());
        }
        let sleep = tokio::time::sleep(until_next(&groups));
        tokio::select! {
            () = sleep => {}
            () = groups.earlier.notified() => {}
            () = groups.shutdown.cancelled() => return,
        }
    }
}

fn until_next(groups: &Groups) -> Duration {
    let hosted = groups.known_shards();
    let deadlines = hosted.iter().flat_map(|hosted| &hosted.shards).map(|shard| shard.deadline_ms());
    let wait_ms = deadlines.min().unwrap_or(i64::MAX).saturating_sub(groups.clock.now_ms());
    Duration::from_millis(u64::try_from(wait_ms.clamp(1, LONGEST_SLEEP_MS)).unwrap_or(1))
}
