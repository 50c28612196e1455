//! Hosts the group coordinator: one shard per partition of `__consumer_offsets`.
//!
//! The way of a group's request: the API file -> [`Groups`] picks the shard by the group's id -> `shard` lets the state machine
//! of `tifo_coordinator` work, appends its records to the partition, replays them, and only then sends the replies.
//! Shards load in the background when the broker starts; whoever needs one before waits for it. The topic is created when
//! the first group needs it. Nothing in here decides about groups. Lock order: a shard's `state`, then its partition's log.

mod config;
mod errors;
mod loading;
mod shard;
mod timer;

pub use config::GroupSettings;
pub use errors::code;

use crate::{
    catalog::{Catalog, NewTopic, Topic},
    clock::Clock,
    partition::Partition,
};
use parking_lot::RwLock;
use shard::Shard;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
};
use tifo_coordinator::{
    GroupError, Reply, Request,
    group::{
        DescribedGroup, FetchedOffsets, HeartbeatRequest, JoinReply, JoinRequest, LeaveReply, LeaveRequest,
        ListedGroup, OffsetCommitRequest, OffsetDeleteRequest, OffsetToCommit, PartitionOffset, PartitionResult,
        SyncReply, SyncRequest,
    },
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// All groups of this broker.
#[derive(Debug)]
pub struct Groups {
    catalog: Arc<Catalog>,
    clock: Clock,
    settings: GroupSettings,
    /// None until a group needs the topic.
    hosted: RwLock<Option<Arc<Hosted>>>,
    /// Held while the topic is found or created.
    opening: tokio::sync::Mutex<()>,
    tickets: AtomicU64,
    /// Wakes the timer task: a shard has a deadline that is earlier than what it sleeps for.
    earlier: Arc<Notify>,
    shutdown: CancellationToken,
}

/// The shards of the topic that there is; should it be deleted and created again, there are others.
#[derive(Debug)]
struct Hosted {
    topic_id: Uuid,
    /// In the order of the topic's partitions.
    shards: Vec<Arc<Shard>>,
}

impl Groups {
    pub fn new(catalog: Arc<Catalog>, clock: Clock, settings: GroupSettings, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            catalog,
            clock,
            settings,
            hosted: RwLock::new(None),
            opening: tokio::sync::Mutex::default(),
            tickets: AtomicU64::new(0),
            earlier: Arc::default(),
            shutdown,
        })
    }

    /// Begins to load what the last run left, and to watch the clock.
    pub fn start(self: &Arc<Self>, tasks: &TaskTracker) {
        tasks.spawn(timer::run(self.clone()));
        if self.catalog.topic(OFFSETS_TOPIC).is_some() {
            let groups = self.clone();
            tasks.spawn(async move {
                if let Err(error) = groups.all_shards().await {
                    tracing::error!(%error, "groups could not be loaded");
                }
            });
        }
    }

    /// Returns when the group's requests can be answered here.
    pub async fn ready(&self, group: &str) -> Result<(), GroupError> {
        self.shard(group).await.map(|_| ())
    }

    pub async fn join(&self, request: JoinRequest) -> JoinReply {
        let member_id = request.member_id.clone();
        match self.call(Request::Join(request)).await {
            Ok(Reply::Join(reply)) => reply,
            other => JoinReply::error(member_id, mismatch(other)),
        }
    }

    pub async fn sync(&self, request: SyncRequest) -> SyncReply {
        match self.call(Request::Sync(request)).await {
            Ok(Reply::Sync(reply)) => reply,
            other => SyncReply::error(mismatch(other)),
        }
    }

    pub async fn heartbeat(&self, request: HeartbeatRequest) -> Option<GroupError> {
        match self.call(Request::Heartbeat(request)).await {
            Ok(Reply::Heartbeat(error)) => error,
            other => Some(mismatch(other)),
        }
    }

    pub async fn leave(&self, request: LeaveRequest) -> LeaveReply {
        match self.call(Request::Leave(request)).await {
            Ok(Reply::Leave(reply)) => reply,
            other => LeaveReply { error: Some(mismatch(other)), members: Vec::new() },
        }
    }

    /// The results in the order of the request.
    pub async fn commit(&self, request: OffsetCommitRequest) -> Result<Vec<PartitionResult>, GroupError> {
        match self.call(Request::OffsetCommit(request)).await {
            Ok(Reply::OffsetCommit(results)) => Ok(results),
            other => Err(mismatch(other)),
        }
    }

    /// Commits for a group that has no members, in the words of the in-process door.
    pub async fn commit_without_member(
        &self,
        group: &str,
        topic: &str,
        offsets: &[(i32, i64)],
    ) -> Result<(), GroupError> {
        let topic: Arc<str> = topic.into();
        let offset = |&(partition, offset): &(i32, i64)| OffsetToCommit {
            topic: topic.clone(),
            partition,
            offset,
            leader_epoch: -1,
            metadata: String::new(),
            topic_id: Uuid::nil(),
        };
        let request = OffsetCommitRequest {
            group: group.into(),
            generation: -1,
            member_id: String::new(),
            instance_id: None,
            retention_ms: None,
            offsets: offsets.iter().map(offset).collect(),
        };
        let results = self.commit(request).await?;
        results.into_iter().find_map(|result| result.error).map_or(Ok(()), Err)
    }

    /// Offsets by partition; partitions without one are absent.
    pub async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, GroupError> {
        let all = if self.exists() { self.fetch_offsets(group, None).await? } else { FetchedOffsets::new() };
        let of_topic = all.into_iter().find(|(name, _)| name.as_ref() == topic);
        let offset = |found: PartitionOffset| found.committed.map(|committed| (found.partition, committed.offset));
        Ok(of_topic.into_iter().flat_map(|(_, partitions)| partitions).filter_map(offset).collect())
    }

    pub async fn delete_offsets(&self, request: OffsetDeleteRequest) -> Result<Vec<PartitionResult>, GroupError> {
        match self.call(Request::OffsetDelete(request)).await {
            Ok(Reply::OffsetDelete(results)) => results,
            other => Err(mismatch(other)),
        }
    }

    pub async fn delete(&self, group: &str) -> Result<(), GroupError> {
        match self.call(Request::DeleteGroup { group: group.into() }).await {
            Ok(Reply::DeleteGroup(error)) => error.map_or(Ok(()), Err),
            other => Err(mismatch(other)),
        }
    }

    /// `None`: the group does not exist.
    pub async fn describe(&self, group: &str) -> Result<Option<DescribedGroup>, GroupError> {
        Ok(self.shard(group).await?.read(|coordinator| coordinator.describe(group)))
    }

    /// `None` as topics asks for all that there are.
    pub async fn fetch_offsets(
        &self,
        group: &str,
        topics: Option<&[(Arc<str>, Vec<i32>)]>,
    ) -> Result<FetchedOffsets, GroupError> {
        Ok(self.shard(group).await?.read(|coordinator| coordinator.fetch_offsets(group, topics)))
    }

    pub async fn list(&self, states: &[String], types: &[String]) -> Result<Vec<ListedGroup>, GroupError> {
        let mut listed = Vec::new();
        if self.exists() {
            for shard in &self.all_shards().await?.shards {
                listed.extend(shard.read(|coordinator| coordinator.list(states, types)));
            }
        }
        Ok(listed)
    }

    /// A topic is gone, and with it what groups committed for it.
    pub async fn forget_topic(&self, topic: &str) -> Result<(), GroupError> {
        if self.exists() && topic != OFFSETS_TOPIC {
            for shard in &self.all_shards().await?.shards {
                shard.forget_topic(topic);
            }
        }
        Ok(())
    }

    async fn call(&self, request: Request) -> Result<Reply, GroupError> {
        let shard = self.shard(request.group()).await?;
        shard.call(request, &self.tickets, &self.shutdown).await
    }

    /// Whether any group ever needed the topic.
    fn exists(&self) -> bool {
        self.catalog.topic(OFFSETS_TOPIC).is_some()
    }

    /// The shard of a group, loaded.
    async fn shard(&self, group: &str) -> Result<Arc<Shard>, GroupError> {
        let hosted = self.hosted().await?;
        let shard = hosted.shards.get(slot(group, hosted.shards.len())).ok_or(GroupError::CoordinatorNotAvailable)?;
        shard.loaded().await?;
        Ok(shard.clone())
    }

    async fn all_shards(&self) -> Result<Arc<Hosted>, GroupError> {
        let hosted = self.hosted().await?;
        for shard in &hosted.shards {
            shard.loaded().await?;
        }
        Ok(hosted)
    }

    /// The shards that exist, without waiting for any.
    fn known_shards(&self) -> Option<Arc<Hosted>> {
        self.hosted.read().clone()
    }

    async fn hosted(&self) -> Result<Arc<Hosted>, GroupError> {
        if let Some(hosted) = self.current() {
            return Ok(hosted);
        }
        let _opening = self.opening.lock().await;
        match self.current() {
            Some(hosted) => Ok(hosted),
            None => self.open().await,
        }
    }

    /// The shards, if they are those of the topic that there is now.
    fn current(&self) -> Option<Arc<Hosted>> {
        let hosted = self.known_shards()?;
        self.catalog.topic(OFFSETS_TOPIC).filter(|topic| topic.id == hosted.topic_id).map(|_| hosted)
    }

    /// Finds the topic, or creates it.
    async fn open(&self) -> Result<Arc<Hosted>, GroupError> {
        let (catalog, new) = (self.catalog.clone(), self.new_topic());
        let topic = tokio::task::spawn_blocking(move || catalog.ensure_topic(&new)).await;
        match topic {
            Ok(Ok(topic)) => Ok(self.host(&topic)),
            Ok(Err(error)) => {
                tracing::error!(%error, "topic {OFFSETS_TOPIC} cannot be created");
                Err(GroupError::CoordinatorNotAvailable)
            }
            Err(_) => Err(GroupError::CoordinatorNotAvailable),
        }
    }

    fn host(&self, topic: &Topic) -> Arc<Hosted> {
        let shard = |partition: &Arc<Partition>| {
            let config = self.settings.group.clone();
            Arc::new(Shard::new(partition.clone(), config, self.clock.clone(), self.earlier.clone()))
        };
        let hosted = Arc::new(Hosted { topic_id: topic.id, shards: topic.partitions.iter().map(shard).collect() });
        if let Some(before) = self.hosted.write().replace(hosted.clone()) {
            before.shards.iter().for_each(|shard| shard.close());
        }
        hosted
    }

    fn new_topic(&self) -> NewTopic {
        NewTopic {
            name: OFFSETS_TOPIC.to_owned(),
            partitions: self.settings.offsets_topic_partitions,
            replication_factor: 1,
            assignments: Vec::new(),
            settings: self.settings.offsets_topic_settings(),
        }
    }
}

/// The partition of `__consumer_offsets` that holds a group, as Kafka finds it: `String.hashCode` of Java, made positive.
fn slot(group: &str, partitions: usize) -> usize {
    let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = hash.checked_abs().unwrap_or(0);
    usize::try_from(positive).unwrap_or(0).checked_rem(partitions).unwrap_or(0)
}

/// A reply of another kind than the request would be a mistake of ours.
fn mismatch(reply: Result<Reply, GroupError>) -> GroupError {
    debug_assert!(reply.is_err(), "a reply of another kind: {reply:?}");
    reply.err().unwrap_or(GroupError::CoordinatorNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `Utils.abs("…".hashCode()) % 50` in Java.
    #[test]
    fn groups_lie_where_kafka_puts_them() {
        for (group, partition) in [("", 0), ("g", 3), ("console-consumer-1", 24), ("größe", 7)] {
            assert_eq!(slot(group, 50), partition, "{group}");
        }
    }
}
