//! The in-process door's own side: the log without a socket, for the aggregator and the gateways.

use crate::{
    catalog::{NewTopic, Topic},
    client::{ClientError, Fetched, Group, GroupCondition, GroupListing, GroupWait, LogClient, TopicSpec},
    errors::RequestError,
    group_view,
    partition::{Partition, PartitionRead},
    services::Services,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tifo_coordinator::{GroupError, group::GroupOverview};
use tifo_storage::Origin;
use tokio::{sync::Notify, time::Instant};

/// The log of this process.
#[derive(Debug)]
pub struct LocalClient {
    services: Arc<Services>,
}

impl LocalClient {
    pub(crate) fn new(services: Arc<Services>) -> Self {
        Self { services }
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, ClientError> {
        self.services.catalog.topic(name).ok_or_else(|| ClientError::UnknownTopic(name.to_owned()))
    }

    fn partition(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, ClientError> {
        let found = self.topic(topic)?.partition(partition).cloned();
        found.map_err(|_| ClientError::UnknownPartition { topic: topic.to_owned(), partition })
    }
}

#[async_trait]
impl LogClient for LocalClient {
    async fn ensure_topic(&self, topic: &TopicSpec) -> Result<(), ClientError> {
        if self.services.catalog.topic(&topic.name).is_some() {
            return Ok(());
        }
        let new = NewTopic {
            name: topic.name.clone(),
            partitions: topic.partitions,
            replication_factor: -1,
            assignments: Vec::new(),
            settings: topic.settings.clone(),
        };
        let catalog = self.services.catalog.clone();
        let created = tokio::task::spawn_blocking(move || catalog.ensure_topic(&new)).await;
        let created = created.map_err(|error| ClientError::Unavailable(error.to_string()))?;
        created.map(|_| ()).map_err(|error| refused(&topic.name, -1, -1, &error))
    }

    fn only_topics(&self) -> Option<Vec<String>> {
        let topics = || self.services.catalog.topics().iter().map(|topic| topic.name.to_string()).collect();
        (!self.services.config.now().auto_create_topics_enable).then(topics)
    }

    async fn partitions(&self, topic: &str) -> Result<i32, ClientError> {
        Ok(self.topic(topic)?.partition_count())
    }

    async fn append(&self, topic: &str, partition: i32, batches: Bytes) -> Result<i64, ClientError> {
        let hosted = self.partition(topic, partition)?;
        let refused = |error| refused(topic, partition, -1, &error);
        let accepted = hosted.append(&batches, Origin::Internal, self.services.clock.now_ms()).map_err(refused)?;
        accepted.acknowledged().await.map(|appended| appended.base_offset).map_err(refused)
    }

    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: usize,
        max_wait: Duration,
    ) -> Result<Fetched, ClientError> {
        let hosted = self.partition(topic, partition)?;
        let deadline = Instant::now() + max_wait;
        let appended = Arc::new(Notify::new());
        let _watch = hosted.watch(&appended);
        loop {
            let read = hosted.read(offset, max_bytes, true);
            let read = read.map_err(|error| refused(topic, partition, offset, &error))?;
            if read.slice.is_some() || Instant::now() >= deadline {
                return fetched(read);
            }
            tokio::select! {
                () = appended.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = self.services.shutdown.cancelled() => return fetched(read),
            }
        }
    }

    async fn offsets(&self, topic: &str, partition: i32) -> Result<(i64, i64), ClientError> {
        let offsets = self.partition(topic, partition)?.offsets();
        let offsets = offsets.map_err(|error| refused(topic, partition, -1, &error))?;
        Ok((offsets.log_start_offset, offsets.high_watermark))
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), ClientError> {
        let hosted = self.topic(topic)?;
        if let Some((partition, _)) = offsets.iter().find(|(partition, _)| hosted.partition(*partition).is_err()) {
            return Err(ClientError::UnknownPartition { topic: topic.to_owned(), partition: *partition });
        }
        self.services
            .groups
            .commit_without_member(group, topic, offsets)
            .await
            .map_err(|error| group_error(group, error))
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, ClientError> {
        let committed = self.services.groups.committed(group, topic).await;
        committed.map_err(|error| group_error(group, error))
    }

    async fn init_producer_id(&self) -> Result<(i64, i16), ClientError> {
        let id = self.services.catalog.next_producer_id();
        id.map(|id| (id, 0)).map_err(|error| ClientError::Unavailable(error.to_string()))
    }

    async fn groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        let listed = self.services.groups.list(&[], &[]).await;
        listed.map(group_view::listings).map_err(|error| ClientError::Unavailable(error.to_string()))
    }

    async fn group(&self, group: &str) -> Result<Option<Group>, ClientError> {
        let overview = self.services.groups.overview(group).await.map_err(|error| group_error(group, error))?;
        Ok(overview.map(|overview| group_view::view(group, overview, &self.services.catalog)))
    }

    async fn wait_for_group(
        &self,
        group: &str,
        condition: &GroupCondition,
        max_wait: Duration,
    ) -> Result<GroupWait, ClientError> {
        let mut last = None;
        let look = |overview: Option<GroupOverview>| {
            let seen = overview.map(|overview| group_view::view(group, overview, &self.services.catalog));
            let is_reached = condition.holds(seen.as_ref());
            last = seen;
            is_reached.then_some(())
        };
        let reached = self.services.groups.look_until(group, max_wait, look).await;
        let is_reached = reached.map_err(|error| group_error(group, error))?.is_some();
        Ok(GroupWait { group: last, is_reached })
    }
}

fn fetched(read: PartitionRead) -> Result<Fetched, ClientError> {
    let batches = match read.slice {
        Some(slice) => slice.read().map_err(|error| ClientError::Unavailable(error.to_string()))?,
        None => Bytes::new(),
    };
    let offsets = read.offsets;
    Ok(Fetched { batches, log_start_offset: offsets.log_start_offset, high_watermark: offsets.high_watermark })
}

fn group_error(group: &str, error: GroupError) -> ClientError {
    match error {
        GroupError::CoordinatorNotAvailable | GroupError::NotCoordinator => {
            ClientError::Unavailable(format!("group {group}: {error}"))
        }
        other => ClientError::Refused(format!("group {group}: {other}")),
    }
}

fn refused(topic: &str, partition: i32, offset: i64, error: &RequestError) -> ClientError {
    match error {
        RequestError::UnknownTopicOrPartition => ClientError::UnknownTopic(topic.to_owned()),
        RequestError::OffsetOutOfRange { start, end } => {
            ClientError::OffsetOutOfRange { topic: topic.to_owned(), partition, offset, start: *start, end: *end }
        }
        RequestError::Storage(_) | RequestError::Offline | RequestError::Stalled | RequestError::Unexpected(_) => {
            ClientError::Unavailable(error.to_string())
        }
        other => ClientError::Refused(other.to_string()),
    }
}
