//! CreatePartitions, key 37, versions 0-3.
//!
//! 1: throttling. 2: flexible. 3 (KIP-599): no change here. The new partitions answer when the answer leaves.

use super::{Api, bounds::*, versions};
use crate::{
    catalog::{Catalog, Increase},
    errors::RequestError,
};
use kafka_protocol::messages::{
    ApiKey, CreatePartitionsRequest, CreatePartitionsResponse, create_partitions_request::CreatePartitionsTopic,
    create_partitions_response::CreatePartitionsTopicResult,
};
use std::{collections::HashMap, sync::Arc};

const ASSIGNMENT: Kind = Kind::Struct(&[field(Kind::Array(&INT32))]);
const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(INT32), field(Kind::NullableArray(&ASSIGNMENT))]);
const LAYOUT: Layout = Layout::new(2, &[field(Kind::Array(&TOPIC)), field(INT32), field(BOOLEAN)]);

pub const API: Api = Api {
    key: ApiKey::CreatePartitions,
    name: "CreatePartitions",
    advertised: versions(0, 3),
    served: versions(0, 3),
    request: LAYOUT,
    handle: |services, call| {
        let catalog = services.catalog.clone();
        call.answer(move |request, _| handle(catalog, request))
    },
};

async fn handle(catalog: Arc<Catalog>, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let work = move || grow_all(&catalog, &request);
    let results = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "creating partitions ended unexpectedly");
        Vec::new()
    });
    CreatePartitionsResponse::default().with_results(results)
}

fn grow_all(catalog: &Catalog, request: &CreatePartitionsRequest) -> Vec<CreatePartitionsTopicResult> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    let mut results = Vec::with_capacity(times.len());
    for topic in &request.topics {
        let grown = match times.get(&**topic.name) {
            Some(1) => grow(catalog, topic, request.validate_only),
            // Named more than once: answered once.
            Some(_) => {
                times.remove(&**topic.name);
                Err(RequestError::InvalidRequest("Duplicate topic name.".into()))
            }
            None => continue,
        };
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        results.push(match grown {
            Ok(()) => result.with_error_message(None),
            Err(error @ RequestError::UnknownTopicOrPartition) => {
                result.with_error_code(error.code()).with_error_message(None)
            }
            Err(error) => result.with_error_code(error.code()).with_error_message(Some(error.message())),
        });
    }
    results
}

fn grow(catalog: &Catalog, topic: &CreatePartitionsTopic, validate_only: bool) -> Result<(), RequestError> {
    let replicas = topic.assignments.as_ref().map(|assignments| {
        assignments.iter().map(|one| one.broker_ids.iter().map(|broker| broker.0).collect()).collect()
    });
    catalog.create_partitions(&topic.name, &Increase { count: topic.count, assignments: replicas }, validate_only)
}
