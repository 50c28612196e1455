//! ListOffsets, key 2, versions 1-10.
//!
//! 2 (KIP-98): isolation level, throttle time. 4 (KIP-320): leader epochs. 5: an unsupported batch format is said so.
//! 6: flexible. 7 (KIP-734): -3, the record with the highest timestamp. 8 (KIP-405): -4, the earliest local offset.
//! 9 (KIP-1005): -5, the last tiered offset. 10 (KIP-1075): a time-out for remote reads.
//! Without tiered storage -4 is the log's start and -5 is unknown. For readers of committed records the log ends at the last
//! stable offset, and what lies behind it is not found by time.

use super::{Api, Context, bounds::*, group_fields::shared, versions};
use crate::{
    catalog::Catalog,
    cluster::{LEADER_EPOCH, check_leader_epoch},
    errors::RequestError,
    groups::{Groups, Sought, Who},
    partition::{Isolation, Offsets},
};
use kafka_protocol::messages::{
    ApiKey, ListOffsetsRequest, ListOffsetsResponse,
    list_offsets_request::ListOffsetsPartition,
    list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
};
use std::collections::HashMap;
use tifo_storage::TimestampAndOffset;

const PARTITION: Kind = Kind::Struct(&[field(INT32), field(INT32).since(4), field(INT64)]);
const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&PARTITION))]);
const LAYOUT: Layout =
    Layout::new(6, &[field(INT32), field(INT8).since(2), field(Kind::Array(&TOPIC)), field(INT32).since(10)]);

pub const API: Api = Api {
    key: ApiKey::ListOffsets,
    name: "ListOffsets",
    advertised: versions(1, 10),
    served: versions(1, 10),
    request: LAYOUT,
    handle: |services, call| {
        let (catalog, groups, now_ms) = (services.catalog.clone(), services.groups.clone(), services.clock.now_ms());
        // Searching by time may read the disk.
        call.answer(move |request, context| async move {
            let work = move || {
                let response = handle(&catalog, &request, &context);
                tell_of_newcomers(&groups, &catalog, &request, &context, now_ms);
                response
            };
            tokio::task::spawn_blocking(work).await.unwrap_or_default()
        })
    },
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

fn handle(catalog: &Catalog, request: &ListOffsetsRequest, context: &Context) -> ListOffsetsResponse {
    let topics = request.topics.iter().map(|topic| {
        let mut times: HashMap<i32, usize> = HashMap::new();
        for partition in &topic.partitions {
            *times.entry(partition.partition_index).or_default() += 1;
        }
        let partitions = topic.partitions.iter().filter_map(|asked| {
            // Named more than once: refused, once.
            let found = match times.remove(&asked.partition_index)? {
                1 => find(catalog, &topic.name, asked, request.isolation_level.into(), context.version),
                _ => Err(RequestError::InvalidRequest("partition named more than once".into())),
            };
            Some(answer(asked.partition_index, found, context.version))
        });
        ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// A consumer that begins at the end for want of a committed offset is told of in the log.
fn tell_of_newcomers(groups: &Groups, catalog: &Catalog, request: &ListOffsetsRequest, context: &Context, now_ms: i64) {
    if groups.newcomers().are_none() {
        return;
    }
    let mut sought = Vec::new();
    for topic in &request.topics {
        for asked in &topic.partitions {
            let offsets = catalog.partition(&topic.name, asked.partition_index).and_then(|found| found.offsets());
            let below = |end: Offsets| end.end(request.isolation_level.into()) - end.log_start_offset;
            let unseen = offsets.ok().map(below).filter(|_| asked.timestamp == LATEST);
            sought.push(Sought { topic: shared(&topic.name), partition: asked.partition_index, unseen });
        }
    }
    let who = Who::from(context);
    groups.newcomers().seeks(&who, &sought, now_ms).iter().for_each(|unseen| unseen.tell(&who.client_id));
}

fn find(
    catalog: &Catalog,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
    version: i16,
) -> Result<Option<TimestampAndOffset>, RequestError> {
    let partition = catalog.partition(topic, asked.partition_index)?;
    check_leader_epoch(asked.current_leader_epoch)?;
    let end = partition.offsets()?.end(isolation);
    let visible = |found: Option<TimestampAndOffset>| Ok(found.filter(|found| found.offset < end));
    let at = |offset| Some(TimestampAndOffset { timestamp_ms: -1, offset, leader_epoch: LEADER_EPOCH });
    match asked.timestamp {
        LATEST => Ok(at(end)),
        EARLIEST => Ok(at(partition.offsets()?.log_start_offset)),
        MAX_TIMESTAMP if version >= 7 => visible(partition.offset_of_max_timestamp()?),
        EARLIEST_LOCAL if version >= 8 => Ok(at(partition.offsets()?.log_start_offset)),
        LATEST_TIERED if version >= 9 => {
            Ok(Some(TimestampAndOffset { timestamp_ms: -1, offset: -1, leader_epoch: -1 }))
        }
        timestamp if timestamp >= 0 => visible(partition.offset_for_timestamp(timestamp)?),
        _ => Err(RequestError::UnsupportedVersion),
    }
}

fn answer(
    index: i32,
    found: Result<Option<TimestampAndOffset>, RequestError>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let nothing = ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_timestamp(-1)
        .with_offset(-1)
        .with_leader_epoch(-1);
    match found {
        Ok(Some(found)) => {
            let answer = nothing.with_timestamp(found.timestamp_ms).with_offset(found.offset);
            // Versions before KIP-320 have no place for the epoch.
            if version >= 4 { answer.with_leader_epoch(found.leader_epoch) } else { answer }
        }
        Ok(None) => nothing,
        Err(error) => nothing.with_error_code(error.code()),
    }
}
