//! Cut at every change, failed at every call: what is acknowledged stays, nothing has a hole, everything opens again.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{file_system::RealFileSystem, record_batch::Compression, testing::*};
use bytes::Bytes;
use std::sync::Arc;

/// What the scenario knows to be acknowledged, and to be durable.
#[derive(Default)]
struct Promised {
    acknowledged: i64,
    durable: i64,
}

const ROUNDS: i32 = 20;

/// Appends with rolls, leader epochs, flushes, syncs and checkpoints beside appends, and a stop and start in the middle, until
/// something fails.
fn scenario(
    file_system: &Arc<TestFileSystem>,
    dir: &Path,
    config: &LogConfig,
    promised: &mut Promised,
) -> Result<(), AppendError> {
    for half in 0..2 {
        let (mut log, _) = Log::open(file_system.clone(), dir, config.clone(), NOW_MS)?;
        let mut rounds = half * ROUNDS..(half + 1) * ROUNDS;
        let mut next = |log: &mut Log, promised: &mut Promised| -> Result<Option<i32>, AppendError> {
            let Some(round) = rounds.next() else { return Ok(None) };
            let appended = log.append(&round_batch(round), Origin::Client, round / 13, NOW_MS)?;
            promised.acknowledged = appended.last_offset + 1;
            Ok(Some(round))
        };
        while let Some(round) = next(&mut log, promised)? {
            if round % 3 == 2
                && let Some(work) = log.begin_sync()?
            {
                next(&mut log, promised)?;
                let done = work.run();
                next(&mut log, promised)?;
                log.finish_sync(done)?;
            }
            if round % 7 == 6 {
                log.flush()?;
            }
            if round % 11 == 10
                && let Some(work) = log.begin_checkpoint()?
            {
                next(&mut log, promised)?;
                let done = work.run();
                log.finish_checkpoint(done)?;
            }
            promised.durable = log.durable_offset();
            assert!(log.high_watermark() <= promised.durable || config.durability == Durability::PageCache);
        }
        log.close()?;
        promised.durable = promised.acknowledged;
    }
    Ok(())
}

/// Five records of an idempotent producer.
fn round_batch(round: i32) -> Bytes {
    producer_batch((7, 0, round * 5), 5)
}

fn check_image(file_system: &TestFileSystem, dir: &Path, image: Image, promised: &Promised, cut: usize) {
    let left = temporary_dir();
    file_system.leave(image, dir, left.path());
    let context = format!("{image:?} at change {cut}");
    check_left(left.path(), if image == Image::Killed { promised.acknowledged } else { promised.durable }, &context);
}

/// The log opens with at least `least` records and no hole, knows its producer, and goes on.
fn check_left(dir: &Path, least: i64, context: &str) {
    let mut log = opened(dir, context);
    let end = log.log_end_offset();
    assert!(end >= least, "{context}: {end} of {least} records are left");
    let offsets: Vec<i64> = all_records(&log).iter().map(|record| record.offset).collect();
    assert_eq!(offsets, (0..end).collect::<Vec<_>>(), "{context}: holes");
    let round = i32::try_from(end / 5).unwrap();
    if round > 0 {
        let again = log.append(&round_batch(round - 1), Origin::Client, 9, NOW_MS).unwrap();
        assert!(again.duplicate && again.base_offset == end - 5, "{context}: {again:?}");
    }
    assert_eq!(append_at(&mut log, &round_batch(round)), end, "{context}");
    log.close().unwrap();
    assert_eq!(open(dir, small_segments()).1.scanned_bytes, 0);
}

/// What a crash has left.
pub(super) fn opened(dir: &Path, context: &str) -> Log {
    let opened = Log::open(Arc::new(RealFileSystem), dir, small_segments(), NOW_MS);
    opened.unwrap_or_else(|error| panic!("{context}: {error}")).0
}

fn append_at(log: &mut Log, batch: &Bytes) -> i64 {
    log.append(batch, Origin::Client, 9, NOW_MS).unwrap().base_offset
}

#[test]
fn a_crash_at_any_change_leaves_a_log_that_opens() {
    let config = small_segments();
    for config in [LogConfig { durability: Durability::Fsync, ..config.clone() }, config] {
        let whole = temporary_dir();
        let counting = Arc::new(TestFileSystem::default());
        scenario(&counting, whole.path(), &config, &mut Promised::default()).unwrap();
        for cut in 0..counting.changes() {
            let dir = temporary_dir();
            let file_system = Arc::new(TestFileSystem::cut_at(cut));
            let mut promised = Promised::default();
            scenario(&file_system, dir.path(), &config, &mut promised).unwrap_err();
            for image in IMAGES {
                check_image(&file_system, dir.path(), image, &promised, cut);
            }
        }
    }
}

/// A few logs that grow side by side and are closed together, twice. What each has acknowledged, and what a stop has made durable.
fn closing_scenario(
    file_system: &Arc<TestFileSystem>,
    data: &Path,
    promised: &mut [Promised],
) -> Result<(), AppendError> {
    for half in 0..2 {
        let mut logs = Vec::new();
        for number in 0..promised.len() {
            let dir = data.join(number.to_string());
            logs.push(Log::open(file_system.clone(), &dir, small_segments(), NOW_MS)?.0);
        }
        for round in half * ROUNDS / 2..(half + 1) * ROUNDS / 2 {
            for (log, promised) in logs.iter_mut().zip(&mut *promised) {
                promised.acknowledged = log.append(&round_batch(round), Origin::Client, 0, NOW_MS)?.last_offset + 1;
            }
        }
        let closed = closing::close_together(&**file_system, data, logs);
        for (closed, promised) in closed.into_iter().zip(&mut *promised) {
            closed?;
            promised.durable = promised.acknowledged;
        }
    }
    Ok(())
}

const LOGS: usize = 2;

fn promised_logs() -> [Promised; LOGS] {
    std::array::from_fn(|_| Promised::default())
}

#[test]
fn a_crash_while_logs_are_closed_together_leaves_logs_that_open() {
    let whole = temporary_dir();
    let counting = Arc::new(TestFileSystem::default());
    closing_scenario(&counting, whole.path(), &mut promised_logs()).unwrap();
    for cut in 0..counting.changes() {
        let data = temporary_dir();
        let file_system = Arc::new(TestFileSystem::cut_at(cut));
        let mut promised = promised_logs();
        closing_scenario(&file_system, data.path(), &mut promised).unwrap_err();
        for image in IMAGES {
            let left = temporary_dir();
            file_system.leave(image, data.path(), left.path());
            for (number, promised) in promised.iter().enumerate() {
                let context = format!("log {number}, {image:?} at change {cut}");
                let least = if image == Image::Killed { promised.acknowledged } else { promised.durable };
                check_left(&left.path().join(number.to_string()), least, &context);
            }
        }
    }
}

#[test]
fn a_failed_sync_of_everything_vouches_for_nothing() {
    for nth in 0..2 {
        let (data, file_system) = (temporary_dir(), Arc::new(TestFileSystem::default()));
        let mut logs: Vec<Log> = (0..LOGS)
            .map(|number| open_on(&file_system, &data.path().join(number.to_string()), small_segments()))
            .collect();
        logs.iter_mut().for_each(|log| assert_eq!(append_at(log, &round_batch(0)), 0));
        file_system.fail("sync_everything", nth, Fault::Error(EIO));
        let closed = closing::close_together(&*file_system, data.path(), logs);
        assert!(closed.iter().all(|closed| matches!(closed, Err(StorageError::Io { operation: "sync", .. }))));
        let left = temporary_dir();
        file_system.leave(Image::PowerCutWithZeros, data.path(), left.path());
        for number in 0..LOGS {
            // What the first call brought to the disk stays, whatever becomes of the second.
            let least = if nth == 0 { 0 } else { 5 };
            check_left(&left.path().join(number.to_string()), least, &format!("call {nth}"));
        }
    }
}

#[test]
fn a_failed_write_leaves_no_trace() {
    let one = batch(Compression::None, &[NOW_MS; 4]);
    for fault in [Fault::Error(ENOSPC), Fault::HalfThenError(ENOSPC), Fault::HalfThenError(EIO)] {
        let (dir, file_system) = (temporary_dir(), Arc::new(TestFileSystem::default()));
        let mut log = open_on(&file_system, dir.path(), LogConfig::default());
        append(&mut log, &one);
        file_system.fail_always("append", fault);
        for _ in 0..3 {
            assert!(matches!(log.append(&one, Origin::Client, 0, NOW_MS), Err(AppendError::Storage(_))));
            assert_eq!(all_records(&log).len(), 4);
        }
        file_system.heal();
        assert_eq!(append(&mut log, &one), 4);
        let before = all_records(&log);
        drop(log);
        assert_eq!(all_records(&open(dir.path(), LogConfig::default()).0), before);
    }
}

#[test]
fn a_short_write_is_completed() {
    let (dir, file_system) = (temporary_dir(), Arc::new(TestFileSystem::default()));
    let mut log = open_on(&file_system, dir.path(), LogConfig::default());
    append(&mut log, &batch(Compression::None, &[NOW_MS; 4]));
    for _ in 0..3 {
        file_system.fail("append", 0, Fault::Short);
        append(&mut log, &batch(Compression::None, &[NOW_MS; 4]));
    }
    assert_eq!(all_records(&log).len(), 16);
}

#[test]
fn a_write_that_cannot_be_undone_takes_the_log_offline() {
    let (dir, file_system) = (temporary_dir(), Arc::new(TestFileSystem::default()));
    let one = batch(Compression::None, &[NOW_MS; 4]);
    let mut log = open_on(&file_system, dir.path(), LogConfig::default());
    append(&mut log, &one);
    file_system.fail("append", 0, Fault::HalfThenError(EIO));
    file_system.fail("truncate", 0, Fault::Error(EIO));
    let offline = |error| matches!(error, AppendError::Storage(StorageError::Offline { .. }));
    assert!(!offline(log.append(&one, Origin::Client, 0, NOW_MS).unwrap_err()));
    assert!(offline(log.append(&one, Origin::Client, 0, NOW_MS).unwrap_err()));
    assert_eq!(all_records(&log).len(), 4);
    drop(log);
    let (mut log, recovered) = open(dir.path(), LogConfig::default());
    assert!(recovered.truncated_bytes > 0);
    assert_eq!(append(&mut log, &one), 4);
}

#[test]
fn after_a_failed_fsync_nothing_is_written() {
    let (dir, file_system) = (temporary_dir(), Arc::new(TestFileSystem::default()));
    let one = batch(Compression::None, &[NOW_MS; 4]);
    let mut log = open_on(&file_system, dir.path(), LogConfig::default());
    append(&mut log, &one);
    file_system.fail("sync_data", 0, Fault::Error(EIO));
    assert!(matches!(log.flush(), Err(StorageError::Io { operation: "sync", .. })));
    assert!(matches!(log.flush(), Err(StorageError::Offline { .. })));
    assert!(log.append(&one, Origin::Client, 0, NOW_MS).is_err());
    assert_eq!(all_records(&log).len(), 4);
    assert!(log.close().is_err());
}

#[test]
fn a_failed_read_is_an_error_and_no_more() {
    let (dir, file_system) = (temporary_dir(), Arc::new(TestFileSystem::default()));
    let mut log = open_on(&file_system, dir.path(), small_segments());
    for _ in 0..40 {
        append(&mut log, &batch(Compression::None, &[NOW_MS; 4]));
    }
    file_system.fail_always("read_at", Fault::Error(EIO));
    assert!(log.read(17, 160, 300, true).is_err());
    file_system.heal();
    assert_eq!(all_records(&log).len(), 160);
}

#[test]
fn without_descriptors_idle_files_are_closed() {
    const EMFILE: i32 = 24;
    let (dir, file_system) = (temporary_dir(), Arc::new(TestFileSystem::default()));
    let mut log = open_on(&file_system, dir.path(), small_segments());
    for _ in 0..40 {
        append(&mut log, &batch(Compression::None, &[NOW_MS; 4]));
    }
    all_records(&log);
    log.sealed[0].release();
    file_system.fail("open", 0, Fault::Error(EMFILE));
    assert_eq!(all_records(&log).len(), 160);
}
