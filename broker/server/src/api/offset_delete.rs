//! OffsetDelete, key 47, version 0 (KIP-496).
//!
//! Forgets offsets of a group, but not of topics that its members are subscribed to.

use super::{
    Api,
    bounds::*,
    group_fields::{group, shared},
    versions,
};
use crate::{
    catalog::Catalog,
    groups::{self, Groups},
};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, OffsetDeleteRequest, OffsetDeleteResponse,
        offset_delete_request::OffsetDeleteRequestTopic,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};
use std::{collections::HashMap, sync::Arc};
use tifo_coordinator::{GroupError, group};

const PARTITION: Kind = Kind::Struct(&[field(INT32)]);
const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&PARTITION))]);
const LAYOUT: Layout = Layout::new(NEVER, &[field(Kind::String), field(Kind::Array(&TOPIC))]);

pub const API: Api = Api {
    key: ApiKey::OffsetDelete,
    name: "OffsetDelete",
    advertised: versions(0, 0),
    served: versions(0, 0),
    request: LAYOUT,
    handle: |services, call| {
        let (groups, catalog) = (services.groups.clone(), services.catalog.clone());
        call.answer(|request, _| async move { handle(&groups, &catalog, &request).await })
    },
};

async fn handle(groups: &Groups, catalog: &Catalog, request: &OffsetDeleteRequest) -> OffsetDeleteResponse {
    if request.group_id.is_empty() {
        return OffsetDeleteResponse::default().with_error_code(ResponseError::InvalidGroupId.code());
    }
    let hosted = |topic: &str, index: i32| catalog.partition(topic, index).is_ok();
    let pairs = |topic: &OffsetDeleteRequestTopic| {
        let name = shared(&topic.name);
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        indexes.filter(|index| hosted(&name, *index)).map(|index| (name.clone(), index)).collect::<Vec<_>>()
    };
    let partitions = request.topics.iter().flat_map(pairs).collect();
    let results =
        groups.delete_offsets(group::OffsetDeleteRequest { group: group(&request.group_id), partitions }).await;
    let results = match results {
        Ok(results) => results,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(groups::code(Some(error))),
    };
    let results: HashMap<(Arc<str>, i32), Option<GroupError>> =
        results.into_iter().map(|result| ((result.topic, result.partition), result.error)).collect();
    let answer = |topic: &OffsetDeleteRequestTopic| answer(topic, &results);
    OffsetDeleteResponse::default().with_topics(request.topics.iter().map(answer).collect())
}

fn answer(
    topic: &OffsetDeleteRequestTopic,
    results: &HashMap<(Arc<str>, i32), Option<GroupError>>,
) -> OffsetDeleteResponseTopic {
    let name = shared(&topic.name);
    let one = |index: i32| {
        let result = results.get(&(name.clone(), index));
        let code = result.map_or(ResponseError::UnknownTopicOrPartition.code(), |error| groups::code(*error));
        (result.is_some(), OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(code))
    };
    let mut partitions: Vec<_> = topic.partitions.iter().map(|partition| one(partition.partition_index)).collect();
    // Those that do not exist come first, as in Kafka.
    partitions.sort_by_key(|(is_hosted, _)| *is_hosted);
    let partitions = partitions.into_iter().map(|(_, partition)| partition).collect();
    OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
}
