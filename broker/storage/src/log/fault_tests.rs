//! Every call of the file system fails once, somewhere in the life of a log: no space, no file descriptor, short writes, a failed
//! fsync. What is refused is sent again, as a client does; in the end nothing is lost, doubled or left behind.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::testing::*;
use bytes::Bytes;
use std::{fs, sync::Arc};

const ROUNDS: i32 = 60;
/// Tries of one append: each fault is met once.
const TRIES: usize = 3;

fn round_batch(round: i32) -> Bytes {
    producer_batch((7, 0, round * 5), 5)
}

/// A life of appends, rolls, syncs and checkpoints; what fails is tried again. False: the log went offline.
fn live(log: &mut Log) -> bool {
    for round in 0..ROUNDS {
        let append = |log: &mut Log| log.append(&round_batch(round), Origin::Client, round / 25, NOW_MS);
        let tried = (0..TRIES).map(|_| append(log)).find(|tried| tried.is_ok() || is_offline(tried));
        match tried {
            Some(Ok(appended)) => assert_eq!(appended.base_offset, i64::from(round) * 5),
            _ => return false,
        }
        // Whether these fail or not is nobody's concern but the log's.
        if round % 3 == 2 {
            let _ = log.flush();
        }
        if round % 7 == 6 {
            let _ = log.checkpoint();
        }
        let end = log.log_end_offset();
        assert!(log.read(end - 5, end, 1 << 20, true).is_ok() || log.read(end - 5, end, 1 << 20, true).is_ok());
    }
    true
}

fn is_offline(tried: &Result<Appended, AppendError>) -> bool {
    matches!(tried, Err(AppendError::Storage(StorageError::Offline { .. })))
}

/// Lives with the fault at every call of `operation`, and again without closing in between.
fn sweep(operation: &'static str, fault: Fault) -> usize {
    for nth in 0.. {
        let (dir, file_system) = (temporary_dir(), Arc::new(TestFileSystem::default()));
        let mut log = open_on(&file_system, dir.path(), small_segments());
        file_system.fail(operation, nth, fault);
        let context = format!("{operation} {nth}: {fault:?}");
        assert!(live(&mut log), "{context}: offline");
        let was_met = !file_system.has_faults_left();
        if was_met {
            check(log, dir.path(), &context);
            continue;
        }
        // The last calls are those of the stop.
        let closed = log.close();
        if file_system.has_faults_left() {
            closed.unwrap();
            return nth;
        }
        check(open(dir.path(), small_segments()).0, dir.path(), &context);
    }
    unreachable!("the loop ends with the calls")
}

fn check(log: Log, dir: &Path, context: &str) {
    let records = all_records(&log);
    assert_eq!(records.len(), usize::try_from(ROUNDS).unwrap() * 5, "{context}");
    log.close().unwrap_or_else(|error| panic!("{context}: {error}"));
    let (log, recovered) = open(dir, small_segments());
    assert_eq!((recovered.scanned_bytes, recovered.truncated_bytes), (0, 0), "{context}");
    assert_eq!(all_records(&log), records, "{context}");
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let junk: Vec<String> = names.filter(|name| name.ends_with(".tmp")).collect();
    assert_eq!(junk, Vec::<String>::new(), "{context}");
}

#[test]
fn no_space_at_any_write_or_name_costs_one_refusal() {
    for errno in [ENOSPC, EDQUOT] {
        assert!(sweep("append", Fault::Error(errno)) > 60);
        assert!(sweep("append", Fault::HalfThenError(errno)) > 60);
        assert!(sweep("create", Fault::Error(errno)) > 10);
        assert!(sweep("rename", Fault::Error(errno)) > 5);
    }
}

#[test]
fn no_file_descriptor_at_any_open_costs_one_refusal() {
    assert!(sweep("open", Fault::Error(EMFILE)) > 10);
    assert!(sweep("create", Fault::Error(EMFILE)) > 10);
    assert!(sweep("sync_dir", Fault::Error(EMFILE)) > 3);
}

#[test]
fn short_writes_of_every_length_are_completed() {
    let length = round_batch(0).len();
    for most in 1..length {
        let (dir, file_system) = (temporary_dir(), Arc::new(TestFileSystem::default()));
        let mut log = open_on(&file_system, dir.path(), small_segments());
        for round in 0..3 {
            file_system.fail("append", 0, Fault::ShortOf(most));
            log.append(&round_batch(round), Origin::Client, 0, NOW_MS).unwrap();
        }
        let records = all_records(&log);
        assert_eq!(records.len(), 15, "{most}");
        drop(log);
        assert_eq!(all_records(&open(dir.path(), small_segments()).0), records);
    }
}

#[test]
fn nothing_is_acknowledged_after_a_failed_fsync_whichever_it_is() {
    for nth in 0.. {
        let (dir, file_system) = (temporary_dir(), Arc::new(TestFileSystem::default()));
        let mut log = open_on(&file_system, dir.path(), small_segments());
        file_system.fail("sync_data", nth, Fault::Error(EIO));
        let lived = live(&mut log);
        if file_system.has_faults_left() {
            assert!(lived && nth > 20);
            return;
        }
        let end = log.log_end_offset();
        if !lived {
            assert!(log.durable_offset() < end, "{nth}");
            assert!(matches!(log.begin_sync(), Err(StorageError::Offline { .. })));
            assert!(matches!(log.begin_checkpoint(), Err(StorageError::Offline { .. })));
        }
        assert_eq!(i64::try_from(all_records(&log).len()).unwrap(), end, "{nth}: reads go on");
        drop(log);
        let (log, _) = open(dir.path(), small_segments());
        assert_eq!(log.log_end_offset(), end, "{nth}");
    }
}

#[test]
fn with_fsync_readers_see_what_is_durable_and_the_watermark_never_goes_back() {
    let dir = temporary_dir();
    let fsync = LogConfig { durability: Durability::Fsync, ..small_segments() };
    let (mut log, _) = open(dir.path(), fsync.clone());
    append(&mut log, &round_batch(0));
    assert_eq!((log.high_watermark(), log.log_end_offset()), (0, 5));
    let work = log.begin_sync().unwrap().unwrap();
    append(&mut log, &round_batch(1));
    let done = work.run();
    log.finish_sync(done).unwrap();
    assert_eq!((log.high_watermark(), log.log_end_offset()), (5, 10));
    log.set_config(small_segments());
    assert_eq!(log.high_watermark(), 10);
    log.set_config(fsync.clone());
    assert_eq!((log.high_watermark(), log.durable_offset()), (10, 5));
    append(&mut log, &round_batch(2));
    assert_eq!(log.high_watermark(), 10);
    drop(log);
    assert_eq!(open(dir.path(), fsync).0.high_watermark(), 15);
}

#[test]
fn flush_messages_counts_from_the_last_sync() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig { flush_messages: 10, ..LogConfig::default() });
    append(&mut log, &round_batch(0));
    assert!(!log.flush_is_due());
    append(&mut log, &round_batch(1));
    assert!(log.flush_is_due());
    log.flush().unwrap();
    assert!(!log.flush_is_due());
}
