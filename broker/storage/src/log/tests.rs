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
    for round in 0..100 {
        append(&mut log, &batch(Compression::Lz4, &[NOW_MS + round, NOW_MS]));
    }
    let (before, active) = (all_records(&log), log.active.size());
    drop(log);
    let (mut log, recovered) = open(dir.path(), small_segments());
    assert_eq!(recovered.scanned_bytes, active);
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
    assert!(matches!(refuse(&late), AppendError::InvalidTimestamp(_)));
    assert_eq!((log.log_end_offset(), log.size_bytes()), (0, 0));
}

#[test]
fn a_compacted_log_wants_keys() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig { compacted: true, ..LogConfig::default() });
    append(&mut log, &batch(Compression::Snappy, &[NOW_MS]));
    let mut builder = crate::record_batch::BatchBuilder::new(Compression::Zstd);
    builder.push(NOW_MS, None, Some(b"value"), &[]);
    assert!(matches!(log.append(&builder.build(), Origin::Client, 0, NOW_MS), Err(AppendError::InvalidRecord(_))));
}

#[test]
fn a_deleted_logs_slices_stay_readable() {
    let dir = temporary_dir();
    let (mut log, _) = open(&dir.path().join("topic-0"), LogConfig::default());
    append(&mut log, &batch(Compression::None, &[NOW_MS]));
    let slice = log.read(0, 1, 1 << 20, true).unwrap().unwrap();
    log.delete().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(slice.read().unwrap().len(), slice.length);
}
