//! LeaveGroup, key 13, versions 0-5.
//!
//! 1: throttle time. 3 (KIP-345): several members at once, by member id or group instance id. 4: flexible.
//! 5 (KIP-800): reason, for people, which goes into the log.

use super::{
    Api,
    bounds::*,
    group_fields::{group, instance, optional, text},
    versions,
};
use crate::groups::{self, Groups};
use kafka_protocol::messages::{
    ApiKey, LeaveGroupRequest, LeaveGroupResponse, leave_group_request::MemberIdentity,
    leave_group_response::MemberResponse,
};
use tifo_coordinator::group::{LeaveReply, LeaveRequest, LeavingMember};

const MEMBER: Kind =
    Kind::Struct(&[field(Kind::String), field(Kind::NullableString), field(Kind::NullableString).since(5)]);
const LAYOUT: Layout =
    Layout::new(4, &[field(Kind::String), field(Kind::String).until(2), field(Kind::Array(&MEMBER)).since(3)]);

pub const API: Api = Api {
    key: ApiKey::LeaveGroup,
    name: "LeaveGroup",
    advertised: versions(0, 5),
    served: versions(0, 5),
    request: LAYOUT,
    handle: |services, call| {
        let groups = services.groups.clone();
        call.answer(|request, context| async move { handle(&groups, &request, context.version).await })
    },
};

/// The first version that names several members, and answers for each.
const BATCHED: i16 = 3;

async fn handle(groups: &Groups, request: &LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    let members = if version >= BATCHED {
        request.members.iter().map(leaving).collect()
    } else {
        vec![LeavingMember { member_id: request.member_id.to_string(), instance_id: None }]
    };
    let reply = groups.leave(LeaveRequest { group: group(&request.group_id), members }).await;
    if version >= BATCHED { each(&reply) } else { single(&reply) }
}

fn leaving(member: &MemberIdentity) -> LeavingMember {
    if let Some(reason) = member.reason.as_ref().filter(|reason| !reason.is_empty()) {
        tracing::debug!(member = %member.member_id, %reason, "a member leaves");
    }
    LeavingMember { member_id: member.member_id.to_string(), instance_id: instance(member.group_instance_id.as_ref()) }
}

fn each(reply: &LeaveReply) -> LeaveGroupResponse {
    let one = |(member, error): &(LeavingMember, _)| {
        MemberResponse::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(optional(member.instance_id.as_deref()))
            .with_error_code(groups::code(*error))
    };
    LeaveGroupResponse::default()
        .with_error_code(groups::code(reply.error))
        .with_members(reply.members.iter().map(one).collect())
}

fn single(reply: &LeaveReply) -> LeaveGroupResponse {
    let of_member = reply.members.iter().find_map(|(_, error)| *error);
    LeaveGroupResponse::default().with_error_code(groups::code(reply.error.or(of_member)))
}
