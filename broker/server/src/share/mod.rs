//! What share groups (KIP-932) have of partitions: which records who holds, and what of it survives.
//!
//! ShareFetch and ShareAcknowledge -> [`Shares`] finds the session and the share partitions -> `hosted` lets the state machine of
//! `tifo_coordinator::share` work and writes what must survive through `state_shard`, the share coordinator. Who is a member
//! of a group is no business of this part: as in Kafka, a session is enough. Locks of records end by the one timer in here.

mod config;
mod errors;
mod hosted;
mod offsets;
mod sessions;
mod state_shard;

pub use errors::{code, kind};
pub use hosted::{Given, HostedPartition, Wish};
pub use offsets::StartOffset;
pub use sessions::{CLOSE_EPOCH, FetchStep, Refused, SessionKey, TopicPartition};

use crate::{
    catalog::{Catalog, kafka_uuid},
    clock::Clock,
    coordination::{InternalTopic, NEVER_MS},
    errors::RequestError,
    groups::{Groups, OffsetReset, ShareGroupSettings, ShareHost},
    partition::{Partition, UntilDurable},
    settings::Live,
};
use parking_lot::RwLock;
use sessions::ShareSessions;
use state_shard::StateShard;
use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};
use tifo_coordinator::{
    ShareError,
    share::{AcknowledgementBatch, ShareKey, SharePartition},
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub const STATE_TOPIC: &str = "__share_group_state";

/// The longest sleep of the timer: the wall clock may be set while it sleeps.
const LONGEST_SLEEP_MS: i64 = 60_000;
/// Where no state was written yet.
const NOT_BEGUN: i64 = -1;

/// All share partitions of this broker.
#[derive(Debug)]
pub struct Shares {
    catalog: Arc<Catalog>,
    clock: Clock,
    live: Arc<Live>,
    groups: Arc<Groups>,
    host: ShareHost,
    states: InternalTopic<StateShard>,
    /// Those that were read since the start; one goes with its group or its topic.
    partitions: RwLock<HashMap<ShareKey, Arc<HostedPartition>>>,
    sessions: ShareSessions,
    /// Wakes the timer: a record is held that was not before.
    earlier: Notify,
    shutdown: CancellationToken,
}

impl Shares {
    pub fn new(
        catalog: Arc<Catalog>,
        clock: Clock,
        live: Arc<Live>,
        groups: Arc<Groups>,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let now = live.now();
        let updates = now.layers.size("share.coordinator.snapshot.update.records.per.snapshot");
        let shard = {
            let clock = clock.clone();
            move |partition: &Arc<Partition>| Arc::new(StateShard::new(partition.clone(), clock.clone(), updates))
        };
        let states = InternalTopic::new(catalog.clone(), config::state_topic(&now.layers), shard);
        let host = ShareHost::new(catalog.clone(), live.clone());
        Arc::new(Self {
            catalog,
            clock,
            live,
            groups,
            host,
            states,
            partitions: RwLock::default(),
            sessions: ShareSessions::default(),
            earlier: Notify::new(),
            shutdown,
        })
    }

    /// Begins to watch the clock.
    pub fn start(self: &Arc<Self>, tasks: &TaskTracker) {
        let shares = self.clone();
        tasks.spawn(async move { shares.watch_clock().await });
    }

    pub fn settings(&self, group: &str) -> ShareGroupSettings {
        self.host.settings(group)
    }

    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// What a fetch reads from, by its session.
    pub fn begin_fetch(&self, key: &SessionKey, step: FetchStep) -> Result<Vec<TopicPartition>, Refused> {
        let slots = self.live.now().layers.size("group.share.max.share.sessions");
        self.sessions.fetch(key, step, slots)
    }

    pub fn begin_acknowledge(&self, key: &SessionKey, epoch: i32) -> Result<(), Refused> {
        self.sessions.acknowledge(key, epoch)
    }

    pub fn served(&self, key: &SessionKey, partitions: &[TopicPartition]) {
        self.sessions.served(key, partitions);
        self.earlier.notify_one();
    }

    /// The session ends; what its member holds comes back.
    pub fn close(&self, key: &SessionKey) {
        self.sessions.close(key);
        self.release(key);
    }

    /// A client is gone without a word.
    pub fn disconnected(&self, connection: SocketAddr) {
        self.sessions.disconnected(connection).iter().for_each(|key| self.release(key));
    }

    fn release(&self, (group, member): &SessionKey) {
        let limits = self.settings(group).limits;
        for hosted in self.of_group(group) {
            if let Err(error) = hosted.change(|state| Ok(state.release(member, &limits))) {
                tracing::warn!(%group, %member, %error, "records of a member that has left come back when their locks end");
            }
        }
    }

    fn of_group(&self, group: &str) -> Vec<Arc<HostedPartition>> {
        let partitions = self.partitions.read();
        partitions.values().filter(|hosted| *hosted.key.group == *group).cloned().collect()
    }

    /// What a member says of records of one partition.
    pub async fn acknowledge(
        &self,
        (group, member): &SessionKey,
        partition: TopicPartition,
        batches: &[AcknowledgementBatch],
    ) -> Result<(), ShareError> {
        let key = share_key(group, partition);
        self.catalog.topic_by_id(partition.0).ok_or(ShareError::UnknownTopicId)?;
        let hosted = self.partitions.read().get(&key).cloned();
        let hosted = hosted.ok_or(ShareError::UnknownTopicOrPartition)?;
        let limits = self.settings(group).limits;
        reached(hosted.change(|state| state.acknowledge(member, batches, &limits))?).await
    }

    /// The share partition, ready to be read.
    pub async fn hosted(&self, group: &str, partition: TopicPartition) -> Result<Arc<HostedPartition>, RequestError> {
        let key = share_key(group, partition);
        let topic = self.catalog.topic_by_id(partition.0).ok_or(RequestError::UnknownTopicId)?;
        let log = topic.partition(partition.1)?.clone();
        if let Some(hosted) = self.partitions.read().get(&key) {
            return Ok(hosted.clone());
        }
        let shard = self.state_shard(&key).await.map_err(|error| RequestError::Unexpected(error.to_string()))?;
        let mut partitions = self.partitions.write();
        if let Some(hosted) = partitions.get(&key) {
            return Ok(hosted.clone());
        }
        let state = self.begin(&key, &log, &shard)?;
        let hosted = Arc::new(HostedPartition::new(key.clone(), log, shard, state));
        partitions.insert(key, hosted.clone());
        Ok(hosted)
    }

    /// As it was written, or where the group's settings say.
    fn begin(&self, key: &ShareKey, log: &Partition, shard: &StateShard) -> Result<SharePartition, RequestError> {
        let written = shard.get(key).filter(|written| written.start_offset > NOT_BEGUN);
        let mut state = match written {
            Some(written) => SharePartition::new(written.start_offset, &written.batches),
            None => SharePartition::new(self.reset(&key.group, log)?, &[]),
        };
        state.log_starts_at(log.offsets()?.log_start_offset);
        Ok(state)
    }

    fn reset(&self, group: &str, log: &Partition) -> Result<i64, RequestError> {
        let offsets = log.offsets()?;
        Ok(match self.settings(group).auto_offset_reset {
            OffsetReset::Earliest => offsets.log_start_offset,
            OffsetReset::Latest => offsets.high_watermark,
            OffsetReset::ByDuration(duration) => {
                let since_ms =
                    self.clock.now_ms().saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX));
                let found = log.offset_for_timestamp(since_ms)?;
                found.map_or(offsets.high_watermark, |found| found.offset)
            }
        })
    }

    /// The share coordinator of a share partition, loaded.
    async fn state_shard(&self, key: &ShareKey) -> Result<Arc<StateShard>, ShareError> {
        let hosted = self.states.hosted().await.map_err(|_| ShareError::CoordinatorNotAvailable)?;
        let shard = hosted.shard_of(&coordinator_key(key)).ok_or(ShareError::CoordinatorNotAvailable)?;
        shard.loaded().await?;
        Ok(shard.clone())
    }

    /// Returns when what is kept under that key can be asked for here. The key names group, topic id and partition.
    pub async fn ready(&self, key: &str) -> Result<(), ShareError> {
        let parts: Vec<&str> = key.split(':').collect();
        let [group, topic_id, partition] = parts.as_slice() else { return Err(ShareError::InvalidRequest) };
        let topic_id = kafka_uuid::from_kafka_string(topic_id).ok_or(ShareError::InvalidRequest)?;
        let partition = partition.parse().map_err(|_| ShareError::InvalidRequest)?;
        if group.is_empty() {
            return Err(ShareError::InvalidRequest);
        }
        self.state_shard(&share_key(group, (topic_id, partition))).await.map(|_| ())
    }

    async fn watch_clock(&self) {
        loop {
            let now_ms = self.clock.now_ms();
            let due: Vec<_> =
                self.partitions.read().values().filter(|hosted| hosted.deadline_ms() <= now_ms).cloned().collect();
            for hosted in due {
                hosted.expire(now_ms, &self.settings(&hosted.key.group).limits);
            }
            let next_ms = self.partitions.read().values().map(|hosted| hosted.deadline_ms()).min();
            let wait_ms = next_ms.unwrap_or(NEVER_MS).saturating_sub(self.clock.now_ms()).clamp(1, LONGEST_SLEEP_MS);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(1))) => {}
                () = self.earlier.notified() => {}
                () = self.shutdown.cancelled() => return,
            }
        }
    }
}

fn share_key(group: &str, (topic_id, partition): TopicPartition) -> ShareKey {
    ShareKey { group: group.into(), topic_id, partition }
}

/// As Kafka names it: group, topic id in its base 64, partition.
fn coordinator_key(key: &ShareKey) -> String {
    format!("{}:{}:{}", key.group, kafka_uuid::to_kafka_string(key.topic_id), key.partition)
}

async fn reached(until_durable: Option<UntilDurable>) -> Result<(), ShareError> {
    match until_durable {
        Some(until_durable) => until_durable.reached().await.map(|_| ()).map_err(|_| ShareError::StorageError),
        None => Ok(()),
    }
}
