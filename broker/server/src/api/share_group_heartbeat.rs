//! ShareGroupHeartbeat, key 76, version 1 (KIP-932; version 0 was an early one that Kafka dropped).
//!
//! Epoch 0 joins, -1 leaves, else the member stays; it is told its partitions when it joins and when they change.

use super::{
    Api, Context,
    bounds::*,
    group_fields::{group, text},
    versions,
};
use crate::share::{self, Shares};
use kafka_protocol::{
    messages::{
        ApiKey, ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse,
        share_group_heartbeat_response::{Assignment, TopicPartitions},
    },
    protocol::StrBytes,
};
use tifo_coordinator::share::{self as machine, HeartbeatReply, HeartbeatRequest};

const LAYOUT: Layout = Layout::new(
    0,
    &[
        field(Kind::String),
        field(Kind::String),
        field(INT32),
        field(Kind::NullableString),
        field(Kind::NullableArray(&Kind::String)),
    ],
);

pub const API: Api = Api {
    key: ApiKey::ShareGroupHeartbeat,
    name: "ShareGroupHeartbeat",
    advertised: versions(1, 1),
    served: versions(1, 1),
    request: LAYOUT,
    handle: |services, call| {
        let shares = services.shares.clone();
        call.answer(|request, context| async move { handle(&shares, &request, &context).await })
    },
};

async fn handle(
    shares: &Shares,
    request: &ShareGroupHeartbeatRequest,
    context: &Context,
) -> ShareGroupHeartbeatResponse {
    let settings = shares.settings(&request.group_id.0);
    let names =
        |topics: &Vec<kafka_protocol::messages::TopicName>| topics.iter().map(|topic| topic.to_string()).collect();
    let beat = HeartbeatRequest {
        group: group(&request.group_id),
        member_id: request.member_id.to_string(),
        member_epoch: request.member_epoch,
        rack_id: request.rack_id.as_ref().map(StrBytes::to_string),
        client_id: context.client_id.as_ref().map(StrBytes::to_string).unwrap_or_default(),
        client_host: format!("/{}", context.peer.ip().to_canonical()),
        subscribed: request.subscribed_topic_names.as_ref().map(names),
        session_timeout_ms: settings.session_timeout_ms,
    };
    match shares.groups().share_heartbeat(&beat).await {
        Ok(reply) => told(reply, settings.heartbeat_interval_ms),
        Err(error) => ShareGroupHeartbeatResponse::default()
            .with_error_code(share::code(Some(error)))
            .with_error_message(Some(text(&error.to_string())).filter(|_| !request.member_id.is_empty())),
    }
}

fn told(reply: HeartbeatReply, interval_ms: i32) -> ShareGroupHeartbeatResponse {
    let has_left = reply.member_epoch < 0;
    ShareGroupHeartbeatResponse::default()
        .with_member_id(Some(text(&reply.member_id)))
        .with_member_epoch(reply.member_epoch)
        .with_heartbeat_interval_ms(if has_left { 0 } else { interval_ms })
        .with_assignment(reply.assignment.map(assignment))
}

fn assignment(assigned: machine::Assignment) -> Assignment {
    let topic = |(topic_id, partitions): (uuid::Uuid, std::collections::BTreeSet<i32>)| {
        TopicPartitions::default().with_topic_id(topic_id).with_partitions(partitions.into_iter().collect())
    };
    Assignment::default().with_topic_partitions(assigned.into_iter().map(topic).collect())
}
