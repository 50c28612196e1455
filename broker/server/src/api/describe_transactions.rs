//! DescribeTransactions, key 65, version 0 (KIP-664): what the coordinator knows of transactional ids.

use super::{Api, bounds::*, group_fields::text, metadata::topic_name, versions};
use crate::transactions::{self, Transactions};
use kafka_protocol::messages::{
    ApiKey, DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId, TransactionalId,
    describe_transactions_response::{TopicData, TransactionState},
};

const LAYOUT: Layout = Layout::new(0, &[field(Kind::Array(&Kind::String))]);

pub const API: Api = Api {
    key: ApiKey::DescribeTransactions,
    name: "DescribeTransactions",
    advertised: versions(0, 0),
    served: versions(0, 0),
    request: LAYOUT,
    handle: |services, call| {
        let transactions = services.transactions.clone();
        call.answer(|request: DescribeTransactionsRequest, _| async move {
            let mut states = Vec::with_capacity(request.transactional_ids.len());
            for id in &request.transactional_ids {
                states.push(describe(&transactions, id).await);
            }
            DescribeTransactionsResponse::default().with_transaction_states(states)
        })
    },
};

async fn describe(transactions: &Transactions, id: &TransactionalId) -> TransactionState {
    let state = TransactionState::default().with_transactional_id(id.clone());
    let described = match transactions.describe(id).await {
        Ok(described) => described,
        Err(error) => return state.with_error_code(transactions::code(error)),
    };
    let topics = described.partitions.iter().map(|(topic, partitions)| {
        TopicData::default().with_topic(topic_name(topic)).with_partitions(partitions.iter().copied().collect())
    });
    state
        .with_transaction_state(text(described.state.name()))
        .with_transaction_timeout_ms(described.timeout_ms)
        .with_transaction_start_time_ms(described.start_timestamp_ms)
        .with_producer_id(ProducerId(described.producer.id))
        .with_producer_epoch(described.producer.epoch)
        .with_topics(topics.collect())
}
