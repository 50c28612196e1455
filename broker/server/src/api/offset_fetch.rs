//! OffsetFetch, key 9, versions 1-9.
//!
//! 2: null topics ask for all; an error of the whole. 3: throttle time. 5 (KIP-320): leader epoch. 6: flexible.
//! 7 (KIP-447): require stable: what an open transaction is about to commit anew is refused with UNSTABLE_OFFSET_COMMIT. 8 (KIP-709): several groups at once.
//! 9 (KIP-848): member id and epoch, which only groups of that kind check.
//! A partition without a committed offset is answered with -1, and so are all of a group that does not exist.

use super::{
    Api,
    bounds::*,
    group_fields::{group, shared, text},
    metadata::topic_name,
    versions,
};
use crate::groups::{self, Groups};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, GroupId, OffsetFetchRequest, OffsetFetchResponse,
        offset_fetch_request::OffsetFetchRequestGroup,
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
};
use std::sync::Arc;
use tifo_coordinator::{
    GroupError,
    group::{FetchedOffsets, PartitionOffset},
    record::CommittedOffset,
};

const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&INT32))]);
const GROUP: Kind = Kind::Struct(&[
    field(Kind::String),
    field(Kind::NullableString).since(9),
    field(INT32).since(9),
    field(Kind::NullableArray(&TOPIC)),
]);
const LAYOUT: Layout = Layout::new(
    6,
    &[
        field(Kind::String).until(7),
        field(Kind::Array(&TOPIC)).until(1),
        field(Kind::NullableArray(&TOPIC)).since(2).until(7),
        field(Kind::Array(&GROUP)).since(8),
        field(BOOLEAN).since(7),
    ],
);

pub const API: Api = Api {
    key: ApiKey::OffsetFetch,
    name: "OffsetFetch",
    advertised: versions(1, 9),
    served: versions(1, 9),
    request: LAYOUT,
    handle: |services, call| {
        let groups = services.groups.clone();
        call.answer(|request, context| async move { handle(&groups, &request, context.version).await })
    },
};

/// The first version that asks for several groups.
const BATCHED: i16 = 8;

type Asked = Vec<(Arc<str>, Vec<i32>)>;

async fn handle(groups: &Groups, request: &OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
    if version >= BATCHED {
        let mut answers = Vec::with_capacity(request.groups.len());
        for group in &request.groups {
            answers.push(one_group(groups, group, request.require_stable).await);
        }
        return OffsetFetchResponse::default().with_groups(answers);
    }
    let topics = request.topics.as_ref().map(|topics| {
        topics.iter().map(|topic| (shared(&topic.name), topic.partition_indexes.clone())).collect::<Asked>()
    });
    let (fetched, error) = fetch(groups, &request.group_id, topics).await;
    let response = OffsetFetchResponse::default()
        .with_topics(fetched.into_iter().map(|topic| single(topic, error, request.require_stable)).collect());
    if version >= 2 { response.with_error_code(groups::code(error)) } else { response }
}

async fn one_group(groups: &Groups, asked: &OffsetFetchRequestGroup, require_stable: bool) -> OffsetFetchResponseGroup {
    let topics = asked.topics.as_ref().map(|topics| {
        topics.iter().map(|topic| (shared(&topic.name), topic.partition_indexes.clone())).collect::<Asked>()
    });
    let (fetched, error) = fetch(groups, &asked.group_id, topics).await;
    let topics = if error.is_some() {
        Vec::new()
    } else {
        fetched.into_iter().map(|topic| batched(topic, require_stable)).collect()
    };
    OffsetFetchResponseGroup::default()
        .with_group_id(asked.group_id.clone())
        .with_topics(topics)
        .with_error_code(groups::code(error))
}

/// With an error, the partitions that were asked for come back without an offset.
async fn fetch(groups: &Groups, id: &GroupId, topics: Option<Asked>) -> (FetchedOffsets, Option<GroupError>) {
    match groups.fetch_offsets(&group(id), topics.as_deref()).await {
        Ok(fetched) => (fetched, None),
        Err(error) => (topics.unwrap_or_default().into_iter().map(nothing).collect(), Some(error)),
    }
}

fn nothing((topic, partitions): (Arc<str>, Vec<i32>)) -> (Arc<str>, Vec<PartitionOffset>) {
    let none = |partition| PartitionOffset { partition, committed: None, is_unstable: false };
    (topic, partitions.into_iter().map(none).collect())
}

/// What may be told of a partition, and the code for what may not.
fn stable(found: &PartitionOffset, require_stable: bool) -> (Option<&CommittedOffset>, i16) {
    if require_stable && found.is_unstable {
        return (None, ResponseError::UnstableOffsetCommit.code());
    }
    (found.committed.as_ref(), 0)
}

fn single(
    (name, partitions): (Arc<str>, Vec<PartitionOffset>),
    error: Option<GroupError>,
    require_stable: bool,
) -> OffsetFetchResponseTopic {
    let one = |found: PartitionOffset| {
        let (committed, unstable) = stable(&found, require_stable);
        let partition = OffsetFetchResponsePartition::default()
            .with_partition_index(found.partition)
            .with_error_code(error.map_or(unstable, |error| groups::code(Some(error))));
        match committed {
            Some(committed) => partition
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(Some(text(&committed.metadata))),
            None => partition.with_committed_offset(-1).with_committed_leader_epoch(-1).with_metadata(Some(text(""))),
        }
    };
    OffsetFetchResponseTopic::default()
        .with_name(topic_name(&name))
        .with_partitions(partitions.into_iter().map(one).collect())
}

fn batched((name, partitions): (Arc<str>, Vec<PartitionOffset>), require_stable: bool) -> OffsetFetchResponseTopics {
    let one = |found: PartitionOffset| {
        let (committed, unstable) = stable(&found, require_stable);
        let partition =
            OffsetFetchResponsePartitions::default().with_partition_index(found.partition).with_error_code(unstable);
        match committed {
            Some(committed) => partition
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(Some(text(&committed.metadata))),
            None => partition.with_committed_offset(-1).with_committed_leader_epoch(-1).with_metadata(Some(text(""))),
        }
    };
    OffsetFetchResponseTopics::default()
        .with_name(topic_name(&name))
        .with_partitions(partitions.into_iter().map(one).collect())
}
