//! FindCoordinator, key 10, versions 0-6.
//!
//! 1: key type, error message, throttle time. 3: flexible. 4 (KIP-699): several keys at once. 5 (KIP-890): no change for us.
//! 6 (KIP-932): share coordinators may be asked for.
//! The answer is always this node, and comes when the requests of the group, the transactional id or the share partition can be
//! answered.

use super::{Api, Context, bounds::*, group_fields::text, versions};
use crate::{
    cluster::{Cluster, Endpoint},
    groups::{self, Groups},
    share::{self, Shares},
    transactions::{self, Transactions},
};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator,
    },
    protocol::StrBytes,
};
use std::sync::Arc;

const LAYOUT: Layout =
    Layout::new(3, &[field(Kind::String).until(3), field(INT8).since(1), field(Kind::Array(&Kind::String)).since(4)]);

pub const API: Api = Api {
    key: ApiKey::FindCoordinator,
    name: "FindCoordinator",
    advertised: versions(0, 6),
    served: versions(0, 6),
    request: LAYOUT,
    handle: |services, call| {
        let coordinators = Coordinators {
            groups: services.groups.clone(),
            transactions: services.transactions.clone(),
            shares: services.shares.clone(),
        };
        let cluster = services.cluster.clone();
        call.answer(|request, context| async move { handle(&coordinators, &cluster, request, &context).await })
    },
};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// Kafka's words.
const MALFORMED: &str = "This most likely occurs because of a request being malformed by the client library or the \
                         message was sent to an incompatible broker. See the broker logs for more details.";
/// The first version that asks for several keys.
const BATCHED: i16 = 4;

struct Coordinators {
    groups: Arc<Groups>,
    transactions: Arc<Transactions>,
    shares: Arc<Shares>,
}

async fn handle(
    coordinators: &Coordinators,
    cluster: &Cluster,
    request: FindCoordinatorRequest,
    context: &Context,
) -> FindCoordinatorResponse {
    let node = Node { id: BrokerId(cluster.node_id), endpoint: cluster.endpoint(context.local) };
    if context.version < BATCHED {
        let found = find(coordinators, &node, &request.key, request.key_type).await;
        return single(found);
    }
    let mut found = Vec::with_capacity(request.coordinator_keys.len());
    for key in &request.coordinator_keys {
        found.push(find(coordinators, &node, key, request.key_type).await);
    }
    FindCoordinatorResponse::default().with_coordinators(found)
}

struct Node {
    id: BrokerId,
    endpoint: Endpoint,
}

async fn find(coordinators: &Coordinators, node: &Node, key: &StrBytes, key_type: i8) -> Coordinator {
    let refusal = match key_type {
        GROUP => {
            let error = coordinators.groups.ready(key).await.err();
            error.map(|error| (groups::code(Some(error)), error.to_string()))
        }
        TRANSACTION => {
            let error = coordinators.transactions.ready(key).await.err();
            error.map(|error| (transactions::code(error), error.to_string()))
        }
        SHARE => {
            let error = coordinators.shares.ready(key).await.err();
            error.map(|error| (share::code(Some(error)), error.to_string()))
        }
        _ => Some((ResponseError::InvalidRequest.code(), MALFORMED.to_owned())),
    };
    match refusal {
        None => Coordinator::default()
            .with_key(key.clone())
            .with_node_id(node.id)
            .with_host(text(&node.endpoint.host))
            .with_port(node.endpoint.port.into()),
        Some((code, message)) => refused(key, code, &message),
    }
}

fn refused(key: &StrBytes, code: i16, message: &str) -> Coordinator {
    Coordinator::default()
        .with_key(key.clone())
        .with_node_id(BrokerId(-1))
        .with_port(-1)
        .with_error_code(code)
        .with_error_message(Some(text(message)))
}

/// Before version 4 the one coordinator is the response itself; its message for no error is Kafka's.
fn single(found: Coordinator) -> FindCoordinatorResponse {
    let message = if found.error_code == 0 { Some(text("NONE")) } else { found.error_message };
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}
