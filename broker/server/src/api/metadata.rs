//! Metadata, key 3, versions 0-13.
//!
//! 1: controller, racks, internal topics; null means all topics (an empty list did before). 2: cluster id. 3: throttle time.
//! 4: the client may forbid auto-creation. 5 (KIP-112): offline replicas. 7 (KIP-320): leader epochs. 8 (KIP-430) and up to
//! 10: authorized operations. 9: flexible. 10 (KIP-516): topic ids. 11: cluster operations moved to DescribeCluster (KIP-700).
//! 12: topics may be asked for by id. 13: an error of the whole response.
//! A topic created on the way is ready when it is listed: it has a leader at once, where Kafka says LEADER_NOT_AVAILABLE.

use super::{Api, Context, bounds::*, versions};
use crate::{
    catalog::{Catalog, NewTopic, Topic, names},
    cluster::{Cluster, LEADER_EPOCH},
    errors::RequestError,
    settings::InForce,
};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, BrokerId, MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
    protocol::StrBytes,
};
use std::{collections::HashSet, sync::Arc};
use uuid::Uuid;

const TOPIC: Kind = Kind::Struct(&[field(UUID).since(10), field(Kind::NullableString)]);
const LAYOUT: Layout = Layout::new(
    9,
    &[
        field(Kind::Array(&TOPIC)).until(0),
        field(Kind::NullableArray(&TOPIC)).since(1),
        field(BOOLEAN).since(4),
        field(BOOLEAN).since(8).until(10),
        field(BOOLEAN).since(8),
    ],
);

pub const API: Api = Api {
    key: ApiKey::Metadata,
    name: "Metadata",
    advertised: versions(0, 13),
    served: versions(0, 13),
    request: LAYOUT,
    handle: |services, call| {
        let (catalog, cluster, config) = (services.catalog.clone(), services.cluster.clone(), services.config.clone());
        call.answer(
            |request, context| async move { handle(&catalog, &cluster, &config.now(), request, &context).await },
        )
    },
};

/// Bits by KIP-430: what a client may do to a topic when nothing is forbidden.
pub const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// The same for the cluster.
pub const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

async fn handle(
    catalog: &Arc<Catalog>,
    cluster: &Cluster,
    config: &InForce,
    request: MetadataRequest,
    context: &Context,
) -> MetadataResponse {
    let version = context.version;
    let may_create = config.auto_create_topics_enable && request.allow_auto_topic_creation;
    let node = BrokerId(cluster.node_id);
    let describe = Describe { node, with_operations: request.include_topic_authorized_operations };
    if let Some(asked) = request.topics.as_ref().filter(|asked| version < 12 && asked.iter().any(is_by_id)) {
        return invalid(asked);
    }
    let mut topics = Vec::new();
    match request.topics {
        Some(asked) if version > 0 || !asked.is_empty() => {
            for topic in once_each(asked) {
                topics.push(describe.asked(catalog, topic, may_create).await);
            }
        }
        _ => topics.extend(catalog.topics().iter().map(|topic| describe.topic(topic))),
    }
    let endpoint = cluster.endpoint(context.local);
    let broker = MetadataResponseBroker::default()
        .with_node_id(node)
        .with_host(StrBytes::from_string(endpoint.host))
        .with_port(endpoint.port.into());
    let mut response = MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(StrBytes::from_string(cluster.cluster_id.clone())))
        .with_controller_id(node)
        .with_topics(topics);
    if request.include_cluster_authorized_operations && (8..=10).contains(&version) {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}

/// How this request wants topics described.
struct Describe {
    node: BrokerId,
    with_operations: bool,
}

impl Describe {
    async fn asked(
        &self,
        catalog: &Arc<Catalog>,
        asked: MetadataRequestTopic,
        may_create: bool,
    ) -> MetadataResponseTopic {
        let by_id = is_by_id(&asked);
        let found = match &asked.name {
            Some(name) if !by_id => find_or_create(catalog, name, may_create).await,
            _ => catalog.topic_by_id(asked.topic_id).ok_or(RequestError::UnknownTopicId),
        };
        match found {
            Ok(topic) => self.topic(&topic),
            Err(error) => {
                let refused = refused(asked.name.filter(|_| !by_id), asked.topic_id, error.code());
                self.with_operations(refused)
            }
        }
    }

    fn topic(&self, topic: &Topic) -> MetadataResponseTopic {
        let partitions = (0..topic.partition_count()).map(|index| self.partition(index)).collect();
        let described = MetadataResponseTopic::default()
            .with_name(Some(topic_name(&topic.name)))
            .with_topic_id(topic.id)
            .with_is_internal(names::is_internal(&topic.name))
            .with_partitions(partitions);
        self.with_operations(described)
    }

    fn with_operations(&self, topic: MetadataResponseTopic) -> MetadataResponseTopic {
        if self.with_operations { topic.with_topic_authorized_operations(TOPIC_OPERATIONS) } else { topic }
    }

    fn partition(&self, index: i32) -> MetadataResponsePartition {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(self.node)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![self.node])
            .with_isr_nodes(vec![self.node])
    }
}

async fn find_or_create(catalog: &Arc<Catalog>, name: &str, may_create: bool) -> Result<Arc<Topic>, RequestError> {
    if let Some(topic) = catalog.topic(name) {
        return Ok(topic);
    }
    if let Some(complaint) = names::complaint(name) {
        return Err(RequestError::InvalidTopic(complaint));
    }
    if !may_create {
        return Err(RequestError::UnknownTopicOrPartition);
    }
    let new = NewTopic { name: name.to_owned(), partitions: -1, replication_factor: -1, ..NewTopic::default() };
    let catalog = catalog.clone();
    let created = tokio::task::spawn_blocking(move || catalog.ensure_topic(&new)).await;
    created.map_err(|error| RequestError::Unexpected(error.to_string()))?
}

fn refused(name: Option<TopicName>, id: Uuid, code: i16) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(code).with_name(name).with_topic_id(id)
}

/// A topic that is asked for twice is answered once, as in Kafka.
fn once_each(asked: Vec<MetadataRequestTopic>) -> impl Iterator<Item = MetadataRequestTopic> {
    let mut seen = HashSet::new();
    asked.into_iter().filter(move |topic| seen.insert((topic.name.clone(), topic.topic_id)))
}

fn is_by_id(asked: &MetadataRequestTopic) -> bool {
    asked.name.is_none() || !asked.topic_id.is_nil()
}

/// Before version 12 topics are asked for by name only; Kafka refuses the whole request.
fn invalid(asked: &[MetadataRequestTopic]) -> MetadataResponse {
    let code = ResponseError::InvalidRequest.code();
    let refused =
        |topic: &MetadataRequestTopic| refused(Some(topic.name.clone().unwrap_or_default()), topic.topic_id, code);
    MetadataResponse::default().with_controller_id(BrokerId(-1)).with_topics(asked.iter().map(refused).collect())
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
