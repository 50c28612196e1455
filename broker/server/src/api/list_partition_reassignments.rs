//! ListPartitionReassignments, key 46, version 0 (KIP-455): none is ever under way where one node has every replica.

use super::{Api, bounds::*, versions};
use kafka_protocol::messages::{ApiKey, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&INT32))]);
const LAYOUT: Layout = Layout::new(0, &[field(INT32), field(Kind::NullableArray(&TOPIC))]);

pub const API: Api = Api {
    key: ApiKey::ListPartitionReassignments,
    name: "ListPartitionReassignments",
    advertised: versions(0, 0),
    served: versions(0, 0),
    request: LAYOUT,
    handle: |_, call| {
        let none = ListPartitionReassignmentsResponse::default().with_error_message(None);
        call.answer(move |_: ListPartitionReassignmentsRequest, _| std::future::ready(none))
    },
};
