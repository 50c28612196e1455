//! ConsumerGroupHeartbeat, key 68, versions 0-1 (KIP-848).
//!
//! 1 (KIP-848, 4.0): subscription by pattern; the client makes up its member id. What is null has not changed since it was said last.
//! Differs from Kafka: members of a group that has just changed are asked to beat again soon, and not after the whole interval.

use super::{
    Api, Context,
    bounds::*,
    group_fields::{group, instance, shared, text},
    versions,
};
use crate::{
    catalog::{Catalog, kafka_uuid},
    groups,
    services::Services,
    settings::{Live, resources::ResourceKind},
};
use kafka_protocol::{
    messages::{
        ApiKey, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
        consumer_group_heartbeat_request::TopicPartitions,
        consumer_group_heartbeat_response::{self as response, Assignment},
    },
    protocol::StrBytes,
};
use std::sync::Arc;
use tifo_coordinator::{
    ConsumerGroupSettings, GroupError, assignment,
    group::{self, ConsumerHeartbeatReply, JOIN_EPOCH, LEAVE_EPOCH, STATIC_LEAVE_EPOCH},
};

const TOPIC: Kind = Kind::Struct(&[field(UUID), field(Kind::Array(&INT32))]);
const LAYOUT: Layout = Layout::new(
    0,
    &[
        field(Kind::String),
        field(Kind::String),
        field(INT32),
        field(Kind::NullableString),
        field(Kind::NullableString),
        field(INT32),
        field(Kind::NullableArray(&Kind::String)),
        field(Kind::NullableString).since(1),
        field(Kind::NullableString),
        field(Kind::NullableArray(&TOPIC)),
    ],
);

pub const API: Api = Api {
    key: ApiKey::ConsumerGroupHeartbeat,
    name: "ConsumerGroupHeartbeat",
    advertised: versions(0, 1),
    served: versions(0, 1),
    request: LAYOUT,
    handle: |services, call| {
        let services = services.clone();
        call.answer(|request, context| async move { handle(&services, &request, &context).await })
    },
};

/// The first version whose clients make up their member ids.
const OWN_MEMBER_ID_SINCE: i16 = 1;

async fn handle(
    services: &Arc<Services>,
    request: &ConsumerGroupHeartbeatRequest,
    context: &Context,
) -> ConsumerGroupHeartbeatResponse {
    if let Err(complaint) = check(request, context.version) {
        return ConsumerGroupHeartbeatResponse::default()
            .with_error_code(groups::code(Some(GroupError::InvalidRequest)))
            .with_error_message(Some(StrBytes::from_static_str(complaint)));
    }
    let settings = settings(&services.catalog, &services.config, &request.group_id);
    answer(services.groups.consumer_heartbeat(read(request, context, settings)).await)
}

/// What no group could answer, in Kafka's words and order.
fn check(request: &ConsumerGroupHeartbeatRequest, version: i16) -> Result<(), &'static str> {
    let (epoch, is_empty) = (request.member_epoch, |text: &Option<StrBytes>| text.as_deref() == Some(""));
    let names_itself = version >= OWN_MEMBER_ID_SINCE || epoch > JOIN_EPOCH || epoch == LEAVE_EPOCH;
    match () {
        () if names_itself && request.member_id.is_empty() => Err("MemberId can't be empty."),
        () if request.group_id.is_empty() => Err("GroupId can't be empty."),
        () if is_empty(&request.instance_id) => Err("InstanceId can't be empty."),
        () if is_empty(&request.rack_id) => Err("RackId can't be empty."),
        () if epoch == STATIC_LEAVE_EPOCH && request.instance_id.is_none() => Err("InstanceId can't be null."),
        () if epoch < STATIC_LEAVE_EPOCH => Err("MemberEpoch is invalid."),
        () if epoch == JOIN_EPOCH => check_joining(request),
        () => Ok(()),
    }
}

fn check_joining(request: &ConsumerGroupHeartbeatRequest) -> Result<(), &'static str> {
    match () {
        () if request.rebalance_timeout_ms == -1 => Err("RebalanceTimeoutMs must be provided in first request."),
        () if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            Err("TopicPartitions must be empty when (re-)joining.")
        }
        () if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() => {
            Err("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
        }
        () => Ok(()),
    }
}

/// The group's own settings, and the broker's where it has none.
fn settings(catalog: &Catalog, live: &Live, group: &str) -> ConsumerGroupSettings {
    let (own, in_force) = (catalog.resource_settings(ResourceKind::Group, group), live.now());
    groups::consumer_group(|name| {
        let own = own.get(name).and_then(|value| value.trim().parse().ok());
        own.or_else(|| in_force.layers.read(&format!("group.{name}")))
    })
}

fn read(
    request: &ConsumerGroupHeartbeatRequest,
    context: &Context,
    settings: ConsumerGroupSettings,
) -> group::ConsumerHeartbeatRequest {
    let member_id = match &*request.member_id {
        "" => kafka_uuid::to_kafka_string(kafka_uuid::random()),
        own => own.to_owned(),
    };
    let names = request.subscribed_topic_names.as_ref();
    group::ConsumerHeartbeatRequest {
        group: group(&request.group_id),
        member_id,
        epoch: request.member_epoch,
        instance_id: instance(request.instance_id.as_ref()),
        rack_id: request.rack_id.as_ref().map(|rack| rack.to_string()),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|timeout_ms| *timeout_ms != -1),
        topic_names: names.map(|names| names.iter().map(|name| name.to_string()).collect()),
        topic_regex: request.subscribed_topic_regex.as_ref().map(shared),
        assignor: request.server_assignor.as_ref().map(|assignor| assignor.to_string()),
        owned: request.topic_partitions.as_deref().map(owned),
        client_id: context.client_id.as_deref().unwrap_or_default().to_owned(),
        // As Java prints an address.
        client_host: format!("/{}", context.peer.ip().to_canonical()),
        settings,
    }
}

fn owned(topics: &[TopicPartitions]) -> assignment::Assignment {
    let mut owned = assignment::Assignment::new();
    for topic in topics {
        owned.entry(topic.topic_id).or_default().extend(&topic.partitions);
    }
    owned
}

fn answer(reply: ConsumerHeartbeatReply) -> ConsumerGroupHeartbeatResponse {
    if let Some(error) = reply.error {
        return ConsumerGroupHeartbeatResponse::default()
            .with_error_code(groups::code(Some(error)))
            .with_error_message(Some(text(&error.to_string())));
    }
    let topic = |(topic_id, partitions): (uuid::Uuid, std::collections::BTreeSet<i32>)| {
        response::TopicPartitions::default().with_topic_id(topic_id).with_partitions(partitions.into_iter().collect())
    };
    let assignment = reply
        .assignment
        .map(|assignment| Assignment::default().with_topic_partitions(assignment.into_iter().map(topic).collect()));
    ConsumerGroupHeartbeatResponse::default()
        .with_error_message(None)
        .with_member_id(Some(text(&reply.member_id)))
        .with_member_epoch(reply.epoch)
        .with_heartbeat_interval_ms(reply.heartbeat_interval_ms)
        .with_assignment(assignment)
}
