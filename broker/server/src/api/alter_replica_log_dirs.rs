//! AlterReplicaLogDirs, key 34, versions 1-2 (KIP-113).
//!
//! 1: throttling. 2: flexible. There is one log directory: moving a replica to where it is done at once, and any other
//! directory is not there.

use super::{Api, bounds::*, describe_log_dirs::log_dir, versions};
use crate::catalog::Catalog;
use kafka_protocol::{
    ResponseError,
    messages::{
        AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, ApiKey, TopicName,
        alter_replica_log_dirs_response::{AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult},
    },
};
use std::collections::BTreeMap;

const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&INT32))]);
const DIR: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&TOPIC))]);
const LAYOUT: Layout = Layout::new(2, &[field(Kind::Array(&DIR))]);

pub const API: Api = Api {
    key: ApiKey::AlterReplicaLogDirs,
    name: "AlterReplicaLogDirs",
    advertised: versions(1, 2),
    served: versions(1, 2),
    request: LAYOUT,
    handle: |services, call| {
        let catalog = services.catalog.clone();
        call.answer(move |request, _| std::future::ready(handle(&catalog, &request)))
    },
};

const NONE: i16 = 0;

fn handle(catalog: &Catalog, request: &AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse {
    let own = log_dir(catalog);
    let mut results: BTreeMap<TopicName, BTreeMap<i32, i16>> = BTreeMap::new();
    // A partition that is named twice goes where it was named last.
    for dir in &request.dirs {
        for topic in &dir.topics {
            let moved = topic.partitions.iter().map(|index| {
                let code = match catalog.partition(&topic.name, *index) {
                    _ if dir.path != own => ResponseError::LogDirNotFound.code(),
                    Ok(_) => NONE,
                    Err(error) => error.code(),
                };
                (*index, code)
            });
            let moved: Vec<_> = moved.collect();
            if !moved.is_empty() {
                results.entry(topic.name.clone()).or_default().extend(moved);
            }
        }
    }
    let results = results.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, code)| {
            AlterReplicaLogDirPartitionResult::default().with_partition_index(index).with_error_code(code)
        });
        AlterReplicaLogDirTopicResult::default().with_topic_name(name).with_partitions(partitions.collect())
    });
    AlterReplicaLogDirsResponse::default().with_results(results.collect())
}
