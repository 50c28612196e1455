//! OffsetFetch, key 9, versions 1-9.
//!
//! 2: null topics ask for all; an error of the whole. 3: throttle time. 5 (KIP-320): leader epoch. 6: flexible.
//! 7 (KIP-447): require stable: what an open transaction is about to commit anew is refused with UNSTABLE_OFFSET_COMMIT. 8 (KIP-709): several groups at once.
//! 9 (KIP-848): member id and epoch, which only consumer groups check.
//! A partition without a committed offset is answered with -1, and so are all of a group that does not exist.

use super::{
    Api,
    bounds::*,
    group_fields::{group, shared, text},
    metadata::topic_name,
    versions,
};
use crate::groups::{self, Groups, Who};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, OffsetFetchRequest, OffsetFetchResponse,
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
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
        let (groups, now_ms) = (services.groups.clone(), services.clock.now_ms());
        call.answer(move |request, context| async move {
            let asker = Asker { groups: &groups, who: Who::from(&context), now_ms };
            asker.answer(request, context.version).await
        })
    },
};

/// The first version that asks for several groups.
const BATCHED: i16 = 8;

type Asked = Vec<(Arc<str>, Vec<i32>)>;

/// A client that asks.
struct Asker<'a> {
    groups: &'a Groups,
    who: Who,
    now_ms: i64,
}

impl Asker<'_> {
    async fn answer(&self, request: OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
        if version < BATCHED {
            let require_stable = request.require_stable;
            return in_old_words(self.group(&only_group(request), require_stable).await, version);
        }
        let mut answers = Vec::with_capacity(request.groups.len());
        for asked in &request.groups {
            let mut answer = self.group(asked, request.require_stable).await;
            if answer.error_code != 0 {
                answer.topics.clear();
            }
            answers.push(answer);
        }
        OffsetFetchResponse::default().with_groups(answers)
    }

    /// With an error, the partitions that were asked for come back without an offset.
    async fn group(&self, asked: &OffsetFetchRequestGroup, require_stable: bool) -> OffsetFetchResponseGroup {
        let id = group(&asked.group_id);
        let topics = asked.topics.as_ref().map(|topics| {
            topics.iter().map(|topic| (shared(&topic.name), topic.partition_indexes.clone())).collect::<Asked>()
        });
        let member_id = asked.member_id.as_deref().unwrap_or_default();
        let admitted = self.groups.admit_fetch(&id, member_id, asked.member_epoch).await;
        let found = match admitted {
            Ok(()) => self.groups.fetch_offsets(&id, topics.as_deref()).await,
            Err(error) => Err(error),
        };
        let (fetched, error) = match found {
            Ok(fetched) => {
                self.note_newcomer(&id, &fetched);
                (fetched, None)
            }
            Err(error) => (topics.unwrap_or_default().into_iter().map(nothing).collect(), Some(error)),
        };
        let topics = fetched.into_iter().map(|topic| answer_of_topic(topic, error, require_stable)).collect();
        OffsetFetchResponseGroup::default()
            .with_group_id(asked.group_id.clone())
            .with_topics(topics)
            .with_error_code(groups::code(error))
    }

    fn note_newcomer(&self, id: &Arc<str>, fetched: &FetchedOffsets) {
        let has_none = |found: &&PartitionOffset| found.committed.is_none() && !found.is_unstable;
        let of_topic = |(topic, found): &(Arc<str>, Vec<PartitionOffset>)| {
            found.iter().filter(has_none).map(|found| (topic.clone(), found.partition)).collect::<Vec<_>>()
        };
        let partitions: Vec<_> = fetched.iter().flat_map(of_topic).collect();
        self.groups.newcomers().nothing_committed(&self.who, id, &partitions, self.now_ms);
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

fn answer_of_topic(
    (name, partitions): (Arc<str>, Vec<PartitionOffset>),
    error: Option<GroupError>,
    require_stable: bool,
) -> OffsetFetchResponseTopics {
    let one = |found: PartitionOffset| {
        let (committed, unstable) = stable(&found, require_stable);
        let partition = OffsetFetchResponsePartitions::default()
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
    OffsetFetchResponseTopics::default()
        .with_name(topic_name(&name))
        .with_partitions(partitions.into_iter().map(one).collect())
}

/// What a request before version 8 asks of its one group.
fn only_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = |topics: Vec<OffsetFetchRequestTopic>| {
        let topic = |topic: OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics::default().with_name(topic.name).with_partition_indexes(topic.partition_indexes)
        };
        topics.into_iter().map(topic).collect()
    };
    OffsetFetchRequestGroup::default().with_group_id(request.group_id).with_topics(request.topics.map(topics))
}

/// The same answer where it is for one group and has other names.
fn in_old_words(answer: OffsetFetchResponseGroup, version: i16) -> OffsetFetchResponse {
    let partition = |partition: OffsetFetchResponsePartitions| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(partition.committed_leader_epoch)
            .with_metadata(partition.metadata)
            .with_error_code(partition.error_code)
    };
    let topic = |topic: OffsetFetchResponseTopics| {
        let partitions = topic.partitions.into_iter().map(partition).collect();
        OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    };
    let response = OffsetFetchResponse::default().with_topics(answer.topics.into_iter().map(topic).collect());
    if version >= 2 { response.with_error_code(answer.error_code) } else { response }
}
