//! OffsetForLeaderEpoch, key 23, versions 2-4 (KIP-101, KIP-279).
//!
//! 3 (KIP-392): the replica that asks. 4: flexible. An epoch ends where the next one began, the current one at the log's end.

use super::{Api, bounds::*, versions};
use crate::{catalog::Catalog, cluster::check_leader_epoch, errors::RequestError};
use kafka_protocol::messages::{
    ApiKey, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    offset_for_leader_epoch_request::OffsetForLeaderPartition,
    offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
};

const PARTITION: Kind = Kind::Struct(&[field(INT32), field(INT32), field(INT32)]);
const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&PARTITION))]);
const LAYOUT: Layout = Layout::new(4, &[field(INT32).since(3), field(Kind::Array(&TOPIC))]);

pub const API: Api = Api {
    key: ApiKey::OffsetForLeaderEpoch,
    name: "OffsetForLeaderEpoch",
    advertised: versions(2, 4),
    served: versions(2, 4),
    request: LAYOUT,
    handle: |services, call| {
        let catalog = services.catalog.clone();
        call.answer(move |request, _| std::future::ready(handle(&catalog, &request)))
    },
};

/// Epoch and offset when there is nothing to say.
const UNDEFINED: (i32, i64) = (-1, -1);

fn handle(catalog: &Catalog, request: &OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let found = find(catalog, &topic.topic, asked);
            let (code, (epoch, end)) = match found {
                Ok(found) => (0, found),
                Err(error) => (error.code(), UNDEFINED),
            };
            EpochEndOffset::default()
                .with_error_code(code)
                .with_partition(asked.partition)
                .with_leader_epoch(epoch)
                .with_end_offset(end)
        });
        OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions.collect())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn find(catalog: &Catalog, topic: &str, asked: &OffsetForLeaderPartition) -> Result<(i32, i64), RequestError> {
    let partition = catalog.partition(topic, asked.partition)?;
    check_leader_epoch(asked.current_leader_epoch)?;
    let end = partition.epoch_end(asked.leader_epoch)?;
    Ok(end.map_or(UNDEFINED, |end| (end.leader_epoch, end.end_offset)))
}
