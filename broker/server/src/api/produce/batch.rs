//! What a producer sends for a partition: that it is one whole batch, and what its attributes say. Decodes no more than that.

use crate::errors::RequestError;
use bytes::Bytes;

/// Batch length and what stands before it.
const BATCH_OVERHEAD_BYTES: usize = 12;
/// Where the attributes of a batch stand.
const ATTRIBUTES_POSITION: usize = 21;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CODEC_BITS: i16 = 7;
const ZSTD: i16 = 4;

pub fn is_transactional(batch: &[u8]) -> bool {
    attributes(batch).unwrap_or(0) & TRANSACTIONAL_BIT != 0
}

pub fn is_zstd(batch: &[u8]) -> bool {
    attributes(batch).unwrap_or(0) & CODEC_BITS == ZSTD
}

/// The one batch that a partition's records must be; a cut-off rest behind it is ignored, as in Kafka.
pub fn only_batch(mut records: Bytes) -> Result<Bytes, RequestError> {
    let size = batch_size(&records).ok_or(RequestError::NotOneBatch)?;
    let rest = records.split_off(size);
    if batch_size(&rest).is_some() { Err(RequestError::NotOneBatch) } else { Ok(records) }
}

/// The size of the batch at the beginning, if all of it is there.
fn batch_size(records: &[u8]) -> Option<usize> {
    let length = records.get(8..BATCH_OVERHEAD_BYTES)?.first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    let size = length.checked_add(BATCH_OVERHEAD_BYTES)?;
    (size <= records.len()).then_some(size)
}

fn attributes(batch: &[u8]) -> Option<i16> {
    let attributes = batch.get(ATTRIBUTES_POSITION..)?.first_chunk::<2>()?;
    Some(i16::from_be_bytes(*attributes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn batch(length: i32, body: usize) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend(std::iter::repeat_n(0, body));
        bytes
    }

    #[test]
    fn exactly_one_whole_batch() {
        let whole = batch(10, 10);
        assert_eq!(only_batch(whole.clone().into()).unwrap().len(), 22);
        let half_behind = [&whole[..], &whole[..15]].concat();
        assert_eq!(only_batch(half_behind.into()).unwrap().len(), 22);
        for wrong in
            [vec![], vec![0; 7], batch(11, 10), batch(-1, 10), batch(i32::MAX, 10), [whole.clone(), whole].concat()]
        {
            assert_eq!(only_batch(wrong.into()).unwrap_err().code(), 87);
        }
    }
}
