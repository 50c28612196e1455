//! DescribeProducers, key 61, version 0 (KIP-664): who writes to a partition, and whose transaction is open there since when.

use super::{Api, bounds::*, group_fields::text, versions};
use crate::{catalog::Catalog, errors::RequestError};
use kafka_protocol::messages::{
    ApiKey, DescribeProducersRequest, DescribeProducersResponse, ProducerId,
    describe_producers_request::TopicRequest,
    describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
};
use tifo_storage::ActiveProducer;

const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&INT32))]);
const LAYOUT: Layout = Layout::new(0, &[field(Kind::Array(&TOPIC))]);

pub const API: Api = Api {
    key: ApiKey::DescribeProducers,
    name: "DescribeProducers",
    advertised: versions(0, 0),
    served: versions(0, 0),
    request: LAYOUT,
    handle: |services, call| {
        let catalog = services.catalog.clone();
        call.answer(|request: DescribeProducersRequest, _| async move {
            let topics = request.topics.iter().map(|topic| describe(&catalog, topic)).collect();
            DescribeProducersResponse::default().with_topics(topics)
        })
    },
};

fn describe(catalog: &Catalog, topic: &TopicRequest) -> TopicResponse {
    let found = catalog.topic(&topic.name);
    let partition = |index: &i32| match &found {
        None => failed(*index, &RequestError::UnknownTopicOrPartition)
            .with_error_message(Some(text(&RequestError::UnknownTopicOrPartition.to_string()))),
        Some(found) => answer(*index, found.partition(*index).and_then(|partition| partition.active_producers())),
    };
    let partitions = topic.partition_indexes.iter().map(partition).collect();
    TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
}

fn answer(index: i32, producers: Result<Vec<ActiveProducer>, RequestError>) -> PartitionResponse {
    match producers {
        Ok(producers) => PartitionResponse::default()
            .with_partition_index(index)
            .with_active_producers(producers.iter().map(state).collect()),
        Err(error) => failed(index, &error),
    }
}

/// Only a topic that is not there gets words, as in Kafka.
fn failed(index: i32, error: &RequestError) -> PartitionResponse {
    PartitionResponse::default().with_partition_index(index).with_error_code(error.code())
}

fn state(producer: &ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.producer_id))
        .with_producer_epoch(producer.epoch.into())
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp_ms)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.transaction_first_offset.unwrap_or(-1))
}
