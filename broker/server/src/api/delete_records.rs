//! DeleteRecords, key 21, versions 0-2 (KIP-107).
//!
//! 1: throttling. 2: flexible. An offset of -1 stands for the high watermark. What is answered holds: the log start offset is
//! written down first, and survives the death of the process; whole segments below it go with the next round of the maintenance.
//! The time-out has no meaning: there are no followers to wait for.

use super::{Api, bounds::*, versions};
use crate::{
    catalog::{Catalog, names},
    errors::RequestError,
};
use kafka_protocol::messages::{
    ApiKey, DeleteRecordsRequest, DeleteRecordsResponse,
    delete_records_request::DeleteRecordsPartition,
    delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
};
use std::{collections::HashMap, sync::Arc};

const PARTITION: Kind = Kind::Struct(&[field(INT32), field(INT64)]);
const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&PARTITION))]);
const LAYOUT: Layout = Layout::new(2, &[field(Kind::Array(&TOPIC)), field(INT32)]);

pub const API: Api = Api {
    key: ApiKey::DeleteRecords,
    name: "DeleteRecords",
    advertised: versions(0, 2),
    served: versions(0, 2),
    request: LAYOUT,
    handle: |services, call| {
        let catalog = services.catalog.clone();
        call.answer(move |request, _| handle(catalog, request))
    },
};

/// Stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;
/// Tells that there is none, beside an error.
const NO_LOW_WATERMARK: i64 = -1;

async fn handle(catalog: Arc<Catalog>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let work = move || {
        let topics = request.topics.into_iter().map(|topic| {
            let asked = last_of_each(topic.partitions);
            let partitions = asked.iter().map(|asked| answer(asked, delete(&catalog, &topic.name, asked)));
            DeleteRecordsTopicResult::default().with_partitions(partitions.collect()).with_name(topic.name)
        });
        topics.collect()
    };
    let topics = tokio::task::spawn_blocking(work).await.unwrap_or_default();
    DeleteRecordsResponse::default().with_topics(topics)
}

/// A partition that is named twice counts once, with the last offset.
fn last_of_each(partitions: Vec<DeleteRecordsPartition>) -> Vec<DeleteRecordsPartition> {
    let mut asked: Vec<DeleteRecordsPartition> = Vec::with_capacity(partitions.len());
    let mut places = HashMap::new();
    for partition in partitions {
        let place = *places.entry(partition.partition_index).or_insert(asked.len());
        match asked.get_mut(place) {
            Some(earlier) => *earlier = partition,
            None => asked.push(partition),
        }
    }
    asked
}

fn delete(catalog: &Catalog, topic: &str, asked: &DeleteRecordsPartition) -> Result<i64, RequestError> {
    let partition = catalog.partition(topic, asked.partition_index)?;
    if names::is_internal(topic) {
        return Err(RequestError::InvalidTopic(format!("Cannot delete records of internal topic {topic}")));
    }
    if partition.is_only_compacted()? {
        return Err(RequestError::PolicyViolation(format!(
            "Records of partition {topic}-{} can not be deleted due to the configured policy",
            asked.partition_index
        )));
    }
    partition.delete_records((asked.offset != HIGH_WATERMARK).then_some(asked.offset))
}

fn answer(asked: &DeleteRecordsPartition, deleted: Result<i64, RequestError>) -> DeleteRecordsPartitionResult {
    let result = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
    match deleted {
        Ok(log_start_offset) => result.with_low_watermark(log_start_offset),
        Err(error) => result.with_low_watermark(NO_LOW_WATERMARK).with_error_code(error.code()),
    }
}
