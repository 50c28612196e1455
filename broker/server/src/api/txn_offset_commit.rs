//! TxnOffsetCommit, key 28, versions 0-5.
//!
//! 1: throttling. 2 (KIP-320): leader epoch. 3 (KIP-447): member, generation and group instance id, so that zombies are refused; flexible.
//! 4 (KIP-890): TRANSACTION_ABORTABLE where the group was not added. 5 (KIP-890): the group is added by this.
//! The offsets count from the transaction's commit marker on. An offset of a partition that does not exist is refused alone.

use super::{
    Api,
    bounds::*,
    group_fields::{group, instance, shared},
    versions,
};
use crate::{
    catalog::Catalog,
    groups::{self, Groups, OFFSETS_TOPIC},
    transactions::{self, Admission, Admitted, Transactions},
};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
        txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
        txn_offset_commit_response::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic},
    },
};
use tifo_coordinator::{
    GroupError, TransactionError,
    group::{self, OffsetToCommit, PartitionResult, TransactionalCommit},
    transaction::Producer,
};
use uuid::Uuid;

const PARTITION: Kind = Kind::Struct(&[field(INT32), field(INT64), field(INT32).since(2), field(Kind::NullableString)]);
const TOPIC: Kind = Kind::Struct(&[field(Kind::String), field(Kind::Array(&PARTITION))]);
const LAYOUT: Layout = Layout::new(
    3,
    &[
        field(Kind::String),
        field(Kind::String),
        field(INT64),
        field(INT16),
        field(INT32).since(3),
        field(Kind::String).since(3),
        field(Kind::NullableString).since(3),
        field(Kind::Array(&TOPIC)),
    ],
);

pub const API: Api = Api {
    key: ApiKey::TxnOffsetCommit,
    name: "TxnOffsetCommit",
    advertised: versions(0, 5),
    served: versions(0, 5),
    request: LAYOUT,
    handle: |services, call| {
        let (transactions, groups) = (services.transactions.clone(), services.groups.clone());
        let catalog = services.catalog.clone();
        call.answer(|request, context| async move {
            handle(&transactions, &groups, &catalog, &request, context.version).await
        })
    },
};

/// The first version whose clients know TRANSACTION_ABORTABLE.
const ABORTABLE_SINCE: i16 = 4;
/// The first version of KIP-890's second protocol.
const ADDS_SINCE: i16 = 5;

async fn handle(
    transactions: &Transactions,
    groups: &Groups,
    catalog: &Catalog,
    request: &TxnOffsetCommitRequest,
    version: i16,
) -> TxnOffsetCommitResponse {
    let hosted = |topic: &TxnOffsetCommitRequestTopic, index: i32| catalog.partition(&topic.name, index).is_ok();
    let pairs = || request.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |one| (topic, one)));
    let offsets: Vec<_> = pairs()
        .filter(|(topic, one)| hosted(topic, one.partition_index))
        .map(|(topic, one)| offset(topic, one))
        .collect();
    let results = match offsets.is_empty() {
        true => Ok(Vec::new()),
        false => commit(transactions, groups, request, offsets, version).await,
    };
    let code = |topic: &TxnOffsetCommitRequestTopic, index: i32| match &results {
        _ if !hosted(topic, index) => ResponseError::UnknownTopicOrPartition.code(),
        Err(code) => *code,
        Ok(results) => code_of(results, &topic.name, index),
    };
    let topics = request.topics.iter().map(|topic| {
        let partition = |one: &TxnOffsetCommitRequestPartition| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(one.partition_index)
                .with_error_code(code(topic, one.partition_index))
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

fn code_of(results: &[PartitionResult], topic: &str, index: i32) -> i16 {
    let result = results.iter().find(|result| &*result.topic == topic && result.partition == index);
    match result.and_then(|result| result.error) {
        // As Kafka says it to producers, who speak of generations.
        Some(GroupError::StaleMemberEpoch) => groups::code(Some(GroupError::IllegalGeneration)),
        error => groups::code(error),
    }
}

fn offset(topic: &TxnOffsetCommitRequestTopic, one: &TxnOffsetCommitRequestPartition) -> OffsetToCommit {
    OffsetToCommit {
        topic: shared(&topic.name),
        partition: one.partition_index,
        offset: one.committed_offset,
        leader_epoch: one.committed_leader_epoch,
        metadata: one.committed_metadata.as_deref().unwrap_or_default().to_owned(),
        topic_id: Uuid::nil(),
    }
}

/// The results of the offsets, or the code for all of them.
async fn commit(
    transactions: &Transactions,
    groups: &Groups,
    request: &TxnOffsetCommitRequest,
    offsets: Vec<OffsetToCommit>,
    version: i16,
) -> Result<Vec<PartitionResult>, i16> {
    let group_code = |error| groups::code(Some(error));
    let producer = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let commit = group::OffsetCommitRequest {
        group: group(&request.group_id),
        generation: request.generation_id,
        member_id: request.member_id.to_string(),
        instance_id: instance(request.group_instance_id.as_ref()),
        retention_ms: None,
        knows_member_epochs: true,
        offsets,
    };
    if commit.group.is_empty() {
        return Err(ResponseError::InvalidGroupId.code());
    }
    let partition = groups.partition_of(&commit.group).await.map_err(group_code)?;
    let prepared = groups.prepare_commit(TransactionalCommit { producer, commit }).await.map_err(group_code)?;
    transactions.ready(&request.transactional_id).await.map_err(transactions::code)?;
    let admission = Admission {
        transactional_id: shared(&request.transactional_id),
        producer,
        partitions: vec![(OFFSETS_TOPIC.into(), partition)],
        adds_partitions: version >= ADDS_SINCE,
    };
    let begin = |admitted: Admitted| admitted.into_iter().collect::<Result<(), _>>().map(|()| prepared.begin());
    let admitted = transactions.admit(&admission, begin);
    let (begun, until_durable) = admitted.map_err(|error| refusal(error, version))?;
    let results = begun.map_err(|error| refusal(error, version))?.results().await.map_err(group_code)?;
    if let Some(until_durable) = until_durable {
        until_durable.reached().await.map_err(|_| ResponseError::NotCoordinator.code())?;
    }
    Ok(results)
}

fn refusal(error: TransactionError, version: i16) -> i16 {
    match error {
        // As the partition's leader says it, who looks at the epoch only.
        TransactionError::ProducerFenced => ResponseError::InvalidProducerEpoch.code(),
        TransactionError::TransactionAbortable if version < ABORTABLE_SINCE => ResponseError::InvalidTxnState.code(),
        error => transactions::code(error),
    }
}
