//! Bits flipped and ends cut off in every kind of file beside the `.log`, and in the `.log` of logs with transactions and of compacted
//! ones: readers, committed ones too, are shown what they were shown before; producers are known; nothing panics.
#![allow(clippy::unwrap_used)]

use super::{
    damage_tests::{copy, flip_bit, flips, not_empty, random},
    *,
};
use crate::{
    CleanerSettings, clean, leader_epochs,
    log::tests_support::LogUnderTest,
    record_batch::{BatchBuilder, Compression, Record},
    testing::*,
    write_partition_metadata,
};
use bytes::Bytes;
use std::{collections::HashSet, fs, path::PathBuf};
use uuid::Uuid;

const PRODUCERS: i64 = 3;
const ROUNDS: i32 = 45;

/// What readers are told; the same before and after.
#[derive(Debug, PartialEq)]
struct View {
    range: (i64, i64),
    stable: i64,
    records: Vec<Record>,
    /// Of several ranges.
    aborted: Vec<Vec<(i64, i64, i64)>>,
    epochs: Vec<Option<(i32, i64)>>,
}

fn view(log: &mut Log) -> View {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    let told = |from: i64, to: i64| {
        let told = log.aborted_transactions(from, to).unwrap();
        told.iter().map(|one| (one.producer_id, one.first_offset, one.last_offset)).collect()
    };
    let aborted = (start..end).step_by(11).flat_map(|from| [told(from, from + 9), told(from, end)]).collect();
    let epochs = (0..5).map(|epoch| log.end_offset_for_leader_epoch(epoch)).collect();
    View { range: (start, end), stable: log.last_stable_offset(end), records: all_records(log), aborted, epochs }
}

/// Three records of a producer, in a transaction or not.
fn data(producer_id: i64, round: i32, is_transactional: bool) -> Bytes {
    let mut builder = BatchBuilder::new(if round % 2 == 0 { Compression::None } else { Compression::Lz4 });
    builder.idempotent(producer_id, 0, round * 3);
    if is_transactional {
        builder.transactional();
    }
    for at in 0..3 {
        let (key, value) =
            (format!("key {}", (round + at) % 7), format!("{producer_id} {round} {at} {}", "x".repeat(60)));
        builder.push(NOW_MS + i64::from(round), Some(key.as_bytes()), Some(value.as_bytes()), &[]);
    }
    builder.build()
}

/// Several segments: aborted, committed and open transactions, three leader epochs, a start that was moved, the topic's id.
fn transactional(dir: &Path) -> Log {
    let (mut log, _) = open(dir, small_segments());
    for round in 0..ROUNDS {
        let epoch = round / 20;
        for producer_id in 0..PRODUCERS {
            let is_transactional = producer_id > 0;
            log.append(&data(producer_id, round, is_transactional), Origin::Client, epoch, NOW_MS).unwrap();
            if is_transactional && round + 1 < ROUNDS && round % 3 != 0 {
                let kind = i16::from(round % 3 == 1);
                log.append(&marker(producer_id, kind, NOW_MS), Origin::Coordinator, epoch, NOW_MS).unwrap();
            }
        }
    }
    let change = log.plan_start(20).unwrap();
    change.persist(true).unwrap();
    log.move_start(&change).unwrap();
    write_partition_metadata(&crate::file_system::RealFileSystem, dir, Uuid::from_u128(7)).unwrap();
    log
}

fn compacted_config() -> LogConfig {
    LogConfig { compacted: true, min_cleanable_dirty_ratio: 0.0, ..small_segments() }
}

/// Cleaned once, with more behind.
fn compacted(dir: &Path) -> Log {
    let (mut log, _) = open(dir, compacted_config());
    for round in 0..ROUNDS {
        (0..PRODUCERS).for_each(|producer_id| assert!(append(&mut log, &data(producer_id, round, false)) >= 0));
        if round == ROUNDS / 2 {
            log.checkpoint().unwrap();
            let door = LogUnderTest::new(log);
            clean(&door, &CleanerSettings::default(), NOW_MS).unwrap().unwrap();
            log = door.into_log();
        }
    }
    log
}

/// A directory that is damaged again and again, and what readers were told before.
struct Original {
    dir: tempfile::TempDir,
    config: LogConfig,
    view: View,
    is_compacted: bool,
}

impl Original {
    fn new(make: fn(&Path) -> Log, config: LogConfig, is_clean: bool) -> Self {
        let dir = temporary_dir();
        let log = make(dir.path());
        if is_clean {
            log.close().unwrap()
        } else {
            drop(log)
        }
        let is_compacted = config.compacted;
        let other = temporary_dir();
        copy(dir.path(), other.path());
        let view = view(&mut open(other.path(), config.clone()).0);
        assert!(view.records.len() > 100 && (is_compacted || view.aborted.iter().flatten().count() > 50));
        Self { dir, config, view, is_compacted }
    }

    fn all() -> Vec<Self> {
        let each = |is_clean| {
            [Self::new(transactional, small_segments(), is_clean), Self::new(compacted, compacted_config(), is_clean)]
        };
        [false, true].into_iter().flat_map(each).collect()
    }

    /// Damages a copy of one file that `wanted` names, and opens what is left.
    fn check(&self, wanted: fn(&str) -> bool, seed: &mut u64, damage: impl FnOnce(&Path, &mut u64) -> usize) {
        let dir = temporary_dir();
        copy(self.dir.path(), dir.path());
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        let files: Vec<PathBuf> = not_empty(dir.path()).into_iter().filter(|path| wanted(&name(path))).collect();
        let path = &files[random(seed) as usize % files.len()];
        let at = damage(path, seed);
        let context = format!("{} at {at}, compacted: {}", name(path), self.is_compacted);
        let opened = Log::open(Arc::new(crate::file_system::RealFileSystem), dir.path(), self.config.clone(), NOW_MS);
        match opened {
            Ok((log, _)) if name(path).ends_with(".log") => self.check_served(&log, &context),
            Err(StorageError::Corrupt { .. }) if name(path).ends_with(".log") => {}
            Ok((log, _)) => self.check_same(log, &name(path), &context),
            Err(error) => panic!("{context}: {error}"),
        }
    }

    fn check_same(&self, mut log: Log, name: &str, context: &str) {
        let mut found = view(&mut log);
        if name == leader_epochs::FILE_NAME {
            // Kafka's text bears no sum. Another number there shows no reader another record.
            found.epochs.clone_from(&self.view.epochs);
        }
        assert_eq!(found, self.view, "{context}");
        for producer_id in 0..PRODUCERS {
            let batch = |round| data(producer_id, round, producer_id > 0 && !self.is_compacted);
            let again = log.append(&batch(ROUNDS - 1), Origin::Client, 9, NOW_MS).unwrap();
            assert!(again.duplicate, "{context}: producer {producer_id}");
            assert!(!log.append(&batch(ROUNDS), Origin::Client, 9, NOW_MS).unwrap().duplicate, "{context}");
        }
    }

    /// What comes out with a right CRC went in; one batch at most is damaged.
    fn check_served(&self, log: &Log, context: &str) {
        let sent: HashSet<_> = self.view.records.iter().map(|record| (&record.key, &record.value)).collect();
        let (mut offset, mut bad) = (log.log_start_offset(), 0);
        while let Ok(Some(slice)) = log.read(offset, log.log_end_offset(), 1, true) {
            let batch = crate::record_batch::batches(slice.read().unwrap()).next();
            let Some(Ok(batch)) =
                batch.filter(|batch| batch.as_ref().is_ok_and(|batch| batch.header.last_offset() >= offset))
            else {
                return;
            };
            offset = batch.header.last_offset() + 1;
            if batch.check_crc().is_err() {
                bad += 1;
                continue;
            }
            for record in batch.records(CAP).unwrap().iter().filter(|_| !batch.header.is_control()) {
                // The start may have been lost with its file, but here only the `.log` is damaged.
                let is_below = record.offset < self.view.range.0;
                assert!(is_below || sent.contains(&(&record.key, &record.value)), "{context}: altered: {record:?}");
            }
        }
        assert!(bad <= 1, "{context}: {bad} batches are bad");
    }
}

/// Whether the file is there only to help with the others, or says what they cannot.
fn is_side_file(name: &str) -> bool {
    // Where DeleteRecords has moved the start only this file says: a damaged one, which its sum betrays, costs the move.
    !name.ends_with(".log") && name != crate::start_offset::FILE_NAME
}

#[test]
fn flipped_bits_in_side_files_change_nothing() {
    let (originals, mut seed) = (Original::all(), 11u64);
    for round in 0..flips() {
        originals[round % originals.len()].check(is_side_file, &mut seed, flip_bit);
    }
}

#[test]
fn side_files_cut_anywhere_change_nothing() {
    let (originals, mut seed) = (Original::all(), 13u64);
    for round in 0..flips() {
        originals[round % originals.len()].check(is_side_file, &mut seed, |path, seed| {
            let length = random(seed) % fs::metadata(path).unwrap().len();
            fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
            usize::try_from(length).unwrap()
        });
    }
}

#[test]
fn flipped_bits_in_batches_alter_no_record() {
    let (originals, mut seed) = (Original::all(), 17u64);
    for round in 0..flips() {
        originals[round % originals.len()].check(|name| name.ends_with(".log"), &mut seed, flip_bit);
    }
}

#[test]
fn every_kind_of_file_is_among_them() {
    let kinds: HashSet<String> = Original::all()
        .iter()
        .flat_map(|original| not_empty(original.dir.path()))
        .map(|path| path.extension().or(path.file_name()).unwrap().to_string_lossy().into_owned())
        .collect();
    for kind in [
        "log",
        "index",
        "timeindex",
        "txnindex",
        "snapshot",
        "metadata",
        "leader-epoch-checkpoint",
        "log-checkpoint",
        "log-start-offset",
        "cleaner-checkpoint",
    ] {
        assert!(kinds.contains(kind), "{kind}: {kinds:?}");
    }
}

#[test]
fn a_damaged_start_offset_shows_at_most_what_was_deleted() {
    let (originals, mut seed) = (Original::all(), 19u64);
    let original = &originals[0];
    for _ in 0..flips() / 10 {
        let dir = temporary_dir();
        copy(original.dir.path(), dir.path());
        let at = flip_bit(&dir.path().join(crate::start_offset::FILE_NAME), &mut seed);
        let (log, _) = open(dir.path(), small_segments());
        assert!([0, original.view.range.0].contains(&log.log_start_offset()), "{at}");
        let records = all_records(&log);
        assert_eq!(records[records.len() - original.view.records.len()..], original.view.records, "{at}");
    }
}
