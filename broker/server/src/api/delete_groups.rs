//! DeleteGroups, key 42, versions 0-2.
//!
//! 2: flexible. A group goes with all its offsets, if it has no members; it is gone when the answer comes.

use super::{Api, bounds::*, versions};
use crate::{
    groups::{self, Groups},
    share::{self, Shares},
};
use kafka_protocol::messages::{
    ApiKey, DeleteGroupsRequest, DeleteGroupsResponse, delete_groups_response::DeletableGroupResult,
};
use tifo_coordinator::ShareError;

const LAYOUT: Layout = Layout::new(2, &[field(Kind::Array(&Kind::String))]);

pub const API: Api = Api {
    key: ApiKey::DeleteGroups,
    name: "DeleteGroups",
    advertised: versions(0, 2),
    served: versions(0, 2),
    request: LAYOUT,
    handle: |services, call| {
        let (groups, shares) = (services.groups.clone(), services.shares.clone());
        call.answer(|request, _| async move { handle(&groups, &shares, request).await })
    },
};

async fn handle(groups: &Groups, shares: &Shares, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for id in request.groups_names {
        let code = match shares.delete_group(&id.0).await {
            Err(ShareError::GroupIdNotFound | ShareError::InvalidGroupId) => {
                groups::code(groups.delete(&id.0).await.err())
            }
            deleted => share::code(deleted.err()),
        };
        results.push(DeletableGroupResult::default().with_group_id(id).with_error_code(code));
    }
    DeleteGroupsResponse::default().with_results(results)
}
