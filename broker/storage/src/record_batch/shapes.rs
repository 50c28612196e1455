//! The shape of every record of a batch: lengths and deltas, nothing of keys, values and headers but where they end.
//!
//! This is what an append costs a record, so it touches a few bytes of each and allocates nothing. Most records of a batch are as
//! long as the one before and of the same millisecond: whoever differs from it by its offset only is recognised by three
//! comparisons ([`Pattern`]), the others are taken apart. Both ways accept the same bytes.

use super::{BatchError, varint::read_varint, varint::read_varlong};

/// What a record's varints say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    let (mut rest, mut pattern) = (payload, Pattern::default());
    for index in 0..count {
        if let Some(tail) = pattern.skip(rest, index) {
            rest = tail;
            visit(&pattern.shape);
        } else if let Some(parsed) = Parsed::first(rest, index) {
            rest = parsed.tail;
            pattern = Pattern::of(&parsed).unwrap_or_default();
            visit(&parsed.shape);
        } else {
            return Err(BatchError::new(format!("record {index} of {count} is malformed or out of order")));
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(BatchError::new(format!("{} bytes behind the last record", rest.len()))) }
}

/// A record, taken apart.
struct Parsed<'a> {
    shape: RecordShape,
    /// All of it, its length in front.
    record: &'a [u8],
    /// Where its offset delta, its key and its value's length begin, and where its value does.
    offset_at: usize,
    key_at: usize,
    value_length_at: usize,
    value_at: usize,
    /// One byte says that there are none.
    has_no_headers: bool,
    tail: &'a [u8],
}

impl<'a> Parsed<'a> {
    /// The record at the beginning of `payload`, which must be number `index`.
    #[inline]
    fn first(payload: &'a [u8], index: i32) -> Option<Self> {
        let mut rest = payload;
        let length = usize::try_from(read_varint(&mut rest)?).ok()?;
        let (mut body, tail) = rest.split_at_checked(length)?;
        let record = payload.get(..payload.len() - tail.len())?;
        let at = |body: &[u8]| record.len() - body.len();
        let (_attributes, fields) = body.split_first()?;
        body = fields;
        let timestamp_delta = read_varlong(&mut body)?;
        let offset_at = at(body);
        if read_varint(&mut body)? != index {
            return None;
        }
        let key_length = read_length(&mut body)?;
        let key_at = at(body);
        body = body.get(key_length.unwrap_or(0)..)?;
        let value_length_at = at(body);
        let value_length = read_length(&mut body)?;
        let value_at = at(body);
        body = body.get(value_length.unwrap_or(0)..)?;
        let has_no_headers = body == [0];
        if !has_no_headers {
            skip_headers(body)?;
        }
        let shape = RecordShape { index, timestamp_delta, key_length };
        Some(Self { shape, record, offset_at, key_at, value_length_at, value_at, has_no_headers, tail })
    }
}

/// Count and headers, up to the end of the record.
fn skip_headers(mut body: &[u8]) -> Option<()> {
    let headers = u32::try_from(read_varint(&mut body)?).ok()?;
    for _ in 0..headers {
        let name_length = read_length(&mut body)??;
        body = body.get(name_length..)?;
        let value_length = read_length(&mut body)?;
        body = body.get(value_length.unwrap_or(0)..)?;
    }
    body.is_empty().then_some(())
}

/// None for null. The outer None means malformed.
#[inline]
fn read_length(rest: &mut &[u8]) -> Option<Option<usize>> {
    match read_varint(rest)? {
        -1 => Some(None),
        length => usize::try_from(length).ok().map(Some),
    }
}

/// Bytes that hold everything in front of a record's key in the usual case.
const FRONT_BYTES: usize = 16;
/// Bytes that hold the length of its value.
const VALUE_LENGTH_BYTES: usize = 4;
/// So many offset deltas in a row differ only in the low bits of their varint's first byte.
const OFFSETS_A_ROUND: i32 = 64;

/// What the next record looks like if it is like the one before: the bytes of its front up to the key (little-endian), those of
/// its value's length, its size, and no headers.
#[derive(Default)]
struct Pattern {
    front: u128,
    front_mask: u128,
    /// What makes an offset delta the next one.
    step: u128,
    value_length: u32,
    value_length_mask: u32,
    value_length_at: usize,
    size: usize,
    shape: RecordShape,
}

impl Pattern {
    /// None: the record is too small, too large or too rich to be recognised so.
    fn of(parsed: &Parsed<'_>) -> Option<Self> {
        let &Parsed { shape, record, offset_at, key_at, value_length_at, value_at, has_no_headers, .. } = parsed;
        let bits = |from: usize, to: usize| u32::try_from(to.checked_sub(from)?.checked_mul(8)?).ok();
        has_no_headers.then_some(())?;
        let value_length = record.get(value_length_at..)?.first_chunk::<VALUE_LENGTH_BYTES>()?;
        Some(Self {
            front: u128::from_le_bytes(*record.first_chunk::<FRONT_BYTES>()?),
            front_mask: u128::MAX.checked_shr(u128::BITS.checked_sub(bits(0, key_at)?)?)?,
            step: 2u128.checked_shl(bits(0, offset_at)?)?,
            value_length: u32::from_le_bytes(*value_length),
            value_length_mask: u32::MAX.checked_shr(u32::BITS.checked_sub(bits(value_length_at, value_at)?)?)?,
            value_length_at,
            size: record.len(),
            shape,
        })
    }

    /// What follows the record in front, if that is number `index` and like the one before.
    #[inline]
    fn skip<'a>(&mut self, rest: &'a [u8], index: i32) -> Option<&'a [u8]> {
        if index % OFFSETS_A_ROUND == 0 {
            return None;
        }
        self.front = self.front.wrapping_add(self.step);
        let (record, tail) = rest.split_at_checked(self.size)?;
        let front = u128::from_le_bytes(*record.first_chunk::<FRONT_BYTES>()?);
        let value_length = u32::from_le_bytes(*record.get(self.value_length_at..)?.first_chunk()?);
        let is_alike = (front ^ self.front) & self.front_mask == 0
            && (value_length ^ self.value_length) & self.value_length_mask == 0
            && record.last() == Some(&0);
        self.shape.index = index;
        is_alike.then_some(tail)
    }
}

#[cfg(test)]
#[path = "shapes_tests.rs"]
mod tests;
