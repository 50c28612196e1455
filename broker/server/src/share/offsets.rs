//! What administrators ask of share groups: where they stand, that they begin elsewhere, that they forget.

use super::{NOT_BEGUN, Shares, TopicPartition, reached, share_key};
use std::collections::BTreeMap;
use tifo_coordinator::{
    ShareError,
    share::{ShareKey, StatePartitions, StateTopic},
};
use uuid::Uuid;

/// Where a share partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartOffset {
    /// -1: nobody has read yet.
    pub start_offset: i64,
    pub leader_epoch: i32,
}

impl Shares {
    pub async fn start_offset(&self, group: &str, partition: TopicPartition) -> Result<StartOffset, ShareError> {
        let key = share_key(group, partition);
        let state = self.state_shard(&key).await?.get(&key);
        Ok(match state {
            Some(state) => StartOffset { start_offset: state.start_offset, leader_epoch: state.leader_epoch.max(0) },
            None => StartOffset { start_offset: NOT_BEGUN, leader_epoch: 0 },
        })
    }

    /// A group without members begins at these offsets.
    pub async fn alter(&self, group: &str, offsets: &[(String, TopicPartition, i64)]) -> Result<(), ShareError> {
        let mut states = StatePartitions::default();
        for (name, (topic_id, partition), _) in offsets {
            let empty = || StateTopic { name: name.clone(), ..StateTopic::default() };
            states.initialized.entry(*topic_id).or_insert_with(empty).partitions.insert(*partition);
        }
        self.groups.begin_share_states(group, &states).await?;
        for (_, partition, offset) in offsets {
            let key = share_key(group, *partition);
            let shard = self.state_shard(&key).await?;
            self.end(&key);
            reached(shard.initialize(&key, *offset)?).await?;
        }
        Ok(())
    }

    /// A group without members goes, and with it all that is known of what it read.
    pub async fn delete_group(&self, group: &str) -> Result<(), ShareError> {
        let gone = self.groups.delete_share(group).await?;
        self.forget(group, &gone).await
    }

    /// Likewise, of some topics only: those of which there was something.
    pub async fn delete_states(&self, group: &str, topics: &[Uuid]) -> Result<Vec<Uuid>, ShareError> {
        let gone = self.groups.delete_share_states(group, topics).await?;
        self.forget(group, &gone).await?;
        let topics: BTreeMap<Uuid, ()> = gone.into_iter().map(|(topic, _)| (topic, ())).collect();
        Ok(topics.into_keys().collect())
    }

    /// A topic is gone, and with it what share groups had of it.
    pub async fn forget_topic(&self, topic: Uuid) -> Result<(), ShareError> {
        let of_topic: Vec<ShareKey> =
            self.partitions.read().keys().filter(|key| key.topic_id == topic).cloned().collect();
        of_topic.iter().for_each(|key| self.end(key));
        for (group, partitions) in self.groups.forget_share_topic(topic).await? {
            self.forget(&group, &partitions).await?;
        }
        Ok(())
    }

    /// Whoever reads it must look for it again.
    fn end(&self, key: &ShareKey) {
        if let Some(hosted) = self.partitions.write().remove(key) {
            hosted.end();
        }
    }

    async fn forget(&self, group: &str, partitions: &[TopicPartition]) -> Result<(), ShareError> {
        for partition in partitions {
            let key = share_key(group, *partition);
            let shard = self.state_shard(&key).await?;
            self.end(&key);
            reached(shard.delete(&key)?).await?;
        }
        Ok(())
    }
}
