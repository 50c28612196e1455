//! Changes of a group as events that can be awaited.
//!
//! Every step of a shard wakes those who look at one of its groups; they look again, and go on waiting or are done. Nothing polls. What is
//! seen is what the state machine holds, which is in the log by then (its sync, where one is asked for, may still be under way).

use super::Groups;
use std::time::Duration;
use tifo_coordinator::{GroupError, group::GroupOverview};
use tokio::time::Instant;

/// Who may wait at the same time. More are refused, and come again.
pub const MAX_LOOKERS: usize = 1_000;
/// A group that commits without pause is looked at once in a while, not after every commit.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

impl Groups {
    /// The group as it is; `None`: it does not exist.
    pub async fn overview(&self, group: &str) -> Result<Option<GroupOverview>, GroupError> {
        if !self.topic.exists() {
            return Ok(None);
        }
        self.shard(group).await?.read_with_topics(|coordinator| coordinator.overview(group))
    }

    /// Looks at the group at once and after every change, until `look` has an answer or the time is over: `None`.
    pub async fn look_until<T>(
        &self,
        group: &str,
        max_wait: Duration,
        mut look: impl FnMut(Option<GroupOverview>) -> Option<T>,
    ) -> Result<Option<T>, GroupError> {
        let _place = self.lookers.try_acquire().map_err(|_| GroupError::CoordinatorNotAvailable)?;
        let deadline = Instant::now() + max_wait;
        loop {
            // Should the topic of the offsets be deleted meanwhile, there are other shards.
            let shard = self.shard(group).await?;
            let mut changes = shard.changes();
            if let Some(found) = look(shard.read_with_topics(|coordinator| coordinator.overview(group))?) {
                return Ok(Some(found));
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(deadline) => return Ok(None),
                () = self.shutdown.cancelled() => return Err(GroupError::CoordinatorNotAvailable),
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + LOOK_AGAIN_AFTER)).await;
        }
    }
}
