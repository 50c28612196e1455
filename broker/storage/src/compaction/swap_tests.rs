//! The exchange of segments cut at every change, aborted at every moment, beside appends, reads and removals.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    Origin,
    file_system::RealFileSystem,
    log::tests_support::LogUnderTest,
    record_batch::{BatchBuilder, Compression, Record},
    testing::*,
};
use bytes::Bytes;
use std::{collections::BTreeMap, path::Path, sync::Arc};

const ROUNDS: i32 = 16;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 900,
        index_interval_bytes: 100,
        compacted: true,
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: 0,
        ..LogConfig::default()
    }
}

/// Two keys that come again and again, one that comes once, tombstones, of an idempotent producer.
fn round_batch(round: i32) -> Bytes {
    let mut builder = BatchBuilder::new(if round % 2 == 0 { Compression::None } else { Compression::Lz4 });
    builder.idempotent(7, 0, round * 4);
    let value = format!("value of round {round}");
    for (at, key) in
        ["a".to_owned(), format!("b{}", round % 3), format!("once {round}"), "t".to_owned()].iter().enumerate()
    {
        let value = (at != 3 || round % 4 != 0).then_some(value.as_bytes());
        builder.push(NOW_MS + i64::from(round), Some(key.as_bytes()), value, &[]);
    }
    builder.build()
}

fn state<'a>(records: impl IntoIterator<Item = &'a Record>) -> BTreeMap<Bytes, Bytes> {
    let mut state = BTreeMap::new();
    for record in records {
        match record.value.clone() {
            Some(value) => state.insert(record.key.clone().unwrap(), value),
            None => state.remove(record.key.as_ref().unwrap()),
        };
    }
    state
}

/// The state after so many rounds.
fn expected(rounds: i32) -> BTreeMap<Bytes, Bytes> {
    let batch = |round| RecordsOf(round_batch(round)).records();
    state((0..rounds).flat_map(batch).collect::<Vec<_>>().iter())
}

struct RecordsOf(Bytes);

impl RecordsOf {
    fn records(self) -> Vec<Record> {
        crate::record_batch::batches(self.0).flat_map(|batch| batch.unwrap().records(CAP).unwrap()).collect()
    }
}

/// Appends and cleanings in turn, two of them over segments that were cleaned before. Returns what was durable.
fn scenario(file_system: &Arc<TestFileSystem>, dir: &Path, durable: &mut i32) -> Result<(), CleaningError> {
    let storage = |error| match error {
        crate::AppendError::Storage(error) => CleaningError::Storage(error),
        other => panic!("{other}"),
    };
    let log = LogUnderTest::new(Log::open(file_system.clone(), dir, config(), NOW_MS)?.0);
    for round in 0..ROUNDS {
        log.edit(|log| log.append(&round_batch(round), Origin::Client, 0, NOW_MS)).map_err(storage)?;
        if round % 8 == 7 {
            log.edit(|log| log.checkpoint())?;
            *durable = round + 1;
            clean(&log, &CleanerSettings::default(), NOW_MS + i64::from(round))?;
            // What the first cleaning has replaced goes before the second, what that one has replaced stays.
            if round == 7 {
                log.take_doomed().iter().try_for_each(|doomed| doomed.remove())?;
            }
        }
    }
    Ok(log.edit(|log| log.flush())?)
}

fn check_image(file_system: &TestFileSystem, dir: &Path, image: Image, durable: i32, cut: usize) {
    let left = temporary_dir();
    file_system.leave(image, dir, left.path());
    let context = format!("{image:?} at change {cut}");
    let opened = Log::open(Arc::new(RealFileSystem), left.path(), config(), NOW_MS);
    let (log, _) = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
    let end = log.log_end_offset();
    assert!(end >= i64::from(durable * 4), "{context}: {end} of {durable} rounds");
    assert_eq!(state(&all_records(&log)), expected(i32::try_from(end / 4).unwrap()), "{context}");
    let stray = |name: &str| [".cleaned", ".swap", ".tmp", ".deleted"].iter().any(|suffix| name.ends_with(suffix));
    for entry in std::fs::read_dir(left.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!stray(&name), "{context}: {name}");
    }
    // It goes on from there, producers included.
    let log = LogUnderTest::new(log);
    for round in i32::try_from(end / 4).unwrap()..ROUNDS + 8 {
        log.edit(|log| log.append(&round_batch(round), Origin::Client, 0, NOW_MS)).unwrap();
    }
    clean(&log, &CleanerSettings::default(), NOW_MS + 1000).unwrap();
    assert_eq!(state(&log.edit(|log| all_records(log))), expected(ROUNDS + 8), "{context}");
}

#[test]
fn a_crash_at_any_change_leaves_the_newest_of_every_key() {
    let whole = temporary_dir();
    let counting = Arc::new(TestFileSystem::default());
    scenario(&counting, whole.path(), &mut 0).unwrap();
    for cut in 0..counting.changes() {
        let dir = temporary_dir();
        let file_system = Arc::new(TestFileSystem::cut_at(cut));
        let mut durable = 0;
        scenario(&file_system, dir.path(), &mut durable).unwrap_err();
        for image in IMAGES {
            check_image(&file_system, dir.path(), image, durable, cut);
        }
    }
}

#[test]
fn what_was_replaced_stays_under_another_name_until_it_is_removed() {
    let dir = temporary_dir();
    let names = |suffix: &str| {
        let names =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(suffix)).collect::<std::collections::BTreeSet<_>>()
    };
    let log = LogUnderTest::new(filled(dir.path()));
    let before = names(".log");
    clean(&log, &CleanerSettings::default(), NOW_MS).unwrap().unwrap();
    let (kept, deleted) = (names(".log"), names(".log.deleted"));
    // The cleaned segments bear the names of some that they replace.
    let replaced = before.iter().filter(|name| deleted.contains(&format!("{name}.deleted"))).count();
    assert!(kept.is_subset(&before) && replaced == deleted.len() && replaced > 0, "{kept:?} {deleted:?}");
    let doomed = log.take_doomed();
    assert!(doomed.iter().all(|doomed| doomed.delay_ms() == config().file_delete_delay_ms));
    let found = state(&log.edit(|log| all_records(log)));
    doomed.iter().for_each(|doomed| doomed.remove().unwrap());
    assert_eq!((names(".deleted").len(), names(".log")), (0, kept));
    assert_eq!((state(&log.edit(|log| all_records(log))), &found), (expected(ROUNDS), &expected(ROUNDS)));
}

/// A log of many rounds in many segments.
fn filled(dir: &Path) -> Log {
    let mut log = open(dir, config()).0;
    for round in 0..ROUNDS {
        append(&mut log, &round_batch(round));
    }
    log.checkpoint().unwrap();
    log
}

#[test]
fn a_slice_outlives_the_exchange() {
    let dir = temporary_dir();
    let log = LogUnderTest::new(filled(dir.path()));
    let slice = log.edit(|log| log.read(0, log.log_end_offset(), 1 << 20, true)).unwrap().unwrap();
    let before = slice.read().unwrap();
    clean(&log, &CleanerSettings::default(), NOW_MS).unwrap().unwrap();
    assert_eq!(slice.read().unwrap(), before);
    let after = log.edit(|log| log.read(0, log.log_end_offset(), 1 << 20, true)).unwrap().unwrap();
    assert_ne!(after.read().unwrap(), before);
}

#[test]
fn an_aborted_cleaning_leaves_the_log_as_it_was_or_cleaned() {
    let dir = temporary_dir();
    let before = all_records(&filled(dir.path()));
    let mut allowed = 0;
    loop {
        let dir = temporary_dir();
        let log = LogUnderTest::new(filled(dir.path()));
        log.abort_after(allowed);
        let ended = clean(&log, &CleanerSettings::default(), NOW_MS);
        let found = log.edit(|log| all_records(log));
        assert_eq!(state(&found), state(&before));
        log.abort_after(usize::MAX);
        clean(&log, &CleanerSettings::default(), NOW_MS).unwrap();
        assert_eq!(state(&log.edit(|log| all_records(log))), state(&before));
        match ended {
            Ok(_) => break,
            Err(CleaningError::Aborted) => allowed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(allowed > 10, "{allowed}");
}

#[test]
fn segments_that_are_gone_abort_the_exchange() {
    let dir = temporary_dir();
    let log = LogUnderTest::new(filled(dir.path()));
    log.before_entry(2, |log| {
        // As retention does it.
        log.forget_first_segment();
    });
    let ended = clean(&log, &CleanerSettings::default(), NOW_MS);
    assert!(matches!(ended, Err(CleaningError::Aborted)), "{ended:?}");
    assert_eq!(half_cleaned(dir.path()), 0);
}

#[test]
fn appends_go_on_during_a_cleaning() {
    let dir = temporary_dir();
    let log = LogUnderTest::new(filled(dir.path()));
    let mut round = ROUNDS;
    log.on_every_entry(move |log| {
        append(log, &round_batch(round));
        round += 1;
    });
    clean(&log, &CleanerSettings::default(), NOW_MS).unwrap().unwrap();
    log.on_every_entry(|_| {});
    let (end, found) = log.edit(|log| (log.log_end_offset(), all_records(log)));
    assert!(end > i64::from(ROUNDS * 4));
    assert_eq!(state(&found), expected(i32::try_from(end / 4).unwrap()));
}

#[test]
fn a_failed_exchange_takes_no_more_writes_and_is_completed_by_the_next_open() {
    for operation in ["rename", "sync_dir", "remove_file"] {
        for nth in 0..6 {
            let dir = temporary_dir();
            let file_system = Arc::new(TestFileSystem::default());
            let mut log = open_on(&file_system, dir.path(), config());
            for round in 0..ROUNDS {
                append(&mut log, &round_batch(round));
            }
            let log = LogUnderTest::new(log);
            file_system.fail(operation, nth, Fault::Error(EIO));
            let ended = clean(&log, &CleanerSettings::default(), NOW_MS);
            assert_eq!(state(&log.edit(|log| all_records(log))), expected(ROUNDS), "{operation} {nth}: {ended:?}");
            file_system.heal();
            drop(log);
            let log = open(dir.path(), config()).0;
            assert_eq!(state(&all_records(&log)), expected(ROUNDS), "{operation} {nth}");
        }
    }
}
