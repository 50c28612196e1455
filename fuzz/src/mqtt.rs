//! What must hold of the edge's packet reader for any input: a byte for the door, a byte for the pieces, then what a client sends.

use crate::memory;
use tifo_mqtt_gateway::fuzzing::{Door, Outcome, read};

/// Bytes allocated in all for each byte that came. The shortest user property (five bytes) becomes two strings in a list that grows by doubling,
/// a filter of one byte (four) becomes one in the codec's list and one in ours.
const MOST_PER_BYTE: usize = 128;
/// By the byte that opens them.
const DOORS: [&str; 3] = ["tcp", "websocket", "opening"];
/// What comes in one read.
const WHOLE: usize = 16 * 1024;

/// Reads it twice, as a whole and in pieces, and says how it ended.
pub fn check(input: &[u8]) -> Outcome {
    let Some((&[door, piece], stream)) = input.split_first_chunk() else { return read(Door::Tcp, &[], WHOLE) };
    let door = Door::of(door);
    let (outcome, allocated) = memory::allocated_by(|| read(door, stream, WHOLE));
    assert!(allocated <= MOST_PER_BYTE * stream.len() + memory::SLACK, "{} bytes make {allocated}", stream.len());
    assert_eq!(read(door, stream, usize::from(piece) + 1), outcome, "in pieces of {}", usize::from(piece) + 1);
    outcome
}

/// Door, bytes and ending of each line of mqtt-seeds.txt.
pub fn seeds() -> Vec<(u8, Vec<u8>, &'static str)> {
    let lines = include_str!("../mqtt-seeds.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(seed).collect()
}

fn seed(line: &'static str) -> (u8, Vec<u8>, &'static str) {
    let (door, rest) = line.split_once(' ').expect("a door");
    let (ending, digits) = rest.split_once(' ').expect("an ending");
    let door = DOORS.iter().position(|known| *known == door).expect("a door that is known");
    let digits: Vec<u8> = digits.bytes().filter(|digit| *digit != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits");
    (u8::try_from(door).expect("few"), digits.chunks(2).map(byte).collect(), ending)
}
