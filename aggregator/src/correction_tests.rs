//! Late corrections against a recount by brute force; replayed, and killed at every append.

#![allow(clippy::unwrap_used)]

use crate::{
    Definition,
    crash_tests::{cut_at_every_append, fuses, is_killed, kill_until_through, run_to_the_end},
    definition::{Measure, Window},
    task_tests::{LONG_AGO_MS, definition, live_run, produce, produce_all, replay},
    test_events::{GRACE_MS, MAX_FUTURE_MS, Random, RawRecord, Tap, Truth, even_partitions, event},
    test_log::TestLog,
    window_tests::{records, windows_of},
};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

const STEP_MS: i64 = 2_000;
const CORRECTIONS_MS: i64 = 6_000;

/// (window end, rev, channel, reaction) -> (count, sum of the scores in hundredths).
type Rows = BTreeMap<(i64, u64, String, String), (u64, i64)>;

fn kinds(partitions: usize) -> [Definition; 3] {
    let measure = |more: &[(&str, &str)]| -> BTreeMap<String, Measure> {
        let all = [("count", "count()"), ("sum", "sum(score)")].iter().chain(more);
        all.map(|(name, text)| ((*name).to_owned(), Measure::parse(text).unwrap())).collect()
    };
    let tumbling =
        Definition { corrections: Some(Duration::from_secs(6)), measure: measure(&[]), ..definition(partitions) };
    let (size, every) = (Duration::from_secs(6), Duration::from_secs(2));
    let hopping = Definition { window: Window::Hop { size, every }, ..tumbling.clone() };
    let whole = Definition { measure: measure(&[("part", "share()")]), ..tumbling.clone() };
    [tumbling, hopping, whole]
}

fn recount(definition: &Definition, partitions: &[Vec<RawRecord>]) -> (Rows, usize) {
    let mut windows: BTreeMap<i64, Vec<(i64, &Tap)>> = BTreeMap::new();
    let mut late = 0;
    for records in partitions {
        let mut newest = i64::MIN / 2;
        for record in records {
            let Truth::Event(tap) = &record.truth else { continue };
            if tap.time_ms > record.timestamp_ms + MAX_FUTURE_MS {
                late += 1;
                continue;
            }
            let ends: Vec<i64> = windows_of(definition.window, tap.time_ms).into_iter().map(|(_, end)| end).collect();
            let mut told_with = *ends.iter().min().unwrap();
            while told_with + GRACE_MS <= newest {
                told_with += STEP_MS;
            }
            if told_with > ends.iter().max().unwrap() + CORRECTIONS_MS {
                late += 1;
            }
            for end in ends.into_iter().filter(|end| told_with <= end + CORRECTIONS_MS) {
                windows.entry(end).or_default().push((told_with.max(end), tap));
            }
            newest = newest.max(tap.time_ms);
        }
    }
    let all = definition.measure.contains_key("part");
    let mut rows = Rows::new();
    for (end, taps) in windows {
        let mut rounds: Vec<i64> =
            taps.iter().map(|(told_with, _)| *told_with).filter(|told_with| *told_with > end).collect();
        rounds.sort_unstable();
        rounds.dedup();
        for (rev, round) in (0..).zip(std::iter::once(end).chain(rounds)) {
            add_rows(&mut rows, end, rev, &taps, round, all);
        }
    }
    (rows, late)
}

fn add_rows(rows: &mut Rows, end: i64, rev: u64, taps: &[(i64, &Tap)], round: i64, all: bool) {
    let mut changed = BTreeMap::<(String, String), (u64, i64, bool)>::new();
    for (told_with, tap) in taps.iter().filter(|(told_with, _)| *told_with <= round) {
        let group = changed.entry((tap.channel.clone(), tap.reaction.clone())).or_default();
        *group = (group.0 + 1, group.1 + tap.score, group.2 || *told_with == round);
    }
    for ((channel, reaction), (count, sum, is_changed)) in changed {
        if is_changed || all {
            rows.insert((end, rev, channel, reaction), (count, sum));
        }
    }
}

fn output(log: &TestLog) -> Rows {
    let mut rows = Rows::new();
    for record in log.records("emoji-counts", 0) {
        let row: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        assert_eq!(row["final"], true);
        let key =
            (row["window_end"].as_i64().unwrap(), row["rev"].as_u64().unwrap(), text("channel_id"), text("reaction"));
        let sum = (row["sum"].as_f64().unwrap() * 100.0).round() as i64;
        assert_eq!(rows.insert(key, (row["count"].as_u64().unwrap(), sum)), None, "a row is there twice: {row}");
    }
    rows
}

#[tokio::test(start_paused = true)]
async fn corrections_equal_their_recount_and_the_replay() {
    for (seed, definition) in (200..).zip(kinds(2)) {
        let sources = even_partitions(&mut Random::new(seed), &[250, 240], LONG_AGO_MS, 300);
        let (expected, late) = recount(&definition, &sources);
        assert!(expected.keys().any(|(_, rev, _, _)| *rev > 1), "seed {seed}: nothing is corrected twice");
        let (live, status) = live_run(&definition, &sources).await;
        let what = format!("seed {seed}, {}", definition.fingerprint());
        assert!(output(&live) == expected, "{what}");
        assert_eq!(status.late, u64::try_from(late).unwrap(), "{what}");
        assert!(records(&live) == records(&*replay(&definition, &sources).await), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn corrections_killed_at_every_append() {
    for (seed, definition) in (210..).zip(kinds(2)) {
        let sources = even_partitions(&mut Random::new(seed), &[70, 60], LONG_AGO_MS, 700);
        let (expected, late) = recount(&definition, &sources);
        let cuts = cut_at_every_append(&definition, &sources, |log, fuse| {
            assert!(output(log) == expected, "seed {seed}, {fuse:?}, {}", definition.fingerprint());
            assert_eq!(log.records("emoji-late", 0).len(), late, "seed {seed}, {fuse:?}");
        })
        .await;
        assert!(cuts > 10, "seed {seed}: only {cuts} appends were cut");
    }
}

#[tokio::test(start_paused = true)]
async fn corrections_killed_again_and_again() {
    for (seed, definition) in (220..).zip(kinds(2)) {
        let sources = even_partitions(&mut Random::new(seed), &[120, 110], LONG_AGO_MS, 400);
        let (expected, late) = recount(&definition, &sources);
        for fuse in fuses(3) {
            let (log, _) = kill_until_through(&definition, &sources, fuse).await;
            assert!(output(&log) == expected, "seed {seed}, {fuse:?}, {}", definition.fingerprint());
            assert_eq!(log.records("emoji-late", 0).len(), late, "seed {seed}, {fuse:?}");
        }
    }
}

/// A window is closed because nobody comes; what comes for it then is late, what comes later for a later one is not.
#[tokio::test(start_paused = true)]
async fn what_an_idle_close_refused_stays_refused_after_a_kill() {
    let burst = |reaction: &str, from_ms: i64| -> Vec<RawRecord> {
        (0..20).map(|index| event(from_ms + index * 300, "c", reaction)).collect()
    };
    let first = [burst("a", LONG_AGO_MS), burst("b", LONG_AGO_MS)];
    let mut second = [burst("c", LONG_AGO_MS + 4_000), burst("d", LONG_AGO_MS + 7_000)];
    // Late by their own partition: corrections.
    second[0].push(event(LONG_AGO_MS + 6_500, "c", "e"));
    second[1].push(event(LONG_AGO_MS + 8_500, "c", "f"));
    second[1].push(event(LONG_AGO_MS + 20_000, "c", "g"));
    for definition in kinds(2) {
        let mut expected = None;
        for at in 0..14 {
            for fuse in fuses(at.max(1)) {
                let log = TestLog::new();
                produce_all(&log, &first, 5);
                run_to_the_end(&log, &definition, 40).await;
                for (partition, records) in second.iter().enumerate() {
                    records.chunks(5).for_each(|records| produce(&log, partition, records));
                }
                if at > 0 {
                    is_killed(&log, &definition, fuse, 83).await;
                }
                run_to_the_end(&log, &definition, 83).await;
                let found = (output(&log), log.records("emoji-late", 0).len());
                assert!(found.1 > 5 && found.0.keys().any(|(_, rev, _, _)| *rev > 0), "{}", found.1);
                assert!(
                    *expected.get_or_insert_with(|| found.clone()) == found,
                    "{at} {fuse:?}, {}",
                    definition.fingerprint()
                );
            }
        }
    }
}
