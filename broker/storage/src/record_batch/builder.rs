//! Building a batch from records.

use super::{
    BatchHeader, Compression, HEADER_LENGTH,
    header::{CONTROL, LENGTH_PREFIX, TRANSACTIONAL},
    varint::{varlong_length, write_varint, write_varlong},
};
use crate::compression;
use bytes::Bytes;

/// Builds one batch with base offset 0, to be placed by [`crate::Log::append`].
#[derive(Debug)]
pub struct BatchBuilder {
    compression: Compression,
    records: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    producer: (i64, i16, i32),
    flags: i16,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new(Compression::None)
    }
}

impl BatchBuilder {
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            records: Vec::new(),
            count: 0,
            base_timestamp: -1,
            max_timestamp: -1,
            producer: (-1, -1, -1),
            flags: 0,
        }
    }

    /// A control batch of the transaction coordinator.
    pub(super) fn control(producer_id: i64, producer_epoch: i16) -> Self {
        let producer = (producer_id, producer_epoch, -1);
        Self { producer, flags: CONTROL | TRANSACTIONAL, ..Self::default() }
    }

    /// Marks the batch as an idempotent producer's (KIP-98): its records bear the sequences from `base_sequence` on.
    pub fn idempotent(&mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) {
        self.producer = (producer_id, producer_epoch, base_sequence);
    }

    /// Marks the batch as part of the producer's open transaction; needs [`Self::idempotent`].
    pub fn transactional(&mut self) {
        self.flags |= TRANSACTIONAL;
    }

    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        if self.count == 0 {
            self.base_timestamp = timestamp_ms;
            self.max_timestamp = timestamp_ms;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        let timestamp_delta = timestamp_ms.wrapping_sub(self.base_timestamp);
        let length = record_length(timestamp_delta, self.count, key, value, headers);
        let out = &mut self.records;
        write_varlong(out, i64::try_from(length).unwrap_or(i64::MAX));
        out.push(0);
        write_varlong(out, timestamp_delta);
        write_varint(out, self.count);
        write_nullable(out, key);
        write_nullable(out, value);
        write_varlong(out, length_of(headers.len()));
        for (name, value) in headers {
            write_nullable(out, Some(name));
            write_nullable(out, *value);
        }
        self.count += 1;
    }

    /// Bytes so far, before compression.
    pub fn size_bytes(&self) -> usize {
        HEADER_LENGTH + self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch; without any record, no bytes at all, for the format knows no such batch from a client.
    pub fn build(self) -> Bytes {
        if self.is_empty() {
            return Bytes::new();
        }
        // A codec that fails into memory has no better answer than the records as they are.
        let (codec, body) = match compression::compress(self.compression, None, &self.records) {
            Ok(Some(body)) => (self.compression, body),
            Ok(None) | Err(_) => (Compression::None, self.records),
        };
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let header = BatchHeader {
            base_offset: 0,
            batch_length: i32::try_from(HEADER_LENGTH - LENGTH_PREFIX + body.len()).unwrap_or(i32::MAX),
            partition_leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes: codec.id() | self.flags,
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            record_count: self.count,
        };
        assemble(header, &body)
    }
}

fn assemble(mut header: BatchHeader, body: &[u8]) -> Bytes {
    header.crc = header.crc_over(body);
    let mut out = Vec::with_capacity(HEADER_LENGTH + body.len());
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(body);
    Bytes::from(out)
}

fn record_length(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&[u8], Option<&[u8]>)],
) -> usize {
    let headers_length: usize =
        headers.iter().map(|(name, value)| nullable_length(Some(name)) + nullable_length(*value)).sum();
    1 + varlong_length(timestamp_delta)
        + varlong_length(i64::from(offset_delta))
        + nullable_length(key)
        + nullable_length(value)
        + varlong_length(length_of(headers.len()))
        + headers_length
}

fn nullable_length(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_length(length_of(bytes.len())) + bytes.len())
}

pub(super) fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => write_varint(out, -1),
        Some(bytes) => {
            write_varlong(out, length_of(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

fn length_of(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
