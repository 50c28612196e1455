//! Control batches: the markers by which the transaction coordinator ends a transaction (KIP-98).
//!
//! One record: key `version i16 = 0, type i16` (0 abort, 1 commit), value `version i16 = 0, coordinator epoch i32`.

use super::{BatchBuilder, BatchError, RecordBatch};
use bytes::Bytes;

/// A control record is a few bytes; nobody compresses it.
const MAX_CONTROL_BYTES: usize = 1024;
const VERSION: i16 = 0;

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionResult {
    Abort,
    Commit,
}

/// What the record in a control batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTransactionMarker {
    pub result: TransactionResult,
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    /// The control batch that ends the producer's transaction on a partition; to be appended as [`crate::Origin::Coordinator`].
    pub fn batch(&self, producer_id: i64, producer_epoch: i16, timestamp_ms: i64) -> Bytes {
        let kind: i16 = match self.result {
            TransactionResult::Abort => 0,
            TransactionResult::Commit => 1,
        };
        let key = [VERSION.to_be_bytes(), kind.to_be_bytes()].concat();
        let value = [&VERSION.to_be_bytes()[..], &self.coordinator_epoch.to_be_bytes()].concat();
        let mut builder = BatchBuilder::control(producer_id, producer_epoch);
        builder.push(timestamp_ms, Some(&key), Some(&value), &[]);
        builder.build()
    }

    /// What a control batch says; an error if its record ends no transaction.
    pub fn read(batch: &RecordBatch) -> Result<Self, BatchError> {
        let records = batch.open(MAX_CONTROL_BYTES)?;
        let record = records.iter().next().ok_or_else(|| BatchError::new("a control batch without a record"))??;
        Self::decode(record.key, record.value)
            .ok_or_else(|| BatchError::new("a control record that ends no transaction"))
    }

    fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Self> {
        let (version, mut rest) = key?.split_first_chunk()?;
        let (kind, _) = rest.split_first_chunk()?;
        let result = match i16::from_be_bytes(*kind) {
            0 => TransactionResult::Abort,
            1 => TransactionResult::Commit,
            _ => return None,
        };
        rest = value?;
        let (value_version, rest) = rest.split_first_chunk()?;
        let (coordinator_epoch, _) = rest.split_first_chunk()?;
        // Later versions add fields behind these.
        let known = i16::from_be_bytes(*version) >= 0 && i16::from_be_bytes(*value_version) >= 0;
        known.then_some(Self { result, coordinator_epoch: i32::from_be_bytes(*coordinator_epoch) })
    }
}
