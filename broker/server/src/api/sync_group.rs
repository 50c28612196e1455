//! SyncGroup, key 14, versions 0-5.
//!
//! 1: throttle time. 3 (KIP-345): group instance id. 4: flexible. 5 (KIP-559): protocol type and name, which then must be there.
//! The answer comes when the leader has brought the assignments.

use super::{
    Api,
    bounds::*,
    group_fields::{group, instance, optional},
    versions,
};
use crate::groups::{self, Groups};
use kafka_protocol::messages::{ApiKey, SyncGroupRequest, SyncGroupResponse};
use tifo_coordinator::{
    GroupError,
    group::{SyncReply, SyncRequest},
};

const ASSIGNMENT: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Bytes)]);
const LAYOUT: Layout = Layout::new(
    4,
    &[
        field(Kind::String),
        field(INT32),
        field(Kind::String),
        field(Kind::NullableString).since(3),
        field(Kind::NullableString).since(5),
        field(Kind::NullableString).since(5),
        field(Kind::Array(&ASSIGNMENT)),
    ],
);

pub const API: Api = Api {
    key: ApiKey::SyncGroup,
    name: "SyncGroup",
    advertised: versions(0, 5),
    served: versions(0, 5),
    request: LAYOUT,
    handle: |services, call| {
        let groups = services.groups.clone();
        call.answer(|request, context| async move { handle(&groups, request, context.version).await })
    },
};

async fn handle(groups: &Groups, request: SyncGroupRequest, version: i16) -> SyncGroupResponse {
    if version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return response(SyncReply::error(GroupError::InconsistentGroupProtocol), version);
    }
    response(groups.sync(read(request)).await, version)
}

fn read(request: SyncGroupRequest) -> SyncRequest {
    let assignments = request.assignments.into_iter();
    SyncRequest {
        group: group(&request.group_id),
        generation: request.generation_id,
        member_id: request.member_id.to_string(),
        instance_id: instance(request.group_instance_id.as_ref()),
        protocol_type: request.protocol_type.map(|name| name.to_string()),
        protocol: request.protocol_name.map(|name| name.to_string()),
        assignments: assignments.map(|given| (given.member_id.to_string(), given.assignment)).collect(),
    }
}

fn response(reply: SyncReply, version: i16) -> SyncGroupResponse {
    SyncGroupResponse::default()
        .with_error_code(groups::code(reply.error))
        .with_protocol_type(optional(reply.protocol_type.as_deref().filter(|_| version >= 5)))
        .with_protocol_name(optional(reply.protocol.as_deref().filter(|_| version >= 5)))
        .with_assignment(reply.assignment)
}
