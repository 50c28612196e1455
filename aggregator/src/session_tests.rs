//! Sessions through the whole task against a recount by brute force; replayed, and killed at every append.

#![allow(clippy::unwrap_used)]

use crate::{
    Definition,
    crash_tests::{cut_at_every_append, fuses, is_killed, kill_until_through, run_to_the_end, undisturbed},
    definition::{Measure, Window},
    task_tests::{LONG_AGO_MS, definition, input, live_run, produce, produce_all, replay, run_until},
    test_events::{GRACE_MS, MAX_FUTURE_MS, Random, RawRecord, Tap, Truth, even_partitions, event, partitions},
    test_log::TestLog,
};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

const GAP_MS: i64 = 1_500;

/// (channel, reaction, start) -> (end, count, sum of the scores in hundredths).
type Sessions = BTreeMap<(String, String, i64), (i64, u64, i64)>;

fn sessions(partitions: usize) -> Definition {
    let measure = [("count", "count()"), ("sum", "sum(score)")];
    Definition {
        window: Window::Session(Duration::from_millis(1_500)),
        measure: measure.map(|(name, text)| (name.to_owned(), Measure::parse(text).unwrap())).into(),
        ..definition(partitions)
    }
}

/// The sessions, and how many events are late.
fn recount(partitions: &[Vec<RawRecord>]) -> (Sessions, usize) {
    let mut taps: BTreeMap<(String, String), Vec<&Tap>> = BTreeMap::new();
    let mut late = 0;
    for records in partitions {
        let mut newest = i64::MIN / 2;
        for record in records {
            let Truth::Event(tap) = &record.truth else { continue };
            if tap.time_ms > record.timestamp_ms + MAX_FUTURE_MS {
                late += 1;
                continue;
            }
            if tap.time_ms + GRACE_MS < newest {
                late += 1;
            } else {
                taps.entry((tap.channel.clone(), tap.reaction.clone())).or_default().push(tap);
            }
            newest = newest.max(tap.time_ms);
        }
    }
    let mut sessions = Sessions::new();
    for ((channel, reaction), mut taps) in taps {
        taps.sort_by_key(|tap| tap.time_ms);
        for run in taps.chunk_by(|one, next| next.time_ms - one.time_ms < GAP_MS) {
            let (first, last) = (run.first().unwrap().time_ms, run.last().unwrap().time_ms);
            let sum = run.iter().map(|tap| tap.score).sum();
            let count = u64::try_from(run.len()).unwrap();
            sessions.insert((channel.clone(), reaction.clone(), first), (last + GAP_MS, count, sum));
        }
    }
    (sessions, late)
}

fn output(log: &TestLog) -> Sessions {
    let mut sessions = Sessions::new();
    let mut last_end = i64::MIN;
    for record in log.records("emoji-counts", 0) {
        let row: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let (start, end) = (row["window_start"].as_i64().unwrap(), row["window_end"].as_i64().unwrap());
        assert!(end >= last_end && record.timestamp_ms == end - 1);
        last_end = end;
        let sum = (row["sum"].as_f64().unwrap() * 100.0).round() as i64;
        let before =
            sessions.insert((text("channel_id"), text("reaction"), start), (end, row["count"].as_u64().unwrap(), sum));
        assert_eq!(before, None, "a session is there twice");
    }
    sessions
}

fn records(log: &TestLog) -> Vec<(i64, Option<bytes::Bytes>, Option<bytes::Bytes>)> {
    log.records("emoji-counts", 0).into_iter().map(|record| (record.timestamp_ms, record.key, record.value)).collect()
}

#[tokio::test(start_paused = true)]
async fn sessions_equal_their_recount() {
    for seed in 100..106 {
        let mut random = Random::new(seed);
        let records = match seed % 2 {
            0 => partitions(&mut random, &[250, 60, 300], LONG_AGO_MS),
            _ => even_partitions(&mut random, &[220, 210, 230], LONG_AGO_MS, 90),
        };
        let log = TestLog::new();
        produce_all(&log, &records, 23);
        let status = run_until(&log, &sessions(3), input(&records)).await;
        let (expected, late) = recount(&records);
        assert!(expected.values().any(|(_, count, _)| *count > 2), "seed {seed}: nothing was joined");
        assert_eq!(output(&log), expected, "seed {seed}");
        assert_eq!(status.late, u64::try_from(late).unwrap(), "seed {seed}");
        assert_eq!(usize::try_from(status.counted + status.late + status.bad).unwrap(), input(&records));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_sessions_equals_the_live_run_bit_for_bit() {
    let sources = even_partitions(&mut Random::new(110), &[150, 150], LONG_AGO_MS, 200);
    let (live, _) = live_run(&sessions(2), &sources).await;
    assert!(records(&live) == records(&*replay(&sessions(2), &sources).await));
}

#[tokio::test(start_paused = true)]
async fn sessions_killed_at_every_append() {
    for seed in [120, 121] {
        let sources = even_partitions(&mut Random::new(seed), &[70, 60], LONG_AGO_MS, 250);
        let definition = sessions(2);
        let undisturbed = undisturbed(&definition, &sources).await;
        let (expected, late) = (records(&undisturbed), undisturbed.records("emoji-late", 0).len());
        let cuts = cut_at_every_append(&definition, &sources, |log, fuse| {
            assert!(records(log) == expected, "seed {seed}, {fuse:?}");
            assert_eq!(log.records("emoji-late", 0).len(), late, "seed {seed}, {fuse:?}");
        })
        .await;
        assert!(cuts > 10, "seed {seed}: only {cuts} appends were cut");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_killed_again_and_again() {
    let sources = even_partitions(&mut Random::new(130), &[120, 110], LONG_AGO_MS, 200);
    let definition = sessions(2);
    let (expected, late) = recount(&sources);
    for fuse in fuses(3) {
        let (log, kills) = kill_until_through(&definition, &sources, fuse).await;
        assert!(kills > 3, "only {kills} kills");
        assert_eq!(output(&log), expected, "{fuse:?}");
        assert_eq!(log.records("emoji-late", 0).len(), late, "{fuse:?}");
    }
}

/// Two bursts of one long session; between them another group's session is closed because nobody comes.
#[tokio::test(start_paused = true)]
async fn what_an_idle_close_refused_stays_refused_after_a_kill() {
    let first = vec![event(LONG_AGO_MS, "c", "a"), event(LONG_AGO_MS + 500, "c", "b")];
    let second = vec![
        event(LONG_AGO_MS + 600, "c", "b"),
        event(LONG_AGO_MS + 2_200, "c", "b"),
        event(LONG_AGO_MS + 9_000, "c", "b"),
    ];
    for at in 1..6 {
        for fuse in fuses(at) {
            let log = TestLog::new();
            produce_all(&log, std::slice::from_ref(&first), 5);
            run_to_the_end(&log, &sessions(1), 2).await;
            produce(&log, 0, &second);
            is_killed(&log, &sessions(1), fuse, 5).await;
            run_to_the_end(&log, &sessions(1), 5).await;
            let found: Vec<_> = output(&log)
                .into_iter()
                .map(|((_, reaction, start), (_, count, _))| (reaction, start - LONG_AGO_MS, count))
                .collect();
            let expected = [("a", 0, 1), ("b", 500, 1), ("b", 2_200, 1), ("b", 9_000, 1)];
            assert_eq!(found, expected.map(|(reaction, start, count)| (reaction.to_owned(), start, count)), "{fuse:?}");
            assert_eq!(log.records("emoji-late", 0).len(), 1, "{fuse:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_session_too_many_is_told() {
    let log = TestLog::new();
    let taps: Vec<_> = (0..3).map(|index| event(LONG_AGO_MS, "c", ["a", "b", "d"][index])).collect();
    produce_all(&log, &[taps], 5);
    let status = run_until(&log, &Definition { max_groups: 2, ..sessions(1) }, 3).await;
    assert_eq!((status.counted, status.late), (2, 1));
    assert_eq!(output(&log).len(), 2);
}
