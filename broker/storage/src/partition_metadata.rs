//! `partition.metadata`: the topic id of the topic that a partition's directory belongs to. Kafka's text, version 0.

use crate::{
    StorageError,
    file_system::{FileSystem, read_small, write_new, write_unsynced},
};
use std::path::Path;
use uuid::Uuid;

pub(crate) const FILE_NAME: &str = "partition.metadata";
/// Largest file that is read.
pub(crate) const MAX_BYTES: u64 = 4096;
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Writes the topic id into the partition's directory, which exists. A power cut may take it back: then the directory's name says as much.
pub fn write_partition_metadata(file_system: &dyn FileSystem, dir: &Path, topic_id: Uuid) -> Result<(), StorageError> {
    write_unsynced(file_system, &dir.join(FILE_NAME), content(topic_id).as_bytes())
}

/// The same in a directory that was just made. A crash may leave the file empty, which says no more than none.
pub fn create_partition_metadata(file_system: &dyn FileSystem, dir: &Path, topic_id: Uuid) -> Result<(), StorageError> {
    write_new(file_system, &dir.join(FILE_NAME), content(topic_id).as_bytes())
}

fn content(topic_id: Uuid) -> String {
    format!("version: 0\ntopic_id: {}", topic_id_to_string(topic_id))
}

/// The topic id that the partition's directory bears; None without the file.
pub fn read_partition_metadata(file_system: &dyn FileSystem, dir: &Path) -> Result<Option<Uuid>, StorageError> {
    let path = dir.join(FILE_NAME);
    let Some(content) = read_small(file_system, &path, MAX_BYTES)? else { return Ok(None) };
    match parse(&content) {
        Some(topic_id) => Ok(Some(topic_id)),
        None => Err(StorageError::Corrupt { path, position: 0, reason: "not a partition.metadata file".into() }),
    }
}

pub(crate) fn parse(content: &[u8]) -> Option<Uuid> {
    let mut lines = std::str::from_utf8(content).ok()?.lines();
    (lines.next()? == "version: 0").then_some(())?;
    topic_id_from_string(lines.next()?.strip_prefix("topic_id: ")?)
}

/// As Kafka prints a topic id: URL-safe base64 without padding, 22 characters.
pub fn topic_id_to_string(topic_id: Uuid) -> String {
    // 128 bits are 21 groups of six and two bits more, which stand at the top of the last group.
    let (value, mut out) = (topic_id.as_u128(), String::with_capacity(22));
    for shift in (2..=122).rev().step_by(6) {
        out.push(digit(value >> shift));
    }
    out.push(digit(value << 4));
    out
}

/// Reads what [`topic_id_to_string`] wrote.
pub fn topic_id_from_string(text: &str) -> Option<Uuid> {
    let mut digits = text.bytes().map(|byte| URL_SAFE.iter().position(|known| *known == byte));
    let mut value = 0u128;
    for _ in 0..21 {
        value = value << 6 | u128::try_from(digits.next()??).ok()?;
    }
    let last = u128::try_from(digits.next()??).ok()?;
    (last & 0x0f == 0 && digits.next().is_none()).then(|| Uuid::from_u128(value << 2 | last >> 4))
}

fn digit(value: u128) -> char {
    char::from(URL_SAFE[(value & 0x3f) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_topic_ids() {
        // Kafka's own constants: the zero id, and the id of the metadata topic.
        assert_eq!(topic_id_to_string(Uuid::nil()), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(topic_id_to_string(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(topic_id_from_string("AAAAAAAAAAAAAAAAAAAAAB"), None);
        assert_eq!(topic_id_from_string("AAAA"), None);
    }

    proptest! {
        #[test]
        fn round_trip(value: u128) {
            let topic_id = Uuid::from_u128(value);
            prop_assert_eq!(topic_id_from_string(&topic_id_to_string(topic_id)), Some(topic_id));
        }
    }
}
