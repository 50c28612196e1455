//! ListTransactions, key 66, versions 0-2 (KIP-664).
//!
//! 1 (KIP-994): only those that began longer ago than so many ms. 2 (KIP-1152): only those whose whole id matches a pattern.

use super::{Api, bounds::*, group_fields::text, versions};
use crate::transactions::{self, Transactions};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId,
        list_transactions_response,
    },
    protocol::StrBytes,
};
use regex::{Regex, RegexBuilder};
use tifo_coordinator::transaction::{ListFilter, ListedTransaction, TransactionState};

const LAYOUT: Layout = Layout::new(
    0,
    &[
        field(Kind::Array(&Kind::String)),
        field(Kind::Array(&INT64)),
        field(INT64).since(1),
        field(Kind::NullableString).since(2),
    ],
);

/// What a compiled pattern may take; an id is short, and so is what is said of it.
const MAX_PATTERN_BYTES: usize = 1 << 20;

pub const API: Api = Api {
    key: ApiKey::ListTransactions,
    name: "ListTransactions",
    advertised: versions(0, 2),
    served: versions(0, 2),
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
    let Ok(pattern) = pattern(request.transactional_id_pattern.as_deref().unwrap_or_default()) else {
        return ListTransactionsResponse::default().with_error_code(ResponseError::InvalidRegularExpression.code());
    };
    let matches =
        |listed: &&ListedTransaction| pattern.as_ref().is_none_or(|pattern| pattern.is_match(&listed.transactional_id));
    let response = ListTransactionsResponse::default().with_unknown_state_filters(unknown);
    match transactions.list(&filter).await {
        Ok(listed) => response.with_transaction_states(listed.iter().filter(matches).map(state).collect()),
        Err(error) => response.with_error_code(transactions::code(error)),
    }
}

/// The whole id is to match, as in Kafka, whose engine (RE2/J) knows no look-around either. `None`: every id does.
fn pattern(text: &str) -> Result<Option<Regex>, regex::Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let compile = |text: &str| RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).build();
    // Alone first: it must not close the brackets around it.
    compile(text)?;
    compile(&format!("^(?:{text})$")).map(Some)
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
