//! kill -9 at every append, before and after it is applied: each window, late event and bad record exactly once.

#![allow(clippy::unwrap_used)]

use crate::{
    Definition,
    definition::Window,
    task_tests::{LONG_AGO_MS, Running, definition, input, output, produce, produce_all, run_until},
    test_events::{GRACE_MS, Random, RawRecord, Recount, WINDOW_MS, even_partitions, event, recount},
    test_log::{Fuse, TestLog},
    window_tests::{kinds, records},
};
use std::{sync::Arc, time::Duration};
use tifo_storage::record_batch::{BatchBuilder, Compression, Record};

/// Runs until all is out, or until the fuse blows and kills it: then true.
pub async fn is_killed(log: &Arc<TestLog>, definition: &Definition, fuse: Fuse, events: usize) -> bool {
    log.set_fuse(Some(fuse));
    let running = Running::start(log, definition).await.unwrap();
    tokio::select! {
        _ = running.done(events) => {}
        () = log.until(TestLog::is_dead) => {}
    }
    running.stop().await;
    log.is_dead()
}

pub async fn run_to_the_end(log: &Arc<TestLog>, definition: &Definition, events: usize) {
    log.set_fuse(None);
    let status = run_until(log, definition, events).await;
    assert_eq!(usize::try_from(status.counted + status.late + status.bad).unwrap(), events);
}

pub fn fuses(at: usize) -> [Fuse; 2] {
    [false, true].map(|applied| Fuse { at, applied, fatal: true })
}

/// What the sources give when nothing happens.
pub async fn undisturbed(definition: &Definition, sources: &[Vec<RawRecord>]) -> Arc<TestLog> {
    let log = TestLog::new();
    produce_all(&log, sources, 7);
    run_to_the_end(&log, definition, input(sources)).await;
    log
}

/// A kill at each append of a run, before it is applied and behind, and then a run to the end, which `check` looks at. How many appends there were.
pub async fn cut_at_every_append(
    definition: &Definition,
    sources: &[Vec<RawRecord>],
    check: impl Fn(&TestLog, Fuse),
) -> usize {
    for at in 1.. {
        let mut blown = false;
        for fuse in fuses(at) {
            let log = TestLog::new();
            produce_all(&log, sources, 7);
            blown |= is_killed(&log, definition, fuse, input(sources)).await;
            run_to_the_end(&log, definition, input(sources)).await;
            check(&log, fuse);
        }
        if !blown {
            return at - 1;
        }
    }
    unreachable!("a run has an end")
}

/// Killed by the same fuse until a run gets through, then run to the end; and how many kills.
pub async fn kill_until_through(
    definition: &Definition,
    sources: &[Vec<RawRecord>],
    fuse: Fuse,
) -> (Arc<TestLog>, usize) {
    let (log, mut kills) = (TestLog::new(), 0);
    produce_all(&log, sources, 7);
    while is_killed(&log, definition, fuse, input(sources)).await {
        kills += 1;
        assert!(kills < 1_000, "no progress");
    }
    run_to_the_end(&log, definition, input(sources)).await;
    (log, kills)
}

#[tokio::test(start_paused = true)]
async fn killed_once_at_every_append() {
    let records = even_partitions(&mut Random::new(5), &[70, 60, 65], LONG_AGO_MS, 3_000);
    let definition = definition(3);
    let expected = recount(&records, GRACE_MS, |_, _| i64::MIN);
    let cuts = cut_at_every_append(&definition, &records, |log, fuse| {
        assert_eq!(output(log), expected, "{fuse:?}");
    })
    .await;
    assert!(cuts > 30, "only {cuts} appends were cut");
}

#[tokio::test(start_paused = true)]
async fn killed_again_and_again() {
    let records = even_partitions(&mut Random::new(6), &[90, 80], LONG_AGO_MS, 400);
    let definition = Definition { max_groups: 2, ..definition(2) };
    let undisturbed = undisturbed(&definition, &records).await;
    let expected = output(&undisturbed);
    assert!(expected.late.len() > recount(&records, GRACE_MS, |_, _| i64::MIN).late.len(), "some are over capacity");
    for at in 2..5 {
        for fuse in fuses(at) {
            let (log, _) = kill_until_through(&definition, &records, fuse).await;
            assert_eq!(output(&log), expected, "{fuse:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_that_fails_once_is_not_repeated_blindly() {
    let records = even_partitions(&mut Random::new(7), &[60, 50], LONG_AGO_MS, 1_000);
    let (definition, events) = (definition(2), input(&records));
    let expected = recount(&records, GRACE_MS, |_, _| i64::MIN);
    for at in (1..40).step_by(3) {
        for applied in [false, true] {
            let log = TestLog::new();
            produce_all(&log, &records, 7);
            log.set_fuse(Some(Fuse { at, applied, fatal: false }));
            let running = Running::start(&log, &definition).await.unwrap();
            running.done(events).await;
            running.stop().await;
            assert_eq!(output(&log), expected, "append {at}, applied: {applied}");
        }
    }
}

/// Two bursts, the second when everything of the first has been closed by idleness.
#[tokio::test(start_paused = true)]
async fn late_comers_after_an_idle_close_survive_kills() {
    let burst = |reaction: &str, from_ms: i64| -> Vec<RawRecord> {
        (0..20).map(|index| event(from_ms + index * 300, "c", reaction)).collect()
    };
    let first = [burst("a", LONG_AGO_MS), burst("b", LONG_AGO_MS)];
    let second = [burst("c", LONG_AGO_MS + 4_000), burst("d", LONG_AGO_MS + 7_000)];
    let all = [[first[0].clone(), second[0].clone()].concat(), [first[1].clone(), second[1].clone()].concat()];
    let closed_until = LONG_AGO_MS + 5_700 - 5_700 % WINDOW_MS + WINDOW_MS;
    let expected = recount(&all, GRACE_MS, |_, offset| if offset < 20 { i64::MIN } else { closed_until });
    assert!(expected.late.len() > 5);
    for at in 1..12 {
        for fuse in fuses(at) {
            let log = TestLog::new();
            produce_all(&log, &first, 5);
            run_to_the_end(&log, &definition(2), 40).await;
            for (partition, records) in second.iter().enumerate() {
                records.chunks(5).for_each(|records| produce(&log, partition, records));
            }
            is_killed(&log, &definition(2), fuse, 80).await;
            run_to_the_end(&log, &definition(2), 80).await;
            assert_eq!(output(&log), Recount { ..expected.clone() }, "{fuse:?}");
        }
    }
}

/// Every kind of window and vote: the records of the aggregate topic are those of an undisturbed run, byte for byte.
#[tokio::test(start_paused = true)]
async fn every_kind_of_window_killed_at_every_append() {
    for (seed, definition) in (50..).zip(kinds(2).into_iter().step_by(2)) {
        let sources = even_partitions(&mut Random::new(seed), &[24, 20], LONG_AGO_MS, 1_500);
        let undisturbed = undisturbed(&definition, &sources).await;
        let expected = records(&undisturbed);
        let cuts = cut_at_every_append(&definition, &sources, |log, fuse| {
            assert!(records(log) == expected, "seed {seed}, {fuse:?}, {}", definition.fingerprint());
        })
        .await;
        assert!(cuts > 5, "seed {seed}: only {cuts} appends were cut");
    }
}

/// Killed again and again: what is read twice lies in windows of which some are closed and some are open.
#[tokio::test(start_paused = true)]
async fn every_kind_of_window_killed_again_and_again() {
    for (seed, definition) in (70..).zip(kinds(2).into_iter().step_by(2)) {
        let sources = even_partitions(&mut Random::new(seed), &[60, 50], LONG_AGO_MS, 700);
        let definition = Definition { max_groups: 40, max_voters: 30, ..definition };
        let undisturbed = undisturbed(&definition, &sources).await;
        let (expected, late) = (records(&undisturbed), undisturbed.records("emoji-late", 0).len());
        for fuse in fuses(2) {
            let (log, _) = kill_until_through(&definition, &sources, fuse).await;
            assert!(records(&log) == expected, "seed {seed}, {fuse:?}, {}", definition.fingerprint());
            assert_eq!(log.records("emoji-late", 0).len(), late, "seed {seed}, {fuse:?}");
        }
    }
}

/// Early rows may come twice, the others not.
#[tokio::test(start_paused = true)]
async fn killed_between_early_rows() {
    let sources = even_partitions(&mut Random::new(95), &[50, 40], LONG_AGO_MS, 500);
    let (definition, events) = (kinds(2).swap_remove(7), input(&sources));
    let undisturbed = undisturbed(&definition, &sources).await;
    let definition = Definition { early: Some(Duration::from_millis(10)), ..definition };
    for at in 1..20 {
        for fuse in fuses(at) {
            let log = TestLog::slow(Duration::from_millis(15));
            produce_all(&log, &sources, 7);
            is_killed(&log, &definition, fuse, events).await;
            run_to_the_end(&log, &definition, events).await;
            let mut found = records(&log);
            found.retain(|(_, _, row)| !row.as_ref().unwrap().ends_with(b"\"final\":false}"));
            assert!(found == records(&undisturbed), "{fuse:?}");
        }
    }
}

/// Sessions and corrections look the late topic up after a restart.
fn with_snapshots(every: usize) -> Vec<Definition> {
    let plain = definition(2);
    let sessions = Definition { window: Window::Session(Duration::from_millis(700)), ..plain.clone() };
    let corrected = Definition { corrections: Some(Duration::from_secs(4)), ..plain };
    let all = kinds(2).into_iter().step_by(2).chain([sessions, corrected]);
    all.map(|definition| Definition { snapshot_every: every, ..definition }).collect()
}

/// A snapshot after every few events, each of its appends cut too: the same records, byte for byte.
#[tokio::test(start_paused = true)]
async fn every_kind_of_window_killed_at_every_append_of_snapshots() {
    let mut snapshots = 0;
    for (seed, definition) in (150..).zip(with_snapshots(5)) {
        let sources = even_partitions(&mut Random::new(seed), &[24, 20], LONG_AGO_MS, 200);
        let undisturbed = undisturbed(&definition, &sources).await;
        let expected = records(&undisturbed);
        snapshots += undisturbed.records("emoji-snapshot", 0).len();
        cut_at_every_append(&definition, &sources, |log, fuse| {
            assert!(records(log) == expected, "seed {seed}, {fuse:?}, {}", definition.fingerprint());
        })
        .await;
        for fuse in fuses(4) {
            let (log, _) = kill_until_through(&definition, &sources, fuse).await;
            assert!(records(&log) == expected, "seed {seed}, again and again, {fuse:?}, {}", definition.fingerprint());
        }
    }
    assert!(snapshots > 20, "hardly a snapshot: {snapshots} records");
}

/// What the snapshot holds is not read again: retention may have taken it.
#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_from_the_snapshot() {
    let burst =
        |from_ms: i64| -> Vec<RawRecord> { (0..50).map(|index| event(from_ms + index * 10, "c", "r")).collect() };
    let (first, second) = (burst(LONG_AGO_MS), burst(LONG_AGO_MS + 1_000));
    let definition =
        Definition { snapshot_every: 20, window: Window::Tumble(Duration::from_secs(600)), ..definition(1) };
    let log = TestLog::new();
    produce_all(&log, &[first], 10);
    let running = Running::start(&log, &definition).await.unwrap();
    log.until(|log| log.records("emoji-snapshot", 0).len() >= 4).await;
    running.stop().await;
    log.cut_start("emoji", 0, 40);
    produce(&log, 0, &second);
    run_to_the_end(&log, &definition, 100).await;
    assert_eq!(count_of_the_only_row(&log), 100);
}

/// Damaged, of another definition, or of a past that the log has lost: passed over.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_does_not_fit_is_passed_over() {
    let events: Vec<RawRecord> = (0..50).map(|index| event(LONG_AGO_MS + index * 10, "c", "r")).collect();
    let definition =
        Definition { snapshot_every: 20, window: Window::Tumble(Duration::from_secs(600)), ..definition(1) };
    let whole = TestLog::new();
    produce_all(&whole, std::slice::from_ref(&events), 10);
    let running = Running::start(&whole, &definition).await.unwrap();
    whole.until(|log| log.records("emoji-snapshot", 0).len() >= 4).await;
    running.stop().await;
    let parts: Vec<Record> = whole.records("emoji-snapshot", 0);
    type Change = fn(usize, &[u8], bool) -> Option<Vec<u8>>;
    let changes: [Change; 4] = [
        |_, value, is_head| Some(value.iter().map(|byte| byte.wrapping_add(u8::from(!is_head))).collect()),
        |index, value, _| (index % 2 == 1).then(|| value.to_vec()),
        |_, value, is_head| Some(in_head(value, is_head, "grace=", "grease=")),
        |_, value, is_head| Some(in_head(value, is_head, "\"sequence\":0", "\"sequence\":9")),
    ];
    for change in changes {
        let log = TestLog::new();
        produce_all(&log, std::slice::from_ref(&events), 10);
        log.create("emoji-snapshot", 1);
        for (index, record) in parts.iter().enumerate() {
            let is_head = record.key.as_ref().unwrap().ends_with(b"/head");
            if let Some(value) = change(index, record.value.as_ref().unwrap(), is_head) {
                let mut batch = BatchBuilder::new(Compression::None);
                batch.push(record.timestamp_ms, record.key.as_deref(), Some(&value), &[]);
                log.apply("emoji-snapshot", 0, batch.build()).unwrap();
            }
        }
        run_to_the_end(&log, &Definition { snapshot_every: 1_000, ..definition.clone() }, 50).await;
        assert_eq!(count_of_the_only_row(&log), 50);
    }
}

fn in_head(value: &[u8], is_head: bool, from: &str, to: &str) -> Vec<u8> {
    if !is_head {
        return value.to_vec();
    }
    let head = String::from_utf8(value.to_vec()).unwrap();
    assert!(head.contains(from), "{head}");
    head.replace(from, to).into_bytes()
}

fn count_of_the_only_row(log: &TestLog) -> u64 {
    let [row] = &log.records("emoji-counts", 0)[..] else { panic!("one row") };
    serde_json::from_slice::<serde_json::Value>(row.value.as_ref().unwrap()).unwrap()["count"].as_u64().unwrap()
}
