//! Changes of the catalog: topics come, grow, change their settings and go.
//!
//! Creating: directories and logs first, then the record (from then on the topic exists), then the image. Deleting: the
//! record first, then the image, then the files; what a crash leaves of them the next start removes.

use super::{Catalog, MetadataRecord, Topic, kafka_uuid, names, stopping};
use crate::{
    errors::RequestError,
    partition::Partition,
    settings::{Settings, log_config, topics},
};
use std::sync::Arc;
use uuid::Uuid;

/// Most partitions that one request may add; Kafka's own limit.
pub const MAX_PARTITIONS_PER_REQUEST: i32 = 10_000;

/// What a topic is created with.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    pub name: String,
    /// -1: `num.partitions`.
    pub partitions: i32,
    /// -1: `default.replication.factor`.
    pub replication_factor: i16,
    /// Replicas by partition; empty: the broker chooses.
    pub assignments: Vec<(i32, Vec<i32>)>,
    pub settings: Settings,
}

/// What a topic grows to.
#[derive(Debug, Clone, Default)]
pub struct Increase {
    pub count: i32,
    /// Replicas of each new partition; None: the broker chooses.
    pub assignments: Option<Vec<Vec<i32>>>,
}

impl Catalog {
    /// Creates a topic; the next look-up on any connection finds it. With `validate_only` it is only checked.
    pub fn create_topic(&self, new: &NewTopic, validate_only: bool) -> Result<Arc<Topic>, RequestError> {
        let mut writer = self.writer.lock();
        let partitions = self.check_new(new)?;
        let name: Arc<str> = new.name.as_str().into();
        let (id, settings) = (kafka_uuid::random(), new.settings.clone());
        if validate_only {
            let partition = |index| Arc::new(Partition::new(name.clone(), index, None));
            let partitions = (0..partitions).map(partition).collect();
            return Ok(Arc::new(Topic { name, id, partitions, settings }));
        }
        let log = writer.log.as_mut().ok_or_else(stopping)?;
        let hosted = self.open_partitions(&name, id, 0..partitions, &settings)?;
        let record = MetadataRecord::Topic { id, name: new.name.clone(), partitions, settings: settings.clone() };
        log.append(&record, self.clock.now_ms()).inspect_err(|_| self.remove_files(&hosted, 0))?;
        let topic = Arc::new(Topic { name, id, partitions: hosted, settings });
        self.image.write().put(topic.clone());
        tracing::debug!(topic = %topic.name, partitions, "topic created");
        Ok(topic)
    }

    /// Finds a topic or creates it with the broker's defaults, as a client's first use of it does.
    pub fn ensure_topic(&self, new: &NewTopic) -> Result<Arc<Topic>, RequestError> {
        match self.topic(&new.name) {
            Some(topic) => Ok(topic),
            None => match self.create_topic(new, false) {
                // Another client was faster.
                Err(RequestError::TopicAlreadyExists(name)) => {
                    self.topic(&name).ok_or(RequestError::UnknownTopicOrPartition)
                }
                created => created,
            },
        }
    }

    /// Deletes a topic; when this returns its name is free.
    pub fn delete_topic(&self, id: Uuid) -> Result<Arc<Topic>, RequestError> {
        let mut writer = self.writer.lock();
        let topic = self.topic_by_id(id).ok_or(RequestError::UnknownTopicId)?;
        let log = writer.log.as_mut().ok_or_else(stopping)?;
        log.append(&MetadataRecord::TopicDeleted { id }, self.clock.now_ms())?;
        self.image.write().take(&topic);
        let delay_ms = log_config(&topic.settings, &self.config.now().layers).file_delete_delay_ms;
        self.remove_files(&topic.partitions, delay_ms);
        tracing::debug!(topic = %topic.name, "topic deleted");
        Ok(topic)
    }

    /// Adds partitions to a topic.
    pub fn create_partitions(&self, name: &str, increase: &Increase, validate_only: bool) -> Result<(), RequestError> {
        let mut writer = self.writer.lock();
        let topic = self.topic(name).ok_or(RequestError::UnknownTopicOrPartition)?;
        let before = topic.partition_count();
        self.check_increase(name, before, increase)?;
        if validate_only {
            return Ok(());
        }
        let log = writer.log.as_mut().ok_or_else(stopping)?;
        let added = self.open_partitions(&topic.name, topic.id, before..increase.count, &topic.settings)?;
        let record = MetadataRecord::Partitions { id: topic.id, count: increase.count };
        log.append(&record, self.clock.now_ms()).inspect_err(|_| self.remove_files(&added, 0))?;
        let mut grown = Topic::clone(&topic);
        grown.partitions.extend(added);
        self.image.write().put(Arc::new(grown));
        Ok(())
    }

    /// Replaces a topic's settings by what `change` makes of them; they hold from the next request on.
    pub fn alter_settings(
        &self,
        name: &str,
        validate_only: bool,
        change: impl FnOnce(&Settings) -> Result<Settings, RequestError>,
    ) -> Result<(), RequestError> {
        let mut writer = self.writer.lock();
        let topic = self.topic(name).ok_or(RequestError::UnknownTopicOrPartition)?;
        let settings = change(&topic.settings)?;
        topics::validate(&settings)?;
        if validate_only || settings == topic.settings {
            return Ok(());
        }
        let log = writer.log.as_mut().ok_or_else(stopping)?;
        let record = MetadataRecord::TopicSettings { id: topic.id, settings: settings.clone() };
        log.append(&record, self.clock.now_ms())?;
        let config = log_config(&settings, &self.config.now().layers);
        for partition in &topic.partitions {
            // An offline partition takes its settings when it is opened again.
            let _ = partition.set_config(config.clone());
        }
        self.image.write().put(Arc::new(Topic { settings, ..Topic::clone(&topic) }));
        Ok(())
    }

    fn open_partitions(
        &self,
        name: &Arc<str>,
        id: Uuid,
        range: std::ops::Range<i32>,
        settings: &Settings,
    ) -> Result<Vec<Arc<Partition>>, RequestError> {
        let mut opened = Vec::new();
        for index in range {
            match self.open_partition(name, id, index, settings) {
                Ok(partition) => opened.push(partition),
                Err(error) => {
                    tracing::error!(topic = %name, partition = index, %error, "partition could not be created");
                    self.remove_files(&opened, 0);
                    return Err(error);
                }
            }
        }
        Ok(opened)
    }

    /// The partitions end at once, their directories bear other names; the maintenance removes them `delay_ms` later.
    fn remove_files(&self, partitions: &[Arc<Partition>], delay_ms: i64) {
        let now_ms = self.clock.now_ms();
        for partition in partitions {
            partition.abandon();
            match self.data.mark_deleted(&partition.topic, partition.index, delay_ms) {
                Ok(doomed) => self.deletions.add(doomed, now_ms),
                Err(error) => {
                    tracing::warn!(%error, "a deleted partition's directory could not be renamed; the next start tries again")
                }
            }
        }
    }

    /// Checks a topic to be created in the order in which Kafka does; returns its partition count.
    fn check_new(&self, new: &NewTopic) -> Result<i32, RequestError> {
        if let Some(complaint) = names::complaint(&new.name) {
            return Err(RequestError::InvalidTopic(complaint));
        }
        if let Some(other) = self.image.read().by_collision_key.get(&names::collision_key(&new.name)) {
            return Err(match **other == *new.name {
                true => RequestError::TopicAlreadyExists(new.name.clone()),
                false => {
                    RequestError::InvalidTopic(format!("Topic '{}' collides with existing topic: {other}", new.name))
                }
            });
        }
        topics::validate(&new.settings)?;
        if new.assignments.is_empty() { self.check_counts(new) } else { self.check_assignments(new) }
    }

    fn check_counts(&self, new: &NewTopic) -> Result<i32, RequestError> {
        if new.replication_factor != -1 && new.replication_factor <= 0 {
            let complaint = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(RequestError::InvalidReplicationFactor(complaint.into()));
        }
        if new.partitions != -1 && new.partitions <= 0 {
            let complaint = "Number of partitions was set to an invalid non-positive value.";
            return Err(RequestError::InvalidPartitions(complaint.into()));
        }
        let wanted = if new.replication_factor == -1 {
            self.config.now().default_replication_factor
        } else {
            new.replication_factor
        };
        if wanted > 1 {
            return Err(RequestError::InvalidReplicationFactor(format!(
                "Unable to replicate the partition {wanted} time(s): The target replication factor of {wanted} \
                 cannot be reached because only 1 broker(s) are registered or some brokers have all their log \
                 directories cordoned."
            )));
        }
        let count = if new.partitions == -1 { self.config.now().num_partitions } else { new.partitions };
        check_most(count)
    }

    fn check_assignments(&self, new: &NewTopic) -> Result<i32, RequestError> {
        let given = match (new.replication_factor, new.partitions) {
            (-1, -1) => None,
            (-1, _) => Some("numPartitions"),
            _ => Some("replication factor"),
        };
        if let Some(given) = given {
            let complaint = format!("A manual partition assignment was specified, but {given} was not set to -1.");
            return Err(RequestError::InvalidRequest(complaint));
        }
        let mut assignments = new.assignments.clone();
        assignments.sort_unstable();
        let twice = assignments.windows(2).find_map(|pair| match pair {
            [(first, _), (second, _)] if first == second => Some(first),
            _ => None,
        });
        if let Some(partition) = twice {
            let complaint = format!("Found multiple manual partition assignments for partition {partition}");
            return Err(RequestError::InvalidReplicaAssignment(complaint));
        }
        assignments.iter().try_for_each(|(_, replicas)| self.check_replicas(replicas))?;
        if (0..).zip(&assignments).any(|(due, (partition, _))| *partition != due) {
            return Err(RequestError::InvalidReplicaAssignment(
                "partitions should be a consecutive 0-based integer sequence".into(),
            ));
        }
        check_most(i32::try_from(assignments.len()).unwrap_or(i32::MAX))
    }

    fn check_increase(&self, name: &str, before: i32, increase: &Increase) -> Result<(), RequestError> {
        let count = increase.count;
        if count == before {
            return Err(RequestError::InvalidPartitions(format!("Topic already has {before} partition(s).")));
        }
        if count < before {
            return Err(RequestError::InvalidPartitions(format!(
                "The topic {name} currently has {before} partition(s); {count} would not be an increase."
            )));
        }
        check_most(count - before)?;
        let Some(assignments) = &increase.assignments else { return Ok(()) };
        if i32::try_from(assignments.len()).ok() != Some(count - before) {
            return Err(RequestError::InvalidReplicaAssignment(format!(
                "Attempted to add {} additional partition(s), but only {} assignment(s) were specified.",
                count - before,
                assignments.len()
            )));
        }
        assignments.iter().try_for_each(|replicas| self.check_replicas(replicas))
    }

    /// Whether the replicas of one partition can be these.
    pub fn check_replicas(&self, replicas: &[i32]) -> Result<(), RequestError> {
        let node = self.config.now().node_id;
        let refused = |complaint: String| Err(RequestError::InvalidReplicaAssignment(complaint));
        if replicas.is_empty() {
            return refused("The manual partition assignment includes an empty replica list.".into());
        }
        if let Some(stranger) = replicas.iter().find(|replica| **replica != node) {
            return refused(format!(
                "The manual partition assignment includes broker {stranger}, but no such broker is registered."
            ));
        }
        if replicas.len() > 1 {
            return refused(format!("The manual partition assignment includes the broker {node} more than once."));
        }
        Ok(())
    }
}

fn check_most(count: i32) -> Result<i32, RequestError> {
    if count > MAX_PARTITIONS_PER_REQUEST {
        return Err(RequestError::PolicyViolation("Excessively large number of partitions per request.".into()));
    }
    Ok(count)
}
