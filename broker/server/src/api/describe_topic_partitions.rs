//! DescribeTopicPartitions, key 75, version 0 (KIP-966).
//!
//! Topics in the order of their names, page by page: so many partitions to a page, and a cursor that tells where the next one
//! begins. No topics means all of them. It creates none. Eligible leader replicas are never needed here and always empty, never
//! null: Kafka's own tools stumble over null.

use super::{
    Api,
    bounds::*,
    metadata::{TOPIC_OPERATIONS, topic_name},
    versions,
};
use crate::{
    catalog::{Catalog, Topic, names},
    cluster::LEADER_EPOCH,
    errors::RequestError,
};
use kafka_protocol::messages::{
    ApiKey, BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    describe_topic_partitions_response::{
        Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
    },
};
use std::{collections::BTreeSet, sync::Arc};

const TOPIC: Kind = Kind::Struct(&[field(Kind::String)]);
const CURSOR: Kind = Kind::NullableStruct(&[field(Kind::String), field(INT32)]);
const LAYOUT: Layout = Layout::new(0, &[field(Kind::Array(&TOPIC)), field(INT32), field(CURSOR)]);

pub const API: Api = Api {
    key: ApiKey::DescribeTopicPartitions,
    name: "DescribeTopicPartitions",
    advertised: versions(0, 0),
    served: versions(0, 0),
    request: LAYOUT,
    handle: |services, call| {
        let (catalog, node) = (services.catalog.clone(), BrokerId(services.cluster.node_id));
        let most = services.config.now().request_partition_limit;
        call.answer(move |request, _| std::future::ready(handle(&catalog, node, most, &request)))
    },
};

/// Where a page begins.
struct Start {
    topic: String,
    partition: i32,
}

fn handle(
    catalog: &Catalog,
    node: BrokerId,
    most: i32,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let start = match start(request) {
        Ok(start) => start,
        Err(error) => return refused(request, &error),
    };
    let asked: BTreeSet<Arc<str>> = match request.topics.is_empty() {
        true => catalog.topics().iter().map(|topic| topic.name.clone()).collect(),
        false => request.topics.iter().map(|topic| Arc::from(&**topic.name)).collect(),
    };
    let limit = request.response_partition_limit.clamp(1, most.max(1));
    let mut page = Page { node, left: usize::try_from(limit).unwrap_or(1), topics: Vec::new(), next: None };
    let (first, first_partition) = start.map_or((String::new(), 0), |start| (start.topic, start.partition));
    for name in asked.iter().filter(|name| ***name >= *first) {
        let from = if **name == *first { first_partition } else { 0 };
        match find(catalog, name) {
            _ if page.left == 0 => page.next = Some(cursor(name, 0)),
            Ok(topic) => page.add(&topic, from),
            Err(error) => page.topics.push(
                DescribeTopicPartitionsResponseTopic::default()
                    .with_error_code(error.code())
                    .with_name(Some(topic_name(name)))
                    .with_topic_authorized_operations(TOPIC_OPERATIONS),
            ),
        }
        if page.next.is_some() {
            break;
        }
    }
    DescribeTopicPartitionsResponse::default().with_topics(page.topics).with_next_cursor(page.next)
}

fn start(request: &DescribeTopicPartitionsRequest) -> Result<Option<Start>, RequestError> {
    let Some(cursor) = &request.cursor else { return Ok(None) };
    let is_asked = request.topics.is_empty() || request.topics.iter().any(|topic| topic.name == cursor.topic_name);
    if cursor.partition_index < 0 || !is_asked {
        return Err(RequestError::InvalidRequest("The cursor is at none of the topics that are asked for.".into()));
    }
    Ok(Some(Start { topic: cursor.topic_name.to_string(), partition: cursor.partition_index }))
}

fn find(catalog: &Catalog, name: &str) -> Result<Arc<Topic>, RequestError> {
    match names::complaint(name) {
        Some(complaint) => Err(RequestError::InvalidTopic(complaint)),
        None => catalog.topic(name).ok_or(RequestError::UnknownTopicOrPartition),
    }
}

/// The answer so far.
struct Page {
    node: BrokerId,
    left: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<Cursor>,
}

impl Page {
    /// As many of a topic's partitions as there is room for.
    fn add(&mut self, topic: &Topic, from: i32) {
        let partitions: Vec<_> =
            (from..topic.partition_count()).take(self.left).map(|index| self.partition(index)).collect();
        self.left -= partitions.len();
        let behind = partitions.last().map_or(from, |last| last.partition_index + 1);
        if behind < topic.partition_count() {
            self.next = Some(cursor(&topic.name, behind));
        }
        self.topics.push(
            DescribeTopicPartitionsResponseTopic::default()
                .with_name(Some(topic_name(&topic.name)))
                .with_topic_id(topic.id)
                .with_is_internal(names::is_internal(&topic.name))
                .with_partitions(partitions)
                .with_topic_authorized_operations(TOPIC_OPERATIONS),
        );
    }

    fn partition(&self, index: i32) -> DescribeTopicPartitionsResponsePartition {
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(self.node)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![self.node])
            .with_isr_nodes(vec![self.node])
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    }
}

fn cursor(topic: &str, partition: i32) -> Cursor {
    Cursor::default().with_topic_name(topic_name(topic)).with_partition_index(partition)
}

fn refused(request: &DescribeTopicPartitionsRequest, error: &RequestError) -> DescribeTopicPartitionsResponse {
    let topics = request.topics.iter().map(|topic| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(error.code())
            .with_name(Some(topic.name.clone()))
    });
    DescribeTopicPartitionsResponse::default().with_topics(topics.collect())
}
