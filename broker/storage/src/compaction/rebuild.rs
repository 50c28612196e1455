//! A batch with fewer records, or none. Pure.
//!
//! Base offset, last offset delta, sequence and leader epoch stay, whatever is taken out: so offsets and sequences keep their
//! meaning. A record's bytes hold deltas only, and are copied as they are; when a delete horizon takes the place of the base
//! timestamp (KIP-534) the timestamp deltas are written anew.

use crate::{
    compression,
    record_batch::{
        BatchError, BatchHeader, HEADER_LENGTH, LENGTH_PREFIX, RecordBatch,
        varint::{read_varint, read_varlong, varlong_length, write_varlong},
    },
};

/// Most bytes of a batch: the length on disk is an i32.
const MAX_BATCH_BYTES: usize = i32::MAX as usize;

/// What is left of a batch.
#[derive(Debug, Default)]
pub(super) struct Remaining<'a> {
    /// Each record as it lies in the batch, its length in front.
    pub records: Vec<&'a [u8]>,
    pub max_timestamp: i64,
}

/// The batch with the remaining records only; `horizon_ms`: a delete horizon that it is to get.
pub(super) fn with_records(
    batch: &RecordBatch,
    remaining: &Remaining<'_>,
    horizon_ms: Option<i64>,
) -> Result<RecordBatch, BatchError> {
    let mut header = batch.header;
    let mut plain = Vec::with_capacity(remaining.records.iter().map(|record| record.len()).sum());
    match horizon_ms {
        None => remaining.records.iter().for_each(|record| plain.extend_from_slice(record)),
        Some(horizon_ms) => {
            let shift = header.base_timestamp.wrapping_sub(horizon_ms);
            for record in &remaining.records {
                write_shifted(&mut plain, record, shift)
                    .ok_or_else(|| BatchError::new("a record that was read before cannot be read again"))?;
            }
            header = header.with_delete_horizon(horizon_ms);
        }
    }
    if !header.is_log_append_time() {
        header.max_timestamp = remaining.max_timestamp;
    }
    header.record_count = i32::try_from(remaining.records.len()).unwrap_or(i32::MAX);
    let codec = batch.compression()?;
    let compressed = compression::compress(codec, None, &plain)
        .map_err(|error| BatchError::new(format!("records cannot be compressed again: {error}")))?;
    assemble(header, compressed.as_deref().unwrap_or(&plain))
}

/// No record at all: what keeps a producer's last sequence, and the last offset of a segment.
pub(super) fn empty(batch: &RecordBatch) -> Result<RecordBatch, BatchError> {
    let mut header = batch.header.without_records();
    header.record_count = 0;
    assemble(header, &[])
}

fn assemble(mut header: BatchHeader, records: &[u8]) -> Result<RecordBatch, BatchError> {
    let length = HEADER_LENGTH - LENGTH_PREFIX + records.len();
    header.batch_length = i32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_BATCH_BYTES - LENGTH_PREFIX)
        .ok_or_else(|| BatchError::new("compressed again, the batch is too large"))?;
    header.crc = header.crc_over(records);
    Ok(RecordBatch { header, bytes: [&header.encode()[..], records].concat().into() })
}

/// The record with a timestamp delta that is greater by `shift`; the rest as it was.
fn write_shifted(out: &mut Vec<u8>, record: &[u8], shift: i64) -> Option<()> {
    let mut rest = record;
    let _length = read_varint(&mut rest)?;
    let (attributes, fields) = rest.split_first()?;
    rest = fields;
    let delta = read_varlong(&mut rest)?.wrapping_add(shift);
    let length = 1 + varlong_length(delta) + rest.len();
    write_varlong(out, i64::try_from(length).ok()?);
    out.push(*attributes);
    write_varlong(out, delta);
    out.extend_from_slice(rest);
    Some(())
}
