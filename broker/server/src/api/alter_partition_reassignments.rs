//! AlterPartitionReassignments, key 45, versions 0-1 (KIP-455).
//!
//! 1 (KIP-860): the client may forbid another replication factor; with one broker there is no other. The only node has every
//! replica: assigning a partition to it is done when the answer leaves, and there is never a reassignment to be cancelled.

use super::{Api, bounds::*, versions};
use crate::{catalog::Catalog, errors::RequestError};
use kafka_protocol::{
    ResponseError,
    messages::{
        AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ApiKey,
        alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
        alter_partition_reassignments_response::{ReassignablePartitionResponse, ReassignableTopicResponse},
    },
    protocol::StrBytes,
};

const PARTITION: Kind = Kind::Struct(&[field(INT32), field(Kind::NullableArray(&INT32))]);
const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&PARTITION))]);
const LAYOUT: Layout = Layout::new(0, &[field(INT32), field(BOOLEAN).since(1), field(Kind::Array(&TOPIC))]);

pub const API: Api = Api {
    key: ApiKey::AlterPartitionReassignments,
    name: "AlterPartitionReassignments",
    advertised: versions(0, 1),
    served: versions(0, 1),
    request: LAYOUT,
    handle: |services, call| {
        let catalog = services.catalog.clone();
        call.answer(move |request, _| std::future::ready(handle(&catalog, &request)))
    },
};

fn handle(catalog: &Catalog, request: &AlterPartitionReassignmentsRequest) -> AlterPartitionReassignmentsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| answer(catalog, topic, partition));
        ReassignableTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    AlterPartitionReassignmentsResponse::default()
        .with_allow_replication_factor_change(request.allow_replication_factor_change)
        // Kafka has an empty message for who asks for nothing.
        .with_error_message(request.topics.is_empty().then(StrBytes::default))
        .with_responses(topics.collect())
}

fn answer(
    catalog: &Catalog,
    topic: &ReassignableTopic,
    partition: &ReassignablePartition,
) -> ReassignablePartitionResponse {
    let (code, message) = match reassign(catalog, topic, partition) {
        Ok(()) => (0, None),
        Err(Refused::NothingToCancel) => (ResponseError::NoReassignmentInProgress.code(), None),
        Err(Refused::Unknown(complaint)) => (ResponseError::UnknownTopicOrPartition.code(), Some(complaint.into())),
        Err(Refused::Replicas(error)) => (error.code(), Some(error.message())),
    };
    ReassignablePartitionResponse::default()
        .with_partition_index(partition.partition_index)
        .with_error_code(code)
        .with_error_message(message)
}

enum Refused {
    Unknown(String),
    NothingToCancel,
    Replicas(RequestError),
}

fn reassign(catalog: &Catalog, topic: &ReassignableTopic, partition: &ReassignablePartition) -> Result<(), Refused> {
    let (name, index) = (&*topic.name, partition.partition_index);
    let found = catalog.topic(name);
    let found = found.ok_or_else(|| Refused::Unknown(format!("Unable to find a topic named {name}.")))?;
    found.partition(index).map_err(|_| Refused::Unknown(format!("Unable to find partition {name}:{index}.")))?;
    let replicas = partition.replicas.as_ref().ok_or(Refused::NothingToCancel)?;
    let replicas: Vec<i32> = replicas.iter().map(|replica| replica.0).collect();
    catalog.check_replicas(&replicas).map_err(Refused::Replicas)
}
