//! Torn ends, flipped bits, lost side files: what is wrong is found, what is right is kept.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    checkpoint,
    record_batch::{Compression, Record},
    segment::FileKind,
    testing::*,
};
use std::{collections::HashSet, fs, path::PathBuf};

/// Several segments, compressed and plain; the active segment holds at least three batches.
fn sample(dir: &Path) -> Log {
    let (mut log, _) = open(dir, small_segments());
    let codecs = [Compression::None, Compression::Lz4, Compression::None, Compression::Zstd];
    for round in 0..60 {
        let compression = codecs[round % codecs.len()];
        let start = NOW_MS + i64::try_from(round).unwrap() * 100;
        append(&mut log, &batch(compression, &[start, start + 30, start + 20, start + 1, start]));
    }
    log
}

pub(super) fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn active_file(log: &Log) -> PathBuf {
    log.dir.join(FileKind::Log.name(log.active.base_offset()))
}

#[test]
fn the_active_segment_cut_anywhere_loses_only_the_torn_batch() {
    let original = temporary_dir();
    let log = sample(original.path());
    let (records, path) = (all_records(&log), active_file(&log));
    let ends: Vec<(u64, i64)> = log
        .active
        .walk(0)
        .map(|batch| batch.unwrap())
        .map(|batch| (batch.position + batch.header.size() as u64, batch.header.last_offset() + 1))
        .collect();
    let length = log.active.size();
    drop(log);
    for cut in ends[ends.len() - 4].0..length {
        let dir = temporary_dir();
        copy(original.path(), dir.path());
        fs::File::options().write(true).open(dir.path().join(path.file_name().unwrap())).unwrap().set_len(cut).unwrap();
        let (log, recovered) = open(dir.path(), small_segments());
        let (kept, end) = *ends.iter().rev().find(|(position, _)| *position <= cut).unwrap();
        assert_eq!((log.log_end_offset(), recovered.truncated_bytes), (end, cut - kept));
        assert_eq!(all_records(&log), records[..usize::try_from(end).unwrap()]);
    }
}

#[test]
fn zeros_and_garbage_behind_the_end_are_cut_off() {
    let original = temporary_dir();
    let log = sample(original.path());
    let (records, path) = (all_records(&log), active_file(&log));
    drop(log);
    let mut seed = 42u64;
    for (length, zeros) in [(1, true), (16, true), (61, true), (5000, true), (1, false), (60, false), (5000, false)] {
        let dir = temporary_dir();
        copy(original.path(), dir.path());
        let tail: Vec<u8> = (0..length).map(|_| if zeros { 0 } else { random(&mut seed) as u8 }).collect();
        let path = dir.path().join(path.file_name().unwrap());
        let whole = [fs::read(&path).unwrap(), tail].concat();
        fs::write(&path, whole).unwrap();
        let (log, recovered) = open(dir.path(), small_segments());
        assert_eq!((all_records(&log), recovered.truncated_bytes), (records.clone(), length));
    }
}

#[test]
fn damage_with_whole_batches_behind_it_is_an_error_that_says_where() {
    let dir = temporary_dir();
    let log = sample(dir.path());
    let (active, sealed) = (active_file(&log), log.dir.join(FileKind::Log.name(log.sealed[1].base_offset())));
    drop(log);
    fs::remove_file(dir.path().join(checkpoint::FILE_NAME)).unwrap();
    for path in [active, sealed] {
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[100] ^= 4;
        fs::write(&path, bad).unwrap();
        let error = Log::open(Arc::new(crate::file_system::RealFileSystem), dir.path(), small_segments(), NOW_MS);
        let error = error.unwrap_err();
        let StorageError::Corrupt { path: told, position, .. } = &error else { panic!("{error}") };
        assert_eq!((told, *position), (&path, 0));
        fs::write(&path, good).unwrap();
    }
    assert_eq!(all_records(&open(dir.path(), small_segments()).0).len(), 300);
}

/// The files of a sealed segment and its last batch's position; the log was never synced.
fn sealed_file(dir: &Path) -> (PathBuf, usize, i64) {
    let log = sample(dir);
    let segment = &log.sealed[1];
    let last = segment.walk(0).last().unwrap().unwrap();
    let path = dir.join(FileKind::Log.name(segment.base_offset()));
    (path, usize::try_from(last.position).unwrap(), last.header.base_offset)
}

#[test]
fn a_sealed_segment_that_was_never_written_whole_ends_the_log() {
    let original = temporary_dir();
    let (path, last, base_offset) = sealed_file(original.path());
    let good = fs::read(&path).unwrap();
    let torn: [(&str, Vec<u8>, i64); 4] = [
        ("short", good[..last + 70].to_vec(), base_offset),
        ("short by a batch", good[..last].to_vec(), base_offset),
        ("short within a header", good[..last + 8].to_vec(), base_offset),
        ("zeros", [&good[..last], &vec![0; good.len() - last]].concat(), base_offset),
    ];
    for (how, content, end) in torn {
        let dir = temporary_dir();
        copy(original.path(), dir.path());
        fs::write(dir.path().join(path.file_name().unwrap()), content).unwrap();
        let (mut log, recovered) = open(dir.path(), small_segments());
        assert_eq!(log.log_end_offset(), end, "{how}");
        assert!(recovered.truncated_bytes > 4096, "{how}: {recovered:?}");
        assert_eq!(log.sealed.len(), 1, "{how}");
        let beyond = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let beyond = beyond.filter(|name| name.split('.').next().unwrap().parse().is_ok_and(|base: i64| base > end));
        assert_eq!(beyond.collect::<Vec<_>>(), Vec::<String>::new(), "{how}");
        assert_eq!(append(&mut log, &batch(Compression::None, &[NOW_MS])), end, "{how}");
        drop(log);
        assert_eq!(open(dir.path(), small_segments()).0.log_end_offset(), end + 1, "{how}");
    }
}

#[test]
fn a_damaged_batch_at_the_end_of_a_sealed_segment_is_never_cut() {
    let original = temporary_dir();
    let (path, last, _) = sealed_file(original.path());
    let good = fs::read(&path).unwrap();
    // Its length (longer, shorter), its format, its CRC, its records.
    for flipped in [last + 10, last + 11, last + 16, last + 18, last + 80] {
        let dir = temporary_dir();
        copy(original.path(), dir.path());
        let (path, mut bad) = (dir.path().join(path.file_name().unwrap()), good.clone());
        bad[flipped] ^= 2;
        fs::write(&path, &bad).unwrap();
        let opened = Log::open(Arc::new(crate::file_system::RealFileSystem), dir.path(), small_segments(), NOW_MS);
        let error = opened.unwrap_err();
        let StorageError::Corrupt { path: told, position, .. } = &error else { panic!("{flipped}: {error}") };
        assert_eq!((told, usize::try_from(*position).unwrap()), (&path, last), "{flipped}");
        assert_eq!(fs::read(&path).unwrap(), bad);
    }
}

#[test]
fn lost_side_files_are_made_anew() {
    let original = temporary_dir();
    let mut log = sample(original.path());
    append(&mut log, &producer_batch((1, 0, 0), 3));
    let records = all_records(&log);
    log.close().unwrap();
    let names: Vec<String> =
        fs::read_dir(original.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for name in names.iter().filter(|name| !name.ends_with(".log")) {
        for remove in [true, false] {
            let dir = temporary_dir();
            copy(original.path(), dir.path());
            match remove {
                true => fs::remove_file(dir.path().join(name)).unwrap(),
                false => fs::write(dir.path().join(name), "").unwrap(),
            }
            let (mut log, _) = open(dir.path(), small_segments());
            assert_eq!(all_batches(&log, 100).len(), 61, "{name}");
            assert_eq!(all_records(&log), records, "{name}");
            check_times(&log, &records, name);
            assert_eq!(log.end_offset_for_leader_epoch(0), Some((0, 303)), "{name}");
            assert!(log.append(&producer_batch((1, 0, 0), 3), Origin::Client, 0, NOW_MS).unwrap().duplicate, "{name}");
        }
    }
}

fn check_times(log: &Log, records: &[Record], context: &str) {
    for timestamp in (NOW_MS - 5..NOW_MS + 6100).step_by(45) {
        let expected = records.iter().find(|record| record.timestamp_ms >= timestamp).map(|record| record.offset);
        let found = log.offset_for_timestamp(timestamp).unwrap().map(|found| found.offset);
        assert_eq!(found, expected, "{context}: {timestamp}");
    }
}

/// Bits flipped in a test run; `TIFO_TEST_FLIPS=10000` for a thorough one.
pub(super) fn flips() -> usize {
    std::env::var("TIFO_TEST_FLIPS").map_or(300, |flips| flips.parse().unwrap())
}

#[test]
fn no_flipped_bit_alters_a_record_or_panics() {
    let original = temporary_dir();
    let log = sample(original.path());
    let records = all_records(&log);
    drop(log);
    let closed = temporary_dir();
    copy(original.path(), closed.path());
    open(closed.path(), small_segments()).0.close().unwrap();
    let mut seed = 7u64;
    for round in 0..flips() {
        let source = if round % 2 == 0 { &original } else { &closed };
        let dir = temporary_dir();
        copy(source.path(), dir.path());
        let (name, position) = flip_one_bit(dir.path(), &mut seed);
        let context = format!("{name} at {position}");
        let opened = Log::open(Arc::new(crate::file_system::RealFileSystem), dir.path(), small_segments(), NOW_MS);
        let (log, _) = match opened {
            Ok(opened) => opened,
            Err(StorageError::Corrupt { .. }) if name.ends_with(".log") => continue,
            Err(error) => panic!("{context}: {error}"),
        };
        if !name.ends_with(".log") {
            assert_eq!(all_records(&log), records, "{context}");
            check_times(&log, &records, &context);
            continue;
        }
        check_served(&log, &records, &context);
    }
}

/// What comes out with a right CRC went in; only the damaged batch may be missing.
fn check_served(log: &Log, records: &[Record], context: &str) {
    let sent: HashSet<(&[u8], &[u8])> = records.iter().map(content).collect();
    let (mut offset, mut bad, mut good) = (0, 0, 0);
    while let Ok(Some(slice)) = log.read(offset, log.log_end_offset(), 1, true) {
        let batch = crate::record_batch::batches(slice.read().unwrap()).next();
        let Some(Ok(batch)) = batch else { return };
        if batch.header.last_offset() < offset {
            return;
        }
        offset = batch.header.last_offset() + 1;
        if batch.check_crc().is_err() {
            bad += 1;
            continue;
        }
        for record in batch.records(CAP).unwrap() {
            assert!(sent.contains(&content(&record)), "{context}: altered");
            good += 1;
        }
    }
    assert!(bad <= 1, "{context}: {bad} batches are bad, {good} records good");
}

fn content(record: &Record) -> (&[u8], &[u8]) {
    (record.key.as_deref().unwrap(), record.value.as_deref().unwrap())
}

fn flip_one_bit(dir: &Path, seed: &mut u64) -> (String, usize) {
    let files = not_empty(dir);
    let path = &files[random(seed) as usize % files.len()];
    (path.file_name().unwrap().to_string_lossy().into_owned(), flip_bit(path, seed))
}

/// Its files that hold something, by name.
pub(super) fn not_empty(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| fs::metadata(path).unwrap().len() > 0);
    files.sort();
    files
}

/// Flips one bit of the file; in which byte.
pub(super) fn flip_bit(path: &Path, seed: &mut u64) -> usize {
    let mut content = fs::read(path).unwrap();
    let bit = random(seed) as usize % (content.len() * 8);
    content[bit / 8] ^= 1 << (bit % 8);
    fs::write(path, content).unwrap();
    bit / 8
}

/// splitmix64: the same flips in every run.
pub(super) fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
