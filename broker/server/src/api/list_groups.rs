//! ListGroups, key 16, versions 0-5.
//!
//! 1: throttle time. 3: flexible. 4 (KIP-518): filter by state. 5 (KIP-848): filter by type.

use super::{Api, bounds::*, group_fields::text, versions};
use crate::groups::{self, Groups};
use kafka_protocol::{
    messages::{ApiKey, GroupId, ListGroupsRequest, ListGroupsResponse, list_groups_response},
    protocol::StrBytes,
};
use tifo_coordinator::group::ListedGroup;

const LAYOUT: Layout =
    Layout::new(3, &[field(Kind::Array(&Kind::String)).since(4), field(Kind::Array(&Kind::String)).since(5)]);

pub const API: Api = Api {
    key: ApiKey::ListGroups,
    name: "ListGroups",
    advertised: versions(0, 5),
    served: versions(0, 5),
    request: LAYOUT,
    handle: |services, call| {
        let groups = services.groups.clone();
        call.answer(|request, context| async move { handle(&groups, &request, context.version).await })
    },
};

async fn handle(groups: &Groups, request: &ListGroupsRequest, version: i16) -> ListGroupsResponse {
    match groups.list(&words(&request.states_filter), &words(&request.types_filter)).await {
        Ok(listed) => {
            let groups = listed.iter().map(|group| listing(group, version)).collect();
            ListGroupsResponse::default().with_groups(groups)
        }
        Err(error) => ListGroupsResponse::default().with_error_code(groups::code(Some(error))),
    }
}

fn words(filter: &[StrBytes]) -> Vec<String> {
    filter.iter().map(|word| word.to_string()).collect()
}

fn listing(group: &ListedGroup, version: i16) -> list_groups_response::ListedGroup {
    let mut listing = list_groups_response::ListedGroup::default()
        .with_group_id(GroupId(text(&group.group)))
        .with_protocol_type(text(&group.protocol_type));
    if version >= 4 {
        listing.group_state = text(group.state);
    }
    if version >= 5 {
        listing.group_type = text(group.group_type);
    }
    listing
}
