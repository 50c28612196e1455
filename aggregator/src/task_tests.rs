//! The whole task against a log in memory: the complaints of other systems one by one, in paused time.

#![allow(clippy::unwrap_used)]

use crate::{
    Aggregator, AggregatorError, Definition, State, Status,
    decision::{DECISION_HEADER, Decision},
    test_events::{GRACE_MS, Random, RawRecord, Recount, WINDOW_MS, event, partitions, recount},
    test_log::{NOW_MS, TestLog},
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use tifo_broker::LogClient;
use tifo_storage::record_batch::{BatchBuilder, Compression, Record};
use tokio_util::sync::CancellationToken;

/// Long ago, aligned to a window.
pub const LONG_AGO_MS: i64 = 1_500_000_000_000;

pub struct Running {
    pub aggregator: Aggregator,
    pub shutdown: CancellationToken,
}

impl Running {
    pub async fn start(log: &Arc<TestLog>, definition: &Definition) -> Result<Self, AggregatorError> {
        let shutdown = CancellationToken::new();
        let client: Arc<dyn LogClient> = log.clone();
        let aggregator = Aggregator::start(definition.clone(), client, log.clock.clone(), shutdown.clone()).await?;
        Ok(Self { aggregator, shutdown })
    }

    /// Waits until so many events are accounted for, all is read (again, after a restart) and no window is open.
    pub async fn done(&self, events: usize) -> Status {
        let events = u64::try_from(events).unwrap();
        let is_done = |status: &Status| {
            let accounted = status.counted + status.late + status.bad;
            accounted >= events && status.lag == 0 && status.open_window_count == 0
        };
        self.aggregator.status_handle().wait_for(is_done).await
    }

    pub async fn stop(self) -> Status {
        self.shutdown.cancel();
        let status = self.aggregator.status_handle();
        self.aggregator.join().await;
        status.status()
    }
}

/// A small definition: emoji's rules, with this many partitions.
pub fn definition(partitions: usize) -> Definition {
    Definition { partitions: i32::try_from(partitions).unwrap(), ..Definition::emoji() }
}

pub fn produce_all(log: &TestLog, partitions: &[Vec<RawRecord>], batch: usize) {
    log.create("emoji", partitions.len());
    for (partition, records) in partitions.iter().enumerate() {
        for records in records.chunks(batch) {
            produce(log, partition, records);
        }
    }
}

pub fn produce(log: &TestLog, partition: usize, records: &[RawRecord]) {
    let records: Vec<_> = records.iter().map(|record| (record.timestamp_ms, record.value.clone())).collect();
    log.produce("emoji", partition, &records);
}

/// What has come out, in the terms of the recount; panics if anything is there twice.
pub fn output(log: &TestLog) -> Recount {
    let mut out = Recount { late: origins(log, "emoji-late"), bad: origins(log, "emoji-bad"), ..Recount::default() };
    let mut last_end = i64::MIN;
    for record in log.records("emoji-counts", 0).iter().filter(|record| is_row(record)) {
        let row: serde_json::Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        let (start, end) = (row["window_start"].as_i64().unwrap(), row["window_end"].as_i64().unwrap());
        assert!(end >= last_end && record.timestamp_ms == end - 1 && start == end - WINDOW_MS);
        assert_eq!((row["rev"].as_i64(), row["final"].as_bool()), (Some(0), Some(true)));
        last_end = end;
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let group = (end, text("channel_id"), text("reaction"));
        assert_eq!(out.counts.insert(group, row["count"].as_u64().unwrap()), None, "a row is there twice: {row}");
    }
    out
}

fn is_row(record: &Record) -> bool {
    record.key.as_deref() != Some(b"foreign")
}

fn origins(log: &TestLog, topic: &str) -> Vec<(i32, i64)> {
    let header = |record: &Record, name: &str| {
        let (_, value) = record.headers.iter().find(|(key, _)| key.as_ref() == name.as_bytes()).unwrap();
        String::from_utf8(value.as_ref().unwrap().to_vec()).unwrap()
    };
    let number = |record: &Record, name: &str| header(record, name).parse::<i64>().unwrap();
    let sources: Vec<Vec<Record>> = (0..8).map(|partition| log.records("emoji", partition)).collect();
    let mut origins: Vec<(i32, i64)> = log
        .records(topic, 0)
        .iter()
        .map(|record| {
            let (partition, offset) = (number(record, "tifo-source-partition"), number(record, "tifo-source-offset"));
            let source = &sources[usize::try_from(partition).unwrap()][usize::try_from(offset).unwrap()];
            assert_eq!((&record.key, &record.value), (&source.key, &source.value), "kept whole");
            assert_eq!(header(record, "tifo-source-topic"), "emoji");
            (i32::try_from(partition).unwrap(), offset)
        })
        .collect();
    origins.sort_unstable();
    let before = origins.len();
    origins.dedup();
    assert_eq!(origins.len(), before, "{topic} holds a record twice");
    origins
}

pub fn input(partitions: &[Vec<RawRecord>]) -> usize {
    partitions.iter().map(Vec::len).sum()
}

/// Runs until so many events have come out since the aggregate began.
pub async fn run_until(log: &Arc<TestLog>, definition: &Definition, events: usize) -> Status {
    let running = Running::start(log, definition).await.unwrap();
    running.done(events).await;
    running.stop().await
}

/// Event by event, by turns from each partition, while the aggregate runs; the status when all was out.
pub async fn live_run(definition: &Definition, sources: &[Vec<RawRecord>]) -> (Arc<TestLog>, Status) {
    let log = TestLog::new();
    log.create("emoji", sources.len());
    let running = Running::start(&log, definition).await.unwrap();
    for index in 0..sources.iter().map(Vec::len).max().unwrap_or(0) {
        for (partition, records) in sources.iter().enumerate() {
            produce(&log, partition, records.get(index..=index).unwrap_or_default());
        }
        tokio::task::yield_now().await;
    }
    let status = running.done(input(sources)).await;
    running.stop().await;
    (log, status)
}

/// All of it preloaded.
pub async fn replay(definition: &Definition, sources: &[Vec<RawRecord>]) -> Arc<TestLog> {
    let log = TestLog::new();
    produce_all(&log, sources, usize::MAX);
    run_until(&log, definition, input(sources)).await;
    log
}

#[tokio::test(start_paused = true)]
async fn everything_comes_out_once() {
    let mut random = Random::new(1);
    let records = partitions(&mut random, &[400, 150, 0, 700], LONG_AGO_MS);
    let log = TestLog::new();
    produce_all(&log, &records, 37);
    let status = run_until(&log, &definition(4), input(&records)).await;
    assert_eq!(output(&log), recount(&records, GRACE_MS, |_, _| i64::MIN));
    assert_eq!(usize::try_from(status.counted + status.late + status.bad).unwrap(), input(&records));
    assert_eq!((status.state, status.lag, status.open_window_count), (State::Stopped, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn topics_are_made_with_room_for_whole_windows() {
    let log = TestLog::new();
    Running::start(&log, &definition(6)).await.unwrap().stop().await;
    assert_eq!(log.spec("emoji").unwrap().partitions, 6);
    for topic in ["emoji-counts", "emoji-late", "emoji-bad"] {
        let spec = log.spec(topic).unwrap();
        assert_eq!((spec.partitions, spec.settings["max.message.bytes"].as_str()), (1, "2147483647"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_row_is_as_documented() {
    let log = TestLog::new();
    log.create("emoji", 1);
    produce(&log, 0, &[event(LONG_AGO_MS + 1, "ch-1", "😃"), event(LONG_AGO_MS + 2, "ch-1", "😃")]);
    run_until(&log, &definition(1), 2).await;
    let [row] = &log.records("emoji-counts", 0)[..] else { panic!("one row") };
    assert_eq!(row.key.as_deref(), Some("ch-1|😃|1500000000000".as_bytes()));
    let expected = r#"{"window_start":1500000000000,"window_end":1500000002000,"channel_id":"ch-1","reaction":"😃","count":2,"rev":0,"final":true}"#;
    assert_eq!(row.value.as_deref(), Some(expected.as_bytes()));
    assert_eq!(row.timestamp_ms, LONG_AGO_MS + 1_999);
    let (name, json) = &row.headers[0];
    assert_eq!(name.as_ref(), DECISION_HEADER);
    let decision = Decision::from_json(json.as_ref().unwrap(), "emoji").unwrap().unwrap();
    assert_eq!((decision.sequence, decision.closed_until, decision.partitions[0].next), (1, LONG_AGO_MS + 2_000, 2));
}

#[tokio::test(start_paused = true)]
async fn a_replay_equals_the_live_run_bit_for_bit() {
    let sources = partitions(&mut Random::new(3), &[300, 300], LONG_AGO_MS);
    let (live, _) = live_run(&definition(2), &sources).await;
    let replay = replay(&definition(2), &sources).await;
    let rows = |log: &TestLog| {
        let rows = log.records("emoji-counts", 0).into_iter();
        rows.map(|row| (row.timestamp_ms, row.key, row.value)).collect::<Vec<_>>()
    };
    assert_eq!(rows(&live), rows(&replay));
}

#[tokio::test(start_paused = true)]
async fn a_partition_added_later_is_read_from_its_start() {
    let log = TestLog::new();
    log.create("emoji", 1);
    let running = Running::start(&log, &definition(1)).await.unwrap();
    produce(&log, 0, &[event(LONG_AGO_MS, "c", "r")]);
    running.done(1).await;
    log.create("emoji", 2);
    produce(&log, 1, &[event(LONG_AGO_MS + 10_000, "c", "new")]);
    running.done(2).await;
    let status = running.stop().await;
    assert_eq!((status.partitions.len(), status.counted), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn foreign_rows_do_not_hide_the_last_decision() {
    let log = TestLog::new();
    log.create("emoji", 1);
    produce(&log, 0, &[event(LONG_AGO_MS, "c", "r")]);
    run_until(&log, &definition(1), 1).await;
    for _ in 0..300 {
        let mut foreign = BatchBuilder::new(Compression::None);
        foreign.push(NOW_MS, Some(b"foreign"), Some(b"{}"), &[(b"tifo-decision", Some(b"{\"aggregate\":\"other\"}"))]);
        log.apply("emoji-counts", 0, foreign.build()).unwrap();
    }
    produce(&log, 0, &[event(LONG_AGO_MS + 5_000, "c", "r")]);
    let status = run_until(&log, &definition(1), 2).await;
    assert_eq!((status.decisions, status.epoch, status.counted), (2, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn output_of_another_definition_is_not_continued() {
    let log = TestLog::new();
    log.create("emoji", 1);
    produce(&log, 0, &[event(LONG_AGO_MS, "c", "r")]);
    run_until(&log, &definition(1), 1).await;
    let changed = Definition { group_by: vec!["channel_id".into()], ..definition(1) };
    let error = Running::start(&log, &changed).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, AggregatorError::Changed { .. }), "{error}");
    assert!(error.to_string().contains("group_by=channel_id,metadata.reaction"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn source_offsets_are_committed_for_stock_tools() {
    let log = TestLog::new();
    let records = [vec![event(LONG_AGO_MS, "c", "r"); 3], vec![event(LONG_AGO_MS, "c", "r"); 5]];
    produce_all(&log, &records, 10);
    run_until(&log, &definition(2), 8).await;
    let committed = log.committed_offsets("tifo-aggregate-emoji", "emoji");
    assert_eq!(committed, BTreeMap::from([(0, 3), (1, 5)]));
}

#[tokio::test(start_paused = true)]
async fn when_no_decision_is_left_the_committed_offsets_hold() {
    let log = TestLog::new();
    log.create("emoji", 1);
    produce(&log, 0, &vec![event(LONG_AGO_MS, "c", "r"); 2]);
    run_until(&log, &definition(1), 2).await;
    log.cut_start("emoji-counts", 0, 1);
    produce(&log, 0, &[event(LONG_AGO_MS + 9_000, "c", "r")]);
    run_until(&log, &definition(1), 1).await;
    assert_eq!(output(&log).counts.into_values().collect::<Vec<_>>(), [1]);
}

#[tokio::test(start_paused = true)]
async fn what_retention_took_is_said() {
    let log = TestLog::new();
    let records = vec![event(LONG_AGO_MS, "c", "r"); 10];
    log.create("emoji", 1);
    produce(&log, 0, &records);
    run_until(&log, &definition(1), 10).await;
    (0..2).for_each(|_| produce(&log, 0, &vec![event(LONG_AGO_MS + 9_000, "c", "r"); 10]));
    log.cut_start("emoji", 0, 20);
    let status = run_until(&log, &definition(1), 20).await;
    assert_eq!((status.counted, status.skipped), (20, 10));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_batch_is_in_the_bad_topic_as_one() {
    let log = TestLog::new();
    log.create("emoji", 1);
    let mut builder = BatchBuilder::new(Compression::None);
    (0..4).for_each(|_| builder.push(NOW_MS, None, Some(&event(LONG_AGO_MS, "c", "r").value), &[]));
    let mut damaged = builder.build().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    log.apply("emoji", 0, damaged.into()).unwrap();
    produce(&log, 0, &[event(LONG_AGO_MS, "c", "r")]);
    let running = Running::start(&log, &definition(1)).await.unwrap();
    let status = running.done(5).await;
    running.stop().await;
    assert_eq!((status.counted, status.bad), (1, 4));
    assert_eq!(log.records("emoji-bad", 0).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_raw_topic_made_anew_is_read_from_its_start() {
    let log = TestLog::new();
    log.create("emoji", 1);
    let running = Running::start(&log, &definition(1)).await.unwrap();
    produce(&log, 0, &[event(LONG_AGO_MS, "c", "r"), event(LONG_AGO_MS, "c", "r")]);
    running.done(2).await;
    log.remake("emoji", 1);
    produce(&log, 0, &[event(LONG_AGO_MS + 8_000, "c", "r")]);
    running.done(3).await;
    running.stop().await;
}

/// The shared data: by TIFO_SHARED, or beside the repository. One event a line.
pub fn real_events() -> String {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("TIFO_SHARED").map_or(beside, PathBuf::from);
    let path = shared.join("data/emoji-fight/events.jsonl");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test(start_paused = true)]
async fn the_real_data_set_equals_its_recount() {
    let lines = real_events();
    let mut expected = BTreeMap::<(i64, String, String), u64>::new();
    let mut records = vec![Vec::new(); 4];
    for (index, line) in lines.lines().enumerate() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let time_ms = event["timestamp"].as_i64().unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let group = (
            time_ms / WINDOW_MS * WINDOW_MS + WINDOW_MS,
            text(&event["channel_id"]),
            text(&event["metadata"]["reaction"]),
        );
        *expected.entry(group).or_default() += 1;
        records[index % 4].push((NOW_MS, line.as_bytes().to_vec()));
    }
    let log = TestLog::new();
    log.create("emoji", 4);
    for (partition, records) in records.iter().enumerate() {
        records.chunks(500).for_each(|records| log.produce("emoji", partition, records));
    }
    let running = Running::start(&log, &definition(4)).await.unwrap();
    running.done(26_924).await;
    running.stop().await;
    assert_eq!(expected.values().sum::<u64>(), 26_924);
    assert_eq!(output(&log), Recount { counts: expected, ..Recount::default() });
}
