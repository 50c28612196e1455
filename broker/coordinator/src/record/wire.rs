//! Kafka's primitive types, read with bounds and written. Knows nothing of records.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// Why bytes are not a record of `__consumer_offsets` or `__transaction_state`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("cut off")]
    Truncated,
    #[error("a length is negative or too large")]
    BadLength,
    #[error("a string is not UTF-8")]
    BadString,
    #[error("{what} version {version} is not known")]
    UnknownVersion { what: &'static str, version: i16 },
}

/// A varint holds at most 32 bits, in groups of 7.
const MAX_VARINT_BYTES: u32 = 5;

#[derive(Debug)]
pub(super) struct Reader(Bytes);

impl Reader {
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.0.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(self.0.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.as_ref().try_into().map_err(|_| DecodeError::Truncated)
    }

    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.array().map(Uuid::from_bytes)
    }

    pub fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for group in 0..MAX_VARINT_BYTES {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f).checked_shl(group * 7).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::BadLength)
    }

    pub fn nullable_string(&mut self) -> Result<Option<String>, DecodeError> {
        match self.i16()? {
            -1 => Ok(None),
            length => self.text(usize::try_from(length).map_err(|_| DecodeError::BadLength)?).map(Some),
        }
    }

    pub fn string(&mut self) -> Result<String, DecodeError> {
        self.nullable_string()?.ok_or(DecodeError::BadLength)
    }

    pub fn nullable_compact_string(&mut self) -> Result<Option<String>, DecodeError> {
        self.compact_length()?.map(|length| self.text(length)).transpose()
    }

    pub fn compact_string(&mut self) -> Result<String, DecodeError> {
        self.nullable_compact_string()?.ok_or(DecodeError::BadLength)
    }

    fn text(&mut self, length: usize) -> Result<String, DecodeError> {
        let bytes = self.take(length)?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| DecodeError::BadString)
    }

    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = usize::try_from(self.i32()?).map_err(|_| DecodeError::BadLength)?;
        self.own(length)
    }

    pub fn compact_bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.compact_length()?.ok_or(DecodeError::BadLength)?;
        self.own(length)
    }

    /// A copy: what is kept for long must not hold on to the buffer that the record was read in.
    fn own(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        self.take(length).map(|bytes| Bytes::copy_from_slice(&bytes))
    }

    /// The number of elements. The caller must not allocate by it: each element is read or the array is cut off.
    pub fn array_length(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.i32()?).map_err(|_| DecodeError::BadLength)
    }

    pub fn nullable_array_length(&mut self) -> Result<Option<usize>, DecodeError> {
        match self.i32()? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| DecodeError::BadLength),
        }
    }

    pub fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let length = usize::try_from(self.varint()?).map_err(|_| DecodeError::BadLength)?;
        Ok(length.checked_sub(1))
    }

    /// Calls `field` with each tagged field's number and content.
    pub fn tagged_fields(
        &mut self,
        mut field: impl FnMut(u32, Reader) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = usize::try_from(self.varint()?).map_err(|_| DecodeError::BadLength)?;
            field(tag, Reader(self.take(size)?))?;
        }
        Ok(())
    }
}

/// Writes what [`Reader`] reads. Strings and arrays over their format's limit are cut by the coordinator's own limits
/// long before they come here.
#[derive(Debug, Default)]
pub(super) struct Writer(BytesMut);

impl Writer {
    pub fn i8(&mut self, value: i8) {
        self.0.put_i8(value);
    }

    pub fn i16(&mut self, value: i16) {
        self.0.put_i16(value);
    }

    pub fn i32(&mut self, value: i32) {
        self.0.put_i32(value);
    }

    pub fn i64(&mut self, value: i64) {
        self.0.put_i64(value);
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.0.put_slice(value.as_bytes());
    }

    pub fn varint(&mut self, mut value: u32) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.0.put_u8(low & 0x7f);
            }
            self.0.put_u8(low | 0x80);
        }
    }

    pub fn string(&mut self, value: &str) {
        debug_assert!(i16::try_from(value.len()).is_ok(), "a string over the record format's limit");
        self.i16(i16::try_from(value.len()).unwrap_or(i16::MAX));
        self.0.put_slice(value.as_bytes());
    }

    pub fn nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None => self.i16(-1),
        }
    }

    pub fn compact_string(&mut self, value: &str) {
        self.varint(u32::try_from(value.len()).map_or(u32::MAX, |length| length.saturating_add(1)));
        self.0.put_slice(value.as_bytes());
    }

    pub fn nullable_compact_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.compact_string(value),
            None => self.varint(0),
        }
    }

    pub fn compact_bytes(&mut self, value: &[u8]) {
        self.compact_array(Some(value.len()));
        self.0.put_slice(value);
    }

    pub fn bytes(&mut self, value: &[u8]) {
        self.array_length(value.len());
        self.0.put_slice(value);
    }

    /// The length of a compact array; none is null.
    pub fn compact_array(&mut self, length: Option<usize>) {
        self.varint(
            length.map_or(0, |length| u32::try_from(length).map_or(u32::MAX, |length| length.saturating_add(1))),
        );
    }

    /// Tagged fields, in the order of their numbers.
    pub fn tagged_fields(&mut self, fields: &[(u32, Vec<u8>)]) {
        self.varint(u32::try_from(fields.len()).unwrap_or(u32::MAX));
        for (tag, content) in fields {
            self.varint(*tag);
            self.varint(u32::try_from(content.len()).unwrap_or(u32::MAX));
            self.0.put_slice(content);
        }
    }

    pub fn array_length(&mut self, length: usize) {
        self.i32(i32::try_from(length).unwrap_or(i32::MAX));
    }

    pub fn finish(self) -> Bytes {
        self.0.freeze()
    }
}
