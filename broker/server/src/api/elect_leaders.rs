//! ElectLeaders, key 43, versions 0-2 (KIP-183, KIP-460).
//!
//! 0: preferred leaders. 1: unclean elections as well, an error of the whole response. 2: flexible. The only node leads
//! everything, so no election is ever needed: ELECTION_NOT_NEEDED for each partition that is named. Null asks for all
//! partitions and is told, as in Kafka, of those alone that an election changed: none.

use super::{Api, bounds::*, metadata::topic_name, versions};
use crate::catalog::Catalog;
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, ElectLeadersRequest, ElectLeadersResponse,
        elect_leaders_request::TopicPartitions,
        elect_leaders_response::{PartitionResult, ReplicaElectionResult},
    },
    protocol::StrBytes,
};

const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&INT32))]);
const LAYOUT: Layout = Layout::new(2, &[field(INT8).since(1), field(Kind::NullableArray(&TOPIC)), field(INT32)]);

pub const API: Api = Api {
    key: ApiKey::ElectLeaders,
    name: "ElectLeaders",
    advertised: versions(0, 2),
    served: versions(0, 2),
    request: LAYOUT,
    handle: |services, call| {
        let catalog = services.catalog.clone();
        call.answer(move |request, _| std::future::ready(handle(&catalog, &request)))
    },
};

/// Kinds of elections by number: preferred, unclean.
const ELECTION_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

fn handle(catalog: &Catalog, request: &ElectLeadersRequest) -> ElectLeadersResponse {
    let kind = request.election_type;
    if !ELECTION_TYPES.contains(&kind) {
        let code = ResponseError::InvalidRequest.code();
        let results = answer_each(request, |_, _| (code, format!("Unknown election type {kind}")));
        return ElectLeadersResponse::default().with_error_code(code).with_replica_election_results(results);
    }
    let results = match request.topic_partitions {
        Some(_) => answer_each(request, |topic, index| elect(catalog, topic, index)),
        None => {
            let untouched = |name: &str| ReplicaElectionResult::default().with_topic(topic_name(name));
            catalog.topics().iter().map(|topic| untouched(&topic.name)).collect()
        }
    };
    ElectLeadersResponse::default().with_replica_election_results(results)
}

fn elect(catalog: &Catalog, topic: &str, index: i32) -> (i16, String) {
    let unknown = |complaint: String| (ResponseError::UnknownTopicOrPartition.code(), complaint);
    match catalog.topic(topic) {
        None => unknown(format!("No such topic as {topic}")),
        Some(found) if found.partition(index).is_err() => unknown(format!("No such partition as {topic}-{index}")),
        Some(_) => {
            (ResponseError::ElectionNotNeeded.code(), "Leader election not needed for topic partition.".to_owned())
        }
    }
}

fn answer_each(
    request: &ElectLeadersRequest,
    answer: impl Fn(&str, i32) -> (i16, String),
) -> Vec<ReplicaElectionResult> {
    let one = |asked: &TopicPartitions| {
        let partitions = asked.partitions.iter().map(|index| {
            let (code, message) = answer(&asked.topic, *index);
            PartitionResult::default()
                .with_partition_id(*index)
                .with_error_code(code)
                .with_error_message(Some(StrBytes::from_string(message)))
        });
        ReplicaElectionResult::default().with_topic(asked.topic.clone()).with_partition_result(partitions.collect())
    };
    request.topic_partitions.iter().flatten().map(one).collect()
}
