//! The bounds walker: checks every length of a request before the codec decodes it.
//!
//! The codec allocates from lengths on the wire, so a five-byte body could ask for gigabytes. Each API declares the layout
//! of its request as a const table; the walker goes through the bytes with it and proves that each string fits into what
//! remains and that each array's elements could fit, before anything is allocated. It must never allocate itself, never
//! trust a length, and never accept what the codec reads differently (a property test holds the two together).

/// Most array elements and tagged fields in one request.
pub const MAX_ELEMENTS: usize = 1 << 20;

/// A request may decode to so many times its own bytes, or to `DECODED_ALLOWANCE` if that is more: an array of empty strings
/// takes two bytes an element on the wire and tens of them in memory.
pub const MAX_DECODED_FACTOR: usize = 4;
/// What the longest lists of honest clients stay below: about 90,000 topics in one request.
pub const DECODED_ALLOWANCE: usize = 8 << 20;

/// What the codec's types take in memory: a text or bytes, a list, the map of unknown tags, a node of that map.
const TEXT_MEMORY: usize = 32;
const LIST_MEMORY: usize = 24;
const TAGS_MEMORY: usize = 24;
const TAG_NODE_MEMORY: usize = 448;
/// Padding between the fields of a struct, at most.
const PADDING: usize = 16;

/// Most memory, in bytes, that a request of so many bytes may decode to.
pub fn decoded_limit(body: usize) -> usize {
    body.saturating_mul(MAX_DECODED_FACTOR).max(DECODED_ALLOWANCE)
}

/// The first flexible version of a request that has none.
pub const NEVER: i16 = i16::MAX;

/// Shape of one value on the wire.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Integers, booleans and uuids: so many bytes.
    Fixed(usize),
    String,
    NullableString,
    Bytes,
    NullableBytes,
    Array(&'static Kind),
    NullableArray(&'static Kind),
    Struct(&'static [Field]),
    /// A byte says whether it is there: 1, or -1.
    NullableStruct(&'static [Field]),
}

pub const BOOLEAN: Kind = Kind::Fixed(1);
pub const INT8: Kind = Kind::Fixed(1);
pub const INT16: Kind = Kind::Fixed(2);
pub const INT32: Kind = Kind::Fixed(4);
pub const INT64: Kind = Kind::Fixed(8);
pub const UUID: Kind = Kind::Fixed(16);

/// One field of a struct and the versions that have it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub(crate) kind: Kind,
    since: i16,
    until: i16,
    pub(crate) tag: Option<u32>,
}

/// A field that every version has.
pub const fn field(kind: Kind) -> Field {
    Field { kind, since: 0, until: i16::MAX, tag: None }
}

impl Field {
    /// First version that has the field.
    pub const fn since(mut self, version: i16) -> Self {
        self.since = version;
        self
    }

    /// Last version that has the field.
    pub const fn until(mut self, version: i16) -> Self {
        self.until = version;
        self
    }

    /// The field is a tagged one (KIP-482): it may be absent and stands in the tag section of its struct.
    pub const fn tag(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    pub(crate) fn is_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }
}

/// The layout of one API's request.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// From this version on: compact lengths and tag sections (KIP-482), request header 2.
    pub flexible_since: i16,
    pub fields: &'static [Field],
}

impl Layout {
    pub const fn new(flexible_since: i16, fields: &'static [Field]) -> Self {
        Self { flexible_since, fields }
    }

    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_since
    }
}

/// Why a request is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BoundsError {
    #[error("{wanted} bytes are claimed where {left} remain")]
    TooShort { wanted: usize, left: usize },
    #[error("an array claims {count} elements where {left} bytes remain")]
    ArrayTooLong { count: usize, left: usize },
    #[error("more than {MAX_ELEMENTS} elements")]
    TooManyElements,
    #[error("would take more than {limit} bytes of memory: send shorter lists")]
    TooLarge { limit: usize },
    #[error("negative length {0}")]
    NegativeLength(i64),
    #[error("null where a value is required")]
    UnexpectedNull,
    #[error("a variable-length integer is longer than five bytes")]
    LongVarint,
    #[error("{0} says neither that a structure is there nor that it is not")]
    UnexpectedMarker(i8),
    #[error("tag {0} is not valid in this version")]
    UnexpectedTag(u32),
    #[error("tagged field {0} is not as long as it says")]
    WrongTagSize(u32),
}

/// Walks a request body; returns how many bytes lie behind it.
pub fn walk(layout: &Layout, version: i16, body: &[u8]) -> Result<usize, BoundsError> {
    let mut walker = Walker::new(body, version, layout.is_flexible(version));
    walker.fields(layout.fields)?;
    Ok(walker.rest.len())
}

/// Walks what follows key, version and correlation id in a request header; returns how many bytes lie behind it.
/// The client id keeps its two-byte length even in flexible headers.
pub fn walk_header(flexible: bool, rest: &[u8]) -> Result<usize, BoundsError> {
    let mut walker = Walker::new(rest, 0, false);
    walker.value(&Kind::NullableString)?;
    if flexible {
        walker.compact = true;
        walker.tags(&[])?;
    }
    Ok(walker.rest.len())
}

struct Walker<'a> {
    rest: &'a [u8],
    version: i16,
    compact: bool,
    elements: usize,
    /// What the codec would have allocated so far, and may at most.
    decoded: usize,
    decoded_limit: usize,
}

impl<'a> Walker<'a> {
    fn new(rest: &'a [u8], version: i16, compact: bool) -> Self {
        Self { rest, version, compact, elements: 0, decoded: 0, decoded_limit: decoded_limit(rest.len()) }
    }

    fn fields(&mut self, fields: &'static [Field]) -> Result<(), BoundsError> {
        let version = self.version;
        for field in fields.iter().filter(|field| field.tag.is_none() && field.is_in(version)) {
            self.value(&field.kind)?;
        }
        if self.compact { self.tags(fields) } else { Ok(()) }
    }

    fn value(&mut self, kind: &Kind) -> Result<(), BoundsError> {
        match kind {
            Kind::Fixed(size) => self.skip(*size),
            Kind::String => self.text()?.ok_or(BoundsError::UnexpectedNull),
            Kind::NullableString => self.text().map(|_| ()),
            Kind::Bytes => self.bytes()?.ok_or(BoundsError::UnexpectedNull),
            Kind::NullableBytes => self.bytes().map(|_| ()),
            Kind::Array(element) => self.array(element)?.ok_or(BoundsError::UnexpectedNull),
            Kind::NullableArray(element) => self.array(element).map(|_| ()),
            Kind::Struct(fields) => self.fields(fields),
            Kind::NullableStruct(fields) => match i8::from_be_bytes(self.take()?) {
                1 => self.fields(fields),
                -1 => Ok(()),
                other => Err(BoundsError::UnexpectedMarker(other)),
            },
        }
    }

    fn text(&mut self) -> Result<Option<()>, BoundsError> {
        let length = if self.compact { self.compact_length()? } else { self.int16_length()? };
        length.map(|length| self.skip(length)).transpose()
    }

    fn bytes(&mut self) -> Result<Option<()>, BoundsError> {
        let length = self.length32()?;
        length.map(|length| self.skip(length)).transpose()
    }

    fn array(&mut self, element: &'static Kind) -> Result<Option<()>, BoundsError> {
        let Some(count) = self.length32()? else { return Ok(None) };
        let least = self.least(element).max(1);
        if count.checked_mul(least).is_none_or(|size| size > self.rest.len()) {
            return Err(BoundsError::ArrayTooLong { count, left: self.rest.len() });
        }
        self.count(count)?;
        self.hold(count.saturating_mul(memory(element)))?;
        for _ in 0..count {
            self.value(element)?;
        }
        Ok(Some(()))
    }

    /// The tag section at the end of a struct.
    fn tags(&mut self, fields: &'static [Field]) -> Result<(), BoundsError> {
        let count = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        if count.saturating_mul(2) > self.rest.len() {
            return Err(BoundsError::ArrayTooLong { count, left: self.rest.len() });
        }
        self.count(count)?;
        self.hold(count.saturating_mul(TAG_NODE_MEMORY))?;
        for _ in 0..count {
            let tag = self.varint()?;
            let size = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
            self.tagged(fields, tag, size)?;
        }
        Ok(())
    }

    fn tagged(&mut self, fields: &'static [Field], tag: u32, size: usize) -> Result<(), BoundsError> {
        let Some(field) = fields.iter().find(|field| field.tag == Some(tag)) else { return self.skip(size) };
        if !field.is_in(self.version) {
            return Err(BoundsError::UnexpectedTag(tag));
        }
        let before = self.rest.len();
        self.value(&field.kind)?;
        if before - self.rest.len() == size { Ok(()) } else { Err(BoundsError::WrongTagSize(tag)) }
    }

    /// The fewest bytes that a value takes on the wire in this version.
    fn least(&self, kind: &Kind) -> usize {
        match kind {
            Kind::Fixed(size) => *size,
            Kind::Struct(fields) => {
                let inside = fields.iter().filter(|field| field.tag.is_none() && field.is_in(self.version));
                inside.map(|field| self.least(&field.kind)).sum::<usize>() + usize::from(self.compact)
            }
            Kind::NullableStruct(_) => 1,
            _ if self.compact => 1,
            Kind::String | Kind::NullableString => 2,
            _ => 4,
        }
    }

    fn count(&mut self, more: usize) -> Result<(), BoundsError> {
        self.elements = self.elements.saturating_add(more);
        if self.elements > MAX_ELEMENTS { Err(BoundsError::TooManyElements) } else { Ok(()) }
    }

    fn hold(&mut self, more: usize) -> Result<(), BoundsError> {
        self.decoded = self.decoded.saturating_add(more);
        if self.decoded > self.decoded_limit {
            Err(BoundsError::TooLarge { limit: self.decoded_limit })
        } else {
            Ok(())
        }
    }

    fn length32(&mut self) -> Result<Option<usize>, BoundsError> {
        if self.compact { self.compact_length() } else { self.int32_length() }
    }

    fn compact_length(&mut self) -> Result<Option<usize>, BoundsError> {
        Ok(self.varint()?.checked_sub(1).map(|length| usize::try_from(length).unwrap_or(usize::MAX)))
    }

    fn int16_length(&mut self) -> Result<Option<usize>, BoundsError> {
        signed_length(i64::from(i16::from_be_bytes(self.take()?)))
    }

    fn int32_length(&mut self) -> Result<Option<usize>, BoundsError> {
        signed_length(i64::from(i32::from_be_bytes(self.take()?)))
    }

    fn varint(&mut self) -> Result<u32, BoundsError> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BoundsError::LongVarint)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BoundsError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(BoundsError::TooShort { wanted: N, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(*head)
    }

    fn skip(&mut self, size: usize) -> Result<(), BoundsError> {
        let Some(rest) = self.rest.get(size..) else {
            return Err(BoundsError::TooShort { wanted: size, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(())
    }
}

/// What a decoded value takes where it stands, in bytes, at most: fields of other versions are there too.
fn memory(kind: &Kind) -> usize {
    match kind {
        Kind::Fixed(size) => *size,
        Kind::String | Kind::NullableString | Kind::Bytes | Kind::NullableBytes => TEXT_MEMORY,
        Kind::Array(_) | Kind::NullableArray(_) => LIST_MEMORY,
        Kind::Struct(fields) | Kind::NullableStruct(fields) => {
            let inside: usize = fields.iter().map(|field| memory(&field.kind)).sum();
            inside + TAGS_MEMORY + PADDING
        }
    }
}

fn signed_length(length: i64) -> Result<Option<usize>, BoundsError> {
    match length {
        -1 => Ok(None),
        _ => usize::try_from(length).map(Some).map_err(|_| BoundsError::NegativeLength(length)),
    }
}

#[cfg(test)]
#[path = "bounds_tests.rs"]
mod tests;
