//! The one task that watches the clock for all shards of a topic: wakes at the earliest of their deadlines.

use super::{InternalTopic, NEVER_MS, Shard};
use crate::clock::Clock;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The longest sleep: the wall clock may be set while we sleep.
const LONGEST_SLEEP_MS: i64 = 60_000;

impl<S: Shard> InternalTopic<S> {
    /// Runs until the broker stops. `earlier` wakes it: a shard has a deadline before the one that it sleeps for.
    pub async fn watch_clock(&self, clock: &Clock, earlier: &Notify, shutdown: &CancellationToken) {
        loop {
            let now_ms = clock.now_ms();
            if let Some(hosted) = self.known() {
                hosted.shards.iter().filter(|shard| shard.deadline_ms() <= now_ms).for_each(|shard| shard.expire());
            }
            let sleep = tokio::time::sleep(self.until_next(clock));
            tokio::select! {
                () = sleep => {}
                () = earlier.notified() => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    fn until_next(&self, clock: &Clock) -> Duration {
        let hosted = self.known();
        let deadlines = hosted.iter().flat_map(|hosted| &hosted.shards).map(|shard| shard.deadline_ms());
        let wait_ms = deadlines.min().unwrap_or(NEVER_MS).saturating_sub(clock.now_ms());
        Duration::from_millis(u64::try_from(wait_ms.clamp(1, LONGEST_SLEEP_MS)).unwrap_or(1))
    }
}
