//! Topics, their partitions and settings, and producer ids: what exists on this node.
//!
//! Readers look into an image in memory; every change is first written to the metadata log, under one lock, and is visible
//! to all before the request that asked for it is answered. Lock order: `metadata_upkeep`, `writer`, then `image`, then a partition's log.
//! Opening, changing and closing touch the disk: callers on the async side go through a blocking task.

mod broker_settings;
mod changes;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
mod data_dir;
mod deletions;
pub mod kafka_uuid;
mod metadata_upkeep;
pub mod names;
mod opening;
mod producer_ids;
mod records;
mod replayed;
mod resource_settings;
mod topics_image;

pub use changes::{Increase, NewTopic};
pub use data_dir::{DataDirError, DataDirLock};
pub use deletions::Deletions;
pub use opening::OpenError;

use crate::{
    clock::Clock,
    errors::RequestError,
    partition::Partition,
    settings::{Live, Settings},
};
use data_dir::DataDir;
use parking_lot::{Mutex, RwLock};
use records::{MetadataLog, MetadataRecord};
use resource_settings::Resources;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tifo_coordinator::assignment::TopicsImage;
use tifo_storage::file_system::{FileSystem, Space};
use uuid::Uuid;

/// One topic as it is now; a change makes a new one.
#[derive(Debug, Clone)]
pub struct Topic {
    pub name: Arc<str>,
    pub id: Uuid,
    pub partitions: Vec<Arc<Partition>>,
    /// What was set on the topic itself.
    pub settings: Settings,
}

impl Topic {
    pub fn partition(&self, index: i32) -> Result<&Arc<Partition>, RequestError> {
        let found = usize::try_from(index).ok().and_then(|index| self.partitions.get(index));
        found.ok_or(RequestError::UnknownTopicOrPartition)
    }

    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }
}

/// All topics, by name and by id.
#[derive(Debug, Default)]
struct Image {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
    /// Topic names by [`names::collision_key`].
    by_collision_key: HashMap<String, Arc<str>>,
    /// Counts the changes of topics.
    version: u64,
    resources: Resources,
    /// Counts changes of client-metrics resources.
    client_metrics_version: u64,
}

impl Image {
    fn put(&mut self, topic: Arc<Topic>) {
        self.version += 1;
        self.by_collision_key.insert(names::collision_key(&topic.name), topic.name.clone());
        self.by_id.insert(topic.id, topic.clone());
        self.by_name.insert(topic.name.clone(), topic);
    }

    fn take(&mut self, topic: &Topic) {
        self.version += 1;
        self.by_collision_key.remove(&names::collision_key(&topic.name));
        self.by_id.remove(&topic.id);
        self.by_name.remove(&topic.name);
    }
}

/// What changes go through, one at a time.
#[derive(Debug)]
struct Writer {
    /// None once the broker has stopped.
    log: Option<MetadataLog>,
    producer_ids: producer_ids::ProducerIds,
}

/// The catalog of this node.
#[derive(Debug)]
pub struct Catalog {
    image: RwLock<Image>,
    /// The topics as groups see them; made again when somebody asks after a change.
    topics_image: Mutex<Arc<TopicsImage>>,
    writer: Mutex<Writer>,
    /// Held by whoever checkpoints or compacts the metadata log; taken before `writer`.
    metadata_upkeep: Mutex<()>,
    data: DataDir,
    deletions: Deletions,
    file_system: Arc<dyn FileSystem>,
    config: Arc<Live>,
    clock: Clock,
    cluster_id: String,
}

impl Catalog {
    pub fn node_id(&self) -> i32 {
        self.config.now().node_id
    }

    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.image.read().by_name.get(name).cloned()
    }

    pub fn topic_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.image.read().by_id.get(&id).cloned()
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.image.read().by_name.values().cloned().collect()
    }

    pub fn partition(&self, topic: &str, index: i32) -> Result<Arc<Partition>, RequestError> {
        let topic = self.topic(topic).ok_or(RequestError::UnknownTopicOrPartition)?;
        topic.partition(index).cloned()
    }

    /// Shows every partition to `look`, which must be quick: changes wait meanwhile.
    pub fn for_each_partition(&self, look: impl FnMut(&Arc<Partition>)) {
        self.image.read().by_name.values().flat_map(|topic| &topic.partitions).for_each(look);
    }

    /// A producer id that nobody had before, also across restarts.
    pub fn next_producer_id(&self) -> Result<i64, RequestError> {
        let mut writer = self.writer.lock();
        let Writer { log, producer_ids } = &mut *writer;
        let log = log.as_mut().ok_or_else(stopping)?;
        producer_ids.next(|next| log.append(&MetadataRecord::ProducerIds { next }, self.clock.now_ms()))
    }

    /// Files that wait for their removal.
    pub fn deletions(&self) -> &Deletions {
        &self.deletions
    }

    /// How large the volume is that the data lies on.
    pub fn space(&self) -> std::io::Result<Space> {
        self.file_system.space(self.data.path())
    }

    /// Where the metadata log ends; -1 once the broker has stopped.
    pub fn metadata_end_offset(&self) -> i64 {
        self.writer.lock().log.as_ref().map_or(-1, MetadataLog::end_offset)
    }

    /// Where the data lies.
    pub fn data_dir(&self) -> &std::path::Path {
        self.data.path()
    }
}

fn stopping() -> RequestError {
    RequestError::Unexpected("the broker is stopping".into())
}
