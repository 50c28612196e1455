//! Damage of each kind: check finds it and changes nothing, repair mends it, the log opens and serves the rest.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    Log, Origin,
    file_system::RealFileSystem,
    record_batch::{Compression, Record},
    testing::*,
};
use std::{collections::BTreeMap, fs, sync::Arc};

fn real() -> Arc<dyn FileSystem> {
    Arc::new(RealFileSystem)
}

/// A closed log of several segments, with producers and two leader epochs: its directory and records.
fn sample() -> (tempfile::TempDir, Vec<Record>) {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), small_segments());
    for round in 0..60 {
        let codec = if round % 2 == 0 { Compression::None } else { Compression::Lz4 };
        let start = NOW_MS + i64::from(round) * 100;
        let bytes = match round % 5 {
            0 => producer_batch((7, 0, round), 5),
            _ => batch(codec, &[start, start + 30, start + 20, start + 1, start]),
        };
        let mut again = bytes.clone();
        if round % 5 == 0 {
            again = producer_batch((7, 0, round), 5);
        }
        log.append(&again, Origin::Client, round / 40, NOW_MS).unwrap();
    }
    let records = all_records(&log);
    log.close().unwrap();
    (dir, records)
}

fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn logs(dir: &Path) -> Vec<PathBuf> {
    let names = content(dir).into_keys().filter(|name| name.ends_with(".log"));
    names.map(|name| dir.join(name)).collect()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Byte ranges of the batches of a `.log`.
fn batch_ranges(path: &Path) -> Vec<std::ops::Range<usize>> {
    let bytes = bytes::Bytes::from(fs::read(path).unwrap());
    let mut start = 0;
    crate::record_batch::batches(bytes)
        .map(|batch| {
            let range = start..start + batch.unwrap().header.size();
            start = range.end;
            range
        })
        .collect()
}

/// Check finds something of this severity in this file and alters nothing.
fn check(dir: &Path, severity: Severity, file: &str) -> PartitionReport {
    let before = content(dir);
    let report = check_partition(&real(), dir).unwrap();
    assert_eq!(content(dir), before, "check altered something");
    let found = report.findings.iter().any(|finding| {
        finding.severity == severity && finding.file.file_name().unwrap().to_string_lossy().ends_with(file)
    });
    assert!(found, "{file}: {report:#?}");
    report
}

/// Repair leaves nothing to complain of, is idempotent, and the log serves what is left; returns how many offsets are lost.
fn repair(dir: &Path, records: &[Record]) -> u64 {
    let repaired = repair_partition(&real(), dir, NOW_MS).unwrap();
    assert!(!repaired.after.is_wrong(), "{:#?}", repaired.after);
    let once = content(dir);
    let again = repair_partition(&real(), dir, NOW_MS).unwrap();
    assert!(!again.before.is_wrong() && again.kept_aside.is_empty());
    assert_eq!(content(dir), once, "not idempotent");
    let (log, recovered) = open(dir, small_segments());
    assert_eq!(recovered.scanned_bytes, 0);
    let left = all_records(&log);
    let lost = usize::try_from(repaired.lost_offsets).unwrap();
    assert_eq!(left.len() + lost, records.len());
    assert!(left.iter().all(|record| records[usize::try_from(record.offset).unwrap()] == *record));
    assert_eq!(log.log_end_offset(), i64::try_from(records.len()).unwrap());
    drop(log);
    // Without the checkpoint too: what repair left is a log without holes.
    fs::remove_file(dir.join(checkpoint::FILE_NAME)).unwrap();
    let (mut log, _) = open(dir, small_segments());
    assert_eq!(all_records(&log), left);
    append(&mut log, &batch(Compression::None, &[NOW_MS]));
    repaired.lost_offsets
}

#[test]
fn nothing_is_wrong_with_a_log_that_was_closed() {
    let (dir, records) = sample();
    let report = check_partition(&real(), dir.path()).unwrap();
    assert_eq!((report.findings.as_slice(), report.records), ([].as_slice(), 300));
    assert_eq!(report.offsets, (0, 300));
    let before = content(dir.path());
    repair_partition(&real(), dir.path(), NOW_MS).unwrap();
    assert_eq!(content(dir.path()), before);
    assert_eq!(repair(dir.path(), &records), 0);
}

#[test]
fn a_killed_brokers_log_is_not_damaged() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), small_segments());
    for _ in 0..40 {
        append(&mut log, &batch(Compression::None, &[NOW_MS; 5]));
    }
    drop(log);
    let report = check_partition(&real(), dir.path()).unwrap();
    assert!(report.severity() < Some(Severity::Damage), "{report:#?}");
}

#[test]
fn a_damaged_batch_is_taken_out_and_kept_aside() {
    for (segment, at) in [(0, 0), (0, 3), (1, 2), (usize::MAX, 0), (usize::MAX, 1)] {
        let (dir, records) = sample();
        let files = logs(dir.path());
        let path = &files[segment.min(files.len() - 1)];
        let range = batch_ranges(path)[at].clone();
        let damaged = fs::read(path).unwrap()[range.clone()].to_vec();
        change(path, |bytes| bytes[range.start + 70] ^= 8);
        let report = check(dir.path(), Severity::Damage, ".log");
        assert_eq!(report.findings[0].position, Some(range.start as u64));
        assert_eq!(repair(dir.path(), &records), 5);
        let kept = content(dir.path()).into_iter().find(|(name, _)| name.ends_with(KEPT_ASIDE_SUFFIX)).unwrap().1;
        assert_eq!((kept.len(), kept[..70] == damaged[..70]), (damaged.len(), true));
    }
}

#[test]
fn a_damaged_length_costs_one_batch() {
    let (dir, records) = sample();
    let path = &logs(dir.path())[0];
    let range = batch_ranges(path)[2].clone();
    change(path, |bytes| bytes[range.start + 10] ^= 1);
    check(dir.path(), Severity::Damage, ".log");
    assert_eq!(repair(dir.path(), &records), 5);
}

#[test]
fn a_damaged_base_offset_is_set_right() {
    for at in [1, 4] {
        for bit in [0, 5, 40] {
            let (dir, records) = sample();
            let files = logs(dir.path());
            for path in [&files[0], &files[files.len() - 1]] {
                let Some(range) = batch_ranges(path).get(at).cloned() else { continue };
                change(path, |bytes| bytes[range.start + 7 - bit / 8] ^= 1 << (bit % 8));
            }
            check(dir.path(), Severity::Damage, ".log");
            assert_eq!(repair(dir.path(), &records), 0);
        }
    }
}

#[test]
fn the_end_of_a_segment_that_is_gone() {
    let (dir, records) = sample();
    let files = logs(dir.path());
    let (sealed, active) = (&files[0], &files[files.len() - 1]);
    let (of_sealed, of_active) = (batch_ranges(sealed), batch_ranges(active));
    change(sealed, |bytes| bytes.truncate(of_sealed[of_sealed.len() - 1].start + 30));
    change(active, |bytes| bytes.truncate(of_active[0].end));
    check(dir.path(), Severity::Damage, ".log");
    assert_eq!(repair(dir.path(), &records), 5 + 5 * (of_active.len() as u64 - 1));
}

#[test]
fn a_torn_end_is_cut_and_kept_aside() {
    let (dir, records) = sample();
    let active = logs(dir.path()).pop().unwrap();
    change(&active, |bytes| {
        let torn = bytes[..100].to_vec();
        bytes.extend_from_slice(&torn);
    });
    check(dir.path(), Severity::Harmless, ".log");
    assert_eq!(repair(dir.path(), &records), 0);
    assert!(content(dir.path()).iter().any(|(name, bytes)| name.ends_with(KEPT_ASIDE_SUFFIX) && bytes.len() == 100));
}

#[test]
fn side_files_are_made_anew() {
    let (original, records) = sample();
    let names: Vec<String> = content(original.path()).into_keys().filter(|name| !name.ends_with(".log")).collect();
    for name in &names {
        for cut in [true, false] {
            let (dir, _) = sample();
            let path = dir.path().join(name);
            if fs::metadata(&path).unwrap().len() == 0 {
                continue;
            }
            change(&path, |bytes| match cut {
                true => bytes.truncate(bytes.len() - 1),
                false => bytes[0] ^= 1 << 4,
            });
            let report = check_partition(&real(), dir.path()).unwrap();
            assert!(report.is_wrong() || *name == *leader_epochs_or_newline(name, cut), "{name}: {report:?}");
            if report.is_wrong() {
                assert_eq!(repair(dir.path(), &records), 0, "{name}");
            }
        }
    }
    for extension in ["index", "timeindex"] {
        let (dir, _) = sample();
        for name in names.iter().filter(|name| name.ends_with(&format!(".{extension}"))) {
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        check(dir.path(), Severity::Harmless, extension);
        assert_eq!(repair(dir.path(), &records), 0);
    }
}

/// A text file may lose its last newline and say the same.
fn leader_epochs_or_newline(name: &str, cut: bool) -> &str {
    if cut && name == crate::leader_epochs::FILE_NAME { name } else { "" }
}

#[test]
fn a_wrong_transaction_index_is_found() {
    let (dir, _) = sample();
    fs::write(dir.path().join(FileKind::TransactionIndex.name(0)), [1; 34]).unwrap();
    check(dir.path(), Severity::Harmless, ".txnindex");
}

#[test]
fn a_flipped_leader_epoch_is_told() {
    let (dir, records) = sample();
    let path = dir.path().join(crate::leader_epochs::FILE_NAME);
    change(&path, |bytes| *bytes = b"0\n2\n0 0\n1 190\n".to_vec());
    check(dir.path(), Severity::Damage, crate::leader_epochs::FILE_NAME);
    assert_eq!(repair(dir.path(), &records), 0);
}

#[test]
fn partitions_of_a_data_directory_are_found() {
    let data = temporary_dir();
    for name in ["b-0", "a-1", "metadata", "c-0.0123-delete", "d-0.0123-stray", "no-partition"] {
        fs::create_dir(data.path().join(name)).unwrap();
        if name != "no-partition" {
            drop(Log::open(real(), &data.path().join(name), small_segments(), NOW_MS).unwrap());
        }
    }
    let found = partition_dirs(&RealFileSystem, data.path()).unwrap();
    assert_eq!(found, ["a-1", "b-0", "metadata"].map(|name| data.path().join(name)));
    assert_eq!(partition_dirs(&RealFileSystem, &found[0]).unwrap(), [found[0].clone()]);
}

#[test]
fn a_repair_that_is_cut_off_can_be_done_again() {
    let (original, records) = sample();
    let ruin = |dir: &Path| {
        let files = logs(dir);
        for path in [&files[1], &files[files.len() - 1]] {
            let range = batch_ranges(path)[0].clone();
            change(path, |bytes| bytes[range.start + 75] ^= 1);
        }
    };
    for cut in 0.. {
        let dir = temporary_dir();
        for (name, bytes) in content(original.path()) {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        ruin(dir.path());
        let failing: Arc<dyn FileSystem> = Arc::new(TestFileSystem::cut_at(cut));
        let done = repair_partition(&failing, dir.path(), NOW_MS).is_ok();
        let repaired = repair_partition(&real(), dir.path(), NOW_MS).unwrap();
        assert!(!repaired.after.is_wrong(), "cut at {cut}: {:#?}", repaired.after);
        let (log, _) = open(dir.path(), small_segments());
        let left = all_records(&log);
        assert_eq!((left.len(), log.log_end_offset()), (records.len() - 10, 300), "cut at {cut}");
        if done {
            break;
        }
    }
}

#[test]
fn repair_leaves_the_gaps_of_a_compacted_log() {
    let (dir, records) = sample();
    let files = logs(dir.path());
    let gone = FileKind::Log.parse(files[1].file_name().unwrap().to_str().unwrap()).unwrap();
    let next = FileKind::Log.parse(files[2].file_name().unwrap().to_str().unwrap()).unwrap();
    for kind in [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex] {
        fs::remove_file(dir.path().join(kind.name(gone))).unwrap();
    }
    change(&files[0], |bytes| bytes[75] ^= 8);
    check(dir.path(), Severity::Damage, ".log");
    let repaired = repair_partition(&real(), dir.path(), NOW_MS).unwrap();
    assert!(!repaired.after.is_wrong(), "{:#?}", repaired.after);
    let (log, _) = open(dir.path(), small_segments());
    let left: Vec<i64> = all_records(&log).iter().map(|record| record.offset).collect();
    let wanted: Vec<i64> =
        records.iter().map(|record| record.offset).filter(|at| *at >= 5 && !(gone..next).contains(at)).collect();
    assert_eq!(left, wanted);
}
