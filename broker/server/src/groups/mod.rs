//! Hosts the group coordinator: one shard per partition of `__consumer_offsets`.
//!
//! The way of a group's request: the API file -> [`Groups`] picks the shard by the group's id -> `shard` lets the state machine
//! of `tifo_coordinator` work, appends its records to the partition, replays them, and only then sends the replies.
//! Shards load in the background when the broker starts; whoever needs one before waits for it. The topic is created when
//! the first group needs it. Nothing in here decides about groups. Lock order: a shard's `state`, then its partition's log.

mod config;
mod errors;
mod newcomers;
mod shard;
mod share;
mod transactions;
mod waiting;

pub use config::{GroupSettings, consumer_group, internal_topic_settings};
pub use errors::code;
pub use newcomers::{Newcomers, Sought, Who};
pub use share::{OffsetReset, ShareGroupSettings, ShareHost};

use crate::{
    catalog::Catalog,
    clock::Clock,
    coordination::{Hosted, InternalTopic},
    partition::Partition,
    settings::Live,
};
use shard::Shard;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
};
use tifo_coordinator::{
    GroupError, Reply, Request,
    group::{
        ConsumerHeartbeatReply, ConsumerHeartbeatRequest, DescribedConsumerGroup, DescribedGroup, FetchedOffsets,
        HeartbeatRequest, JoinReply, JoinRequest, LeaveReply, LeaveRequest, ListedGroup, OffsetCommitRequest,
        OffsetDeleteRequest, OffsetToCommit, PartitionOffset, PartitionResult, SyncReply, SyncRequest,
    },
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// All groups of this broker.
#[derive(Debug)]
pub struct Groups {
    clock: Clock,
    topic: InternalTopic<Shard>,
    tickets: AtomicU64,
    /// Wakes the timer task: a shard has a deadline that is earlier than what it sleeps for.
    earlier: Arc<Notify>,
    /// Places for those who wait for a group to change.
    lookers: Semaphore,
    newcomers: Newcomers,
    shutdown: CancellationToken,
}

impl Groups {
    pub fn new(
        catalog: Arc<Catalog>,
        clock: Clock,
        settings: &GroupSettings,
        live: Arc<Live>,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let share = ShareHost::new(catalog.clone(), live);
        let earlier = Arc::<Notify>::default();
        let shard = {
            let (config, clock, earlier) = (settings.group.clone(), clock.clone(), earlier.clone());
            let catalog = catalog.clone();
            move |partition: &Arc<Partition>| {
                let (partition, catalog) = (partition.clone(), catalog.clone());
                Arc::new(Shard::new(partition, catalog, config.clone(), share.clone(), clock.clone(), earlier.clone()))
            }
        };
        let topic = InternalTopic::new(catalog, settings.offsets_topic(), shard);
        let lookers = Semaphore::new(waiting::MAX_LOOKERS);
        let newcomers = Newcomers::default();
        Arc::new(Self { clock, topic, tickets: AtomicU64::new(0), earlier, lookers, newcomers, shutdown })
    }

    /// Begins to load what the last run left, and to watch the clock.
    pub fn start(self: &Arc<Self>, tasks: &TaskTracker) {
        let groups = self.clone();
        tasks.spawn(async move { groups.topic.watch_clock(&groups.clock, &groups.earlier, &groups.shutdown).await });
        if self.topic.exists() {
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

    pub async fn consumer_heartbeat(&self, request: ConsumerHeartbeatRequest) -> ConsumerHeartbeatReply {
        match self.call(Request::ConsumerHeartbeat(request)).await {
            Ok(Reply::ConsumerHeartbeat(reply)) => reply,
            other => ConsumerHeartbeatReply::error(mismatch(other)),
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
            knows_member_epochs: true,
            offsets: offsets.iter().map(offset).collect(),
        };
        let results = self.commit(request).await?;
        results.into_iter().find_map(|result| result.error).map_or(Ok(()), Err)
    }

    /// Offsets by partition; partitions without one are absent.
    pub async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, GroupError> {
        let all = if self.topic.exists() { self.fetch_offsets(group, None).await? } else { FetchedOffsets::new() };
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
        self.shard(group).await?.read(|coordinator| coordinator.describe(group))
    }

    /// `None`: there is no consumer group of KIP-848 of that name.
    pub async fn describe_consumer_group(&self, group: &str) -> Result<Option<DescribedConsumerGroup>, GroupError> {
        self.shard(group).await?.read_with_topics(|coordinator| coordinator.describe_consumer_group(group))
    }

    /// Whether a member of that epoch may see what the group has committed.
    pub async fn admit_fetch(&self, group: &str, member_id: &str, epoch: i32) -> Result<(), GroupError> {
        self.shard(group).await?.read(|coordinator| coordinator.admit_fetch(group, member_id, epoch))?
    }

    /// `None` as topics asks for all that there are.
    pub async fn fetch_offsets(
        &self,
        group: &str,
        topics: Option<&[(Arc<str>, Vec<i32>)]>,
    ) -> Result<FetchedOffsets, GroupError> {
        self.shard(group).await?.read(|coordinator| coordinator.fetch_offsets(group, topics))
    }

    pub async fn list(&self, states: &[String], types: &[String]) -> Result<Vec<ListedGroup>, GroupError> {
        let mut listed = Vec::new();
        if self.topic.exists() {
            for shard in &self.all_shards().await?.shards {
                listed.extend(shard.read(|coordinator| coordinator.list(states, types))?);
                listed.extend(shard.read_share(|groups| groups.list(states, types))?);
            }
        }
        Ok(listed)
    }

    /// A topic is gone, and with it what groups committed for it.
    pub async fn forget_topic(&self, topic: &str) -> Result<(), GroupError> {
        if self.topic.exists() && topic != OFFSETS_TOPIC {
            for shard in &self.all_shards().await?.shards {
                shard.forget_topic(topic);
            }
        }
        Ok(())
    }

    /// Who begins at the end of a partition for want of a committed offset.
    pub fn newcomers(&self) -> &Newcomers {
        &self.newcomers
    }

    async fn call(&self, request: Request) -> Result<Reply, GroupError> {
        let shard = self.shard(request.group()).await?;
        shard.call(request, &self.tickets, &self.shutdown).await
    }

    /// The shard of a group, loaded.
    async fn shard(&self, group: &str) -> Result<Arc<Shard>, GroupError> {
        let hosted = self.hosted().await?;
        let shard = hosted.shard_of(group).ok_or(GroupError::CoordinatorNotAvailable)?;
        shard.loaded().await?;
        Ok(shard.clone())
    }

    async fn all_shards(&self) -> Result<Arc<Hosted<Shard>>, GroupError> {
        let hosted = self.hosted().await?;
        for shard in &hosted.shards {
            shard.loaded().await?;
        }
        Ok(hosted)
    }

    async fn hosted(&self) -> Result<Arc<Hosted<Shard>>, GroupError> {
        self.topic.hosted().await.map_err(|_| GroupError::CoordinatorNotAvailable)
    }
}

/// A reply of another kind than the request would be a mistake of ours.
fn mismatch(reply: Result<Reply, GroupError>) -> GroupError {
    debug_assert!(reply.is_err(), "a reply of another kind: {reply:?}");
    reply.err().unwrap_or(GroupError::CoordinatorNotAvailable)
}
