//! UnregisterBroker, key 64, version 0 (KIP-631).
//!
//! No other broker was ever registered. The only one cannot leave: Kafka would let it go and serve no more.

use super::{Api, bounds::*, versions};
use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, UnregisterBrokerRequest, UnregisterBrokerResponse},
    protocol::StrBytes,
};

const LAYOUT: Layout = Layout::new(0, &[field(INT32)]);

pub const API: Api = Api {
    key: ApiKey::UnregisterBroker,
    name: "UnregisterBroker",
    advertised: versions(0, 0),
    served: versions(0, 0),
    request: LAYOUT,
    handle: |services, call| {
        let node_id = services.cluster.node_id;
        call.answer(move |request, _| std::future::ready(handle(node_id, &request)))
    },
};

fn handle(node_id: i32, request: &UnregisterBrokerRequest) -> UnregisterBrokerResponse {
    let id = request.broker_id.0;
    let (error, complaint) = match id == node_id {
        true => (ResponseError::InvalidRequest, "The only broker cannot leave its cluster.".to_owned()),
        false => (ResponseError::BrokerIdNotRegistered, format!("Broker ID {id} is not currently registered")),
    };
    UnregisterBrokerResponse::default()
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(complaint)))
}
