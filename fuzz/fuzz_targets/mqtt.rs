//! What an MQTT client sends, over TCP or WebSocket, from its first packet on: the edge's packet reader.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tifo_fuzz::mqtt;

fuzz_target!(|input: &[u8]| {
    mqtt::check(input);
});
