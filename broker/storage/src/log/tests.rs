//! The log as its callers use it: append, read, reopen, search by time.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    record_batch::{BatchHeader, Compression},
    testing::*,
};
use bytes::{Bytes, BytesMut};

#[test]
fn what_is_appended_is_read_again_after_a_clean_stop() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), small_segments());
    for round in 0..200 {
        let timestamps: Vec<i64> = (0..=round % 7).map(|at| NOW_MS + round * 10 + at).collect();
        append(&mut log, &batch(Compression::None, &timestamps));
    }
    assert!(log.sealed.len() > 3);
    let (before, end) = (all_records(&log), log.log_end_offset());
    assert_eq!(before.len(), usize::try_from(end).unwrap());
    log.close().unwrap();
    let (log, recovered) = open(dir.path(), small_segments());
    assert_eq!((recovered.scanned_bytes, recovered.truncated_bytes), (0, 0));
    assert_eq!(all_records(&log), before);
}

#[test]
fn what_is_appended_is_read_again_after_a_kill() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), small_segments());
    let mut checkpointed = 0;
    for round in 0..100 {
        append(&mut log, &batch(Compression::Lz4, &[NOW_MS + round, NOW_MS]));
        if round == 60 {
            log.checkpoint().unwrap();
            checkpointed = log.size_bytes();
        }
    }
    let (before, size) = (all_records(&log), log.size_bytes());
    drop(log);
    let (mut log, recovered) = open(dir.path(), small_segments());
    assert_eq!(recovered.scanned_bytes, size - checkpointed);
    assert_eq!(all_records(&log), before);
    assert_eq!(append(&mut log, &batch(Compression::None, &[NOW_MS])), 200);
}

#[test]
fn reads_are_whole_batches_within_their_limits() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), small_segments());
    let one = batch(Compression::None, &[NOW_MS; 3]);
    for _ in 0..60 {
        append(&mut log, &one);
    }
    for max_bytes in [1, one.len(), one.len() * 2 + 1, 1000, 5000] {
        assert_eq!(all_batches(&log, max_bytes).len(), 60);
    }
    assert!(log.read(0, 180, one.len() - 1, false).unwrap().is_none());
    assert_eq!(log.read(0, 180, one.len() - 1, true).unwrap().unwrap().length, one.len());
    assert_eq!(log.read(4, 180, one.len() * 2 + 5, true).unwrap().unwrap().length, one.len() * 2);
    let slice = log.read(4, 9, 10_000, true).unwrap().unwrap();
    assert_eq!((slice.base_offset, slice.length), (3, one.len() * 2));
    assert!(log.read(9, 9, 10_000, true).unwrap().is_none());
    assert!(log.read(180, 180, 10_000, true).unwrap().is_none());
}

#[test]
fn batches_are_stored_as_they_came_but_for_offset_and_epoch() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig::default());
    let sent = batch(Compression::Zstd, &[NOW_MS, NOW_MS + 1]);
    append(&mut log, &sent);
    log.append(&sent, Origin::Client, 7, NOW_MS).unwrap();
    let stored = all_batches(&log, 1 << 20).pop().unwrap();
    assert_eq!((stored.header.base_offset, stored.header.partition_leader_epoch), (2, 7));
    assert_eq!(stored.bytes.slice(16..), sent.slice(16..));
    assert_eq!(log.end_offset_for_leader_epoch(0), Some((0, 2)));
    assert_eq!(log.end_offset_for_leader_epoch(9), Some((7, 4)));
}

#[test]
fn log_append_time_is_the_brokers() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig { log_append_time: true, ..LogConfig::default() });
    let appended = log.append(&batch(Compression::Gzip, &[5, 6]), Origin::Client, 0, NOW_MS).unwrap();
    assert_eq!(appended.log_append_time_ms, NOW_MS);
    assert!(all_records(&log).iter().all(|record| record.timestamp_ms == NOW_MS));
    assert_eq!(log.offset_for_timestamp(6).unwrap().unwrap().offset, 0);
}

#[test]
fn several_batches_come_from_inside_only() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig::default());
    let one = batch(Compression::None, &[NOW_MS, NOW_MS]);
    let both = Bytes::from([&one[..], &one[..]].concat());
    assert!(matches!(log.append(&both, Origin::Client, 0, NOW_MS), Err(AppendError::InvalidRecord(_))));
    let appended = log.append(&both, Origin::Internal, 0, NOW_MS).unwrap();
    assert_eq!((appended.base_offset, appended.last_offset), (0, 3));
    assert_eq!(all_records(&log).iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

/// The batch with a changed header, and the CRC made right again.
fn altered(bytes: &Bytes, alter: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::decode(bytes).unwrap();
    alter(&mut header);
    let mut out = BytesMut::from(&bytes[..]);
    out[..61].copy_from_slice(&header.encode());
    let crc = crc32c::crc32c(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out.freeze()
}

#[test]
fn what_kafka_refuses_is_refused() {
    let dir = temporary_dir();
    let config = LogConfig { max_message_bytes: 500, ..LogConfig::default() };
    let (mut log, _) = open(dir.path(), config);
    let good = batch(Compression::None, &[NOW_MS, NOW_MS]);
    let mut refuse = |bytes: &Bytes| log.append(bytes, Origin::Client, 0, NOW_MS).unwrap_err();
    let mut flipped = BytesMut::from(&good[..]);
    flipped[70] ^= 1;
    let mut old = BytesMut::from(&good[..]);
    old[16] = 1;
    assert!(matches!(refuse(&flipped.freeze()), AppendError::Corrupt(_)));
    assert!(matches!(refuse(&old.freeze()), AppendError::UnsupportedMagic(1)));
    assert!(matches!(refuse(&good.slice(..good.len() - 1)), AppendError::Corrupt(_)));
    assert!(matches!(refuse(&good.slice(..20)), AppendError::Corrupt(_)));
    assert!(matches!(refuse(&Bytes::new()), AppendError::InvalidRecord(_)));
    assert!(matches!(refuse(&batch(Compression::None, &[0; 20])), AppendError::TooLarge { limit: 500, .. }));
    assert!(matches!(refuse(&altered(&good, |header| header.record_count = 3)), AppendError::InvalidRecord(_)));
    assert!(matches!(refuse(&altered(&good, |header| header.record_count = -1)), AppendError::InvalidRecord(_)));
    assert!(matches!(refuse(&altered(&good, |header| header.batch_length = 48)), AppendError::Corrupt(_)));
    assert!(matches!(refuse(&altered(&good, |header| header.attributes |= 0x20)), AppendError::InvalidRecord(_)));
    assert!(matches!(refuse(&altered(&good, |header| header.attributes |= 7)), AppendError::InvalidRecord(_)));
    assert!(matches!(refuse(&altered(&good, |header| header.producer_id = 1)), AppendError::InvalidRecord(_)));
    let late = batch(Compression::None, &[NOW_MS + 3_600_001]);
    assert!(matches!(refuse(&late), AppendError::InvalidRecords { is_about_time: true, .. }));
    assert_eq!((log.log_end_offset(), log.size_bytes()), (0, 0));
}

#[test]
fn a_compacted_log_wants_keys() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig { compacted: true, ..LogConfig::default() });
    append(&mut log, &batch(Compression::Snappy, &[NOW_MS]));
    let mut builder = crate::record_batch::BatchBuilder::new(Compression::Zstd);
    builder.push(NOW_MS, None, Some(b"value"), &[]);
    assert!(matches!(
        log.append(&builder.build(), Origin::Client, 0, NOW_MS),
        Err(AppendError::InvalidRecords { count: 1, .. })
    ));
}

#[test]
fn a_deleted_logs_slices_stay_readable() {
    let dir = temporary_dir();
    let (mut log, _) = open(&dir.path().join("topic-0"), LogConfig::default());
    append(&mut log, &batch(Compression::None, &[NOW_MS]));
    let slice = log.read(0, 1, 1 << 20, true).unwrap().unwrap();
    drop(log);
    let doomed = dir.path().join(format!("topic-0.x{DELETE_SUFFIX}"));
    std::fs::rename(dir.path().join("topic-0"), &doomed).unwrap();
    let doomed = Doomed::directory(Arc::new(crate::file_system::RealFileSystem), doomed, 0);
    doomed.remove().unwrap();
    doomed.remove().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(slice.read().unwrap().len(), slice.length);
}

#[test]
fn a_batch_sent_again_is_answered_with_its_first_offset_also_after_a_restart() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), small_segments());
    let sent: Vec<Bytes> = (0..40).map(|round| producer_batch((5, 0, round * 4), 4)).collect();
    for one in &sent {
        append(&mut log, one);
    }
    for clean in [true, false] {
        let again = log.append(&sent[37], Origin::Client, 0, NOW_MS).unwrap();
        assert_eq!((again.duplicate, again.base_offset, again.last_offset), (true, 148, 151));
        assert_eq!(log.log_end_offset(), 160);
        if clean {
            log.close().unwrap()
        } else {
            drop(log)
        }
        log = open(dir.path(), small_segments()).0;
    }
    let refused = log.append(&sent[0], Origin::Client, 0, NOW_MS).unwrap_err();
    assert!(matches!(refused, AppendError::OutOfOrderSequence { expected: 160, got: 0, .. }));
}

#[test]
fn segments_roll_by_the_records_own_time() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig { segment_ms: 1000, ..LogConfig::default() });
    for (timestamp, sealed) in [(NOW_MS, 0), (NOW_MS + 1000, 0), (NOW_MS + 1001, 1), (NOW_MS, 1), (NOW_MS + 2002, 2)] {
        append(&mut log, &batch(Compression::None, &[timestamp]));
        assert_eq!(log.sealed.len(), sealed, "{timestamp}");
    }
}

#[test]
fn a_segment_rolls_before_its_relative_offsets_overflow() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig::default());
    append(&mut log, &batch(Compression::None, &[NOW_MS]));
    assert!(log.active.has_room(i64::from(i32::MAX), 10 << 20));
    assert!(!log.active.has_room(i64::from(i32::MAX) + 1, 10 << 20));
}

#[test]
fn a_closed_file_is_opened_again_where_it_is_needed() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), small_segments());
    for round in 0..100 {
        append(&mut log, &batch(Compression::None, &[NOW_MS + round; 5]));
        log.segments().for_each(Segment::release);
    }
    assert!(log.sealed.len() > 5);
    let before = all_records(&log);
    log.segments().for_each(Segment::release);
    assert_eq!(log.offset_of_max_timestamp().unwrap().unwrap().offset, 495);
    log.flush().unwrap();
    log.segments().for_each(Segment::release);
    log.checkpoint().unwrap();
    assert_eq!(all_records(&log), before);
}

#[test]
fn a_slice_outlives_the_closing_of_its_file() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig::default());
    append(&mut log, &batch(Compression::None, &[NOW_MS; 5]));
    let slice = log.read(0, 5, 10_000, true).unwrap().unwrap();
    log.active.release();
    drop(log);
    assert_eq!(slice.read().unwrap().len(), slice.length);
}

mod properties {
    use super::*;
    use proptest::{collection::vec, prelude::*, sample::select};

    fn appended() -> impl Strategy<Value = Vec<(Compression, Vec<i64>)>> {
        let compression = select(vec![
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ]);
        vec((compression, vec(0i64..3000, 1..8)), 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// The first record with at least this timestamp, found as a linear scan finds it; before and after a restart.
        #[test]
        fn search_by_time(batches in appended(), interval in 1u32..2000) {
            let dir = temporary_dir();
            let config = LogConfig { index_interval_bytes: interval, ..small_segments() };
            let (mut log, _) = open(dir.path(), config.clone());
            for (compression, timestamps) in &batches {
                append(&mut log, &batch(*compression, timestamps));
            }
            let all: Vec<i64> = batches.iter().flat_map(|(_, timestamps)| timestamps.iter().copied()).collect();
            for reopened in [false, true] {
                for wanted in (0..3050).step_by(61).chain(all.iter().copied().take(20)) {
                    let expected = all.iter().position(|timestamp| *timestamp >= wanted).map(|at| (at as i64, all[at]));
                    let found = log.offset_for_timestamp(wanted).unwrap();
                    prop_assert_eq!(found.map(|found| (found.offset, found.timestamp_ms)), expected);
                }
                let max = all.iter().max().unwrap();
                let first = all.iter().position(|timestamp| timestamp == max).map(|at| at as i64);
                prop_assert_eq!(log.offset_of_max_timestamp().unwrap().map(|found| found.offset), first);
                if !reopened {
                    log.close().unwrap();
                    log = open(dir.path(), config.clone()).0;
                }
            }
        }

        /// Every read begins with the batch that holds the offset and ends where a linear scan says.
        #[test]
        fn reads(batches in appended(), interval in 1u32..2000, max_bytes in 1usize..3000, reopen: bool) {
            let dir = temporary_dir();
            let config = LogConfig { index_interval_bytes: interval, ..small_segments() };
            let (mut log, _) = open(dir.path(), config.clone());
            for (compression, timestamps) in &batches {
                append(&mut log, &batch(*compression, timestamps));
            }
            if reopen {
                log.close().unwrap();
                log = open(dir.path(), config).0;
            }
            let headers: Vec<BatchHeader> = all_batches(&log, 1).iter().map(|batch| batch.header).collect();
            let end = log.log_end_offset();
            for offset in 0..end {
                let first = headers.iter().position(|header| header.last_offset() >= offset).unwrap();
                let slice = log.read(offset, end, max_bytes, true).unwrap().unwrap();
                prop_assert_eq!(slice.base_offset, headers[first].base_offset);
                let got: Vec<BatchHeader> = crate::record_batch::batches(slice.read().unwrap()).map(|batch| batch.unwrap().header).collect();
                prop_assert_eq!(&got[..], &headers[first..first + got.len()]);
                let next = headers.get(first + got.len());
                let full = next.is_none_or(|next| slice.length + next.size() > max_bytes || is_segment_start(&log, next.base_offset));
                prop_assert!(full && (slice.length <= max_bytes || got.len() == 1));
            }
        }
    }

    fn is_segment_start(log: &Log, offset: i64) -> bool {
        log.segments().any(|segment| segment.base_offset() == offset)
    }
}

/// A new partition makes no file for its first leader epoch; with the first checkpoint, or the second epoch, it is there.
#[test]
fn leader_epochs_are_written_with_the_first_checkpoint() {
    let epochs = |dir: &Path| std::fs::read_to_string(dir.join(leader_epochs::FILE_NAME)).ok();
    let one = batch(Compression::None, &[NOW_MS]);
    let append = |log: &mut Log, epoch| log.append(&one, Origin::Client, epoch, NOW_MS).unwrap();
    type End = fn(Log);
    let ends: [(End, Option<&str>); 4] = [
        (drop, None),
        (|mut log| log.checkpoint().unwrap(), Some("0\n1\n3 0\n")),
        (|log| log.close().unwrap(), Some("0\n1\n3 0\n")),
        (|mut log| log.roll(NOW_MS).unwrap(), Some("0\n1\n3 0\n")),
    ];
    for (end, expected) in ends {
        let dir = temporary_dir();
        let (mut log, _) = open(dir.path(), LogConfig::default());
        append(&mut log, 3);
        append(&mut log, 3);
        assert_eq!(epochs(dir.path()), None);
        end(log);
        assert_eq!(epochs(dir.path()).as_deref(), expected);
        let (mut log, _) = open(dir.path(), LogConfig::default());
        assert_eq!(log.end_offset_for_leader_epoch(3), Some((3, 2)));
        append(&mut log, 4);
        assert_eq!(epochs(dir.path()).as_deref(), Some("0\n2\n3 0\n4 2\n"));
    }
}
