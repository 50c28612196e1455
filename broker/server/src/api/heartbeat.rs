//! Heartbeat, key 12, versions 0-4.
//!
//! 1: throttle time. 3 (KIP-345): group instance id. 4: flexible.

use super::{
    Api,
    bounds::*,
    group_fields::{group, instance},
    versions,
};
use crate::groups::{self, Groups};
use kafka_protocol::messages::{ApiKey, HeartbeatRequest, HeartbeatResponse};
use tifo_coordinator::group;

const LAYOUT: Layout =
    Layout::new(4, &[field(Kind::String), field(INT32), field(Kind::String), field(Kind::NullableString).since(3)]);

pub const API: Api = Api {
    key: ApiKey::Heartbeat,
    name: "Heartbeat",
    advertised: versions(0, 4),
    served: versions(0, 4),
    request: LAYOUT,
    handle: |services, call| {
        let groups = services.groups.clone();
        call.answer(|request, _| async move { handle(&groups, &request).await })
    },
};

async fn handle(groups: &Groups, request: &HeartbeatRequest) -> HeartbeatResponse {
    let beat = group::HeartbeatRequest {
        group: group(&request.group_id),
        generation: request.generation_id,
        member_id: request.member_id.to_string(),
        instance_id: instance(request.group_instance_id.as_ref()),
    };
    HeartbeatResponse::default().with_error_code(groups::code(groups.heartbeat(beat).await))
}
