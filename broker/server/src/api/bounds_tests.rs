#![allow(clippy::unwrap_used)]
//! Walker and codec agree: whatever a layout describes the codec reads to the last byte, whatever the codec writes the
//! walker accepts, and whatever the walker refuses never reaches the codec. Frames are generated from the layouts
//! themselves, so that a new table row is tested without a line in here.

use super::*;
use crate::api::TABLE;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::RequestKind;
use proptest::prelude::*;
use proptest::test_runner::TestRng;

/// Writes random values of a layout.
struct Generator<'a> {
    out: BytesMut,
    version: i16,
    compact: bool,
    random: &'a mut TestRng,
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

    fn one_in(&mut self, cases: u32) -> bool {
        self.random.next_u32().is_multiple_of(cases)
    }

    fn tags(&mut self, fields: &'static [Field]) {
        let is_known = |field: &&Field| field.tag.is_some() && field.is_in(self.version);
        let known: Vec<_> = fields.iter().filter(is_known).collect();
        let known: Vec<_> = known.into_iter().filter(|_| self.one_in(2)).collect();
        let unknown = self.one_in(3);
        self.varint(u32::try_from(known.len()).unwrap() + u32::from(unknown));
        for field in known {
            let outside = std::mem::take(&mut self.out);
            self.value(&field.kind);
            let value = std::mem::replace(&mut self.out, outside);
            self.varint(field.tag.unwrap());
            self.varint(u32::try_from(value.len()).unwrap());
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
                    let byte = self.random.next_u32().to_be_bytes()[0];
                    self.out.put_u8(byte);
                }
            }
            Kind::NullableString if null => self.length16(None),
            Kind::NullableBytes | Kind::NullableArray(_) if null => self.length32(None),
            Kind::String | Kind::NullableString => {
                let text = &b"some topic or other"[..(self.random.next_u32() % 20) as usize];
                self.length16(Some(text.len()));
                self.out.extend_from_slice(text);
            }
            Kind::Bytes | Kind::NullableBytes => {
                let size = (self.random.next_u32() % 300) as usize;
                self.length32(Some(size));
                self.out.put_bytes(7, size);
            }
            Kind::Array(element) | Kind::NullableArray(element) => {
                let count = (self.random.next_u32() % 4) as usize;
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
            true => self.varint(length.map_or(0, |length| u32::try_from(length).unwrap() + 1)),
            false => self.out.put_i16(length.map_or(-1, |length| i16::try_from(length).unwrap())),
        }
    }

    fn length32(&mut self, length: Option<usize>) {
        match self.compact {
            true => self.varint(length.map_or(0, |length| u32::try_from(length).unwrap() + 1)),
            false => self.out.put_i32(length.map_or(-1, |length| i32::try_from(length).unwrap())),
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.put_u8(value.to_be_bytes()[3] | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value.to_be_bytes()[3]);
    }
}

fn generate(layout: &Layout, version: i16, random: &mut TestRng) -> Bytes {
    let mut generator = Generator { out: BytesMut::new(), version, compact: layout.is_flexible(version), random };
    generator.fields(layout.fields);
    generator.out.freeze()
}

fn each_api_and_version(mut check: impl FnMut(&'static crate::api::Api, i16)) {
    for api in TABLE {
        (api.served.min..=api.served.max).for_each(|version| check(api, version));
    }
}

#[test]
fn walker_and_codec_agree_on_every_version_of_every_api() {
    let mut random = TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    each_api_and_version(|api, version| {
        for _ in 0..24 {
            let body = generate(&api.request, version, &mut random);
            assert_eq!(walk(&api.request, version, &body), Ok(0), "{} {version}", api.name);
            let mut rest = body.clone();
            let request = RequestKind::decode(api.key, &mut rest, version);
            let request = request.unwrap_or_else(|error| panic!("{} {version}: {error}", api.name));
            assert!(rest.is_empty(), "{} {version} leaves {} bytes", api.name, rest.len());
            let mut again = BytesMut::new();
            request.encode(&mut again, version).unwrap();
            assert_eq!(walk(&api.request, version, &again), Ok(0), "{} {version} re-encoded", api.name);
        }
    });
}

#[test]
fn mutated_requests_neither_panic_nor_slip_through() {
    let mut random = TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    each_api_and_version(|api, version| {
        for _ in 0..64 {
            let mut body = BytesMut::from(&generate(&api.request, version, &mut random)[..]);
            mutate(&mut body, &mut random);
            if walk(&api.request, version, &body).is_ok() {
                // The codec may still refuse it (text that is no UTF-8), but it may not abort the process.
                let _ = RequestKind::decode(api.key, &mut body.freeze(), version);
            }
        }
    });
}

fn mutate(body: &mut BytesMut, random: &mut TestRng) {
    if body.is_empty() {
        return;
    }
    for _ in 0..=random.next_u32() % 3 {
        let place = random.next_u32() as usize % body.len();
        match random.next_u32() % 3 {
            0 => body[place] = random.next_u32().to_be_bytes()[0],
            1 => body[place] = 0xff,
            _ => body.truncate(place.max(1)),
        }
    }
}

#[test]
fn known_killers_are_refused() {
    let metadata = crate::api::find(3).unwrap().1.request;
    for body in [&[0x7f, 0xff, 0xff, 0xff, 0x00][..], &[0x03, 0x3c, 0x0c, 0x00, 0xb6][..]] {
        assert!(matches!(walk(&metadata, 0, body), Err(BoundsError::ArrayTooLong { .. })));
    }
}

#[test]
fn short_elements_do_not_blow_up() {
    let metadata = crate::api::find(3).unwrap().1.request;
    let of_empty_names = |count: u32| [&count.to_be_bytes()[..], &vec![0; count as usize * 2]].concat();
    const TOPIC: Kind = Kind::Struct(&[field(UUID), field(Kind::String)]);
    let most = u32::try_from(DECODED_ALLOWANCE / memory(&TOPIC)).unwrap();
    assert_eq!(walk(&metadata, 0, &of_empty_names(most)), Ok(0));
    assert_eq!(walk(&metadata, 0, &of_empty_names(most + 1)), Err(BoundsError::TooLarge { limit: DECODED_ALLOWANCE }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn headers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), flexible: bool) {
        if let Ok(behind) = walk_header(flexible, &bytes) {
            prop_assert!(behind <= bytes.len());
        }
    }
}
