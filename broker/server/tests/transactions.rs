//! What readers of committed records are shown, over the wire. There is no transaction coordinator yet: the log is written in
//! between two runs of the broker, as the coordinator and its producers will.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, OffsetForLeaderEpochRequest,
    fetch_response::PartitionData,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};
use std::{path::Path, sync::Arc};
use support::*;
use tifo_storage::{
    Log, LogConfig, Origin,
    file_system::RealFileSystem,
    record_batch::{BatchBuilder, EndTransactionMarker, TransactionResult},
};

const TIME_MS: i64 = 1_700_000_000_000;

fn data(producer_id: i64, sequence: i32, is_transactional: bool, value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::default();
    builder.idempotent(producer_id, 0, sequence);
    if is_transactional {
        builder.transactional();
    }
    builder.push(TIME_MS + i64::from(sequence), Some(b"k"), Some(value), &[]);
    builder.build()
}

fn marker(producer_id: i64, result: TransactionResult) -> Bytes {
    EndTransactionMarker { result, coordinator_epoch: 0 }.batch(producer_id, 0, TIME_MS)
}

/// Offsets: 0 aborted, 1 plain, 2 committed, 3 abort, 4 commit, 5 open, 6 plain.
fn write(dir: &Path) {
    let (mut log, _) = Log::open(Arc::new(RealFileSystem), dir, LogConfig::default(), TIME_MS).unwrap();
    let mut append = |batch: Bytes, origin| log.append(&batch, origin, 0, TIME_MS).unwrap().base_offset;
    append(data(1, 0, true, b"aborted"), Origin::Client);
    append(data(9, 0, false, b"plain"), Origin::Client);
    append(data(2, 0, true, b"committed"), Origin::Client);
    append(marker(1, TransactionResult::Abort), Origin::Coordinator);
    append(marker(2, TransactionResult::Commit), Origin::Coordinator);
    append(data(1, 1, true, b"open"), Origin::Client);
    append(data(9, 1, false, b"behind"), Origin::Client);
    log.close().unwrap();
}

/// The records are old on purpose; retention is to leave them alone.
async fn start_keeping(dir: &Path) -> tifo_broker::Broker {
    let mut config = config(dir);
    config.settings.insert("log.retention.ms".into(), "-1".into());
    tifo_broker::Broker::start(config, tifo_broker::Clock::system()).await.unwrap()
}

async fn broker_with_transactions(dir: &Path) -> (tifo_broker::Broker, Client) {
    let broker = start_keeping(dir).await;
    Client::connect(broker.kafka_addr()).await.create_topic("paid", 1).await;
    broker.shutdown().await;
    write(&dir.join("paid-0"));
    let broker = start_keeping(dir).await;
    let client = Client::connect(broker.kafka_addr()).await;
    (broker, client)
}

fn committed(offset: i64) -> FetchRequest {
    fetch_request("paid", 0, offset, 0).with_isolation_level(1)
}

fn only(response: &FetchResponse) -> &PartitionData {
    &response.responses[0].partitions[0]
}

fn base_offsets(partition: &PartitionData) -> Vec<i64> {
    let records = partition.records.clone().unwrap_or_default();
    tifo_storage::record_batch::batches(records).map(|batch| batch.unwrap().header.base_offset).collect()
}

#[tokio::test]
async fn readers_of_committed_records_stop_at_the_last_stable_offset() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = broker_with_transactions(dir.path()).await;
    for version in [4, 5, 11, 12] {
        let read: FetchResponse = client.call(&committed(0), version).await;
        let partition = only(&read);
        assert_eq!((partition.error_code, partition.high_watermark, partition.last_stable_offset), (0, 7, 5));
        assert_eq!(base_offsets(partition), [0, 1, 2, 3, 4]);
        let aborted: Vec<(i64, i64)> =
            partition.aborted_transactions.iter().flatten().map(|one| (one.producer_id.0, one.first_offset)).collect();
        assert_eq!(aborted, [(1, 0)]);
        let behind: FetchResponse = client.call(&committed(5), version).await;
        assert_eq!((base_offsets(only(&behind)).len(), only(&behind).error_code), (0, 0));
        assert_eq!(only(&behind).aborted_transactions.as_deref().map(<[_]>::len), Some(0));
        let everything: FetchResponse = client.call(&fetch_request("paid", 0, 0, 0), version).await;
        assert_eq!(base_offsets(only(&everything)).len(), 7);
        assert_eq!((only(&everything).last_stable_offset, only(&everything).aborted_transactions.is_none()), (5, true));
    }
    // Behind the abort there is nothing that it concerns.
    let later: FetchResponse = client.call(&committed(4), 12).await;
    assert_eq!(only(&later).aborted_transactions.as_deref().map(<[_]>::len), Some(0));
    broker.shutdown().await;
}

async fn offset_at(client: &mut Client, timestamp: i64, isolation: i8) -> i64 {
    let asked = ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(-1);
    let topic = ListOffsetsTopic::default().with_name(topic_name("paid")).with_partitions(vec![asked]);
    let request = ListOffsetsRequest::default().with_isolation_level(isolation).with_topics(vec![topic]);
    client.call(&request, 7).await.topics[0].partitions[0].offset
}

#[tokio::test]
async fn offsets_as_readers_of_committed_records_see_them() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = broker_with_transactions(dir.path()).await;
    for (timestamp, everything, committed) in
        [(-1, 7, 5), (-2, 0, 0), (TIME_MS, 0, 0), (TIME_MS + 1, 5, -1), (-3, 5, -1)]
    {
        assert_eq!(offset_at(&mut client, timestamp, 0).await, everything, "{timestamp}");
        assert_eq!(offset_at(&mut client, timestamp, 1).await, committed, "{timestamp}");
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn a_reader_with_another_history_is_told_where_they_part() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = broker_with_transactions(dir.path()).await;
    let mut ask = async |offset, last_fetched_epoch| {
        let mut request = fetch_request("paid", 0, offset, 0);
        request.topics[0].partitions[0].last_fetched_epoch = last_fetched_epoch;
        let read: FetchResponse = client.call(&request, 12).await;
        let partition = only(&read);
        let diverging = (partition.diverging_epoch.epoch, partition.diverging_epoch.end_offset);
        (partition.error_code, diverging, base_offsets(partition).len())
    };
    assert_eq!(ask(3, 0).await, (0, (-1, -1), 4));
    assert_eq!(ask(9, 0).await, (0, (0, 7), 0));
    assert_eq!(ask(3, 1).await, (1, (-1, -1), 0));
    assert_eq!(ask(9, -1).await, (1, (-1, -1), 0));
    let asked = |leader_epoch, current| {
        OffsetForLeaderPartition::default().with_leader_epoch(leader_epoch).with_current_leader_epoch(current)
    };
    let partitions = vec![asked(0, -1), asked(1, 0), asked(-1, -1), asked(0, 1)];
    let topic = OffsetForLeaderTopic::default().with_topic(topic_name("paid")).with_partitions(partitions);
    let answer = client.call(&OffsetForLeaderEpochRequest::default().with_topics(vec![topic]), 4).await;
    let ends: Vec<_> =
        answer.topics[0].partitions.iter().map(|end| (end.error_code, end.leader_epoch, end.end_offset)).collect();
    assert_eq!(ends, [(0, 0, 7), (0, -1, -1), (0, -1, -1), (75, -1, -1)]);
    broker.shutdown().await;
}
