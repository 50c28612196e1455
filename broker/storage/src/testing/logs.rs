//! Batches, logs in temporary directories, everything a log holds.

use crate::{
    Log, LogConfig, Origin, Recovered,
    file_system::{FileSystem, RealFileSystem},
    record_batch::{BatchBuilder, BatchHeader, Compression, HEADER_LENGTH, Record, RecordBatch, batches},
};
use bytes::Bytes;
use std::{path::Path, sync::Arc};

pub(crate) const NOW_MS: i64 = 1_721_046_896_000;
pub(crate) const CAP: usize = 16 << 20;

/// Removed with the value. In memory where there is such a place: the tests sync thousands of times.
pub(crate) fn temporary_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// One batch of records with these timestamps; key and value tell them apart.
pub(crate) fn batch(compression: Compression, timestamps: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(compression);
    fill(&mut builder, timestamps);
    builder.build()
}

pub(crate) fn producer_batch(producer: (i64, i16, i32), records: usize) -> Bytes {
    let mut builder = BatchBuilder::default();
    builder.idempotent(producer.0, producer.1, producer.2);
    fill(&mut builder, &vec![NOW_MS; records]);
    builder.build()
}

/// The control batch that ends a producer's transaction: kind 0 aborts, 1 commits.
pub(crate) fn marker(producer_id: i64, kind: i16, now_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::default();
    builder.idempotent(producer_id, 0, -1);
    let key = [0i16.to_be_bytes(), kind.to_be_bytes()].concat();
    builder.push(now_ms, Some(&key), Some(&[0; 6]), &[]);
    altered(&builder.build(), |header| header.attributes |= 0x30)
}

/// The batch with a changed header, and the CRC made right again.
pub(crate) fn altered(bytes: &Bytes, alter: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::decode(bytes).unwrap();
    alter(&mut header);
    let mut out = bytes.to_vec();
    out[..HEADER_LENGTH].copy_from_slice(&header.encode());
    let crc = crc32c::crc32c(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out.into()
}

/// Files in `dir` that a cleaning has not finished.
pub(crate) fn half_cleaned(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".cleaned") || name.ends_with(".swap")).count()
}

fn fill(builder: &mut BatchBuilder, timestamps: &[i64]) {
    for (at, timestamp) in timestamps.iter().enumerate() {
        let (key, value) = (format!("key-{at}"), format!("value-{timestamp}-{}", "x".repeat(at % 50)));
        builder.push(*timestamp, Some(key.as_bytes()), Some(value.as_bytes()), &[(b"header", None)]);
    }
}

pub(crate) fn open(dir: &Path, config: LogConfig) -> (Log, Recovered) {
    Log::open(Arc::new(RealFileSystem), dir, config, NOW_MS).unwrap()
}

pub(crate) fn open_on(file_system: &Arc<impl FileSystem>, dir: &Path, config: LogConfig) -> Log {
    Log::open(file_system.clone(), dir, config, NOW_MS).unwrap().0
}

pub(crate) fn append(log: &mut Log, batch: &Bytes) -> i64 {
    log.append(batch, Origin::Client, 0, NOW_MS).unwrap().base_offset
}

/// Small segments and a dense index.
pub(crate) fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 4096, index_interval_bytes: 200, ..LogConfig::default() }
}

/// Every batch, read from the start with this `max_bytes`; CRCs checked.
pub(crate) fn all_batches(log: &Log, max_bytes: usize) -> Vec<RecordBatch> {
    let (mut offset, mut out) = (log.log_start_offset(), Vec::new());
    while let Some(slice) = log.read(offset, log.log_end_offset(), max_bytes, true).unwrap() {
        for batch in batches(slice.read().unwrap()) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            offset = batch.header.last_offset() + 1;
            out.push(batch);
        }
    }
    assert_eq!(offset, log.log_end_offset());
    out
}

pub(crate) fn all_records(log: &Log) -> Vec<Record> {
    all_batches(log, 1 << 20).iter().flat_map(|batch| batch.records(CAP).unwrap()).collect()
}
