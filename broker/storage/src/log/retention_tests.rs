//! Old segments: which go, what is left, and that no crash on the way leaves a hole or moves the start back.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{file_system::RealFileSystem, record_batch::Compression, segment::FileKind, testing::*};
use proptest::prelude::*;

const HOUR_MS: i64 = 3_600_000;

/// Does what the maintenance does until nothing is due; the removed files are gone too.
fn retain(log: &mut Log, now_ms: i64) -> Result<i64, StorageError> {
    loop {
        match log.retention(log.log_end_offset(), now_ms)? {
            Retention::Nothing { next_ms } => return Ok(next_ms),
            Retention::Roll => log.roll_active(now_ms)?,
            Retention::Checkpoint => log.checkpoint()?,
            Retention::Remove { offset } => {
                move_start(log, offset, true)?;
                log.take_out_of_range().doom()?.remove()?;
            }
        }
    }
}

fn move_start(log: &mut Log, offset: i64, sync: bool) -> Result<(), StorageError> {
    let change = log.plan_start(offset)?;
    change.persist(sync)?;
    log.move_start(&change)
}

/// `segments` segments of an hour each, one batch of two records a segment; the last is active.
fn hourly(dir: &Path, config: LogConfig, segments: i64) -> Log {
    let config = LogConfig { segment_ms: HOUR_MS - 1, timestamp_before_max_ms: i64::MAX, ..config };
    let (mut log, _) = open(dir, config);
    for hour in 0..segments {
        let at = NOW_MS + (hour - segments) * HOUR_MS;
        append(&mut log, &batch(Compression::None, &[at, at]));
    }
    assert_eq!(log.sealed.len() as i64, segments - 1);
    log
}

/// Age counts by the records' times alone.
fn at_once() -> LogConfig {
    LogConfig { retention_check_interval_ms: 0, ..LogConfig::default() }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn segments_go_by_age() {
    let dir = temporary_dir();
    let config = LogConfig { retention_ms: 3 * HOUR_MS, ..at_once() };
    let mut log = hourly(dir.path(), config, 6);
    // The youngest record of the third is exactly three hours old: that is not too old.
    assert_eq!(retain(&mut log, NOW_MS).unwrap(), NOW_MS + 1);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (6, 12));
    assert_eq!(retain(&mut log, NOW_MS + 1).unwrap(), NOW_MS + HOUR_MS + 1);
    assert_eq!(log.log_start_offset(), 8);
    assert_eq!(all_records(&log).len(), 4);
}

#[test]
fn records_that_had_expired_when_they_came_stay_a_while() {
    let dir = temporary_dir();
    let config = LogConfig { retention_ms: HOUR_MS, retention_check_interval_ms: 1000, ..at_once() };
    let mut log = hourly(dir.path(), config, 6);
    assert_eq!(retain(&mut log, NOW_MS + 999).unwrap(), NOW_MS + 1000);
    assert_eq!(log.log_start_offset(), 0);
    retain(&mut log, NOW_MS + 1000).unwrap();
    assert_eq!(log.log_start_offset(), 12);
}

#[test]
fn the_active_segment_goes_too_when_all_of_it_is_old() {
    let dir = temporary_dir();
    let mut log = hourly(dir.path(), LogConfig { retention_ms: HOUR_MS, ..at_once() }, 3);
    assert_eq!(retain(&mut log, NOW_MS + 9 * HOUR_MS).unwrap(), i64::MAX);
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.size_bytes()), (6, 6, 0));
    assert!(log.sealed.is_empty());
    assert_eq!(names(dir.path()).iter().filter(|name| name.ends_with(".log")).count(), 1);
    drop(log);
    let (mut log, _) = open(dir.path(), LogConfig::default());
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (6, 6));
    assert_eq!(append(&mut log, &batch(Compression::None, &[NOW_MS])), 6);
}

#[test]
fn segments_go_by_size_but_never_below_the_limit() {
    let dir = temporary_dir();
    let mut log = hourly(dir.path(), LogConfig { retention_ms: -1, ..at_once() }, 5);
    let one = log.active.size();
    for (limit, left) in [
        (-1, 5),
        (i64::MAX, 5),
        (one as i64 * 5, 5),
        (one as i64 * 4 + 1, 5),
        (one as i64 * 4, 4),
        (one as i64 + 1, 2),
        (0, 0),
    ] {
        let config = log.config().clone();
        log.set_config(LogConfig { retention_bytes: limit, ..config });
        retain(&mut log, NOW_MS).unwrap();
        assert_eq!(log.size_bytes(), one * left, "retention.bytes={limit}");
    }
}

#[test]
fn compacted_logs_lose_only_what_is_below_their_start() {
    let dir = temporary_dir();
    let config = LogConfig { delete: false, compacted: true, retention_ms: 1, retention_bytes: 1, ..at_once() };
    let mut log = hourly(dir.path(), config, 4);
    assert_eq!(retain(&mut log, NOW_MS).unwrap(), i64::MAX);
    assert_eq!(log.log_start_offset(), 0);
    move_start(&mut log, 5, false).unwrap();
    assert_eq!(retain(&mut log, NOW_MS).unwrap(), i64::MAX);
    assert_eq!((log.log_start_offset(), log.sealed.len()), (5, 1));
}

#[test]
fn nothing_above_the_high_watermark_goes() {
    let dir = temporary_dir();
    let mut log = hourly(dir.path(), LogConfig { retention_ms: 0, ..at_once() }, 4);
    assert_eq!(log.retention(8, NOW_MS).unwrap(), Retention::Roll);
    assert_eq!(log.retention(5, NOW_MS).unwrap(), Retention::Checkpoint);
    log.checkpoint().unwrap();
    assert_eq!(log.retention(1, NOW_MS).unwrap(), Retention::Nothing { next_ms: i64::MAX });
    assert_eq!(log.retention(5, NOW_MS).unwrap(), Retention::Remove { offset: 4 });
}

#[test]
fn records_without_a_timestamp_age_by_their_file() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig { retention_ms: HOUR_MS, ..at_once() });
    append(&mut log, &batch(Compression::None, &[-1, -1]));
    let written_ms = RealFileSystem.modified_ms(&log.active.file().unwrap()).unwrap();
    assert_eq!(log.retention(2, written_ms).unwrap(), Retention::Nothing { next_ms: written_ms + HOUR_MS + 1 });
    assert_eq!(log.retention(2, written_ms + HOUR_MS + 1).unwrap(), Retention::Roll);
}

#[test]
fn deleted_records_stay_deleted_and_whole_segments_go() {
    let dir = temporary_dir();
    let mut log = hourly(dir.path(), LogConfig::default(), 4);
    move_start(&mut log, 3, false).unwrap();
    move_start(&mut log, 1, false).unwrap();
    assert_eq!(log.log_start_offset(), 3);
    let slice = log.read(3, 8, 1 << 20, true).unwrap().unwrap();
    retain(&mut log, NOW_MS).unwrap();
    assert_eq!(log.sealed.len(), 2);
    assert_eq!(slice.read().unwrap().len(), slice.length);
    assert_eq!(log.offset_for_timestamp(0).unwrap().unwrap().offset, 3);
    assert_eq!(log.end_offset_for_leader_epoch(0), Some((0, 8)));
    drop(log);
    // As a kill leaves it: the checkpoint knows nothing of it.
    let (mut log, _) = open(dir.path(), LogConfig::default());
    assert_eq!(log.log_start_offset(), 3);
    move_start(&mut log, 99, false).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (8, 8));
    log.close().unwrap();
    assert_eq!(open(dir.path(), LogConfig::default()).0.log_start_offset(), 8);
}

#[test]
fn the_start_takes_the_last_stable_offset_along() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig::default());
    let mut builder = crate::record_batch::BatchBuilder::default();
    builder.idempotent(9, 0, 0);
    builder.transactional();
    builder.push(NOW_MS, Some(b"k"), Some(b"v"), &[]);
    append(&mut log, &builder.build());
    append(&mut log, &batch(Compression::None, &[NOW_MS; 4]));
    assert_eq!(log.last_stable_offset(5), 0);
    move_start(&mut log, 3, false).unwrap();
    assert_eq!(log.last_stable_offset(5), 3);
}

#[test]
fn a_log_that_lost_all_up_to_its_start_begins_anew_there() {
    let dir = temporary_dir();
    let mut log = hourly(dir.path(), LogConfig::default(), 3);
    move_start(&mut log, 6, true).unwrap();
    let active = log.active.files().path(FileKind::Log);
    drop(log);
    std::fs::File::options().write(true).open(active).unwrap().set_len(0).unwrap();
    for _ in 0..2 {
        let (log, _) = open(dir.path(), LogConfig::default());
        assert_eq!((log.log_start_offset(), log.log_end_offset(), log.sealed.len()), (6, 6, 0));
    }
    let (mut log, _) = open(dir.path(), LogConfig::default());
    assert_eq!(append(&mut log, &batch(Compression::None, &[NOW_MS])), 6);
    log.close().unwrap();
    assert_eq!(open(dir.path(), LogConfig::default()).1.scanned_bytes, 0);
}

#[test]
fn jitter_rolls_earlier() {
    let dir = temporary_dir();
    let config = LogConfig { segment_ms: 1000, segment_jitter_ms: 400, ..at_once() };
    let (mut log, _) = open(dir.path(), config);
    log.roll_jitter = 399;
    for at in [0, 601, 602] {
        append(&mut log, &batch(Compression::None, &[NOW_MS + at]));
    }
    assert_eq!(log.sealed.len(), 1);
    assert_eq!(log.active.base_offset(), 2);
}

#[test]
fn a_full_index_rolls() {
    let dir = temporary_dir();
    let config = LogConfig { segment_index_bytes: 36, index_interval_bytes: 0, ..at_once() };
    let (mut log, _) = open(dir.path(), config);
    for at in 0..20 {
        append(&mut log, &batch(Compression::None, &[NOW_MS + at]));
    }
    assert!(log.sealed.len() > 4, "{}", log.sealed.len());
    for name in names(dir.path()).iter().filter(|name| name.ends_with("index")) {
        assert!(std::fs::metadata(dir.path().join(name)).unwrap().len() <= 36, "{name}");
    }
}

/// What was promised about the start, and the log's end. The start is durable once a segment below it has gone.
#[derive(Default)]
struct Promised {
    start: i64,
    durable_start: i64,
    end: i64,
}

/// Appends, rolls, deletes records, lets retention by size go over it, stops and starts.
fn scenario(file_system: &Arc<TestFileSystem>, dir: &Path, promised: &mut Promised) -> Result<(), AppendError> {
    let config = LogConfig { retention_bytes: 9000, ..small_segments() };
    for _ in 0..2 {
        let (mut log, _) = Log::open(file_system.clone(), dir, config.clone(), NOW_MS)?;
        for round in 0..40 {
            let appended = log.append(&batch(Compression::None, &[NOW_MS; 7]), Origin::Client, 0, NOW_MS)?;
            promised.end = appended.last_offset + 1;
            if round % 9 == 8 {
                let start = log.log_start_offset() + 10;
                move_start(&mut log, start, false)?;
                promised.start = log.log_start_offset();
            }
            if round % 13 == 12 {
                let before = log.sealed.len();
                retain(&mut log, NOW_MS)?;
                promised.start = log.log_start_offset();
                if log.sealed.len() < before {
                    promised.durable_start = promised.start;
                }
            }
        }
        log.close()?;
    }
    Ok(())
}

fn check_image(file_system: &TestFileSystem, dir: &Path, image: Image, promised: &Promised, cut: usize) {
    let left = temporary_dir();
    file_system.leave(image, dir, left.path());
    let context = format!("{image:?} at change {cut}");
    let mut log = crash_tests::opened(left.path(), &context);
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    let (least_start, least_end) =
        if image == Image::Killed { (promised.start, promised.end) } else { (promised.durable_start, 0) };
    assert!(start >= least_start && end >= least_end, "{context}: {start}..{end}, promised {least_start}..{least_end}");
    let offsets: Vec<i64> =
        all_records(&log).iter().map(|record| record.offset).filter(|offset| *offset >= start).collect();
    assert_eq!(offsets, (start..end).collect::<Vec<_>>(), "{context}: holes");
    assert!(!names(left.path()).iter().any(|name| name.ends_with(".deleted") || name.ends_with(".tmp")), "{context}");
    assert_eq!(append(&mut log, &batch(Compression::None, &[NOW_MS])), end, "{context}");
    retain(&mut log, NOW_MS).unwrap();
    log.close().unwrap();
    assert_eq!(open(left.path(), small_segments()).1.scanned_bytes, 0, "{context}");
}

#[test]
fn a_crash_at_any_change_of_retention_leaves_no_hole_and_moves_no_start_back() {
    let whole = temporary_dir();
    let counting = Arc::new(TestFileSystem::default());
    scenario(&counting, whole.path(), &mut Promised::default()).unwrap();
    for cut in 0..counting.changes() {
        let dir = temporary_dir();
        let file_system = Arc::new(TestFileSystem::cut_at(cut));
        let mut promised = Promised::default();
        scenario(&file_system, dir.path(), &mut promised).unwrap_err();
        for image in IMAGES {
            check_image(&file_system, dir.path(), image, &promised, cut);
        }
    }
}

/// What is kept, the slow way: one after another from the front, by Kafka's three rules.
fn model(segments: &[(u64, i64)], start: usize, config: &LogConfig) -> usize {
    let mut gone = start;
    let mut size: u64 = segments[gone..].iter().map(|(size, _)| size).sum();
    while config.retention_bytes >= 0
        && gone < segments.len()
        && size - segments[gone].0 >= config.retention_bytes as u64
    {
        size -= segments[gone].0;
        gone += 1;
    }
    while config.retention_ms >= 0 && gone < segments.len() && NOW_MS - segments[gone].1 > config.retention_ms {
        gone += 1;
    }
    gone
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_is_what_the_rules_say(
        batches in prop::collection::vec((1..5usize, -50..50i64), 1..8),
        start in 0..8usize,
        retention_ms in -1..60i64,
        retention_bytes in -1..2500i64,
    ) {
        let dir = temporary_dir();
        let config = LogConfig { retention_ms: -1, timestamp_before_max_ms: i64::MAX, ..at_once() };
        let (mut log, _) = open(dir.path(), config.clone());
        let mut ends = vec![0];
        for (records, age) in &batches {
            log.roll_active(NOW_MS).unwrap();
            append(&mut log, &batch(Compression::None, &vec![NOW_MS - age; *records]));
            ends.push(log.log_end_offset());
        }
        let segments: Vec<(u64, i64)> = log.segments().zip(&batches).map(|(segment, (_, age))| (segment.size(), NOW_MS - age)).collect();
        let start = start.min(batches.len() - 1);
        move_start(&mut log, ends[start], false).unwrap();
        let config = LogConfig { retention_ms, retention_bytes, ..config };
        log.set_config(config.clone());
        retain(&mut log, NOW_MS).unwrap();
        prop_assert_eq!(log.log_start_offset(), ends[model(&segments, start, &config)]);
    }
}
