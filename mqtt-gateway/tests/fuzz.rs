//! Some seconds of made-up MQTT: sessions and the known killers of `fuzz/mqtt-seeds.txt`, changed by a seeded mutator, into the edge's packet reader.
//!
//! What must hold is what the target `mqtt` in `fuzz/` holds to for hours: no panic, memory that follows from the bytes that came and not from what they claim,
//! and the same outcome whatever pieces they came in. What fails is printed in hexadecimal, with the seed. `TIFO_FUZZ_SECONDS` and `TIFO_SEED` set how long and from where.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(unsafe_code, reason = "an allocator that counts")]
#[path = "../../fuzz/src/memory.rs"]
mod memory;
#[path = "../../fuzz/src/mqtt.rs"]
mod mqtt;
#[allow(dead_code, reason = "the broker's fuzz test uses all of it")]
#[path = "../../fuzz/src/mutator.rs"]
mod mutator;

use mutator::Mutator;
use std::{
    fmt::Write,
    panic,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const SECONDS: u64 = 10;
/// Of all seeds, however slow the machine.
const LEAST_ROUNDS: u32 = 50;

#[test]
fn seeds_end_as_they_should() {
    for (door, stream, ending) in mqtt::seeds() {
        let mut input = vec![door, 0];
        input.extend(&stream);
        let found = mqtt::check(&input).ending.map_or("open".to_owned(), |ending| ending.0);
        assert_eq!(found, ending, "{}", shown(&stream));
    }
}

#[test]
fn some_seconds_of_made_up_packets() {
    let seed = number("TIFO_SEED").unwrap_or_else(|| {
        u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() & u128::from(u64::MAX)).unwrap()
    });
    let time = Duration::from_secs(number("TIFO_FUZZ_SECONDS").unwrap_or(SECONDS));
    let (began, mut random, mut rounds) = (Instant::now(), Mutator::new(seed), 0);
    while rounds < LEAST_ROUNDS || began.elapsed() < time {
        for (door, mut stream, _) in mqtt::seeds() {
            random.change(&mut stream, 0);
            let mut input = vec![door, random.byte()];
            input.extend(&stream);
            if let Err(failure) = panic::catch_unwind(|| mqtt::check(&input)) {
                eprintln!("TIFO_SEED={seed}: {}", shown(&input));
                panic::resume_unwind(failure);
            }
        }
        rounds += 1;
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn shown(input: &[u8]) -> String {
    input.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
