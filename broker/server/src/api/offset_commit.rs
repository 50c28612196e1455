//! OffsetCommit, key 8, versions 2-9.
//!
//! 3: throttle time. 5 (KIP-211): no retention time any more. 6 (KIP-320): leader epoch. 7 (KIP-345): group instance id.
//! 8: flexible. 9 (KIP-848): the generation may be a member epoch.
//! An offset of a partition that does not exist is refused alone.

use super::{
    Api,
    bounds::*,
    group_fields::{group, instance, shared},
    versions,
};
use crate::{
    catalog::Catalog,
    groups::{self, Groups},
};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};
use std::sync::Arc;
use tifo_coordinator::{
    GroupError,
    group::{self, OffsetToCommit, PartitionResult},
};
use uuid::Uuid;

const PARTITION: Kind = Kind::Struct(&[field(INT32), field(INT64), field(INT32).since(6), field(Kind::NullableString)]);
const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&PARTITION))]);
const LAYOUT: Layout = Layout::new(
    8,
    &[
        field(Kind::String),
        field(INT32),
        field(Kind::String),
        field(Kind::NullableString).since(7),
        field(INT64).until(4),
        field(Kind::Array(&TOPIC)),
    ],
);

pub const API: Api = Api {
    key: ApiKey::OffsetCommit,
    name: "OffsetCommit",
    advertised: versions(2, 9),
    served: versions(2, 9),
    request: LAYOUT,
    handle: |services, call| {
        let (groups, catalog) = (services.groups.clone(), services.catalog.clone());
        call.answer(|request, context| async move { handle(&groups, &catalog, &request, context.version).await })
    },
};

async fn handle(
    groups: &Groups,
    catalog: &Catalog,
    request: &OffsetCommitRequest,
    version: i16,
) -> OffsetCommitResponse {
    let hosted: Vec<Vec<bool>> = request.topics.iter().map(|topic| hosted(catalog, topic)).collect();
    let pairs = request.topics.iter().zip(&hosted);
    let offsets = pairs.flat_map(|(topic, hosted)| offsets_of(topic, hosted)).collect();
    let commit = group::OffsetCommitRequest {
        group: group(&request.group_id),
        generation: request.generation_id_or_member_epoch,
        member_id: request.member_id.to_string(),
        instance_id: instance(request.group_instance_id.as_ref()),
        retention_ms: Some(request.retention_time_ms).filter(|retention_ms| *retention_ms >= 0),
        knows_member_epochs: version >= 9,
        offsets,
    };
    let results = groups.commit(commit).await;
    let whole = results.as_ref().err().copied();
    let mut results = Results { whole, each: results.unwrap_or_default().into_iter() };
    let pairs = request.topics.iter().zip(&hosted);
    let topics = pairs.map(|(topic, hosted)| results.topic(topic, hosted)).collect();
    OffsetCommitResponse::default().with_topics(topics)
}

/// Which of the partitions exist.
fn hosted(catalog: &Catalog, topic: &OffsetCommitRequestTopic) -> Vec<bool> {
    let found = catalog.topic(&topic.name);
    let exists = |index: i32| found.as_ref().is_some_and(|found| found.partition(index).is_ok());
    topic.partitions.iter().map(|partition| exists(partition.partition_index)).collect()
}

fn offsets_of(topic: &OffsetCommitRequestTopic, hosted: &[bool]) -> Vec<OffsetToCommit> {
    let name: Arc<str> = shared(&topic.name);
    let offset = |partition: &OffsetCommitRequestPartition| OffsetToCommit {
        topic: name.clone(),
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.as_deref().unwrap_or_default().to_owned(),
        topic_id: Uuid::nil(),
    };
    let hosted = topic.partitions.iter().zip(hosted).filter(|(_, hosted)| **hosted);
    hosted.map(|(partition, _)| offset(partition)).collect()
}

/// The coordinator's results, in the order in which the hosted partitions were asked for.
struct Results {
    whole: Option<GroupError>,
    each: std::vec::IntoIter<PartitionResult>,
}

impl Results {
    fn topic(&mut self, topic: &OffsetCommitRequestTopic, hosted: &[bool]) -> OffsetCommitResponseTopic {
        let answer = |partition: &OffsetCommitRequestPartition, code: i16| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code)
        };
        let unknown = ResponseError::UnknownTopicOrPartition.code();
        let pairs = || topic.partitions.iter().zip(hosted);
        // Those that do not exist come first, as in Kafka.
        let absent = pairs().filter(|(_, hosted)| !**hosted).map(|(partition, _)| answer(partition, unknown));
        let mut partitions: Vec<_> = absent.collect();
        let present = pairs().filter(|(_, hosted)| **hosted).map(|(partition, _)| answer(partition, self.next()));
        partitions.extend(present);
        OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    }

    fn next(&mut self) -> i16 {
        let each = self.each.next().and_then(|result| result.error);
        groups::code(self.whole.or(each))
    }
}
