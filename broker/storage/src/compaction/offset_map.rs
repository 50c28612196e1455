//! For every key in the dirty part of a log the offset of its newest record, in bounded memory.
//!
//! A slot holds a 128-bit hash of the key and the offset, not the key: 24 bytes, whatever the key's length (as Kafka's
//! SkimpyOffsetMap, which takes MD5). Two keys with the same hash would count as one, and the older record of the two would be
//! lost. That must not happen by chance nor by malice: the hash is SipHash-1-3 with 128 bits, keyed with 122 random bits that
//! are drawn for each pass and never leave it. So nobody can prepare keys that collide, and by chance five million keys (a full map
//! of the default size) collide with a probability of 2^44 / 2^128 = 2^-84 a pass: the disk is more likely to forge a CRC.
//!
//! The memory is taken at once and never grows: [`OffsetMap::put`] says when it is full, and the pass ends there.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use uuid::Uuid;

/// Hash (two words), and the offset plus one; 0 there marks a free slot, so that fresh memory is an empty map.
type Slot = [u64; 3];

/// Bytes that one key takes.
pub(crate) const SLOT_BYTES: usize = size_of::<Slot>();

#[derive(Debug)]
pub(crate) struct OffsetMap {
    slots: Vec<Slot>,
    used: usize,
    /// Keys beyond which look-ups would become slow.
    most: usize,
    hash_key: [u8; 16],
    /// Every record up to here is in the map.
    latest_offset: i64,
}

impl OffsetMap {
    /// Room for `keys`, or for as many as `most_bytes` hold when filled to `load_factor`; at least for one.
    pub fn new(keys: u64, most_bytes: usize, load_factor: f64) -> Self {
        let load_factor = load_factor.clamp(0.1, 0.95);
        let most_slots = (most_bytes / SLOT_BYTES).max(2);
        let wanted = (keys as f64 / load_factor).ceil() as usize;
        let wanted = wanted.saturating_add(1);
        let slots = wanted.clamp(2, most_slots);
        let most = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        Self { slots: vec![[0; 3]; slots], used: 0, most, hash_key: *Uuid::new_v4().as_bytes(), latest_offset: -1 }
    }

    /// Notes a record; false if the key is new and the map is full. Offsets come rising.
    pub fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        let at = self.place_of(hash);
        let full = self.used >= self.most;
        let Some(slot) = self.slots.get_mut(at) else { return false };
        let [_, _, noted] = slot;
        if *noted == 0 {
            if full {
                return false;
            }
            self.used += 1;
        }
        *slot = [hash.0, hash.1, offset.cast_unsigned() + 1];
        true
    }

    /// Offset of the key's newest record among those noted.
    pub fn newest(&self, key: &[u8]) -> Option<i64> {
        let [_, _, noted] = self.slots.get(self.place_of(self.hash(key)))?;
        noted.checked_sub(1).map(u64::cast_signed)
    }

    /// All records up to `offset` have been noted.
    pub fn covers_up_to(&mut self, offset: i64) {
        self.latest_offset = self.latest_offset.max(offset);
    }

    pub fn latest_offset(&self) -> i64 {
        self.latest_offset
    }

    pub fn keys(&self) -> usize {
        self.used
    }

    pub fn memory_bytes(&self) -> usize {
        self.slots.capacity() * SLOT_BYTES
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let mut hasher = SipHasher13::new_with_key(&self.hash_key);
        hasher.write(key);
        hasher.finish128().as_u64()
    }

    /// Where the hash is, or the free slot where it belongs. There always is one: the map is never filled up.
    fn place_of(&self, hash: (u64, u64)) -> usize {
        let length = self.slots.len();
        let mut at = usize::try_from(hash.0 % length as u64).unwrap_or(0);
        while let Some([first, second, noted]) = self.slots.get(at) {
            if *noted == 0 || (*first, *second) == hash {
                break;
            }
            at = (at + 1) % length;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn the_newest_offset_of_each_key(keys in vec(0u16..300, 1..1000)) {
            let mut map = OffsetMap::new(300, 1 << 20, 0.9);
            let mut model = HashMap::new();
            for (offset, key) in (0..).zip(&keys) {
                prop_assert!(map.put(&key.to_be_bytes(), offset));
                model.insert(*key, offset);
            }
            prop_assert_eq!(map.keys(), model.len());
            for key in 0u16..400 {
                prop_assert_eq!(map.newest(&key.to_be_bytes()), model.get(&key).copied());
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_a_full_map_takes_known_keys_only() {
        for (keys, most_bytes) in [(10u64, 1 << 20), (1_000_000, 48 * 1024), (u64::MAX, 24), (0, 0)] {
            let mut map = OffsetMap::new(keys, most_bytes, 0.9);
            let memory = map.memory_bytes();
            assert!(memory <= most_bytes.max(2 * SLOT_BYTES), "{memory} of {most_bytes}");
            assert!(u64::try_from(map.most).unwrap() >= keys.min(1) && map.most >= 1);
            let mut offset = 0;
            while map.put(format!("key {offset}").as_bytes(), offset) {
                offset += 1;
            }
            assert_eq!(usize::try_from(offset).unwrap(), map.keys());
            assert!(map.put(b"key 0", 1_000_000) && !map.put(b"another", 1_000_001));
            assert_eq!(map.newest(b"key 0"), Some(1_000_000));
            assert_eq!(map.newest(b"another"), None);
            assert_eq!(map.memory_bytes(), memory);
        }
    }

    #[test]
    fn room_is_for_all_keys_that_were_asked_for() {
        for keys in [1u64, 2, 9, 10, 11, 1000, 12_345] {
            let mut map = OffsetMap::new(keys, 1 << 30, 0.9);
            for key in 0..keys {
                assert!(map.put(&key.to_be_bytes(), 0), "{key} of {keys}");
            }
        }
    }
}
