//! ShareAcknowledge, key 79, version 1 (KIP-932).
//!
//! Left out: version 2, which can renew locks (KIP-1222); the codec does not know it yet.

use super::{
    Api,
    bounds::*,
    group_fields::{group, shared, text},
    versions,
};
use crate::share::{self, CLOSE_EPOCH, Refused, SessionKey, Shares, TopicPartition};
use kafka_protocol::{
    messages::{
        ApiKey, GroupId, ShareAcknowledgeRequest, ShareAcknowledgeResponse, share_acknowledge_request,
        share_acknowledge_response::{LeaderIdAndEpoch, PartitionData, ShareAcknowledgeTopicResponse},
    },
    protocol::StrBytes,
};
use tifo_coordinator::{
    ShareError,
    share::{Acknowledge, AcknowledgementBatch},
};

pub(super) const BATCH: Kind = Kind::Struct(&[field(INT64), field(INT64), field(Kind::Array(&INT8))]);
const PARTITION: Kind = Kind::Struct(&[field(INT32), field(Kind::Array(&BATCH))]);
const TOPIC: Kind = Kind::Struct(&[field(UUID), field(Kind::Array(&PARTITION))]);
const LAYOUT: Layout = Layout::new(
    0,
    &[field(Kind::NullableString), field(Kind::NullableString), field(INT32), field(Kind::Array(&TOPIC))],
);

pub const API: Api = Api {
    key: ApiKey::ShareAcknowledge,
    name: "ShareAcknowledge",
    advertised: versions(1, 1),
    served: versions(1, 1),
    request: LAYOUT,
    handle: |services, call| {
        let shares = services.shares.clone();
        call.answer(|request, _| async move { handle(&shares, &request).await })
    },
};

async fn handle(shares: &Shares, request: &ShareAcknowledgeRequest) -> ShareAcknowledgeResponse {
    let begun = session_key(request.group_id.as_ref(), request.member_id.as_ref()).and_then(|key| {
        shares.begin_acknowledge(&key, request.share_session_epoch)?;
        Ok(key)
    });
    let key = match begun {
        Ok(key) => key,
        Err(error) => return refused(error),
    };
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        // Of whom nothing is said nothing is answered.
        for partition in topic.partitions.iter().filter(|partition| !partition.acknowledgement_batches.is_empty()) {
            let index = partition.partition_index;
            let batches = partition.acknowledgement_batches.iter().map(batch).collect();
            let error = acknowledge(shares, &key, (topic.topic_id, index), batches).await.err();
            partitions.push(answer(index, error));
        }
        if !partitions.is_empty() {
            let answered = ShareAcknowledgeTopicResponse::default().with_topic_id(topic.topic_id);
            responses.push(answered.with_partitions(partitions));
        }
    }
    if request.share_session_epoch == CLOSE_EPOCH {
        shares.close(&key);
    }
    ShareAcknowledgeResponse::default().with_responses(responses)
}

fn batch(batch: &share_acknowledge_request::AcknowledgementBatch) -> WireBatch<'_> {
    WireBatch { first_offset: batch.first_offset, last_offset: batch.last_offset, types: &batch.acknowledge_types }
}

/// An acknowledgement as it came, in either API.
pub(super) struct WireBatch<'a> {
    pub first_offset: i64,
    pub last_offset: i64,
    pub types: &'a [i8],
}

/// Who asks. Kafka makes the member's id a uuid, and tells a request without one that it is at fault.
pub(super) fn session_key(group_id: Option<&GroupId>, member: Option<&StrBytes>) -> Result<SessionKey, Refused> {
    match (group_id.filter(|id| !id.0.is_empty()), member.filter(|member| !member.is_empty())) {
        (Some(id), Some(member)) => Ok((group(id), shared(member))),
        _ => Err(ShareError::InvalidRequest.into()),
    }
}

/// What is said of one partition; nothing said is nothing wrong.
pub(super) async fn acknowledge(
    shares: &Shares,
    key: &SessionKey,
    partition: TopicPartition,
    batches: Vec<WireBatch<'_>>,
) -> Result<(), ShareError> {
    let typed = |batch: &WireBatch<'_>| {
        let types = batch.types.iter().map(|number| Acknowledge::of(*number)).collect::<Option<Vec<_>>>()?;
        Some(AcknowledgementBatch { first_offset: batch.first_offset, last_offset: batch.last_offset, types })
    };
    let batches = batches.iter().map(typed).collect::<Option<Vec<_>>>().ok_or(ShareError::InvalidRequest)?;
    if !AcknowledgementBatch::are_sound(&batches) {
        return Err(ShareError::InvalidRequest);
    }
    shares.acknowledge(key, partition, &batches).await
}

fn answer(index: i32, error: Option<ShareError>) -> PartitionData {
    PartitionData::default()
        .with_partition_index(index)
        .with_error_code(share::code(error))
        .with_error_message(
            error.filter(|error| *error == ShareError::InvalidRecordState).map(|error| text(&error.to_string())),
        )
        .with_current_leader(LeaderIdAndEpoch::default())
}

/// Without words, as Kafka.
fn refused(error: Refused) -> ShareAcknowledgeResponse {
    ShareAcknowledgeResponse::default().with_error_code(error.kind().code()).with_error_message(None)
}
