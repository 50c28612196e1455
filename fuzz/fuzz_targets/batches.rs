//! Record batches, their CRC made right, into a topic: the checks behind the CRC, and the four decompressors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tifo_fuzz::{House, batches};

fuzz_target!(|batch: Vec<u8>| {
    if let Some(frame) = batches::produce(batch) {
        House::with(|house| house.knock(frame));
    }
});
