//! Frames for every API and version: what is decoded stays within its memory, and whatever the broker answers it lives on.
//! `TIFO_FUZZ_API` (a name, e.g. Metadata) keeps to one API.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tifo_broker::fuzzing;
use tifo_fuzz::{House, memory};

static ONLY: LazyLock<Option<i16>> = LazyLock::new(|| {
    let name = std::env::var("TIFO_FUZZ_API").ok()?;
    let found = fuzzing::apis().find(|(api, _)| *api == name);
    Some(found.unwrap_or_else(|| panic!("TIFO_FUZZ_API={name} is no API that is served")).1)
});

fuzz_target!(|frame: Vec<u8>| {
    let mut frame = frame;
    fuzzing::aim(&mut frame, *ONLY);
    let frame = Bytes::from(frame);
    let (limit, allocated) = memory::allocated_by(|| fuzzing::decode(&frame));
    assert!(allocated <= limit + memory::SLACK, "{} bytes decode to {allocated}", frame.len());
    House::with(|house| house.knock(frame));
});
