//! Transactions over the wire, from InitProducerId to what readers see; restarts in the middle; the tools' requests.
#![allow(clippy::unwrap_used)]

mod support;

use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    EndTxnRequest, FetchResponse, FindCoordinatorRequest, GroupId, InitProducerIdRequest, ListTransactionsRequest,
    OffsetFetchRequest, ProduceRequest, ProducerId, TransactionalId, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
    add_partitions_to_txn_request::AddPartitionsToTxnTopic,
    describe_producers_request::TopicRequest,
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
    write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic},
};
use kafka_protocol::protocol::StrBytes;
use std::path::Path;
use support::*;
use tifo_broker::{Broker, Clock, LogClient};
use tifo_storage::record_batch::BatchBuilder;

const INVALID_PRODUCER_EPOCH: i16 = 47;
const INVALID_TXN_STATE: i16 = 48;
const PRODUCER_FENCED: i16 = 90;
const CONCURRENT_TRANSACTIONS: i16 = 51;
const UNSTABLE_OFFSET_COMMIT: i16 = 88;
const TRANSACTION_ABORTABLE: i16 = 120;
const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
const INVALID_REGULAR_EXPRESSION: i16 = 128;

fn id(text: &str) -> TransactionalId {
    TransactionalId(StrBytes::from_string(text.to_owned()))
}

/// A transactional producer, in the steps that a client takes.
struct Producer {
    client: Client,
    id: &'static str,
    producer_id: i64,
    epoch: i16,
    sequence: i32,
}

impl Producer {
    async fn begin(broker: &Broker, id: &'static str) -> Self {
        let mut producer =
            Self { client: Client::connect(broker.kafka_addr()).await, id, producer_id: -1, epoch: -1, sequence: 0 };
        assert_eq!(producer.init(60_000).await, 0);
        producer
    }

    async fn init(&mut self, timeout_ms: i32) -> i16 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id(self.id)))
            .with_transaction_timeout_ms(timeout_ms)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let answer = self.client.call(&request, 4).await;
        if answer.error_code == 0 {
            (self.producer_id, self.epoch, self.sequence) = (answer.producer_id.0, answer.producer_epoch, 0);
        }
        answer.error_code
    }

    async fn write(&mut self, topic: &str, version: i16) -> i16 {
        let mut builder = BatchBuilder::default();
        builder.idempotent(self.producer_id, self.epoch, self.sequence);
        builder.transactional();
        builder.push(Clock::system().now_ms(), Some(b"k"), Some(b"v"), &[]);
        let request = produce_request(topic, 0, builder.build(), -1).with_transactional_id(Some(id(self.id)));
        let answer = self.client.call(&request, version).await;
        let code = answer.responses[0].partition_responses[0].error_code;
        self.sequence += i32::from(code == 0);
        code
    }

    async fn add(&mut self, topic: &str) -> i16 {
        let topic = AddPartitionsToTxnTopic::default().with_name(topic_name(topic)).with_partitions(vec![0]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id(self.id))
            .with_v3_and_below_producer_id(ProducerId(self.producer_id))
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![topic]);
        let answer = self.client.call(&request, 3).await;
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    }

    async fn end(&mut self, committed: bool, version: i16) -> i16 {
        let request = EndTxnRequest::default()
            .with_transactional_id(id(self.id))
            .with_producer_id(ProducerId(self.producer_id))
            .with_producer_epoch(self.epoch)
            .with_committed(committed);
        let answer = self.client.call(&request, version).await;
        if answer.error_code == 0 && version >= 5 {
            (self.producer_id, self.epoch, self.sequence) = (answer.producer_id.0, answer.producer_epoch, 0);
        }
        answer.error_code
    }

    async fn commit_offset(&mut self, group: &'static str, topic: &str, offset: i64, version: i16) -> i16 {
        let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
        let topic =
            TxnOffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(id(self.id))
            .with_group_id(group_id(group))
            .with_producer_id(ProducerId(self.producer_id))
            .with_producer_epoch(self.epoch)
            .with_generation_id(-1)
            .with_topics(vec![topic]);
        self.client.call(&request, version).await.topics[0].partitions[0].error_code
    }
}

fn group_id(group: &'static str) -> GroupId {
    GroupId(StrBytes::from_static_str(group))
}

async fn start_with_topics(dir: &Path) -> Broker {
    let broker = start(dir).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("a", 1).await;
    client.create_topic("b", 1).await;
    broker
}

/// Last stable offset, and how many aborted transactions a reader of committed records is told of.
async fn seen(client: &mut Client, topic: &str) -> (i64, usize) {
    let request = fetch_request(topic, 0, 0, 0).with_isolation_level(1);
    let read: FetchResponse = client.call(&request, 12).await;
    let partition = &read.responses[0].partitions[0];
    (partition.last_stable_offset, partition.aborted_transactions.iter().flatten().count())
}

/// Error code and offset.
async fn committed(client: &mut Client, group: &'static str, topic: &str, require_stable: bool) -> (i16, i64) {
    let topic = OffsetFetchRequestTopics::default().with_name(topic_name(topic)).with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(require_stable);
    let answer = client.call(&request, 8).await;
    let partition = &answer.groups[0].topics[0].partitions[0];
    (partition.error_code, partition.committed_offset)
}

#[tokio::test]
async fn second_protocol_from_end_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start_with_topics(dir.path()).await;
    let mut reader = Client::connect(broker.kafka_addr()).await;
    let mut producer = Producer::begin(&broker, "t").await;
    assert_eq!((producer.write("a", 12).await, producer.write("b", 12).await, producer.epoch), (0, 0, 0));
    assert_eq!((seen(&mut reader, "a").await, seen(&mut reader, "b").await), ((0, 0), (0, 0)));
    assert_eq!((producer.end(true, 5).await, producer.epoch), (0, 1));
    assert_eq!((seen(&mut reader, "a").await, seen(&mut reader, "b").await), ((2, 0), (2, 0)));
    assert_eq!(producer.write("a", 12).await, 0);
    assert_eq!((producer.end(false, 5).await, producer.epoch), (0, 2));
    assert_eq!(seen(&mut reader, "a").await, (4, 1));
    // Late, of the transaction before.
    producer.epoch = 1;
    assert_eq!(producer.write("a", 12).await, INVALID_PRODUCER_EPOCH);
    assert_eq!(producer.write("b", 12).await, INVALID_PRODUCER_EPOCH);
    broker.shutdown().await;
}

#[tokio::test]
async fn first_protocol_wants_its_partitions_added() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start_with_topics(dir.path()).await;
    let mut reader = Client::connect(broker.kafka_addr()).await;
    let mut producer = Producer::begin(&broker, "t").await;
    assert_eq!(producer.write("a", 9).await, INVALID_TXN_STATE);
    assert_eq!(producer.write("a", 11).await, TRANSACTION_ABORTABLE);
    assert_eq!((producer.add("a").await, producer.write("a", 9).await, producer.write("a", 9).await), (0, 0, 0));
    assert_eq!((producer.end(true, 3).await, producer.end(true, 3).await), (0, 0));
    assert_eq!(producer.end(false, 3).await, INVALID_TXN_STATE);
    assert_eq!(seen(&mut reader, "a").await, (3, 0));
    // The next transaction has to say so again, and goes on with the same sequence.
    assert_eq!(producer.write("a", 9).await, INVALID_TXN_STATE);
    assert_eq!((producer.add("a").await, producer.write("a", 9).await, producer.end(true, 3).await), (0, 0, 0));
    assert_eq!(seen(&mut reader, "a").await, (5, 0));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_second_producer_fences_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start_with_topics(dir.path()).await;
    let mut reader = Client::connect(broker.kafka_addr()).await;
    let mut first = Producer::begin(&broker, "t").await;
    assert_eq!(first.write("a", 12).await, 0);
    let mut second = Producer {
        client: Client::connect(broker.kafka_addr()).await,
        id: "t",
        producer_id: -1,
        epoch: -1,
        sequence: 0,
    };
    assert_eq!(second.init(60_000).await, CONCURRENT_TRANSACTIONS);
    assert_eq!(seen(&mut reader, "a").await, (2, 1));
    assert_eq!((second.init(60_000).await, second.producer_id, second.epoch), (0, first.producer_id, 2));
    assert_eq!(first.write("a", 12).await, INVALID_PRODUCER_EPOCH);
    assert_eq!((first.end(true, 4).await, first.end(true, 1).await), (PRODUCER_FENCED, INVALID_PRODUCER_EPOCH));
    assert_eq!((second.write("a", 12).await, second.end(true, 5).await), (0, 0));
    assert_eq!(seen(&mut reader, "a").await, (4, 1));
    broker.shutdown().await;
}

#[tokio::test]
async fn offsets_count_from_the_commit_on() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start_with_topics(dir.path()).await;
    let mut reader = Client::connect(broker.kafka_addr()).await;
    let mut producer = Producer::begin(&broker, "t").await;
    assert_eq!(producer.commit_offset("g", "a", 5, 3).await, INVALID_TXN_STATE);
    assert_eq!(producer.commit_offset("g", "a", 5, 5).await, 0);
    assert_eq!(committed(&mut reader, "g", "a", false).await, (0, -1));
    assert_eq!(committed(&mut reader, "g", "a", true).await, (UNSTABLE_OFFSET_COMMIT, -1));
    assert_eq!(producer.end(true, 5).await, 0);
    assert_eq!(committed(&mut reader, "g", "a", true).await, (0, 5));
    assert_eq!((producer.commit_offset("g", "a", 9, 5).await, producer.end(false, 5).await), (0, 0));
    assert_eq!(committed(&mut reader, "g", "a", true).await, (0, 5));
    // The first protocol: the group is added by a request of its own.
    let add = AddOffsetsToTxnRequest::default()
        .with_transactional_id(id("t"))
        .with_producer_id(ProducerId(producer.producer_id))
        .with_producer_epoch(producer.epoch)
        .with_group_id(group_id("g"));
    assert_eq!(producer.client.call(&add, 3).await.error_code, 0);
    assert_eq!((producer.commit_offset("g", "a", 7, 3).await, producer.end(true, 3).await), (0, 0));
    assert_eq!(committed(&mut reader, "g", "a", true).await, (0, 7));
    // Open across a restart, then committed.
    assert_eq!(producer.commit_offset("g", "a", 11, 5).await, 0);
    broker.shutdown().await;
    let broker = start(dir.path()).await;
    let mut reader = Client::connect(broker.kafka_addr()).await;
    assert_eq!(committed(&mut reader, "g", "a", false).await, (0, 7));
    assert_eq!(committed(&mut reader, "g", "a", true).await, (UNSTABLE_OFFSET_COMMIT, -1));
    producer.client = Client::connect(broker.kafka_addr()).await;
    assert_eq!(producer.end(true, 5).await, 0);
    assert_eq!(committed(&mut reader, "g", "a", true).await, (0, 11));
    broker.shutdown().await;
    let broker = start(dir.path()).await;
    let mut reader = Client::connect(broker.kafka_addr()).await;
    assert_eq!(committed(&mut reader, "g", "a", true).await, (0, 11));
    broker.shutdown().await;
}

#[tokio::test]
async fn an_open_transaction_survives_a_restart_and_a_slow_one_is_aborted() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start_with_topics(dir.path()).await;
    let mut producer = Producer::begin(&broker, "t").await;
    assert_eq!(producer.write("a", 12).await, 0);
    broker.shutdown().await;
    let clock = Clock::system();
    let late = Clock::fixed(clock.now_ms() + 120_000);
    let broker = Broker::start(config(dir.path()), late).await.unwrap();
    producer.client = Client::connect(broker.kafka_addr()).await;
    let mut reader = Client::connect(broker.kafka_addr()).await;
    // Its beginning lies far back by this clock: the start aborts it.
    let find = FindCoordinatorRequest::default().with_key_type(1).with_coordinator_keys(vec!["t".into()]);
    assert_eq!(reader.call(&find, 4).await.coordinators[0].error_code, 0);
    while seen(&mut reader, "a").await != (2, 1) {
        tokio::task::yield_now().await;
    }
    assert_eq!(producer.write("a", 12).await, INVALID_PRODUCER_EPOCH);
    broker.shutdown().await;
}

#[tokio::test]
async fn tools_see_transactions_and_end_hanging_ones() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start_with_topics(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    let mut producer = Producer::begin(&broker, "t").await;
    assert_eq!(producer.write("a", 12).await, 0);
    let describe = DescribeTransactionsRequest::default().with_transactional_ids(vec![id("t"), id("nobody"), id("")]);
    let described = client.call(&describe, 0).await.transaction_states;
    assert_eq!(described.iter().map(|state| state.error_code).collect::<Vec<_>>(), [0, 105, 42]);
    assert_eq!((&*described[0].transaction_state, described[0].topics.len()), ("Ongoing", 1));
    let list = ListTransactionsRequest::default()
        .with_state_filters(vec!["Ongoing".into(), "Nonsense".into()])
        .with_duration_filter(-1);
    let listed = client.call(&list, 1).await;
    assert_eq!((listed.transaction_states.len(), listed.unknown_state_filters.len()), (1, 1));
    let topic = TopicRequest::default().with_name(topic_name("a")).with_partition_indexes(vec![0, 1]);
    let producers = client.call(&DescribeProducersRequest::default().with_topics(vec![topic]), 0).await;
    let partitions = &producers.topics[0].partitions;
    assert_eq!((partitions[0].active_producers[0].current_txn_start_offset, partitions[1].error_code), (0, 3));
    let topic = WritableTxnMarkerTopic::default().with_name(topic_name("a")).with_partition_indexes(vec![0, 1]);
    let marker = WritableTxnMarker::default()
        .with_producer_id(ProducerId(producer.producer_id))
        .with_producer_epoch(0)
        .with_topics(vec![topic]);
    let written = client.call(&WriteTxnMarkersRequest::default().with_markers(vec![marker]), 1).await;
    let codes: Vec<_> = written.markers[0].topics[0].partitions.iter().map(|partition| partition.error_code).collect();
    assert_eq!(codes, [0, 3]);
    assert_eq!(seen(&mut client, "a").await, (2, 1));
    broker.shutdown().await;
}

/// How many records `__transaction_state` holds.
async fn state_records(broker: &Broker) -> i64 {
    let (door, topic) = (broker.client(), "__transaction_state");
    let mut records = 0;
    for partition in 0..door.partitions(topic).await.unwrap() {
        records += door.offsets(topic, partition).await.unwrap().1;
    }
    records
}

/// Error codes, one for each of these topics' first partitions.
async fn write_to_all(producer: &mut Producer, topics: &[&str], version: i16) -> Vec<i16> {
    let data = |topic: &&str| {
        let mut builder = BatchBuilder::default();
        builder.idempotent(producer.producer_id, producer.epoch, producer.sequence);
        builder.transactional();
        builder.push(Clock::system().now_ms(), Some(b"k"), Some(b"v"), &[]);
        produce_request(topic, 0, builder.build(), -1).topic_data.remove(0)
    };
    let topics: Vec<_> = topics.iter().map(data).collect();
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(5000)
        .with_transactional_id(Some(id(producer.id)))
        .with_topic_data(topics);
    let answer = producer.client.call(&request, version).await;
    answer.responses.iter().map(|topic| topic.partition_responses[0].error_code).collect()
}

#[tokio::test]
async fn what_one_request_adds_to_a_transaction_is_one_record() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start_with_topics(dir.path()).await;
    let mut reader = Client::connect(broker.kafka_addr()).await;
    reader.create_topic("c", 1).await;
    let mut producer = Producer::begin(&broker, "t").await;
    let before = state_records(&broker).await;
    let unknown = 3;
    assert_eq!(write_to_all(&mut producer, &["a", "nowhere", "b"], 12).await, [0, unknown, 0]);
    assert_eq!(state_records(&broker).await - before, 1);
    // The transaction is open on both already.
    producer.sequence = 1;
    assert_eq!(write_to_all(&mut producer, &["a", "b"], 12).await, [0, 0]);
    assert_eq!(state_records(&broker).await - before, 1);
    producer.sequence = 0;
    assert_eq!(write_to_all(&mut producer, &["c", "nowhere"], 12).await, [0, unknown]);
    assert_eq!(state_records(&broker).await - before, 2);
    assert_eq!(producer.end(true, 5).await, 0);
    for topic in ["a", "b"] {
        assert_eq!(seen(&mut reader, topic).await, (3, 0));
    }
    // The first protocol: each partition is judged on its own.
    assert_eq!(producer.add("b").await, 0);
    assert_eq!(write_to_all(&mut producer, &["a", "b"], 11).await, [TRANSACTION_ABORTABLE, 0]);
    broker.shutdown().await;
}

#[tokio::test]
async fn transactions_are_listed_by_a_pattern_of_their_ids() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start_with_topics(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    for name in ["orders-1", "orders-2", "payments-1"] {
        Producer::begin(&broker, name).await;
    }
    let list = |pattern: Option<&'static str>| {
        ListTransactionsRequest::default()
            .with_duration_filter(-1)
            .with_transactional_id_pattern(pattern.map(Into::into))
    };
    for (pattern, expected) in
        [(None, 3), (Some(""), 3), (Some("orders-.*"), 2), (Some("orders"), 0), (Some("orders-1|payments-1"), 2)]
    {
        let listed = client.call(&list(pattern), 2).await;
        assert_eq!((listed.error_code, listed.transaction_states.len()), (0, expected), "{pattern:?}");
    }
    assert_eq!(client.call(&list(Some("(")), 2).await.error_code, INVALID_REGULAR_EXPRESSION);
    broker.shutdown().await;
}

/// `transactional.id.expiration.ms`, seven days: whose id is gone begins anew, under another producer id.
#[tokio::test]
async fn a_transactional_id_that_nobody_uses_is_forgotten() {
    const EIGHT_DAYS_MS: i64 = 8 * 24 * 3_600_000;
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(Clock::system().now_ms());
    let broker = Broker::start(config(dir.path()), clock.clone()).await.unwrap();
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("a", 1).await;
    let mut idle = Producer::begin(&broker, "idle").await;
    assert_eq!((idle.write("a", 12).await, idle.end(true, 5).await), (0, 0));
    broker.shutdown().await;

    clock.set_ms(clock.now_ms() + EIGHT_DAYS_MS);
    let broker = Broker::start(config(dir.path()), clock.clone()).await.unwrap();
    let mut client = Client::connect(broker.kafka_addr()).await;
    let list = ListTransactionsRequest::default().with_duration_filter(-1);
    while !client.call(&list, 1).await.transaction_states.is_empty() {
        tokio::task::yield_now().await;
    }
    idle.client = Client::connect(broker.kafka_addr()).await;
    assert_eq!(idle.end(true, 5).await, INVALID_PRODUCER_ID_MAPPING);
    let before = idle.producer_id;
    assert_eq!((idle.init(60_000).await, idle.epoch), (0, 0));
    assert_ne!(idle.producer_id, before);
    assert_eq!((idle.write("a", 12).await, idle.end(true, 5).await), (0, 0));
    assert_eq!(seen(&mut client, "a").await, (4, 0));
    broker.shutdown().await;
}
