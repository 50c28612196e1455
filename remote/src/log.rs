//! The door: `LogClient` over librdkafka.
//!
//! librdkafka's questions block, so each runs on a thread for blocking work and has a time-out.

use crate::{
    cluster::{ANSWER_TIMEOUT, Cluster},
    errors, groups,
    member::RemoteMember,
    reader::Reader,
    writer::Writer,
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tifo_broker::{
    ClientError, LogClient,
    client::{Fetched, Group, GroupCondition, GroupListing, GroupWait, Member, MemberSpec, Membership, TopicSpec},
};

/// How long a cluster may take to answer for the first time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a created topic may take until each partition has a leader.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks whether it has.
const TOPIC_PAUSE: Duration = Duration::from_millis(20);
/// Partitions that are read, and groups that are committed to, with a client each; beyond it they are made anew.
const MAX_CLIENTS: usize = 1_024;

/// One partition is read by one at a time.
type SharedReader = Arc<Mutex<Reader>>;

/// The log of another cluster.
pub struct RemoteLog {
    cluster: Cluster,
    admin: AdminClient<DefaultClientContext>,
    /// Asks about topics, ends and groups.
    asker: Arc<BaseConsumer>,
    writer: Writer,
    readers: Mutex<HashMap<(String, i32), SharedReader>>,
    committers: Mutex<HashMap<String, Arc<BaseConsumer>>>,
}

impl std::fmt::Debug for RemoteLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RemoteLog").field("bootstrap", &self.cluster.bootstrap()).finish_non_exhaustive()
    }
}

impl RemoteLog {
    /// The cluster has answered when this returns.
    pub async fn connect(cluster: Cluster) -> Result<Self, ClientError> {
        let writer = Writer::new(&cluster)?;
        let made = |error: KafkaError| errors::general(&error);
        let admin = cluster.config(&[]).create().map_err(made)?;
        let asker: Arc<BaseConsumer> = Arc::new(cluster.config(&[]).create().map_err(made)?);
        let log = Self { cluster, admin, asker, writer, readers: Mutex::default(), committers: Mutex::default() };
        let brokers = log.ask(|asker| asker.fetch_metadata(None, CONNECT_TIMEOUT).map(|found| found.brokers().len()));
        let brokers = brokers.await.map_err(|error| {
            ClientError::Unavailable(format!("no cluster answers at {}: {error}", log.cluster.bootstrap()))
        })?;
        tracing::info!(bootstrap = log.cluster.bootstrap(), brokers, "the log is in a remote cluster");
        Ok(log)
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&BaseConsumer) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, ClientError> {
        let asker = Arc::clone(&self.asker);
        blocking(move || {
            let answer = question(&asker).map_err(|error| errors::general(&error));
            drain(&asker);
            answer
        })
        .await
    }

    /// None: there is no such topic. Else its number of partitions, and whether each has a leader.
    async fn look_at(&self, topic: &str) -> Result<Option<(i32, bool)>, ClientError> {
        let name = topic.to_owned();
        let looked = self.ask(move |asker| {
            let metadata = asker.fetch_metadata(Some(&name), ANSWER_TIMEOUT)?;
            let found = metadata.topics().iter().find(|found| found.name() == name);
            let Some(found) = found.filter(|found| found.error().is_none() && !found.partitions().is_empty()) else {
                return Ok(None);
            };
            let has_leaders = found.partitions().iter().all(|partition| partition.leader() >= 0);
            Ok(Some((i32::try_from(found.partitions().len()).unwrap_or(i32::MAX), has_leaders)))
        });
        looked.await
    }

    async fn create(&self, topic: &TopicSpec) -> Result<(), ClientError> {
        let mut new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(-1));
        for (name, value) in &topic.settings {
            new = new.set(name, value);
        }
        let created = self.admin.create_topics([&new], &AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT)));
        let created = created.await.map_err(|error| errors::general(&error))?;
        for (name, code) in created.into_iter().filter_map(Result::err) {
            if code != RDKafkaErrorCode::TopicAlreadyExists {
                let error = errors::general(&KafkaError::Global(code));
                return Err(match error {
                    ClientError::Unavailable(reason) => ClientError::Unavailable(format!("topic {name}: {reason}")),
                    other => ClientError::Refused(format!("topic {name}: {other}")),
                });
            }
        }
        Ok(())
    }

    fn reader(&self, topic: &str, partition: i32) -> Result<SharedReader, ClientError> {
        let mut readers = self.readers.lock();
        let key = (topic.to_owned(), partition);
        if let Some(reader) = readers.get(&key) {
            return Ok(Arc::clone(reader));
        }
        if readers.len() >= MAX_CLIENTS {
            readers.clear();
        }
        let reader = Arc::new(Mutex::new(Reader::new(&self.cluster, topic, partition)?));
        readers.insert(key, Arc::clone(&reader));
        Ok(reader)
    }

    fn committer(&self, group: &str) -> Result<Arc<BaseConsumer>, ClientError> {
        let mut committers = self.committers.lock();
        if let Some(committer) = committers.get(group) {
            return Ok(Arc::clone(committer));
        }
        if committers.len() >= MAX_CLIENTS {
            committers.clear();
        }
        let committer = Arc::new(groups::committer(&self.cluster, group)?);
        committers.insert(group.to_owned(), Arc::clone(&committer));
        Ok(committer)
    }
}

/// Takes what the client says of itself (log lines wait in its queue).
fn drain(client: &BaseConsumer) {
    while client.poll(Duration::ZERO).is_some() {}
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, ClientError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(ClientError::Unavailable(error.to_string())),
    }
}

impl Membership for RemoteLog {
    fn join(&self, spec: &MemberSpec) -> Result<Box<dyn Member>, ClientError> {
        Ok(Box::new(RemoteMember::join(&self.cluster, spec)?))
    }
}

#[async_trait]
impl LogClient for RemoteLog {
    async fn ensure_topic(&self, topic: &TopicSpec) -> Result<(), ClientError> {
        if self.look_at(&topic.name).await?.is_some() {
            return Ok(());
        }
        self.create(topic).await?;
        let deadline = Instant::now() + TOPIC_TIMEOUT;
        while !matches!(self.look_at(&topic.name).await?, Some((_, true))) {
            if Instant::now() >= deadline {
                let reason = format!("topic {} was created, but has no leaders yet", topic.name);
                return Err(ClientError::Unavailable(reason));
            }
            tokio::time::sleep(TOPIC_PAUSE).await;
        }
        Ok(())
    }

    async fn partitions(&self, topic: &str) -> Result<i32, ClientError> {
        let found = self.look_at(topic).await?;
        found.map(|(partitions, _)| partitions).ok_or_else(|| ClientError::UnknownTopic(topic.to_owned()))
    }

    async fn append(&self, topic: &str, partition: i32, batches: Bytes) -> Result<i64, ClientError> {
        let offsets = self.append_each(topic, partition, batches).await?;
        offsets.first().copied().ok_or_else(|| ClientError::Refused("nothing to append".to_owned()))
    }

    async fn append_each(&self, topic: &str, partition: i32, batches: Bytes) -> Result<Vec<i64>, ClientError> {
        self.writer.append(topic, partition, batches).await
    }

    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: usize,
        max_wait: Duration,
    ) -> Result<Fetched, ClientError> {
        let reader = self.reader(topic, partition)?;
        blocking(move || reader.lock().fetch(offset, max_bytes, max_wait)).await
    }

    async fn offsets(&self, topic: &str, partition: i32) -> Result<(i64, i64), ClientError> {
        let (asker, topic) = (Arc::clone(&self.asker), topic.to_owned());
        blocking(move || {
            let bounds = asker.fetch_watermarks(&topic, partition, ANSWER_TIMEOUT);
            bounds.map_err(|error| errors::about(&topic, partition, &error))
        })
        .await
    }

    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), ClientError> {
        let committer = self.committer(group)?;
        let mut wanted = TopicPartitionList::new();
        for (partition, offset) in offsets {
            let added = wanted.add_partition_offset(topic, *partition, Offset::Offset(*offset));
            added.map_err(|error| errors::about(topic, *partition, &error))?;
        }
        blocking(move || {
            let committed = committer.commit(&wanted, CommitMode::Sync).map_err(|error| errors::general(&error));
            drain(&committer);
            committed
        })
        .await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, ClientError> {
        let committer = self.committer(group)?;
        let mut wanted = TopicPartitionList::new();
        (0..self.partitions(topic).await?).for_each(|partition| {
            wanted.add_partition(topic, partition);
        });
        blocking(move || {
            let committed = committer.committed_offsets(wanted, ANSWER_TIMEOUT);
            drain(&committer);
            let committed = committed.map_err(|error| errors::general(&error))?;
            let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
            let known = committed.elements();
            Ok(known.iter().filter_map(|one| Some((one.partition(), offset(one.offset())?))).collect())
        })
        .await
    }

    async fn init_producer_id(&self) -> Result<(i64, i16), ClientError> {
        Err(ClientError::Refused(
            "producer ids over HTTP need Tifo's own broker; this one writes to a remote cluster, where each gateway is an \
             idempotent producer of its own"
                .to_owned(),
        ))
    }

    async fn groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        let asker = Arc::clone(&self.asker);
        blocking(move || groups::list(&asker)).await
    }

    async fn group(&self, group: &str) -> Result<Option<Group>, ClientError> {
        let (asker, committer, group) = (Arc::clone(&self.asker), self.committer(group)?, group.to_owned());
        blocking(move || {
            let found = groups::describe(&asker, &committer, &group);
            drain(&committer);
            found
        })
        .await
    }

    async fn wait_for_group(
        &self,
        group: &str,
        condition: &GroupCondition,
        max_wait: Duration,
    ) -> Result<GroupWait, ClientError> {
        let deadline = Instant::now() + max_wait;
        loop {
            let seen = self.group(group).await?;
            let is_reached = condition.holds(seen.as_ref());
            let left = deadline.saturating_duration_since(Instant::now());
            if is_reached || left.is_zero() {
                return Ok(GroupWait { group: seen, is_reached });
            }
            tokio::time::sleep(groups::LOOK_EVERY.min(left)).await;
        }
    }
}
