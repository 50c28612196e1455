//! Record batches, format 2 (KIP-98): reading, checking and building them.
//!
//! Used by the log, by consumers inside the process (aggregator, MQTT gateway) and to build what they write.

use bytes::Bytes;

/// `attributes & 7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Why bytes are not a record batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BatchError(pub String);

/// The 61 bytes before the records.
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

/// One whole batch; cloning shares the bytes.
#[derive(Debug, Clone)]
pub struct RecordBatch {
    pub header: BatchHeader,
    pub bytes: Bytes,
}

/// One record, owned slices of the (decompressed) batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// The batches in `bytes`, one after the other; a cut-off last one (as fetch responses may end) ends the iteration.
/// Structure is checked, the CRC only by [`RecordBatch::check_crc`].
pub fn batches(bytes: Bytes) -> impl Iterator<Item = Result<RecordBatch, BatchError>> {
    let _ = bytes;
    std::iter::empty()
}

impl RecordBatch {
    pub fn check_crc(&self) -> Result<(), BatchError> {
        todo!()
    }

    pub fn compression(&self) -> Result<Compression, BatchError> {
        todo!()
    }

    /// Transaction markers, not data.
    pub fn is_control(&self) -> bool {
        todo!()
    }

    /// The records; decompressing stops with an error at `max_decompressed_bytes`.
    pub fn records(&self, max_decompressed_bytes: usize) -> Result<Vec<Record>, BatchError> {
        let _ = max_decompressed_bytes;
        todo!()
    }
}

/// Builds one batch with base offset 0, to be placed by [`crate::Log::append`].
#[derive(Debug, Default)]
pub struct BatchBuilder {}

impl BatchBuilder {
    pub fn new(compression: Compression) -> Self {
        let _ = compression;
        todo!()
    }

    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        let _ = (timestamp_ms, key, value, headers);
        todo!()
    }

    /// Marks the batch as an idempotent producer's: its records bear the sequences from `base_sequence` on.
    pub fn idempotent(&mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) {
        let _ = (producer_id, producer_epoch, base_sequence);
        todo!()
    }

    /// Bytes so far, before compression.
    pub fn size_bytes(&self) -> usize {
        todo!()
    }

    pub fn is_empty(&self) -> bool {
        todo!()
    }

    pub fn build(self) -> Bytes {
        todo!()
    }
}
