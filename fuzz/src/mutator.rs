//! Changes to good input by a seed, for the tests that stand in for libFuzzer.

/// Most changes to one input.
const CHANGES: u32 = 4;

/// SplitMix64: the same numbers, and so the same changes, from the same seed.
pub struct Mutator(u64);

impl Mutator {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Changes something behind `from`, often several things, sometimes nothing.
    pub fn change(&mut self, bytes: &mut Vec<u8>, from: usize) {
        for _ in 0..self.below(CHANGES) {
            if bytes.len() <= from {
                return;
            }
            let place = from + self.index(bytes.len() - from);
            let end = (place + 1 + self.index(8)).min(bytes.len());
            match self.below(8) {
                0 => bytes[place] = self.byte(),
                1 => bytes[place] ^= 1 << self.below(8),
                2 => bytes[place..end].fill(0xff),
                3 => bytes[place..end].fill(0),
                4 => bytes[place] = 0x7f,
                5 => bytes.truncate(place),
                6 => drop(bytes.drain(place..end)),
                _ => {
                    let again = bytes[place..end].to_vec();
                    bytes.splice(place..place, again);
                }
            }
        }
    }

    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from(mixed >> 32).expect("32 bits")
    }

    pub fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }

    pub fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    pub fn index(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }
}
