//! InitProducerId, key 22, versions 0-5, for idempotent producers.
//!
//! 1: throttling. 2: flexible. 3 (KIP-360): the producer's present id and epoch. 4 (KIP-588): PRODUCER_FENCED instead of
//! INVALID_PRODUCER_EPOCH. 5 (KIP-890): no change here. Ids come from the metadata log and are never given out twice.
//! Left out: transactional ids (no transaction coordinator yet); they are refused with TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
//! which clients report at once instead of asking for a coordinator for ever.

use super::{Api, bounds::*, versions};
use crate::catalog::Catalog;
use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProducerId},
};

const LAYOUT: Layout =
    Layout::new(2, &[field(Kind::NullableString), field(INT32), field(INT64).since(3), field(INT16).since(3)]);

pub const API: Api = Api {
    key: ApiKey::InitProducerId,
    name: "InitProducerId",
    advertised: versions(0, 5),
    served: versions(0, 5),
    request: LAYOUT,
    handle: |services, call| {
        let catalog = services.catalog.clone();
        call.answer(move |request: InitProducerIdRequest, _| async move {
            // Now and then it writes to the metadata log, which may have to be synced.
            let answered = tokio::task::spawn_blocking(move || handle(&catalog, &request)).await;
            answered.unwrap_or_else(|_| refused(ResponseError::UnknownServerError.code()))
        })
    },
};

fn handle(catalog: &Catalog, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let half_named = (request.producer_id.0 < 0) != (request.producer_epoch < 0);
    if request.transactional_id.as_ref().is_some_and(|id| id.is_empty()) || half_named {
        return refused(ResponseError::InvalidRequest.code());
    }
    if request.transactional_id.is_some() {
        return refused(ResponseError::TransactionalIdAuthorizationFailed.code());
    }
    // An idempotent producer that bumps its epoch gets a fresh id instead, as in Kafka.
    match catalog.next_producer_id() {
        Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0),
        Err(error) => {
            tracing::error!(%error, "no producer id can be given out");
            refused(error.code())
        }
    }
}

fn refused(code: i16) -> InitProducerIdResponse {
    InitProducerIdResponse::default().with_error_code(code).with_producer_id(ProducerId(-1)).with_producer_epoch(-1)
}
