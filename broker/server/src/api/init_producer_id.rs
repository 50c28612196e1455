//! InitProducerId, key 22, versions 0-5.
//!
//! 1: throttling. 2: flexible. 3 (KIP-360): the producer's present id and epoch. 4 (KIP-588): PRODUCER_FENCED instead of
//! INVALID_PRODUCER_EPOCH. 5 (KIP-890): no change here. Ids come from the metadata log and are never given out twice; with a
//! transactional id the transaction coordinator has the say.

use super::{Api, bounds::*, group_fields::shared, versions};
use crate::{
    catalog::Catalog,
    transactions::{self, Transactions},
};
use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProducerId},
};
use std::sync::Arc;
use tifo_coordinator::transaction::Producer;

const LAYOUT: Layout =
    Layout::new(2, &[field(Kind::NullableString), field(INT32), field(INT64).since(3), field(INT16).since(3)]);

pub const API: Api = Api {
    key: ApiKey::InitProducerId,
    name: "InitProducerId",
    advertised: versions(0, 5),
    served: versions(0, 5),
    request: LAYOUT,
    handle: |services, call| {
        let (catalog, transactions) = (services.catalog.clone(), services.transactions.clone());
        call.answer(|request: InitProducerIdRequest, context| async move {
            let half_named = (request.producer_id.0 < 0) != (request.producer_epoch < 0);
            match &request.transactional_id {
                _ if half_named => refused(ResponseError::InvalidRequest.code()),
                Some(id) => transactional(&transactions, shared(id), &request, context.version).await,
                None => idempotent(catalog).await,
            }
        })
    },
};

/// The first version whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 4;

async fn transactional(
    transactions: &Transactions,
    id: Arc<str>,
    request: &InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    let current = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let current = Some(current).filter(|current| current.id >= 0);
    match transactions.init_producer_id(id, request.transaction_timeout_ms, current).await {
        Ok(producer) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch),
        Err(error) if version >= FENCED_SINCE => refused(transactions::code(error)),
        Err(error) => refused(transactions::code_before_fenced(error)),
    }
}

/// An idempotent producer that bumps its epoch gets a fresh id instead, as in Kafka.
async fn idempotent(catalog: Arc<Catalog>) -> InitProducerIdResponse {
    // Now and then it writes to the metadata log, which may have to be synced.
    match tokio::task::spawn_blocking(move || catalog.next_producer_id()).await {
        Ok(Ok(id)) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0),
        Ok(Err(error)) => {
            tracing::error!(%error, "no producer id can be given out");
            refused(error.code())
        }
        Err(_) => refused(ResponseError::UnknownServerError.code()),
    }
}

fn refused(code: i16) -> InitProducerIdResponse {
    InitProducerIdResponse::default().with_error_code(code).with_producer_id(ProducerId(-1)).with_producer_epoch(-1)
}
