//! The 61 bytes before the records. Layout in docs/data-format.md.

use super::{BatchError, Compression};
use bytes::Bytes;

/// Bytes of a batch before its records.
pub const HEADER_LENGTH: usize = 61;
/// Base offset and batch length, which the batch length does not count.
pub(crate) const LENGTH_PREFIX: usize = 12;
/// Where the format number stands, in every format.
pub(crate) const MAGIC_POSITION: usize = 16;
/// Base offset, batch length, leader epoch: what the broker patches; no CRC covers it.
pub(crate) const PATCHED_PREFIX: usize = 16;
/// From the attributes on, the CRC covers everything.
pub(crate) const CRC_START: usize = 21;

const COMPRESSION_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
pub(super) const TRANSACTIONAL: i16 = 0x10;
pub(super) const CONTROL: i16 = 0x20;
/// KIP-534: the base timestamp is the time after which tombstones and markers in this batch may go.
const DELETE_HORIZON: i16 = 0x40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes after this field.
    pub batch_length: i32,
    pub partition_leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header and checks that it can be one; `bytes` may go on behind it.
    pub fn decode(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = Self::fields(bytes)
            .ok_or_else(|| BatchError::new(format!("{} bytes are too few for a batch header", bytes.len())))?;
        header.check()?;
        Ok(header)
    }

    fn fields(bytes: &[u8]) -> Option<BatchHeader> {
        let mut rest = bytes.get(..HEADER_LENGTH)?;
        Some(BatchHeader {
            base_offset: i64::from_be_bytes(take(&mut rest)?),
            batch_length: i32::from_be_bytes(take(&mut rest)?),
            partition_leader_epoch: i32::from_be_bytes(take(&mut rest)?),
            magic: i8::from_be_bytes(take(&mut rest)?),
            crc: u32::from_be_bytes(take(&mut rest)?),
            attributes: i16::from_be_bytes(take(&mut rest)?),
            last_offset_delta: i32::from_be_bytes(take(&mut rest)?),
            base_timestamp: i64::from_be_bytes(take(&mut rest)?),
            max_timestamp: i64::from_be_bytes(take(&mut rest)?),
            producer_id: i64::from_be_bytes(take(&mut rest)?),
            producer_epoch: i16::from_be_bytes(take(&mut rest)?),
            base_sequence: i32::from_be_bytes(take(&mut rest)?),
            record_count: i32::from_be_bytes(take(&mut rest)?),
        })
    }

    fn check(&self) -> Result<(), BatchError> {
        if self.magic != 2 {
            return Err(BatchError::new(format!("record format {} instead of 2", self.magic)));
        }
        let body = usize::try_from(self.batch_length).unwrap_or(0);
        if body < HEADER_LENGTH - LENGTH_PREFIX {
            return Err(BatchError::new(format!("batch length {} is too small", self.batch_length)));
        }
        if self.base_offset < 0 || self.base_offset.checked_add(i64::from(self.last_offset_delta)).is_none() {
            return Err(BatchError::new(format!("base offset {} is out of range", self.base_offset)));
        }
        if self.last_offset_delta < 0 || self.record_count < 0 {
            return Err(BatchError::new(format!(
                "{} records up to offset delta {}",
                self.record_count, self.last_offset_delta
            )));
        }
        Ok(())
    }

    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut out = [0; HEADER_LENGTH];
        let mut rest = &mut out[..];
        put(&mut rest, &self.base_offset.to_be_bytes());
        put(&mut rest, &self.batch_length.to_be_bytes());
        put(&mut rest, &self.partition_leader_epoch.to_be_bytes());
        put(&mut rest, &self.magic.to_be_bytes());
        put(&mut rest, &self.crc.to_be_bytes());
        put(&mut rest, &self.attributes.to_be_bytes());
        put(&mut rest, &self.last_offset_delta.to_be_bytes());
        put(&mut rest, &self.base_timestamp.to_be_bytes());
        put(&mut rest, &self.max_timestamp.to_be_bytes());
        put(&mut rest, &self.producer_id.to_be_bytes());
        put(&mut rest, &self.producer_epoch.to_be_bytes());
        put(&mut rest, &self.base_sequence.to_be_bytes());
        put(&mut rest, &self.record_count.to_be_bytes());
        out
    }

    /// The header with this timestamp type and highest timestamp; the CRC is due if it differs.
    pub(crate) fn with_timestamps(mut self, is_log_append_time: bool, max_timestamp: i64) -> Self {
        self.attributes &= !LOG_APPEND_TIME;
        if is_log_append_time {
            self.attributes |= LOG_APPEND_TIME;
        }
        self.max_timestamp = max_timestamp;
        self
    }

    /// A batch without records that stands for these offsets, as Kafka's cleaner leaves where all records are gone.
    pub(crate) fn empty(base_offset: i64, last_offset_delta: i32, partition_leader_epoch: i32) -> Self {
        let mut header = Self {
            base_offset,
            batch_length: i32::try_from(HEADER_LENGTH - LENGTH_PREFIX).unwrap_or(0),
            partition_leader_epoch,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        };
        header.crc = header.crc_over(&[]);
        header
    }

    /// The header for the same records in another codec, and the whole batch; the CRC is due.
    pub(crate) fn with_payload(mut self, codec: Compression, payload: &[u8]) -> (Self, Bytes) {
        self.attributes = self.attributes & !COMPRESSION_MASK | codec.id();
        self.batch_length = i32::try_from(HEADER_LENGTH - LENGTH_PREFIX + payload.len()).unwrap_or(i32::MAX);
        (self, Bytes::from([&self.encode()[..], payload].concat()))
    }

    /// CRC-32C over everything behind the CRC field: the rest of this header, and the records.
    pub(crate) fn crc_over(&self, records: &[u8]) -> u32 {
        let header = self.encode();
        crc32c::crc32c_append(crc32c::crc32c(header.get(CRC_START..).unwrap_or_default()), records)
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        LENGTH_PREFIX + usize::try_from(self.batch_length).unwrap_or(0)
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// Sequence number of the last record; wraps from i32::MAX to 0.
    pub fn last_sequence(&self) -> i32 {
        crate::producer_state::sequence_add(self.base_sequence, self.last_offset_delta)
    }

    /// `attributes & 7`: the number of the compression codec.
    pub fn compression_id(&self) -> i16 {
        self.attributes & COMPRESSION_MASK
    }

    /// Records bear the broker's append time, which is the batch's max timestamp.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// KIP-534: after when compaction may drop the tombstones, or the marker, in this batch (ms since the epoch).
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// The header with a delete horizon; the records' timestamp deltas and the CRC are due.
    pub(crate) fn with_delete_horizon(mut self, horizon_ms: i64) -> Self {
        self.attributes |= DELETE_HORIZON;
        self.base_timestamp = horizon_ms;
        self
    }

    /// The header of a batch whose records are all gone, as Kafka leaves it; length and CRC are due.
    pub(crate) fn without_records(mut self) -> Self {
        self.attributes &= LOG_APPEND_TIME | TRANSACTIONAL | CONTROL;
        self.base_timestamp = -1;
        self.record_count = 0;
        self
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Transaction markers, not data.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// Writes over the front of `rest`, which is long enough by the layout.
fn put(rest: &mut &mut [u8], bytes: &[u8]) {
    let (head, tail) = std::mem::take(rest).split_at_mut(bytes.len());
    head.copy_from_slice(bytes);
    *rest = tail;
}
