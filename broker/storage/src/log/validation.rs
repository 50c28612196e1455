//! What a batch must be before it is appended: Kafka's rules, read off the batch header and the CRC.
//!
//! Pure: bytes and settings in, batches or a refusal out.

use super::{AppendError, LogConfig, Origin};
use crate::record_batch::{BatchHeader, HEADER_LENGTH, LENGTH_PREFIX, MAGIC_POSITION, RecordBatch};
use bytes::Bytes;

/// The batches in `bytes`, all of them fit to be appended.
pub(super) fn validate(
    bytes: &Bytes,
    origin: Origin,
    config: &LogConfig,
    now_ms: i64,
) -> Result<Vec<RecordBatch>, AppendError> {
    let mut batches = Vec::with_capacity(1);
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        if origin == Origin::Client && !batches.is_empty() {
            return Err(AppendError::InvalidRecord("a produce request holds one record batch a partition".into()));
        }
        batches.push(split_first(&mut rest)?);
    }
    for batch in &batches {
        check(batch, origin, config, now_ms)?;
    }
    if batches.is_empty() {
        return Err(AppendError::InvalidRecord("no record batch".into()));
    }
    Ok(batches)
}

/// Takes the first batch off, once its length is known to be there.
fn split_first(rest: &mut Bytes) -> Result<RecordBatch, AppendError> {
    if let Some(magic) = rest.get(MAGIC_POSITION).filter(|magic| **magic != 2) {
        return Err(AppendError::UnsupportedMagic(magic.cast_signed()));
    }
    let header = BatchHeader::decode(rest).map_err(|error| match error {
        _ if rest.len() < HEADER_LENGTH => AppendError::Corrupt(format!("{} bytes are no record batch", rest.len())),
        error => refusal(rest, error.0),
    })?;
    if header.size() > rest.len() {
        let (size, there) = (header.size(), rest.len());
        return Err(AppendError::Corrupt(format!("a batch of {size} bytes, of which {there} are there")));
    }
    Ok(RecordBatch { header, bytes: rest.split_to(header.size()) })
}

/// A length that cannot be is corruption; counts and offsets that cannot be are an invalid record.
fn refusal(bytes: &[u8], reason: String) -> AppendError {
    let length =
        bytes.get(8..LENGTH_PREFIX).and_then(|length| length.first_chunk()).map(|length| i32::from_be_bytes(*length));
    let least = i32::try_from(HEADER_LENGTH - LENGTH_PREFIX).unwrap_or(i32::MAX);
    if length.is_none_or(|length| length < least) {
        AppendError::Corrupt(reason)
    } else {
        AppendError::InvalidRecord(reason)
    }
}

fn check(batch: &RecordBatch, origin: Origin, config: &LogConfig, now_ms: i64) -> Result<(), AppendError> {
    if origin == Origin::Client {
        check_size(batch, config)?;
    }
    batch.check_crc().map_err(|error| AppendError::Corrupt(error.0))?;
    let header = &batch.header;
    if header.record_count < 1 || i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
        return invalid(format!("{} records, last offset delta {}", header.record_count, header.last_offset_delta));
    }
    batch.compression().map_err(|error| AppendError::InvalidRecord(error.0))?;
    if origin == Origin::Client {
        check_client_rules(header)?;
        check_timestamps(header, config, now_ms)?;
    }
    if config.compacted && !header.is_control() {
        check_keys(batch, config)?;
    }
    Ok(())
}

fn check_size(batch: &RecordBatch, config: &LogConfig) -> Result<(), AppendError> {
    let limit = config.max_message_bytes.min(config.segment_bytes);
    let size = batch.bytes.len();
    if u32::try_from(size).is_ok_and(|size| size <= limit) {
        Ok(())
    } else {
        Err(AppendError::TooLarge { size, limit })
    }
}

fn check_client_rules(header: &BatchHeader) -> Result<(), AppendError> {
    if header.base_offset != 0 {
        return invalid(format!("the base offset is {} instead of 0", header.base_offset));
    }
    if header.is_control() {
        return invalid("clients do not write control batches".into());
    }
    if header.is_log_append_time() {
        return Err(AppendError::InvalidTimestamp("a client's batch claims to bear the broker's time".into()));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return invalid(format!("producer {} without a sequence", header.producer_id));
    }
    Ok(())
}

/// The header's bounds stand for the records: it names the first record's time and the highest.
fn check_timestamps(header: &BatchHeader, config: &LogConfig, now_ms: i64) -> Result<(), AppendError> {
    let (first, max) = (header.base_timestamp, header.max_timestamp);
    if config.log_append_time || max < 0 {
        return Ok(());
    }
    if max.saturating_sub(now_ms) > config.timestamp_after_max_ms {
        return Err(AppendError::InvalidTimestamp(format!("{max} is too far ahead of the broker's {now_ms}")));
    }
    if first >= 0 && now_ms.saturating_sub(first) > config.timestamp_before_max_ms {
        return Err(AppendError::InvalidTimestamp(format!("{first} is too far behind the broker's {now_ms}")));
    }
    Ok(())
}

fn check_keys(batch: &RecordBatch, config: &LogConfig) -> Result<(), AppendError> {
    let mut without_key = 0usize;
    batch
        .for_each_record(config.max_decompressed_message_bytes, |record| {
            without_key += usize::from(record.key.is_none())
        })
        .map_err(|error| AppendError::InvalidRecord(error.0))?;
    if without_key == 0 { Ok(()) } else { invalid(format!("{without_key} records of a compacted topic have no key")) }
}

fn invalid<T>(reason: String) -> Result<T, AppendError> {
    Err(AppendError::InvalidRecord(reason))
}
