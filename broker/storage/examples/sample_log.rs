//! Writes a log with every kind of file into a directory, to be looked at with Apache Kafka's own tools
//! (docs/data-format.md says how): `cargo run -p tifo-storage --example sample_log -- DIR`.

use bytes::Bytes;
use std::{path::PathBuf, sync::Arc};
use tifo_storage::{
    Log, LogConfig, Origin,
    file_system::RealFileSystem,
    record_batch::{BatchBuilder, Compression, EndTransactionMarker, TransactionResult},
    write_partition_metadata,
};

const START_MS: i64 = 1_721_046_896_000;
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("usage: sample_log DIR")?);
    let config = LogConfig { segment_bytes: 64 * 1024, ..LogConfig::default() };
    let (mut log, _) = Log::open(Arc::new(RealFileSystem), &dir, config.clone(), START_MS)?;
    write_partition_metadata(&RealFileSystem, &dir, uuid::Uuid::new_v4())?;
    for number in 0..600 {
        let now_ms = START_MS + i64::from(number) * 1000;
        log.append(&sample_batch(number, now_ms), Origin::Client, number / 400, now_ms)?;
    }
    log.set_config(LogConfig { log_append_time: true, ..config });
    log.append(&sample_batch(600, 0), Origin::Client, 1, START_MS + 700_000)?;
    transactions(&mut log)?;
    log.close()?;
    Ok(())
}

/// One aborted, one committed, one left open.
fn transactions(log: &mut Log) -> Result<(), Box<dyn std::error::Error>> {
    for producer_id in 10..13 {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.idempotent(producer_id, 0, 0);
        builder.transactional();
        builder.push(START_MS, Some(b"key"), Some(b"value"), &[]);
        log.append(&builder.build(), Origin::Client, 1, START_MS)?;
    }
    for (producer_id, result) in [(10, TransactionResult::Abort), (11, TransactionResult::Commit)] {
        let marker = EndTransactionMarker { result, coordinator_epoch: 3 }.batch(producer_id, 0, START_MS);
        log.append(&marker, Origin::Coordinator, 1, START_MS)?;
    }
    Ok(())
}

fn sample_batch(number: i32, now_ms: i64) -> Bytes {
    let codec = CODECS[number.unsigned_abs() as usize % CODECS.len()];
    let (producer_id, turn) = (i64::from(number % 3), number / 3);
    let mut builder = BatchBuilder::new(codec);
    builder.idempotent(producer_id, 0, turn * 10);
    for at in 0..10 {
        let (key, value) = (format!("key-{at}"), format!("value-{number}-{at}-{}", "x".repeat(50)));
        let value = (at != 9).then_some(value.as_bytes());
        builder.push(now_ms - at, Some(key.as_bytes()), value, &[("header".as_bytes(), Some("value".as_bytes()))]);
    }
    builder.build()
}
