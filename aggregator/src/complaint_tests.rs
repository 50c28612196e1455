//! What people complain of elsewhere, one test each, named after the complaint: Kafka Streams, Flink, Spark and others drop, double
//! or hold back where these hold.

#![allow(clippy::unwrap_used)]

use crate::{
    Definition,
    crash_tests::{fuses, is_killed},
    task_tests::{LONG_AGO_MS, Running, definition, input, output, produce, produce_all, run_until},
    test_events::{
        GRACE_MS, MAX_FUTURE_MS, Random, RawRecord, Recount, WINDOW_MS, even_partitions, event, partitions, recount,
    },
    test_log::{NOW_MS, TestLog},
};
use std::{collections::BTreeMap, time::Duration};

/// One event every so many ms.
fn in_order(count: i64, pace_ms: i64) -> Vec<RawRecord> {
    (0..count).map(|index| event(LONG_AGO_MS + index * pace_ms, "c", "r")).collect()
}

/// ksql#9840, risingwave#19860, quix#790: the last window never comes when traffic stops. FLINK-5479: an idle partition
/// holds everything.
#[tokio::test(start_paused = true)]
async fn ksql_9840_and_flink_5479_the_last_window_comes_and_idle_partitions_hold_nothing() {
    let log = TestLog::new();
    let running = Running::start(&log, &definition(4)).await.unwrap();
    produce(&log, 2, &[event(NOW_MS + 100, "c", "r")]);
    running.done(1).await;
    let elapsed = log.clock.now_ms() - NOW_MS;
    let window_left = WINDOW_MS - NOW_MS % WINDOW_MS;
    assert!(elapsed <= window_left + GRACE_MS + 50, "closed after {elapsed} ms");
    running.stop().await;
}

/// kafka#9017: late records vanish.
#[tokio::test(start_paused = true)]
async fn kafka_9017_late_records_are_kept_with_their_reason() {
    let log = TestLog::new();
    log.create("emoji", 1);
    let late = event(LONG_AGO_MS, "c", "late");
    produce(&log, 0, &[event(LONG_AGO_MS, "c", "r"), event(LONG_AGO_MS + 10_000, "c", "r"), late.clone()]);
    let status = run_until(&log, &definition(1), 3).await;
    let [kept] = &log.records("emoji-late", 0)[..] else { panic!("one record") };
    assert_eq!(kept.value.as_deref(), Some(late.value.as_slice()));
    let header =
        |name: &str| kept.headers.iter().find(|(key, _)| key.as_ref() == name.as_bytes()).unwrap().1.clone().unwrap();
    assert_eq!((&header("tifo-reason")[..], &header("tifo-source-offset")[..]), (&b"late"[..], &b"2"[..]));
    assert_eq!((status.counted, status.late), (2, 1));
}

/// sql-flow#358: one fast clock closes the window for all.
#[tokio::test(start_paused = true)]
async fn sql_flow_358_one_fast_clock_closes_nothing() {
    let log = TestLog::new();
    log.create("emoji", 1);
    let fast = event(NOW_MS + MAX_FUTURE_MS + 60_000, "c", "fast");
    produce(&log, 0, &[event(LONG_AGO_MS, "c", "r"), fast, event(LONG_AGO_MS + 1, "c", "r")]);
    let status = run_until(&log, &definition(1), 3).await;
    let out = output(&log);
    assert_eq!(out.counts, BTreeMap::from([((LONG_AGO_MS + WINDOW_MS, "c".into(), "r".into()), 2)]));
    assert_eq!((out.late, status.clipped), (vec![(0, 1)], 1));
    let reason = &log.records("emoji-late", 0)[0].headers[0];
    assert_eq!((reason.0.as_ref(), reason.1.as_deref()), (&b"tifo-reason"[..], Some(&b"future"[..])));
}

/// Kafka Streams drops half of an unkeyed input when it catches up with grace 0. As many as it was seen with:
/// `TIFO_PRELOADED=3000000 cargo test --release -p tifo-aggregator catching_up_with_grace_0`.
#[tokio::test(start_paused = true)]
async fn kafka_streams_catching_up_with_grace_0_drops_nothing() {
    let events = std::env::var("TIFO_PRELOADED").map_or(300_000, |events| events.parse().unwrap());
    let log = TestLog::new();
    let expected = preload_skewed(&log, events);
    let definition = Definition { grace: Duration::ZERO, max_open_windows: 4, ..definition(4) };
    let counted = expected.values().sum::<u64>();
    let status = run_until(&log, &definition, usize::try_from(counted).unwrap()).await;
    assert_eq!((status.counted, status.late, status.bad), (counted, 0, 0));
    assert_eq!(output(&log), Recount { counts: expected, ..Recount::default() });
}

/// About so many events in four partitions, one with most of them, one with next to none, in big batches; the counts.
fn preload_skewed(log: &TestLog, events: i64) -> BTreeMap<(i64, String, String), u64> {
    /// Share in thousandths, and the time from the first to the last event.
    const PARTITIONS: [(i64, i64); 4] = [(780, 120_000), (25, 140_000), (1, 3), (194, 110_000)];
    const BATCH: usize = 10_000;
    log.create("emoji", PARTITIONS.len());
    let mut ends = BTreeMap::<i64, u64>::new();
    for (partition, (share, span_ms)) in PARTITIONS.into_iter().enumerate() {
        let count = events * share / 1_000;
        let times: Vec<i64> = (0..count).map(|index| LONG_AGO_MS + index * span_ms / count).collect();
        times.iter().for_each(|time_ms| *ends.entry(time_ms - time_ms % WINDOW_MS + WINDOW_MS).or_default() += 1);
        for times in times.chunks(BATCH) {
            let batch: Vec<_> = times
                .iter()
                .map(|time_ms| format!(r#"{{"timestamp":{time_ms},"channel_id":"c","metadata":{{"reaction":"r"}}}}"#))
                .map(|value| (NOW_MS, value.into_bytes()))
                .collect();
            log.produce("emoji", partition, &batch);
        }
    }
    ends.into_iter().map(|(end, count)| ((end, "c".to_owned(), "r".to_owned()), count)).collect()
}

/// sql-flow#234: wall-clock closing during a replay publishes one window in parts.
#[tokio::test(start_paused = true)]
async fn sql_flow_234_nothing_closes_by_wall_clock_during_a_replay() {
    let log = TestLog::slow(Duration::from_secs(5));
    let mut random = Random::new(2);
    let records = partitions(&mut random, &[200, 200], LONG_AGO_MS);
    produce_all(&log, &records, 10);
    run_until(&log, &definition(2), input(&records)).await;
    assert_eq!(output(&log), recount(&records, GRACE_MS, |_, _| i64::MIN));
}

/// sql-flow#288: a late row that is told again overwrites the total.
#[tokio::test(start_paused = true)]
async fn sql_flow_288_a_correction_bears_the_full_new_total() {
    let log = TestLog::new();
    let early = in_order(5, 100);
    let late = vec![
        event(LONG_AGO_MS + 10_000, "c", "r"),
        event(LONG_AGO_MS, "c", "r"),
        event(LONG_AGO_MS + 20_000, "c", "r"),
    ];
    produce_all(&log, &[[early, late].concat()], 100);
    let definition = Definition { corrections: Some(Duration::from_secs(20)), ..definition(1) };
    run_until(&log, &definition, 8).await;
    let totals: Vec<(u64, u64)> = log
        .records("emoji-counts", 0)
        .iter()
        .map(|row| serde_json::from_slice::<serde_json::Value>(row.value.as_ref().unwrap()).unwrap())
        .filter(|row| row["window_start"] == LONG_AGO_MS)
        .map(|row| (row["rev"].as_u64().unwrap(), row["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(totals, [(0, 5), (1, 6)]);
}

/// Kafka Streams stands still for 45 s and more after a crash (a session has to time out first), Spark writes windows twice.
#[tokio::test(start_paused = true)]
async fn spark_and_kafka_streams_after_a_crash_output_goes_on_at_once_and_once() {
    let records = even_partitions(&mut Random::new(8), &[60, 50], LONG_AGO_MS, 1_000);
    for at in [3, 7, 12] {
        for fuse in fuses(at) {
            let log = TestLog::new();
            produce_all(&log, &records, 7);
            assert!(is_killed(&log, &definition(2), fuse, input(&records)).await);
            log.set_fuse(None);
            let rows = log.records("emoji-counts", 0).len();
            let (running, from_ms) = (Running::start(&log, &definition(2)).await.unwrap(), log.clock.now_ms());
            log.until(|log| log.records("emoji-counts", 0).len() > rows).await;
            let waited = log.clock.now_ms() - from_ms;
            assert!(waited < 50, "{fuse:?}: {waited} ms");
            running.done(input(&records)).await;
            running.stop().await;
            assert_eq!(output(&log), recount(&records, GRACE_MS, |_, _| i64::MIN), "{fuse:?}");
        }
    }
}

/// flink-connector-kafka#238: transactions that are left hanging block readers.
#[tokio::test(start_paused = true)]
async fn flink_connector_kafka_238_there_is_no_transaction_that_could_hang() {
    let records = even_partitions(&mut Random::new(9), &[40, 40], LONG_AGO_MS, 1_000);
    let log = TestLog::new();
    produce_all(&log, &records, 7);
    for fuse in fuses(4) {
        is_killed(&log, &definition(2), fuse, input(&records)).await;
        log.set_fuse(None);
    }
    run_until(&log, &definition(2), input(&records)).await;
    for topic in ["emoji-counts", "emoji-late", "emoji-bad"] {
        assert!(log.batches(topic, 0).iter().all(|batch| !batch.header.is_transactional()), "{topic}");
    }
}

/// arroyo#961: the window's bounds are missing in the output.
#[tokio::test(start_paused = true)]
async fn arroyo_961_rows_bear_their_windows_bounds() {
    let log = TestLog::new();
    produce_all(&log, &[in_order(30, 500)], 30);
    run_until(&log, &definition(1), 30).await;
    let rows = log.records("emoji-counts", 0);
    assert_eq!(rows.len(), 8);
    for (row, start) in rows.iter().zip((LONG_AGO_MS..).step_by(2_000)) {
        let value: serde_json::Value = serde_json::from_slice(row.value.as_ref().unwrap()).unwrap();
        assert_eq!(
            (value["window_start"].as_i64(), value["window_end"].as_i64()),
            (Some(start), Some(start + WINDOW_MS))
        );
        assert!(row.key.as_ref().unwrap().ends_with(start.to_string().as_bytes()));
    }
}
