//! The topics of the broker at one moment, as far as groups have to know them.

use super::metadata_hash;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};
use uuid::Uuid;

#[derive(Debug)]
pub struct TopicMetadata {
    pub name: Arc<str>,
    pub id: Uuid,
    pub partitions: i32,
    hash: OnceLock<u64>,
}

/// A change of topics makes a new image, with a new version.
#[derive(Debug, Default)]
pub struct TopicsImage {
    version: u64,
    by_name: BTreeMap<Arc<str>, Arc<TopicMetadata>>,
    by_id: HashMap<Uuid, Arc<TopicMetadata>>,
}

impl TopicMetadata {
    pub fn new(name: Arc<str>, id: Uuid, partitions: i32) -> Self {
        Self { name, id, partitions, hash: OnceLock::new() }
    }

    /// Changes whenever the topic does, its id included.
    fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| metadata_hash::of_topic(&self.name, self.id, self.partitions))
    }
}

impl TopicsImage {
    pub fn new(version: u64, topics: impl IntoIterator<Item = TopicMetadata>) -> Self {
        let (mut by_name, mut by_id) = (BTreeMap::new(), HashMap::new());
        for topic in topics.into_iter().map(Arc::new) {
            by_id.insert(topic.id, topic.clone());
            by_name.insert(topic.name.clone(), topic);
        }
        Self { version, by_name, by_id }
    }

    /// Greater than that of every earlier image.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<TopicMetadata>> {
        self.by_name.get(name)
    }

    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<TopicMetadata>> {
        self.by_id.get(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<TopicMetadata>> {
        self.by_name.values()
    }

    /// What Kafka calls the metadata hash of a group that subscribes to these topics (KIP-1101): another one means that the group has
    /// to be assigned anew. Topics that do not exist do not count. `names` are in order and distinct.
    pub fn metadata_hash<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> i64 {
        let topics = names.into_iter().filter_map(|name| self.topic(name));
        metadata_hash::of_group(topics.map(|topic| topic.hash()))
    }
}
