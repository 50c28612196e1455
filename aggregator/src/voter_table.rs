//! Voters by the hash of who they are, 24 bytes each and hardly any room between them.
//!
//! Open addressing in shards, each of which grows by an eighth when seven eighths are used: 27.5 to 31 bytes a voter, and never a
//! second copy of more than one shard. A key is 96 bits of a 128-bit hash: that two of 10^6 voters are taken for one has a
//! probability of 10^-17. Pure; knows nothing of windows.

/// What the key keeps of a hash.
pub const KEY_MASK: u128 = (1 << 96) - 1;
/// By the highest six bits of the key. What a shard leaves behind when it grows is small enough for another to take.
pub const SHARDS: usize = 64;
const SHARD_SHIFT: u32 = 90;
/// Where a vote is packed away, its choice is below.
pub const MAX_CHOICE: u32 = u32::MAX - 2;
/// Its votes are elsewhere.
pub const SPILLED: u32 = u32::MAX - 1;
const EMPTY: u32 = u32::MAX;
const LEAST_ENTRIES: usize = 16;

/// One vote, packed: what its numbers mean is the owner's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    pub time: u32,
    pub offset: u32,
    pub choice: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: [u32; 3],
    vote: Packed,
}

const NOBODY: Entry = Entry { key: [0; 3], vote: Packed { time: 0, offset: 0, choice: EMPTY } };

#[derive(Debug, Default, Clone)]
struct Shard {
    entries: Vec<Entry>,
    used: usize,
}

#[derive(Debug, Clone)]
pub struct VoterTable(Box<[Shard]>);

impl VoterTable {
    pub fn new() -> Self {
        Self(vec![Shard::default(); SHARDS].into())
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.used).sum()
    }

    pub fn get(&self, key: u128) -> Option<Packed> {
        let shard = self.0.get(shard_of(key))?;
        let entry = shard.entries.get(shard.place(parts_of(key))?)?;
        (entry.vote.choice != EMPTY).then_some(entry.vote)
    }

    /// A new voter, or another vote of one.
    pub fn set(&mut self, key: u128, vote: Packed) {
        if let Some(shard) = self.0.get_mut(shard_of(key)) {
            shard.set(Entry { key: parts_of(key), vote });
        }
    }

    /// One shard's voters, in no order.
    pub fn shard(&self, index: usize) -> impl Iterator<Item = (u128, Packed)> {
        let entries = self.0.get(index).into_iter().flat_map(|shard| &shard.entries);
        entries.filter(|entry| entry.vote.choice != EMPTY).map(|entry| (key_of(entry.key), entry.vote))
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.0.iter().map(|shard| shard.entries.capacity() * size_of::<Entry>()).sum()
    }
}

impl Shard {
    /// Where the key is, or would be; None in a shard without entries.
    fn place(&self, key: [u32; 3]) -> Option<usize> {
        let count = self.entries.len();
        let start = usize::try_from((u64::from(key[0]) * u64::try_from(count).ok()?) >> 32).ok()?;
        let (front, back) = self.entries.split_at_checked(start)?;
        let is_place = |entry: &Entry| entry.vote.choice == EMPTY || entry.key == key;
        back.iter().position(is_place).map(|at| start + at).or_else(|| front.iter().position(is_place))
    }

    fn set(&mut self, entry: Entry) {
        let place = self.place(entry.key).and_then(|place| self.entries.get_mut(place));
        if let Some(known) = place
            && known.vote.choice != EMPTY
        {
            *known = entry;
            return;
        }
        if (self.used + 1) * 8 > self.entries.len() * 7 {
            self.grow();
        }
        self.put(entry);
        self.used += 1;
    }

    fn put(&mut self, entry: Entry) {
        if let Some(place) = self.place(entry.key).and_then(|place| self.entries.get_mut(place)) {
            *place = entry;
        }
    }

    fn grow(&mut self) {
        let count = (self.entries.len() + self.entries.len() / 8).max(LEAST_ENTRIES);
        let before = std::mem::replace(&mut self.entries, vec![NOBODY; count]);
        before.into_iter().filter(|entry| entry.vote.choice != EMPTY).for_each(|entry| self.put(entry));
    }
}

fn shard_of(key: u128) -> usize {
    usize::try_from(key >> SHARD_SHIFT).unwrap_or(0) % SHARDS
}

/// The lowest 32 bits, from which the place is taken, first.
fn parts_of(key: u128) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = key.to_le_bytes();
    [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_le_bytes)
}

fn key_of(parts: [u32; 3]) -> u128 {
    parts.iter().rev().fold(0, |key, part| key << 32 | u128::from(*part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_events::Random;
    use std::collections::HashMap;

    fn vote(choice: u32) -> Packed {
        Packed { time: choice.wrapping_mul(7), offset: !choice, choice }
    }

    fn key(random: &mut Random) -> u128 {
        (u128::from(random.next()) << 64 ^ u128::from(random.next()) << 40 ^ u128::from(random.next())) & KEY_MASK
    }

    #[test]
    fn holds_what_a_map_holds() {
        let (mut random, mut table, mut map) = (Random::new(1), VoterTable::new(), HashMap::new());
        // Many of these keys begin alike, so that they crowd.
        let keys: Vec<u128> = (0..5_000_u128).map(|n| if n % 3 == 0 { n << 40 } else { key(&mut random) }).collect();
        for round in 0..20_000 {
            let (key, choice) = (*random.pick(&keys), u32::try_from(random.below(1_000)).unwrap_or(0));
            table.set(key, vote(choice));
            map.insert(key, vote(choice));
            if round % 100 == 0 {
                assert_eq!(table.get(key), Some(vote(choice)));
            }
        }
        let all: HashMap<u128, Packed> = (0..SHARDS).flat_map(|shard| table.shard(shard)).collect();
        assert!(all == map && table.len() == map.len());
        assert!(keys.iter().all(|key| table.get(*key) == map.get(key).copied()));
        assert_eq!(table.get(1 << 90), None);
    }

    #[test]
    fn a_million_voters_take_less_than_32_mib() {
        let (mut random, mut table, mut most) = (Random::new(2), VoterTable::new(), 0);
        for number in 1..=1_000_000 {
            table.set(key(&mut random), vote(3));
            if number % 10_000 == 0 {
                most = most.max(table.bytes() / number);
            }
        }
        assert!(table.len() == 1_000_000 && table.bytes() < 32 << 20, "{} B", table.bytes());
        assert!(most <= 32, "{most} B a voter on the way");
    }
}
