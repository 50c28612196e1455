//! DescribeShareGroupOffsets, key 90, version 0 (KIP-932).
//!
//! Left out: version 1, which tells the lag (KIP-1226); the codec does not know it yet.

use super::{Api, bounds::*, group_fields::text, versions};
use crate::{
    catalog::Catalog,
    errors::RequestError,
    share::{self, Shares, StartOffset},
};
use kafka_protocol::messages::{
    ApiKey, DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse, TopicName,
    describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup,
    describe_share_group_offsets_response::{
        DescribeShareGroupOffsetsResponseGroup, DescribeShareGroupOffsetsResponsePartition,
        DescribeShareGroupOffsetsResponseTopic,
    },
};
use tifo_coordinator::{ShareError, share::StatePartitions};
use uuid::Uuid;

const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&INT32))]);
const GROUP: Kind = Kind::Struct(&[field(Kind::String), field(Kind::NullableArray(&TOPIC))]);
const LAYOUT: Layout = Layout::new(0, &[field(Kind::Array(&GROUP))]);

pub const API: Api = Api {
    key: ApiKey::DescribeShareGroupOffsets,
    name: "DescribeShareGroupOffsets",
    advertised: versions(0, 0),
    served: versions(0, 0),
    request: LAYOUT,
    handle: |services, call| {
        let (shares, catalog) = (services.shares.clone(), services.catalog.clone());
        call.answer(|request, _| async move { handle(&shares, &catalog, request).await })
    },
};

async fn handle(
    shares: &Shares,
    catalog: &Catalog,
    request: DescribeShareGroupOffsetsRequest,
) -> DescribeShareGroupOffsetsResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        let described = match describe(shares, catalog, &group).await {
            Ok(topics) => DescribeShareGroupOffsetsResponseGroup::default().with_topics(topics),
            Err(error) => DescribeShareGroupOffsetsResponseGroup::default()
                .with_error_code(share::code(Some(error)))
                .with_error_message(Some(text(&error.to_string()))),
        };
        groups.push(described.with_group_id(group.group_id));
    }
    DescribeShareGroupOffsetsResponse::default().with_groups(groups)
}

/// A topic that is asked for or known of, by its name, and its partitions.
type Wanted = (String, Option<Uuid>, Vec<i32>);

async fn describe(
    shares: &Shares,
    catalog: &Catalog,
    group: &DescribeShareGroupOffsetsRequestGroup,
) -> Result<Vec<DescribeShareGroupOffsetsResponseTopic>, ShareError> {
    // A group that does not exist has read nothing, and that is no error.
    let states = shares.groups().share_states(&group.group_id.0).await?.unwrap_or_default();
    let wanted: Vec<Wanted> = match &group.topics {
        None => all(states),
        Some(topics) => {
            let id = |name: &TopicName| catalog.topic(name).map(|topic| topic.id);
            topics
                .iter()
                .map(|topic| (topic.topic_name.to_string(), id(&topic.topic_name), topic.partitions.clone()))
                .collect()
        }
    };
    let mut topics = Vec::with_capacity(wanted.len());
    for (name, id, partitions) in wanted {
        let mut described = Vec::with_capacity(partitions.len());
        for index in partitions {
            described.push(match id {
                Some(id) => partition(index, shares.start_offset(&group.group_id.0, (id, index)).await?),
                None => unknown(index),
            });
        }
        topics.push(
            DescribeShareGroupOffsetsResponseTopic::default()
                .with_topic_name(TopicName(text(&name)))
                .with_topic_id(id.unwrap_or_default())
                .with_partitions(described),
        );
    }
    Ok(topics)
}

fn all(states: StatePartitions) -> Vec<Wanted> {
    let topics = states.initialized.into_iter();
    topics.map(|(id, topic)| (topic.name, Some(id), topic.partitions.into_iter().collect())).collect()
}

fn partition(index: i32, start: StartOffset) -> DescribeShareGroupOffsetsResponsePartition {
    DescribeShareGroupOffsetsResponsePartition::default()
        .with_partition_index(index)
        .with_start_offset(start.start_offset)
        .with_leader_epoch(start.leader_epoch)
}

fn unknown(index: i32) -> DescribeShareGroupOffsetsResponsePartition {
    let error = RequestError::UnknownTopicOrPartition;
    DescribeShareGroupOffsetsResponsePartition::default()
        .with_partition_index(index)
        .with_start_offset(-1)
        .with_error_code(error.code())
        .with_error_message(Some(text(&error.to_string())))
}
