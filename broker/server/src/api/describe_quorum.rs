//! DescribeQuorum, key 55, versions 0-2 (KIP-595).
//!
//! 1 (KIP-836): when voters were last heard of. 2 (KIP-853): directory ids, endpoints, messages. The only node is the only
//! voter and the leader; offsets are those of the metadata log. As in Kafka nothing but one question after partition 0 of
//! `__cluster_metadata` is answered. Listeners are none: there is no controller's port to name.

use super::{Api, bounds::*, versions};
use crate::{catalog::kafka_uuid, cluster::LEADER_EPOCH, errors::RequestError};
use kafka_protocol::messages::{
    ApiKey, BrokerId, DescribeQuorumRequest, DescribeQuorumResponse,
    describe_quorum_response::{Node, PartitionData, ReplicaState, TopicData},
};
use uuid::Uuid;

const PARTITION: Kind = Kind::Struct(&[field(INT32)]);
const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&PARTITION))]);
const LAYOUT: Layout = Layout::new(0, &[field(Kind::Array(&TOPIC))]);

pub const API: Api = Api {
    key: ApiKey::DescribeQuorum,
    name: "DescribeQuorum",
    advertised: versions(0, 2),
    served: versions(0, 2),
    request: LAYOUT,
    handle: |services, call| {
        let (catalog, node) = (services.catalog.clone(), BrokerId(services.cluster.node_id));
        let (directory, now_ms) = (directory_id(catalog.cluster_id()), services.clock.now_ms());
        call.answer(move |request, context| async move {
            // Who changes the catalog holds its lock while writing.
            let end_offset = tokio::task::spawn_blocking(move || catalog.metadata_end_offset()).await.unwrap_or(-1);
            handle(&Quorum { node, end_offset, directory, now_ms, version: context.version }, &request)
        })
    },
};

const METADATA_TOPIC: &str = "__cluster_metadata";

/// What there is to tell.
struct Quorum {
    node: BrokerId,
    end_offset: i64,
    directory: Uuid,
    now_ms: i64,
    version: i16,
}

fn handle(quorum: &Quorum, request: &DescribeQuorumRequest) -> DescribeQuorumResponse {
    let is_known = is_metadata_partition(request);
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let described = PartitionData::default().with_partition_index(asked.partition_index);
            if is_known { quorum.describe(described) } else { unknown(described) }
        });
        TopicData::default().with_topic_name(topic.topic_name.clone()).with_partitions(partitions.collect())
    });
    let response = DescribeQuorumResponse::default().with_topics(topics.collect());
    if is_known && quorum.version >= 2 {
        response.with_nodes(vec![Node::default().with_node_id(quorum.node)])
    } else {
        response
    }
}

/// One data directory makes a cluster here: what names the one names the other.
fn directory_id(cluster_id: &str) -> Uuid {
    kafka_uuid::from_kafka_string(cluster_id).unwrap_or_default()
}

fn is_metadata_partition(request: &DescribeQuorumRequest) -> bool {
    match request.topics.as_slice() {
        [topic] => {
            &**topic.topic_name == METADATA_TOPIC
                && matches!(topic.partitions.as_slice(), [one] if one.partition_index == 0)
        }
        _ => false,
    }
}

fn unknown(described: PartitionData) -> PartitionData {
    let error = RequestError::UnknownTopicOrPartition;
    described.with_error_code(error.code()).with_error_message(Some(error.message()))
}

impl Quorum {
    fn describe(&self, described: PartitionData) -> PartitionData {
        let mut voter = ReplicaState::default().with_replica_id(self.node).with_log_end_offset(self.end_offset);
        // The codec does not write what a version has no field for: it refuses.
        if self.version >= 1 {
            voter = voter.with_last_fetch_timestamp(self.now_ms).with_last_caught_up_timestamp(self.now_ms);
        }
        if self.version >= 2 {
            voter = voter.with_replica_directory_id(self.directory);
        }
        described
            .with_leader_id(self.node)
            .with_leader_epoch(LEADER_EPOCH)
            .with_high_watermark(self.end_offset)
            .with_current_voters(vec![voter])
    }
}
