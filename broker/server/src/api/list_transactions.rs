//! ListTransactions, key 66, versions 0-1 (KIP-664).
//!
//! 1 (KIP-994): only those that began longer ago than so many ms. Left out: 2 (KIP-1152), a pattern of transactional ids.

use super::{Api, bounds::*, group_fields::text, versions};
use crate::transactions::{self, Transactions};
use kafka_protocol::{
    messages::{
        ApiKey, ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId,
        list_transactions_response,
    },
    protocol::StrBytes,
};
use tifo_coordinator::transaction::{ListFilter, ListedTransaction, TransactionState};

const LAYOUT: Layout =
    Layout::new(0, &[field(Kind::Array(&Kind::String)), field(Kind::Array(&INT64)), field(INT64).since(1)]);

pub const API: Api = Api {
    key: ApiKey::ListTransactions,
    name: "ListTransactions",
    advertised: versions(0, 1),
    served: versions(0, 1),
    request: LAYOUT,
    handle: |services, call| {
        let transactions = services.transactions.clone();
        call.answer(|request, _| async move { handle(&transactions, &request).await })
    },
};

async fn handle(transactions: &Transactions, request: &ListTransactionsRequest) -> ListTransactionsResponse {
    let unknown: Vec<StrBytes> = request.state_filters.iter().filter(|name| !is_known(name)).cloned().collect();
    let known = request.state_filters.iter().filter_map(|name| TransactionState::from_name(name));
    let filter = ListFilter {
        states: Some(known.collect()).filter(|_| !request.state_filters.is_empty()),
        producer_ids: Some(request.producer_id_filters.iter().map(|id| id.0).collect())
            .filter(|_| !request.producer_id_filters.is_empty()),
        longer_than_ms: Some(request.duration_filter).filter(|duration_ms| *duration_ms >= 0),
    };
    let response = ListTransactionsResponse::default().with_unknown_state_filters(unknown);
    match transactions.list(&filter).await {
        Ok(listed) => response.with_transaction_states(listed.iter().map(state).collect()),
        Err(error) => response.with_error_code(transactions::code(error)),
    }
}

/// Kafka has two states more, in which nothing is here.
fn is_known(name: &str) -> bool {
    TransactionState::from_name(name).is_some() || matches!(name, "Dead" | "PrepareEpochFence")
}

fn state(listed: &ListedTransaction) -> list_transactions_response::TransactionState {
    list_transactions_response::TransactionState::default()
        .with_transactional_id(TransactionalId(text(&listed.transactional_id)))
        .with_producer_id(ProducerId(listed.producer_id))
        .with_transaction_state(text(listed.state.name()))
}
