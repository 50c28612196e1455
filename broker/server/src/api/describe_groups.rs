//! DescribeGroups, key 15, versions 0-6.
//!
//! 1: throttle time. 3 (KIP-430): authorized operations. 4 (KIP-345): group instance id. 5: flexible. 6 (KIP-1043): a group that does
//! not exist is an error; before, it is described as dead.

use super::{
    Api, Context,
    bounds::*,
    group_fields::{optional, text},
    versions,
};
use crate::groups::{self, Groups};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
        describe_groups_response::{self, DescribedGroupMember},
    },
};
use tifo_coordinator::{
    GroupError,
    group::{DescribedGroup, DescribedMember},
};

const LAYOUT: Layout = Layout::new(5, &[field(Kind::Array(&Kind::String)), field(BOOLEAN).since(3)]);

pub const API: Api = Api {
    key: ApiKey::DescribeGroups,
    name: "DescribeGroups",
    advertised: versions(0, 6),
    served: versions(0, 6),
    request: LAYOUT,
    handle: |services, call| {
        let groups = services.groups.clone();
        call.answer(|request, context| async move { handle(&groups, request, &context).await })
    },
};

/// Bits by KIP-430: read, delete, describe, describe configs, alter configs; nothing is forbidden here.
pub const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

async fn handle(groups: &Groups, request: DescribeGroupsRequest, context: &Context) -> DescribeGroupsResponse {
    let mut answers = Vec::with_capacity(request.groups.len());
    for id in request.groups {
        let mut answer = match groups.describe(&id.0).await {
            Ok(Some(group)) => described(group, context.version),
            Ok(None) => dead(&id, context.version),
            Err(error) => refused(error),
        };
        if request.include_authorized_operations && answer.error_code == 0 {
            answer.authorized_operations = GROUP_OPERATIONS;
        }
        answers.push(answer.with_group_id(id));
    }
    DescribeGroupsResponse::default().with_groups(answers)
}

fn described(group: DescribedGroup, version: i16) -> describe_groups_response::DescribedGroup {
    let member = |member: DescribedMember| {
        DescribedGroupMember::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(optional(member.instance_id.as_deref().filter(|_| version >= 4)))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    };
    describe_groups_response::DescribedGroup::default()
        .with_group_state(text(group.state))
        .with_protocol_type(text(&group.protocol_type))
        .with_protocol_data(text(&group.protocol))
        .with_members(group.members.into_iter().map(member).collect())
}

fn dead(id: &GroupId, version: i16) -> describe_groups_response::DescribedGroup {
    let dead = describe_groups_response::DescribedGroup::default().with_group_state(text("Dead"));
    if version < 6 {
        return dead;
    }
    dead.with_error_code(ResponseError::GroupIdNotFound.code())
        .with_error_message(Some(text(&format!("Group {} not found.", &*id.0))))
}

fn refused(error: GroupError) -> describe_groups_response::DescribedGroup {
    describe_groups_response::DescribedGroup::default().with_error_code(groups::code(Some(error)))
}
