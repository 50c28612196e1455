//! Requests made up from an API's layout: every length is right, every value is anything.

use crate::api::bounds::{Field, Kind, Layout};
use bytes::{BufMut, Bytes, BytesMut};

/// Most elements of a list.
const ELEMENTS: u32 = 4;
/// Texts and bytes are shorter.
const TEXT: &[u8] = b"some topic or other";
const BYTES: u32 = 300;

/// The body of a request; `random` gives the numbers that decide what is in it.
pub fn generate(layout: &Layout, version: i16, random: &mut dyn FnMut() -> u32) -> Bytes {
    let mut generator = Generator { out: BytesMut::new(), version, compact: layout.is_flexible(version), random };
    generator.fields(layout.fields);
    generator.out.freeze()
}

/// Writes random values of a layout.
struct Generator<'a> {
    out: BytesMut,
    version: i16,
    compact: bool,
    random: &'a mut dyn FnMut() -> u32,
}

impl Generator<'_> {
    fn fields(&mut self, fields: &'static [Field]) {
        for field in fields.iter().filter(|field| field.tag.is_none()) {
            if field.is_in(self.version) {
                self.value(&field.kind);
            }
        }
        if self.compact {
            self.tags(fields);
        }
    }

    fn below(&mut self, end: u32) -> u32 {
        (self.random)() % end
    }

    fn one_in(&mut self, cases: u32) -> bool {
        self.below(cases) == 0
    }

    fn tags(&mut self, fields: &'static [Field]) {
        let is_known = |field: &&Field| field.tag.is_some() && field.is_in(self.version);
        let known: Vec<_> = fields.iter().filter(is_known).collect();
        let known: Vec<_> = known.into_iter().filter(|_| self.one_in(2)).collect();
        let unknown = self.one_in(3);
        self.varint(known.len() as u32 + u32::from(unknown));
        for field in known {
            let outside = std::mem::take(&mut self.out);
            self.value(&field.kind);
            let value = std::mem::replace(&mut self.out, outside);
            self.varint(field.tag.unwrap_or_default());
            self.varint(value.len() as u32);
            self.out.extend_from_slice(&value);
        }
        if unknown {
            self.varint(9999);
            self.varint(3);
            self.out.extend_from_slice(b"xyz");
        }
    }

    fn value(&mut self, kind: &'static Kind) {
        let null = self.one_in(4);
        match kind {
            Kind::Fixed(1) => {
                let boolean = u8::from(self.one_in(2));
                self.out.put_u8(boolean);
            }
            Kind::Fixed(size) => {
                for _ in 0..*size {
                    let byte = self.below(256) as u8;
                    self.out.put_u8(byte);
                }
            }
            Kind::NullableString if null => self.length16(None),
            Kind::NullableBytes | Kind::NullableArray(_) if null => self.length32(None),
            Kind::String | Kind::NullableString => {
                let size = self.below(TEXT.len() as u32 + 1) as usize;
                self.length16(Some(size));
                self.out.extend(TEXT.iter().take(size));
            }
            Kind::Bytes | Kind::NullableBytes => {
                let size = self.below(BYTES) as usize;
                self.length32(Some(size));
                self.out.put_bytes(7, size);
            }
            Kind::Array(element) | Kind::NullableArray(element) => {
                let count = self.below(ELEMENTS) as usize;
                self.length32(Some(count));
                (0..count).for_each(|_| self.value(element));
            }
            Kind::Struct(fields) => self.fields(fields),
            Kind::NullableStruct(_) if null => self.out.put_i8(-1),
            Kind::NullableStruct(fields) => {
                self.out.put_i8(1);
                self.fields(fields);
            }
        }
    }

    fn length16(&mut self, length: Option<usize>) {
        match self.compact {
            true => self.varint(length.map_or(0, |length| length as u32 + 1)),
            false => self.out.put_i16(length.map_or(-1, |length| length as i16)),
        }
    }

    fn length32(&mut self, length: Option<usize>) {
        match self.compact {
            true => self.varint(length.map_or(0, |length| length as u32 + 1)),
            false => self.out.put_i32(length.map_or(-1, |length| length as i32)),
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }
}
