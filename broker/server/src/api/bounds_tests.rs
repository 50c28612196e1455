#![allow(clippy::unwrap_used)]
//! Walker and codec agree: whatever a layout describes the codec reads to the last byte, whatever the codec writes the
//! walker accepts, and whatever the walker refuses never reaches the codec. Frames are generated from the layouts
//! themselves, so that a new table row is tested without a line in here.

use super::*;
use crate::{api::TABLE, fuzzing::generate};
use bytes::BytesMut;
use kafka_protocol::messages::RequestKind;
use proptest::prelude::*;
use proptest::test_runner::TestRng;

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
            let body = generate(&api.request, version, &mut || random.next_u32());
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
            let mut body = BytesMut::from(&generate(&api.request, version, &mut || random.next_u32())[..]);
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
