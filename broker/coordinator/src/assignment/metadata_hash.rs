//! The hash by which a group notices that its topics have changed (KIP-1101), as Apache Kafka 4.3 computes and records it: XXH3 over
//! fields in little-endian order, strings as UTF-16 with their length behind them. A group's is that of its topics' hashes, by name.

use twox_hash::XxHash3_64;
use uuid::Uuid;

/// Kafka's version of the layout.
const MAGIC: u8 = 0;

/// No replica here has a rack: each partition counts with its number alone.
pub fn of_topic(name: &str, id: Uuid, partitions: i32) -> u64 {
    let (most_significant, least_significant) = id.as_u64_pair();
    let mut bytes = vec![MAGIC];
    bytes.extend(most_significant.to_le_bytes());
    bytes.extend(least_significant.to_le_bytes());
    put_string(&mut bytes, name);
    bytes.extend(partitions.to_le_bytes());
    for partition in 0..partitions {
        bytes.extend(partition.to_le_bytes());
    }
    XxHash3_64::oneshot(&bytes)
}

/// Of the topics in the order of their names; 0 for a group without topics.
pub fn of_group(topics: impl Iterator<Item = u64>) -> i64 {
    let bytes: Vec<u8> = topics.flat_map(u64::to_le_bytes).collect();
    if bytes.is_empty() { 0 } else { XxHash3_64::oneshot(&bytes).cast_signed() }
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    let mut length = 0i32;
    for unit in text.encode_utf16() {
        bytes.extend(unit.to_le_bytes());
        length += 1;
    }
    bytes.extend(length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Apache Kafka 4.3.1 wrote them for topics with these ids.
    #[test]
    fn hashes_are_kafkas() {
        let one = of_topic("one", Uuid::from_u128(0xe505_4cf4_2e8e_4294_851f_c2da_949a_65aa), 1);
        let three = of_topic("three", Uuid::from_u128(0x4350_bc27_eb76_42e5_8753_5dec_9eae_855b), 3);
        let offsets = of_topic("__consumer_offsets", Uuid::from_u128(0x037b_b5ef_d151_4d82_bee3_7798_0085_6bed), 4);
        assert_eq!(of_group([one].into_iter()), 2_998_546_135_673_347_448);
        assert_eq!(of_group([one, three].into_iter()), 7_659_549_381_900_356_381);
        assert_eq!(of_group([offsets, three].into_iter()), 2_737_134_307_303_344_277);
        assert_eq!(of_group([].into_iter()), 0);
    }
}
