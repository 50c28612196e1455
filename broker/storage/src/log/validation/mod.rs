//! What a batch must be before it is appended, and what it becomes: Kafka's rules, in Kafka's order.
//!
//! Pure: bytes and settings in, batches ready to be placed or a refusal out. A batch stays as it came unless the settings
//! want another codec or the broker's time, or its header gives a wrong highest timestamp; then header and CRC are made anew.
//! What this process writes itself is trusted as to its records; a client's records are walked, all of them.

mod records;
#[cfg(test)]
mod tests;

use super::{AppendError, LogConfig, Origin};
use crate::{
    compression::{self, Compression},
    record_batch::{BatchHeader, EndTransactionMarker, HEADER_LENGTH, LENGTH_PREFIX, MAGIC_POSITION, RecordBatch},
};
use bytes::Bytes;
use records::Walked;

/// A batch that may be appended.
#[derive(Debug)]
pub(super) struct Accepted {
    pub header: BatchHeader,
    /// The whole batch. Where `header` differs from what is in front of it, `header` counts.
    pub bytes: Bytes,
    /// The header is not the one in `bytes`.
    pub is_header_new: bool,
    /// What a control batch of the transaction coordinator says.
    pub marker: Option<EndTransactionMarker>,
}

/// The batches in `bytes`, all of them fit to be appended.
pub(super) fn validate(
    bytes: &Bytes,
    origin: Origin,
    config: &LogConfig,
    now_ms: i64,
) -> Result<Vec<Accepted>, AppendError> {
    let batches = split(bytes, origin)?;
    let accepted: Result<Vec<Accepted>, AppendError> =
        batches.into_iter().map(|batch| accept(batch, origin, config, now_ms)).collect();
    let accepted = accepted?;
    if origin == Origin::Client {
        let size = accepted.iter().map(|batch| batch.bytes.len()).sum();
        if !fits(size, config.segment_bytes) {
            return Err(AppendError::OverSegment { size, limit: config.segment_bytes });
        }
    }
    Ok(accepted)
}

fn split(bytes: &Bytes, origin: Origin) -> Result<Vec<RecordBatch>, AppendError> {
    let mut batches = Vec::with_capacity(1);
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        if origin == Origin::Client && !batches.is_empty() {
            return invalid("a produce request holds one record batch a partition".into());
        }
        batches.push(split_first(&mut rest)?);
    }
    if batches.is_empty() { invalid("no record batch".into()) } else { Ok(batches) }
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

fn accept(batch: RecordBatch, origin: Origin, config: &LogConfig, now_ms: i64) -> Result<Accepted, AppendError> {
    let header = &batch.header;
    if origin == Origin::Client {
        check_base_offset(header)?;
        check_size(batch.bytes.len(), config)?;
    }
    batch.check_crc().map_err(|error| AppendError::Corrupt(error.0))?;
    check_count(header)?;
    if header.is_control() && origin != Origin::Coordinator {
        return invalid("only the transaction coordinator writes control batches".into());
    }
    if origin == Origin::Client && header.has_producer_id() && header.base_sequence < 0 {
        return invalid(format!("producer {} without a sequence", header.producer_id));
    }
    let source = batch.compression().map_err(|error| AppendError::InvalidRecord(error.0))?;
    let target = if header.is_control() { source } else { config.compression.for_source(source) };
    if origin == Origin::Client || target != source || (config.compacted && !header.is_control()) {
        walk_and_rebuild(batch, source, target, origin, config, now_ms)
    } else {
        let marker = if header.is_control() { marker(&batch)? } else { None };
        let max_timestamp = header.max_timestamp;
        Ok(finish(batch, marker, max_timestamp, config, now_ms, false))
    }
}

/// The way of everything whose records are looked at.
fn walk_and_rebuild(
    batch: RecordBatch,
    source: Compression,
    target: Compression,
    origin: Origin,
    config: &LogConfig,
    now_ms: i64,
) -> Result<Accepted, AppendError> {
    let rules = records::Rules::of(config, origin, now_ms);
    records::with_plain(&batch, source, config.max_decompressed_message_bytes, |plain| {
        let Walked { max_timestamp } = records::walk(&batch.header, plain, &rules)?;
        let (batch, is_rebuilt) = match target == source {
            true => (batch.clone(), false),
            false => (rebuild(&batch.header, plain, target, config)?, true),
        };
        if is_rebuilt && origin == Origin::Client {
            check_size(batch.bytes.len(), config)?;
        }
        let max_timestamp = if origin == Origin::Client { max_timestamp } else { batch.header.max_timestamp };
        Ok(finish(batch, None, max_timestamp, config, now_ms, is_rebuilt))
    })
}

/// The same records in another codec; the CRC is due.
fn rebuild(
    header: &BatchHeader,
    plain: &[u8],
    target: Compression,
    config: &LogConfig,
) -> Result<RecordBatch, AppendError> {
    let payload = compression::compress(target, config.compression.level(), plain);
    let payload = payload.map_err(|error| AppendError::InvalidRecord(error.to_string()))?;
    let payload = payload.as_deref().unwrap_or(plain);
    let (header, bytes) = header.with_payload(target, payload);
    Ok(RecordBatch { header, bytes })
}

/// The header as it will be stored: timestamp type, highest timestamp, and the CRC if one of them is new.
fn finish(
    batch: RecordBatch,
    marker: Option<EndTransactionMarker>,
    max_timestamp: i64,
    config: &LogConfig,
    now_ms: i64,
    is_rebuilt: bool,
) -> Accepted {
    let max_timestamp = if config.log_append_time { now_ms } else { max_timestamp };
    let mut header = batch.header.with_timestamps(config.log_append_time, max_timestamp);
    let is_header_new = is_rebuilt || header != batch.header;
    if is_header_new {
        header.crc = header.crc_over(batch.bytes.get(HEADER_LENGTH..).unwrap_or_default());
    }
    Accepted { header, bytes: batch.bytes, is_header_new, marker }
}

/// What a control batch says. One without a record is what compaction leaves of it.
fn marker(batch: &RecordBatch) -> Result<Option<EndTransactionMarker>, AppendError> {
    if batch.header.record_count == 0 {
        return Ok(None);
    }
    EndTransactionMarker::read(batch).map(Some).map_err(|error| AppendError::InvalidRecord(error.0))
}

fn check_base_offset(header: &BatchHeader) -> Result<(), AppendError> {
    match header.base_offset {
        0 => Ok(()),
        other => invalid(format!("the base offset is {other} instead of 0")),
    }
}

fn check_size(size: usize, config: &LogConfig) -> Result<(), AppendError> {
    let limit = config.max_message_bytes;
    if fits(size, limit) { Ok(()) } else { Err(AppendError::TooLarge { size, limit }) }
}

fn fits(size: usize, limit: u32) -> bool {
    u32::try_from(size).is_ok_and(|size| size <= limit)
}

fn check_count(header: &BatchHeader) -> Result<(), AppendError> {
    if header.record_count < 1 || i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
        return invalid(format!("{} records, last offset delta {}", header.record_count, header.last_offset_delta));
    }
    Ok(())
}

fn invalid<T>(reason: String) -> Result<T, AppendError> {
    Err(AppendError::InvalidRecord(reason))
}
