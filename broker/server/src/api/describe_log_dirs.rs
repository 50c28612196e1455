//! DescribeLogDirs, key 35, versions 1-4 (KIP-113).
//!
//! 1: throttling. 2: flexible. 3: an error of the whole response. 4 (KIP-827): size of the volume.
//! There is one directory, and nothing moves into it or out of it: no future replicas, no lag. Sizes are those of the segments,
//! as Kafka counts them: indexes and what waits for its removal are not in them. A partition that is offline is not listed.
//! Left out: version 5, which the codec does not know.

use super::{Api, bounds::*, metadata::topic_name, versions};
use crate::{
    catalog::{Catalog, Topic},
    partition::Partition,
};
use kafka_protocol::{
    messages::{
        ApiKey, DescribeLogDirsRequest, DescribeLogDirsResponse,
        describe_log_dirs_request::DescribableLogDirTopic,
        describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
    },
    protocol::StrBytes,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&INT32))]);
const LAYOUT: Layout = Layout::new(2, &[field(Kind::NullableArray(&TOPIC))]);

pub const API: Api = Api {
    key: ApiKey::DescribeLogDirs,
    name: "DescribeLogDirs",
    advertised: versions(1, 4),
    served: versions(1, 4),
    request: LAYOUT,
    handle: |services, call| {
        let catalog = services.catalog.clone();
        call.answer(move |request, _| handle(catalog, request))
    },
};

/// Stands for a size that the operating system did not tell.
const UNKNOWN_BYTES: i64 = -1;

async fn handle(catalog: Arc<Catalog>, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let work = move || {
        let topics = match &request.topics {
            None => catalog.topics().iter().filter_map(|topic| describe(topic, &topic.partitions)).collect(),
            Some(asked) => asked_for(&catalog, asked),
        };
        let space = catalog.space().ok();
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        DescribeLogDirsResult::default()
            .with_log_dir(log_dir(&catalog))
            .with_topics(topics)
            .with_total_bytes(space.map_or(UNKNOWN_BYTES, |space| bytes(space.total_bytes)))
            .with_usable_bytes(space.map_or(UNKNOWN_BYTES, |space| bytes(space.usable_bytes)))
    };
    let described = tokio::task::spawn_blocking(work).await;
    DescribeLogDirsResponse::default().with_results(described.into_iter().collect())
}

/// The directory by its whole path: tools name it back to us.
pub fn log_dir(catalog: &Catalog) -> StrBytes {
    let dir = catalog.data_dir();
    let whole = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    StrBytes::from_string(whole.display().to_string())
}

/// What is there of what was asked for, each once.
fn asked_for(catalog: &Catalog, asked: &[DescribableLogDirTopic]) -> Vec<DescribeLogDirsTopic> {
    let mut wanted: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for topic in asked {
        wanted.entry(&topic.topic).or_default().extend(&topic.partitions);
    }
    let described = wanted.iter().filter_map(|(name, partitions)| {
        let topic = catalog.topic(name)?;
        describe(&topic, partitions.iter().filter_map(|index| topic.partition(*index).ok()))
    });
    described.collect()
}

/// None if nothing of it is there.
fn describe<'a>(
    topic: &Topic,
    partitions: impl IntoIterator<Item = &'a Arc<Partition>>,
) -> Option<DescribeLogDirsTopic> {
    let sized = partitions.into_iter().filter_map(|partition| {
        let size = partition.size_bytes().ok()?;
        let described = DescribeLogDirsPartition::default()
            .with_partition_index(partition.index)
            .with_partition_size(i64::try_from(size).unwrap_or(i64::MAX));
        Some(described)
    });
    let partitions: Vec<_> = sized.collect();
    let described = DescribeLogDirsTopic::default().with_name(topic_name(&topic.name));
    (!partitions.is_empty()).then(|| described.with_partitions(partitions))
}
