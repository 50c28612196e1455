//! AlterShareGroupOffsets, key 91, version 0 (KIP-932): a share group without members begins elsewhere.

use super::{Api, bounds::*, group_fields::text, versions};
use crate::{
    catalog::Catalog,
    errors::RequestError,
    share::{self, Shares, TopicPartition},
};
use kafka_protocol::messages::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse, ApiKey,
    alter_share_group_offsets_request::AlterShareGroupOffsetsRequestTopic,
    alter_share_group_offsets_response::{
        AlterShareGroupOffsetsResponsePartition, AlterShareGroupOffsetsResponseTopic,
    },
};

const PARTITION: Kind = Kind::Struct(&[field(INT32), field(INT64)]);
const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&PARTITION))]);
const LAYOUT: Layout = Layout::new(0, &[field(Kind::String), field(Kind::Array(&TOPIC))]);

pub const API: Api = Api {
    key: ApiKey::AlterShareGroupOffsets,
    name: "AlterShareGroupOffsets",
    advertised: versions(0, 0),
    served: versions(0, 0),
    request: LAYOUT,
    handle: |services, call| {
        let (shares, catalog) = (services.shares.clone(), services.catalog.clone());
        call.answer(|request, _| async move { handle(&shares, &catalog, &request).await })
    },
};

async fn handle(
    shares: &Shares,
    catalog: &Catalog,
    request: &AlterShareGroupOffsetsRequest,
) -> AlterShareGroupOffsetsResponse {
    let mut offsets = Vec::new();
    let responses = request.topics.iter().map(|topic| look_up(catalog, topic, &mut offsets)).collect();
    match shares.alter(&request.group_id.0, &offsets).await {
        Ok(()) => AlterShareGroupOffsetsResponse::default().with_responses(responses),
        Err(error) => AlterShareGroupOffsetsResponse::default()
            .with_error_code(share::code(Some(error)))
            .with_error_message(Some(text(&error.to_string()))),
    }
}

/// What there is of it goes into `offsets`, what there is not is answered so.
fn look_up(
    catalog: &Catalog,
    asked: &AlterShareGroupOffsetsRequestTopic,
    offsets: &mut Vec<(String, TopicPartition, i64)>,
) -> AlterShareGroupOffsetsResponseTopic {
    let topic = catalog.topic(&asked.topic_name);
    let partitions = asked.partitions.iter().map(|partition| {
        let index = partition.partition_index;
        let answer =
            AlterShareGroupOffsetsResponsePartition::default().with_partition_index(index).with_error_message(None);
        match topic.as_ref().filter(|topic| topic.partition(index).is_ok()) {
            Some(topic) => {
                offsets.push((asked.topic_name.to_string(), (topic.id, index), partition.start_offset));
                answer
            }
            None => {
                let error = RequestError::UnknownTopicOrPartition;
                answer.with_error_code(error.code()).with_error_message(Some(text(&error.to_string())))
            }
        }
    });
    AlterShareGroupOffsetsResponseTopic::default()
        .with_topic_name(asked.topic_name.clone())
        .with_partitions(partitions.collect())
        .with_topic_id(topic.as_ref().map(|topic| topic.id).unwrap_or_default())
}
