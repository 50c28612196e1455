//! The shape of every record of a batch: lengths and deltas, nothing of keys, values and headers but where they end.
//!
//! This is what an append costs a record, so it touches a few bytes of each and allocates nothing.

use super::{BatchError, varint::read_varint, varint::read_varlong};

/// What a record's varints say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordShape {
    /// Place in the batch, which is its offset delta.
    pub index: i32,
    pub timestamp_delta: i64,
    /// None: the key is null.
    pub key_length: Option<usize>,
}

/// Shows `visit` each of `count` records in `payload`. They must be whole, in order from offset delta 0 on without a gap,
/// and nothing may lie behind the last.
pub(crate) fn shapes(payload: &[u8], count: i32, mut visit: impl FnMut(&RecordShape)) -> Result<(), BatchError> {
    let mut rest = payload;
    for index in 0..count {
        match next(&mut rest, index) {
            Some(shape) => visit(&shape),
            None => return Err(BatchError::new(format!("record {index} of {count} is malformed or out of order"))),
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(BatchError::new(format!("{} bytes behind the last record", rest.len()))) }
}

#[inline]
fn next(rest: &mut &[u8], index: i32) -> Option<RecordShape> {
    let length = usize::try_from(read_varint(rest)?).ok()?;
    let (mut body, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    let (_attributes, fields) = body.split_first()?;
    body = fields;
    let timestamp_delta = read_varlong(&mut body)?;
    if read_varint(&mut body)? != index {
        return None;
    }
    let key_length = skip_nullable(&mut body)?;
    skip_nullable(&mut body)?;
    let headers = u32::try_from(read_varint(&mut body)?).ok()?;
    for _ in 0..headers {
        skip_nullable(&mut body)??;
        skip_nullable(&mut body)?;
    }
    body.is_empty().then_some(RecordShape { index, timestamp_delta, key_length })
}

/// The length, None for null. The outer None means malformed.
#[inline]
fn skip_nullable(rest: &mut &[u8]) -> Option<Option<usize>> {
    let length = read_varint(rest)?;
    if length == -1 {
        return Some(None);
    }
    let length = usize::try_from(length).ok()?;
    *rest = rest.get(length..)?;
    Some(Some(length))
}
