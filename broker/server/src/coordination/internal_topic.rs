//! An internal topic and its shards: created when the first request needs it, hosted anew when it was deleted in between.

use super::Shard;
use crate::{
    catalog::{Catalog, NewTopic, Topic},
    errors::RequestError,
    partition::Partition,
};
use parking_lot::RwLock;
use std::{fmt, sync::Arc};
use uuid::Uuid;

/// Makes the shard of a partition.
type Make<S> = Box<dyn Fn(&Arc<Partition>) -> Arc<S> + Send + Sync>;

pub struct InternalTopic<S> {
    catalog: Arc<Catalog>,
    new: NewTopic,
    make: Make<S>,
    /// None until somebody needs the topic.
    hosted: RwLock<Option<Arc<Hosted<S>>>>,
    /// Held while the topic is found or created.
    opening: tokio::sync::Mutex<()>,
}

/// The shards of the topic that there is; should it be deleted and created again, there are others.
#[derive(Debug)]
pub struct Hosted<S> {
    topic_id: Uuid,
    /// In the order of the topic's partitions.
    pub shards: Vec<Arc<S>>,
}

impl<S> fmt::Debug for InternalTopic<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("InternalTopic").field("name", &self.new.name).finish_non_exhaustive()
    }
}

impl<S: Shard> InternalTopic<S> {
    /// `make` makes the shard of a partition.
    pub fn new(
        catalog: Arc<Catalog>,
        new: NewTopic,
        make: impl Fn(&Arc<Partition>) -> Arc<S> + Send + Sync + 'static,
    ) -> Self {
        Self { catalog, new, make: Box::new(make), hosted: RwLock::new(None), opening: tokio::sync::Mutex::default() }
    }

    /// Whether anybody ever needed the topic.
    pub fn exists(&self) -> bool {
        self.catalog.topic(&self.new.name).is_some()
    }

    /// The shards that exist, without waiting for any.
    pub fn known(&self) -> Option<Arc<Hosted<S>>> {
        self.hosted.read().clone()
    }

    /// The shards, if they are those of the topic that there is now.
    pub fn current(&self) -> Option<Arc<Hosted<S>>> {
        let hosted = self.known()?;
        self.catalog.topic(&self.new.name).filter(|topic| topic.id == hosted.topic_id).map(|_| hosted)
    }

    /// The shards; the topic is found, or created.
    pub async fn hosted(&self) -> Result<Arc<Hosted<S>>, RequestError> {
        if let Some(hosted) = self.current() {
            return Ok(hosted);
        }
        let _opening = self.opening.lock().await;
        match self.current() {
            Some(hosted) => Ok(hosted),
            None => self.open().await,
        }
    }

    async fn open(&self) -> Result<Arc<Hosted<S>>, RequestError> {
        let (catalog, new) = (self.catalog.clone(), self.new.clone());
        let topic = tokio::task::spawn_blocking(move || catalog.ensure_topic(&new)).await;
        let topic = topic.unwrap_or_else(|error| Err(RequestError::Unexpected(error.to_string())));
        topic.map(|topic| self.host(&topic)).inspect_err(|error| {
            tracing::error!(%error, topic = %self.new.name, "an internal topic cannot be created");
        })
    }

    fn host(&self, topic: &Topic) -> Arc<Hosted<S>> {
        let shards = topic.partitions.iter().map(|partition| (self.make)(partition)).collect();
        let hosted = Arc::new(Hosted { topic_id: topic.id, shards });
        if let Some(before) = self.hosted.write().replace(hosted.clone()) {
            before.shards.iter().for_each(|shard| shard.close());
        }
        hosted
    }
}

impl<S> Hosted<S> {
    /// The shard that holds an id.
    pub fn shard_of(&self, id: &str) -> Option<&Arc<S>> {
        self.shards.get(super::slot(id, self.shards.len()))
    }
}
