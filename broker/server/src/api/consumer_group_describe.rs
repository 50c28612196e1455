//! ConsumerGroupDescribe, key 69, versions 0-1 (KIP-848).
//!
//! 1 (KIP-1099): which protocol a member speaks. A group of another kind is as unknown as one that does not exist.

use super::{
    Api, Context,
    bounds::*,
    describe_groups::GROUP_OPERATIONS,
    group_fields::{optional, text},
    metadata::topic_name,
    versions,
};
use crate::groups::{self, Groups};
use kafka_protocol::messages::{
    ApiKey, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId, TopicName,
    consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions},
};
use std::{collections::BTreeSet, sync::Arc};
use tifo_coordinator::{
    GroupError,
    group::{DescribedConsumerGroup, DescribedConsumerMember},
};
use uuid::Uuid;

const LAYOUT: Layout = Layout::new(0, &[field(Kind::Array(&Kind::String)), field(BOOLEAN)]);

pub const API: Api = Api {
    key: ApiKey::ConsumerGroupDescribe,
    name: "ConsumerGroupDescribe",
    advertised: versions(0, 1),
    served: versions(0, 1),
    request: LAYOUT,
    handle: |services, call| {
        let groups = services.groups.clone();
        call.answer(|request, context| async move { handle(&groups, request, &context).await })
    },
};

/// Kinds of members by number.
const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;
const NOT_TOLD: i8 = -1;

async fn handle(
    groups: &Groups,
    request: ConsumerGroupDescribeRequest,
    context: &Context,
) -> ConsumerGroupDescribeResponse {
    let mut answers = Vec::with_capacity(request.group_ids.len());
    for id in request.group_ids {
        let mut answer = match describe(groups, &id).await {
            Ok(group) => described(group, context.version),
            Err(error) => refused(error, &id),
        };
        if request.include_authorized_operations && answer.error_code == 0 {
            answer.authorized_operations = GROUP_OPERATIONS;
        }
        answers.push(answer.with_group_id(id));
    }
    ConsumerGroupDescribeResponse::default().with_groups(answers)
}

async fn describe(groups: &Groups, id: &GroupId) -> Result<DescribedConsumerGroup, GroupError> {
    if id.is_empty() {
        return Err(GroupError::InvalidGroupId);
    }
    groups.describe_consumer_group(id).await?.ok_or(GroupError::GroupIdNotFound)
}

fn described(group: DescribedConsumerGroup, version: i16) -> DescribedGroup {
    DescribedGroup::default()
        .with_error_message(None)
        .with_group_state(text(group.state))
        .with_group_epoch(group.epoch)
        .with_assignment_epoch(group.assignment_epoch)
        .with_assignor_name(text(group.assignor))
        .with_members(group.members.into_iter().map(|one| member(one, version)).collect())
}

fn member(member: DescribedConsumerMember, version: i16) -> Member {
    let said = &member.said;
    let kind = if said.classic.is_some() { CLASSIC } else { CONSUMER };
    let names = said.topic_names.iter().map(|name| TopicName(text(name)));
    Member::default()
        .with_member_id(text(&member.member_id))
        .with_instance_id(optional(said.instance_id.as_deref()))
        .with_rack_id(optional(said.rack_id.as_deref()))
        .with_member_epoch(member.epoch)
        .with_client_id(text(&said.client_id))
        .with_client_host(text(&said.client_host))
        .with_subscribed_topic_names(names.collect())
        .with_subscribed_topic_regex(optional(said.topic_regex.as_deref()))
        .with_assignment(assignment(member.assigned))
        .with_target_assignment(assignment(member.target))
        .with_member_type(if version >= 1 { kind } else { NOT_TOLD })
}

fn assignment(topics: Vec<(Uuid, Arc<str>, BTreeSet<i32>)>) -> Assignment {
    let topic = |(id, name, partitions): (Uuid, Arc<str>, BTreeSet<i32>)| {
        TopicPartitions::default()
            .with_topic_id(id)
            .with_topic_name(topic_name(&name))
            .with_partitions(partitions.into_iter().collect())
    };
    Assignment::default().with_topic_partitions(topics.into_iter().map(topic).collect())
}

fn refused(error: GroupError, id: &GroupId) -> DescribedGroup {
    let message = match error {
        GroupError::GroupIdNotFound => format!("Group {} not found.", &**id),
        error => error.to_string(),
    };
    DescribedGroup::default().with_error_code(groups::code(Some(error))).with_error_message(Some(text(&message)))
}
