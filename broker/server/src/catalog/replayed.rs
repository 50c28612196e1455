//! What the metadata log says: its records folded into what exists, and that back into the fewest records that say the same. Pure.

use super::{
    MetadataRecord,
    data_dir::{DataDir, Known},
    resource_settings::{self, Resources},
};
use crate::settings::Settings;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};
use uuid::Uuid;

/// What exists, before any partition is opened.
#[derive(Debug, Default, PartialEq)]
pub struct Replayed {
    pub cluster_id: Option<String>,
    pub topics: BTreeMap<Uuid, Described>,
    /// Topics that are gone; their files may not be.
    pub deleted: HashSet<Uuid>,
    pub next_producer_id: i64,
    /// Settings altered at run time, by broker; those of all under None.
    pub altered: BTreeMap<Option<i32>, Settings>,
    pub resources: Resources,
}

#[derive(Debug, PartialEq)]
pub struct Described {
    pub name: Arc<str>,
    pub partitions: i32,
    pub settings: Settings,
}

impl Replayed {
    /// What all these records say, in their order.
    pub fn of(records: impl IntoIterator<Item = MetadataRecord>) -> Self {
        records.into_iter().fold(Self::default(), Self::replay)
    }

    fn replay(mut self, record: MetadataRecord) -> Self {
        match record {
            MetadataRecord::Cluster { id } => self.cluster_id = Some(id),
            MetadataRecord::Topic { id, name, partitions, settings } => {
                self.topics.insert(id, Described { name: name.into(), partitions, settings });
            }
            MetadataRecord::Partitions { id, count } => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.partitions = count;
                }
            }
            MetadataRecord::TopicSettings { id, settings } => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.settings = settings;
                }
            }
            MetadataRecord::TopicDeleted { id } => {
                self.topics.remove(&id);
                self.deleted.insert(id);
            }
            MetadataRecord::BrokerSettings { broker, settings } => {
                self.altered.insert(broker, settings);
            }
            MetadataRecord::ResourceSettings { kind, name, settings } => {
                resource_settings::put(&mut self.resources, kind, name, settings);
            }
            MetadataRecord::ProducerIds { next } => self.next_producer_id = self.next_producer_id.max(next),
        }
        self
    }

    /// The fewest records that say this. To replay them behind those that they were made from changes nothing.
    pub fn records(self) -> Vec<MetadataRecord> {
        let Self { cluster_id, topics, deleted, next_producer_id, altered, resources } = self;
        let topic = |(id, topic): (Uuid, Described)| {
            let Described { name, partitions, settings } = topic;
            MetadataRecord::Topic { id, name: name.to_string(), partitions, settings }
        };
        let cluster = cluster_id.map(|id| MetadataRecord::Cluster { id });
        let producer_ids = (next_producer_id > 0).then_some(MetadataRecord::ProducerIds { next: next_producer_id });
        let deleted = deleted.into_iter().map(|id| MetadataRecord::TopicDeleted { id });
        let altered = altered.into_iter().map(|(broker, settings)| MetadataRecord::BrokerSettings { broker, settings });
        let resources = resources.into_iter();
        let resources =
            resources.map(|((kind, name), settings)| MetadataRecord::ResourceSettings { kind, name, settings });
        let topics = topics.into_iter().map(topic);
        cluster.into_iter().chain(producer_ids).chain(altered).chain(resources).chain(topics).chain(deleted).collect()
    }

    /// For the data directory: whose directories are expected there, and whose are left over.
    pub fn known(&self) -> Known<'_> {
        let hosted: HashMap<&str, i32> = self.topics.values().map(|topic| (&*topic.name, topic.partitions)).collect();
        Known { hosted, deleted: &self.deleted }
    }

    /// Forgets the deleted topics of which nothing is left.
    pub fn forget_deleted(&mut self, data: &DataDir) -> Result<(), tifo_storage::StorageError> {
        let left: HashSet<Uuid> = data.left_behind(&self.known())?.into_iter().map(|left| left.id).collect();
        self.deleted = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::resources::ResourceKind;
    use proptest::{collection::vec, prelude::*};

    fn id() -> impl Strategy<Value = Uuid> {
        (1u128..6).prop_map(Uuid::from_u128)
    }

    fn settings() -> impl Strategy<Value = Settings> {
        vec(("[a-c]", "[0-9]"), 0..3).prop_map(|pairs| pairs.into_iter().collect())
    }

    fn record() -> impl Strategy<Value = MetadataRecord> {
        let topic = (id(), "[a-e]", 1i32..9, settings());
        prop_oneof![
            "[a-z]{3}".prop_map(|id| MetadataRecord::Cluster { id }),
            topic.prop_map(|(id, name, partitions, settings)| MetadataRecord::Topic { id, name, partitions, settings }),
            (id(), 1i32..9).prop_map(|(id, count)| MetadataRecord::Partitions { id, count }),
            (id(), settings()).prop_map(|(id, settings)| MetadataRecord::TopicSettings { id, settings }),
            id().prop_map(|id| MetadataRecord::TopicDeleted { id }),
            (proptest::option::of(0i32..3), settings())
                .prop_map(|(broker, settings)| MetadataRecord::BrokerSettings { broker, settings }),
            ("[a-c]", settings()).prop_map(|(name, settings)| MetadataRecord::ResourceSettings {
                kind: ResourceKind::Group,
                name,
                settings
            }),
            (0i64..9000).prop_map(|next| MetadataRecord::ProducerIds { next }),
        ]
    }

    /// As the catalog writes them: an id is never given out again.
    fn history() -> impl Strategy<Value = Vec<MetadataRecord>> {
        vec(record(), 0..40).prop_map(|records| {
            let mut gone = HashSet::new();
            let mut sensible = |record: &MetadataRecord| match record {
                MetadataRecord::TopicDeleted { id } => gone.insert(*id),
                MetadataRecord::Topic { id, .. } => !gone.contains(id),
                _ => true,
            };
            records.into_iter().filter(|record| sensible(record)).collect()
        })
    }

    proptest! {
        #[test]
        fn fewer_records_say_the_same_alone_and_behind_the_others(history in history(), part: prop::sample::Index) {
            let said = || Replayed::of(history.clone());
            let fewer = said().records();
            prop_assert!(fewer.len() <= history.len());
            prop_assert_eq!(Replayed::of(fewer.clone()), said());
            // A power cut may leave only some of them behind the old ones.
            let some = fewer[..part.index(fewer.len() + 1)].iter().cloned();
            prop_assert_eq!(Replayed::of(history.iter().cloned().chain(some)), said());
        }
    }
}
