//! WriteTxnMarkers, key 27, version 1, for tools that end a hanging transaction (KIP-664).
//!
//! 1: flexible. Between brokers it carries markers; here the coordinator reaches its partitions itself.

use super::{Api, bounds::*, versions};
use crate::{
    errors::RequestError,
    transactions::{Marker, Markers},
};
use kafka_protocol::messages::{
    ApiKey, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
    write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic},
    write_txn_markers_response::{
        WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    },
};
use tifo_storage::record_batch::TransactionResult;

const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&INT32))]);
const MARKER: Kind =
    Kind::Struct(&[field(INT64), field(INT16), field(BOOLEAN), field(Kind::Array(&TOPIC)), field(INT32)]);
const LAYOUT: Layout = Layout::new(1, &[field(Kind::Array(&MARKER))]);

pub const API: Api = Api {
    key: ApiKey::WriteTxnMarkers,
    name: "WriteTxnMarkers",
    advertised: versions(1, 1),
    served: versions(1, 1),
    request: LAYOUT,
    handle: |services, call| {
        let markers = services.transactions.markers().clone();
        call.answer(|request, _| async move { handle(&markers, &request).await })
    },
};

async fn handle(markers: &Markers, request: &WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let mut results = Vec::with_capacity(request.markers.len());
    for asked in &request.markers {
        let mut topics = Vec::with_capacity(asked.topics.len());
        for topic in &asked.topics {
            topics.push(write(markers, &marker(asked), topic).await);
        }
        results.push(WritableTxnMarkerResult::default().with_producer_id(asked.producer_id).with_topics(topics));
    }
    WriteTxnMarkersResponse::default().with_markers(results)
}

fn marker(asked: &WritableTxnMarker) -> Marker {
    Marker {
        producer_id: asked.producer_id.0,
        producer_epoch: asked.producer_epoch,
        result: if asked.transaction_result { TransactionResult::Commit } else { TransactionResult::Abort },
        coordinator_epoch: asked.coordinator_epoch,
    }
}

async fn write(markers: &Markers, marker: &Marker, topic: &WritableTxnMarkerTopic) -> WritableTxnMarkerTopicResult {
    let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
    for index in &topic.partition_indexes {
        let written = write_one(markers, marker, &topic.name, *index).await;
        let code = written.err().map_or(0, |error| error.code());
        partitions.push(WritableTxnMarkerPartitionResult::default().with_partition_index(*index).with_error_code(code));
    }
    WritableTxnMarkerTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions)
}

async fn write_one(markers: &Markers, marker: &Marker, topic: &str, index: i32) -> Result<(), RequestError> {
    match markers.append(marker, topic, index).await? {
        Some(until_durable) => until_durable.reached().await,
        None => Ok(()),
    }
}
