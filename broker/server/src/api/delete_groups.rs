//! DeleteGroups, key 42, versions 0-2.
//!
//! 2: flexible. A group goes with all its offsets, if it has no members; it is gone when the answer comes.

use super::{Api, bounds::*, versions};
use crate::groups::{self, Groups};
use kafka_protocol::messages::{
    ApiKey, DeleteGroupsRequest, DeleteGroupsResponse, delete_groups_response::DeletableGroupResult,
};

const LAYOUT: Layout = Layout::new(2, &[field(Kind::Array(&Kind::String))]);

pub const API: Api = Api {
    key: ApiKey::DeleteGroups,
    name: "DeleteGroups",
    advertised: versions(0, 2),
    served: versions(0, 2),
    request: LAYOUT,
    handle: |services, call| {
        let groups = services.groups.clone();
        call.answer(|request, _| async move { handle(&groups, request).await })
    },
};

async fn handle(groups: &Groups, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for id in request.groups_names {
        let error = groups.delete(&id.0).await.err();
        results.push(DeletableGroupResult::default().with_group_id(id).with_error_code(groups::code(error)));
    }
    DeleteGroupsResponse::default().with_results(results)
}
