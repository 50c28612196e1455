//! AddPartitionsToTxn, key 24, versions 0-5.
//!
//! 1: throttling. 2 (KIP-588): PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH. 3: flexible. 4 (KIP-890): several transactions at once, or
//! only verified; brokers send it. 5 (KIP-890): no change here.
//! A transaction is taken whole or not at all: beside a partition that does not exist, the others are not attempted.

use super::{Api, bounds::*, group_fields::shared, versions};
use crate::{
    catalog::Catalog,
    transactions::{self, Transactions},
};
use kafka_protocol::{
    ResponseError,
    messages::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, ApiKey,
        add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
        add_partitions_to_txn_response::{
            AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
        },
    },
};
use std::sync::Arc;
use tifo_coordinator::{
    TransactionError,
    transaction::{AddPartitionsRequest, ClientVersion, Producer, TopicPartition},
};

const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&INT32))]);
const TRANSACTION: Kind =
    Kind::Struct(&[field(Kind::String), field(INT64), field(INT16), field(BOOLEAN), field(Kind::Array(&TOPIC))]);
const LAYOUT: Layout = Layout::new(
    3,
    &[
        field(Kind::Array(&TRANSACTION)).since(4),
        field(Kind::String).until(3),
        field(INT64).until(3),
        field(INT16).until(3),
        field(Kind::Array(&TOPIC)).until(3),
    ],
);

pub const API: Api = Api {
    key: ApiKey::AddPartitionsToTxn,
    name: "AddPartitionsToTxn",
    advertised: versions(0, 5),
    served: versions(0, 5),
    request: LAYOUT,
    handle: |services, call| {
        let (transactions, catalog) = (services.transactions.clone(), services.catalog.clone());
        call.answer(|request, context| async move { handle(&transactions, &catalog, request, context.version).await })
    },
};

/// The first version that names several transactions.
const BATCHED: i16 = 4;
/// The first version whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;

async fn handle(
    transactions: &Transactions,
    catalog: &Catalog,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    if version < BATCHED {
        let transaction = AddPartitionsToTxnTransaction::default()
            .with_transactional_id(request.v3_and_below_transactional_id)
            .with_producer_id(request.v3_and_below_producer_id)
            .with_producer_epoch(request.v3_and_below_producer_epoch)
            .with_topics(request.v3_and_below_topics);
        let results = one(transactions, catalog, &transaction, version).await;
        return AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results);
    }
    let mut results = Vec::with_capacity(request.transactions.len());
    for transaction in &request.transactions {
        let topics = one(transactions, catalog, transaction, version).await;
        let id = transaction.transactional_id.clone();
        results.push(AddPartitionsToTxnResult::default().with_transactional_id(id).with_topic_results(topics));
    }
    AddPartitionsToTxnResponse::default().with_results_by_transaction(results)
}

async fn one(
    transactions: &Transactions,
    catalog: &Catalog,
    asked: &AddPartitionsToTxnTransaction,
    version: i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let partitions = partitions(asked);
    let exists = |topic: &str, index: i32| catalog.partition(topic, index).is_ok();
    if partitions.iter().any(|(topic, index)| !exists(topic, *index)) {
        return results(asked, |topic, index| match exists(&topic.name, index) {
            true => ResponseError::OperationNotAttempted.code(),
            false => ResponseError::UnknownTopicOrPartition.code(),
        });
    }
    let producer = Producer { id: asked.producer_id.0, epoch: asked.producer_epoch };
    let code = |error: TransactionError| match version {
        FENCED_SINCE.. => transactions::code(error),
        _ => transactions::code_before_fenced(error),
    };
    if asked.verify_only {
        let mut codes = Vec::with_capacity(partitions.len());
        for partition in &partitions {
            let verified = transactions.verify(&asked.transactional_id, producer, partition).await;
            codes.push(verified.err().map_or(0, code));
        }
        let mut codes = codes.into_iter();
        return results(asked, |_, _| codes.next().unwrap_or(0));
    }
    let transactional_id: Arc<str> = shared(&asked.transactional_id);
    let version = if version < BATCHED { ClientVersion::V1 } else { ClientVersion::V2 };
    let request = AddPartitionsRequest { transactional_id, producer, partitions, version };
    let added = transactions.add_partitions(&request).await.err().map_or(0, code);
    results(asked, |_, _| added)
}

fn partitions(asked: &AddPartitionsToTxnTransaction) -> Vec<TopicPartition> {
    let of_topic = |topic: &AddPartitionsToTxnTopic| {
        let name: Arc<str> = shared(&topic.name);
        topic.partitions.iter().map(|index| (name.clone(), *index)).collect::<Vec<_>>()
    };
    asked.topics.iter().flat_map(of_topic).collect()
}

fn results(
    asked: &AddPartitionsToTxnTransaction,
    mut code: impl FnMut(&AddPartitionsToTxnTopic, i32) -> i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut topics = Vec::with_capacity(asked.topics.len());
    for topic in &asked.topics {
        let partition = |index: &i32| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code(topic, *index))
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        let topic = AddPartitionsToTxnTopicResult::default().with_name(topic.name.clone());
        topics.push(topic.with_results_by_partition(partitions));
    }
    topics
}
