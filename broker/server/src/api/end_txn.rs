//! EndTxn, key 26, versions 0-5.
//!
//! 1: throttling. 2 (KIP-588): PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH. 3: flexible. 4 (KIP-890): TRANSACTION_ABORTABLE. 5 (KIP-890):
//! the end bumps the epoch, and the answer says with which id and epoch the producer goes on.
//! The answer comes when every partition has its marker, so what is committed is visible by then; only a partition that cannot be
//! written at the moment is not waited for.

use super::{Api, bounds::*, group_fields::shared, versions};
use crate::transactions::{self, Transactions};
use kafka_protocol::messages::{ApiKey, EndTxnRequest, EndTxnResponse, ProducerId};
use tifo_coordinator::transaction::{ClientVersion, EndRequest, Outcome, Producer};

const LAYOUT: Layout = Layout::new(3, &[field(Kind::String), field(INT64), field(INT16), field(BOOLEAN)]);

pub const API: Api = Api {
    key: ApiKey::EndTxn,
    name: "EndTxn",
    advertised: versions(0, 5),
    served: versions(0, 5),
    request: LAYOUT,
    handle: |services, call| {
        let transactions = services.transactions.clone();
        call.answer(|request, context| async move { handle(&transactions, &request, context.version).await })
    },
};

/// The first version whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;
/// The first version of KIP-890's second protocol.
const EPOCH_BUMP_SINCE: i16 = 5;

async fn handle(transactions: &Transactions, request: &EndTxnRequest, version: i16) -> EndTxnResponse {
    let end = EndRequest {
        transactional_id: shared(&request.transactional_id),
        producer: Producer { id: request.producer_id.0, epoch: request.producer_epoch },
        outcome: if request.committed { Outcome::Commit } else { Outcome::Abort },
        version: if version >= EPOCH_BUMP_SINCE { ClientVersion::V2 } else { ClientVersion::V1 },
        fresh_producer_id: None,
    };
    let ended = transactions.end(end).await;
    let response = EndTxnResponse::default().with_producer_id(ProducerId(-1)).with_producer_epoch(-1);
    match ended {
        Ok(next) if version >= EPOCH_BUMP_SINCE => {
            response.with_producer_id(ProducerId(next.id)).with_producer_epoch(next.epoch)
        }
        Ok(_) => response,
        Err(error) if version >= FENCED_SINCE => response.with_error_code(transactions::code(error)),
        Err(error) => response.with_error_code(transactions::code_before_fenced(error)),
    }
}
