//! ShareGroupDescribe, key 77, version 1 (KIP-932).

use super::{
    Api,
    bounds::*,
    group_fields::{optional, text},
    versions,
};
use crate::{
    catalog::Catalog,
    share::{self, Shares},
};
use kafka_protocol::messages::{
    ApiKey, GroupId, ShareGroupDescribeRequest, ShareGroupDescribeResponse, TopicName,
    share_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions},
};
use tifo_coordinator::{
    ShareError,
    share::{DescribedShareGroup, DescribedShareMember},
};

const LAYOUT: Layout = Layout::new(0, &[field(Kind::Array(&Kind::String)), field(BOOLEAN)]);

pub const API: Api = Api {
    key: ApiKey::ShareGroupDescribe,
    name: "ShareGroupDescribe",
    advertised: versions(1, 1),
    served: versions(1, 1),
    request: LAYOUT,
    handle: |services, call| {
        let (shares, catalog) = (services.shares.clone(), services.catalog.clone());
        call.answer(|request, _| async move { handle(&shares, &catalog, request).await })
    },
};

/// The one assignor that there is.
const ASSIGNOR: &str = "simple";
/// Bits by KIP-430: read, delete, describe, describe configs, alter configs; nothing is forbidden here.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
const NOT_ASKED: i32 = i32::MIN;

async fn handle(shares: &Shares, catalog: &Catalog, request: ShareGroupDescribeRequest) -> ShareGroupDescribeResponse {
    let operations = if request.include_authorized_operations { GROUP_OPERATIONS } else { NOT_ASKED };
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for id in request.group_ids {
        let described = match shares.groups().describe_share(&id.0).await {
            Ok(Some(group)) => described(group, catalog).with_authorized_operations(operations),
            Ok(None) if id.0.is_empty() => refused(ShareError::InvalidGroupId, &ShareError::InvalidGroupId.to_string()),
            Ok(None) => refused(ShareError::GroupIdNotFound, &format!("Group {} not found.", &*id.0)),
            Err(error) => refused(error, &error.to_string()),
        };
        groups.push(described.with_group_id(GroupId(id.0)));
    }
    ShareGroupDescribeResponse::default().with_groups(groups)
}

fn described(group: DescribedShareGroup, catalog: &Catalog) -> DescribedGroup {
    DescribedGroup::default()
        .with_error_message(None)
        .with_group_state(text(group.state))
        .with_group_epoch(group.epoch)
        .with_assignment_epoch(group.assignment_epoch)
        .with_assignor_name(text(ASSIGNOR))
        .with_members(group.members.into_iter().map(|one| member(one, catalog)).collect())
}

fn member(member: DescribedShareMember, catalog: &Catalog) -> Member {
    // A topic that is gone has no name.
    let partitions = member.assigned.into_iter().filter_map(|(topic_id, partitions)| {
        let topic = catalog.topic_by_id(topic_id)?;
        let partitions = partitions.into_iter().collect();
        Some(
            TopicPartitions::default()
                .with_topic_id(topic_id)
                .with_topic_name(TopicName(text(&topic.name)))
                .with_partitions(partitions),
        )
    });
    Member::default()
        .with_member_id(text(&member.member_id))
        .with_rack_id(optional(member.metadata.rack_id.as_deref()))
        .with_member_epoch(member.epoch)
        .with_client_id(text(&member.metadata.client_id))
        .with_client_host(text(&member.metadata.client_host))
        .with_subscribed_topic_names(member.metadata.subscribed.iter().map(|name| TopicName(text(name))).collect())
        .with_assignment(Assignment::default().with_topic_partitions(partitions.collect()))
}

fn refused(error: ShareError, message: &str) -> DescribedGroup {
    DescribedGroup::default().with_error_code(share::code(Some(error))).with_error_message(Some(text(message)))
}
