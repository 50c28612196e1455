//! JoinGroup, key 11, versions 0-9.
//!
//! 1 (KIP-62): rebalance timeout of its own. 2: throttle time. 4 (KIP-394): MEMBER_ID_REQUIRED. 5 (KIP-345): group instance id.
//! 6: flexible. 7 (KIP-559): protocol type in the answer. 8 (KIP-800): reason, for people, which goes into the log.
//! 9 (KIP-814): skip assignment. The answer comes when the rebalance has gathered its members.

use super::{
    Api, Context,
    bounds::*,
    group_fields::{group, instance, optional, shared, text},
    versions,
};
use crate::groups::{self, Groups};
use kafka_protocol::messages::{
    ApiKey, JoinGroupRequest, JoinGroupResponse, join_group_response::JoinGroupResponseMember,
};
use tifo_coordinator::group::{JoinReply, JoinRequest, JoinedMember, Protocol};
use uuid::Uuid;

const PROTOCOL: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Bytes)]);
const LAYOUT: Layout = Layout::new(
    6,
    &[
        field(Kind::String),
        field(INT32),
        field(INT32).since(1),
        field(Kind::String),
        field(Kind::NullableString).since(5),
        field(Kind::String),
        field(Kind::Array(&PROTOCOL)),
        field(Kind::NullableString).since(8),
    ],
);

pub const API: Api = Api {
    key: ApiKey::JoinGroup,
    name: "JoinGroup",
    advertised: versions(0, 9),
    served: versions(0, 9),
    request: LAYOUT,
    handle: |services, call| {
        let groups = services.groups.clone();
        call.answer(|request, context| async move { handle(&groups, request, &context).await })
    },
};

async fn handle(groups: &Groups, request: JoinGroupRequest, context: &Context) -> JoinGroupResponse {
    if let Some(reason) = request.reason.as_ref().filter(|reason| !reason.is_empty()) {
        tracing::debug!(group = %request.group_id.0, member = %request.member_id, %reason, "a member joins");
    }
    response(groups.join(read(request, context)).await, context.version)
}

fn read(request: JoinGroupRequest, context: &Context) -> JoinRequest {
    let version = context.version;
    let protocol = |protocol: kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol| Protocol {
        name: shared(&protocol.name),
        metadata: protocol.metadata,
    };
    JoinRequest {
        group: group(&request.group_id),
        member_id: request.member_id.to_string(),
        instance_id: instance(request.group_instance_id.as_ref()),
        client_id: context.client_id.as_deref().unwrap_or_default().to_owned(),
        // As Java prints an address.
        client_host: format!("/{}", context.peer.ip().to_canonical()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if version >= 1 { request.rebalance_timeout_ms } else { request.session_timeout_ms },
        protocol_type: request.protocol_type.to_string(),
        protocols: request.protocols.into_iter().map(protocol).collect(),
        requires_known_member_id: version >= 4,
        supports_skip_assignment: version >= 9,
        unique: Uuid::new_v4(),
    }
}

fn response(reply: JoinReply, version: i16) -> JoinGroupResponse {
    let member = |member: JoinedMember| {
        JoinGroupResponseMember::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(optional(member.instance_id.as_deref().filter(|_| version >= 5)))
            .with_metadata(member.metadata)
    };
    let no_name = (version < 7).then_some("");
    JoinGroupResponse::default()
        .with_error_code(groups::code(reply.error))
        .with_generation_id(reply.generation)
        .with_protocol_type(optional(reply.protocol_type.as_deref().filter(|_| version >= 7)))
        .with_protocol_name(optional(reply.protocol.as_deref().or(no_name)))
        .with_leader(text(&reply.leader))
        .with_skip_assignment(reply.skip_assignment)
        .with_member_id(text(&reply.member_id))
        .with_members(reply.members.into_iter().map(member).collect())
}
