//! Different values: an exact set of their hashes up to a cap, then HyperLogLog, which says that it is an estimate.
//!
//! Which of the two, and the number, depend on the set of values alone: exact exactly while the union of all parts is
//! within the cap, and the estimate is taken from the registers, not from the order of what came.

use crate::snapshot::{Reader, Saved, save_count};
use datasketches::hll::{HllSketch, HllType, HllUnion};
use hashbrown::HashSet;

/// 4,096 registers of a byte: standard error 1.6 %.
const LG_REGISTERS: u8 = 12;

/// The values of one group, by their 64-bit hashes (two of 10^6 values are alike once in 3 * 10^7 such sets).
#[derive(Debug, Clone)]
pub struct Distinct {
    values: Values,
    cap: usize,
}

#[derive(Debug, Clone)]
enum Values {
    Exact(HashSet<u64>),
    Estimate(Box<HllSketch>),
}

impl Distinct {
    pub fn new(cap: usize) -> Self {
        Self { values: Values::Exact(HashSet::new()), cap }
    }

    pub fn insert(&mut self, hash: u64) {
        match &mut self.values {
            Values::Exact(set) => {
                set.insert(hash);
                self.settle();
            }
            Values::Estimate(sketch) => sketch.update(hash),
        }
    }

    pub fn merge(&mut self, other: Self) {
        match (&mut self.values, other.values) {
            (Values::Exact(set), Values::Exact(other)) => {
                set.extend(other);
                self.settle();
            }
            (Values::Estimate(sketch), Values::Exact(other)) => other.into_iter().for_each(|hash| sketch.update(hash)),
            (Values::Exact(set), Values::Estimate(mut sketch)) => {
                set.drain().for_each(|hash| sketch.update(hash));
                self.values = Values::Estimate(sketch);
            }
            (Values::Estimate(sketch), Values::Estimate(other)) => **sketch = united(sketch, &other),
        }
    }

    /// Over the cap the set becomes an estimate.
    fn settle(&mut self) {
        if let Values::Exact(set) = &self.values
            && set.len() > self.cap
            && let Some(mut sketch) = empty_sketch()
        {
            set.iter().for_each(|hash| sketch.update(*hash));
            self.values = Values::Estimate(Box::new(sketch));
        }
    }

    /// The hashes, in order, of an exact set.
    pub fn hashes(&self) -> Vec<u64> {
        let Values::Exact(set) = &self.values else { return Vec::new() };
        let mut hashes: Vec<u64> = set.iter().copied().collect();
        hashes.sort_unstable();
        hashes
    }

    /// The sketch in the format of Apache DataSketches; None: the set is exact.
    pub fn sketch_bytes(&self) -> Option<Vec<u8>> {
        match &self.values {
            Values::Exact(_) => None,
            Values::Estimate(sketch) => Some(sketch.serialize()),
        }
    }

    /// The way back; `like` is of the same measure.
    pub fn of_sketch(bytes: &[u8], like: &Self) -> Option<Self> {
        let sketch = HllSketch::deserialize(bytes).ok()?;
        Some(Self { values: Values::Estimate(Box::new(sketch)), cap: like.cap })
    }

    /// How many.
    pub fn count(&self) -> u64 {
        match &self.values {
            Values::Exact(set) => u64::try_from(set.len()).unwrap_or(u64::MAX),
            // Never negative, and far below 2^53. The composite estimate is a function of the registers alone.
            Values::Estimate(sketch) => sketch.composite_estimate().round() as u64,
        }
    }

    pub fn is_estimate(&self) -> bool {
        matches!(self.values, Values::Estimate(_))
    }
}

impl Saved for Distinct {
    fn save(&self, out: &mut Vec<u8>) {
        self.cap.save(out);
        match &self.values {
            Values::Exact(set) => {
                out.push(0);
                save_count(set.len(), out);
                set.iter().for_each(|hash| hash.save(out));
            }
            Values::Estimate(sketch) => {
                out.push(1);
                sketch.serialize().into_boxed_slice().save(out);
            }
        }
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        let cap = from.get()?;
        let values = match from.get::<u8>()? {
            0 => Values::Exact(from.get::<Vec<u64>>()?.into_iter().collect()),
            1 => Values::Estimate(Box::new(HllSketch::deserialize(&from.get::<Box<[u8]>>()?).ok()?)),
            _ => return None,
        };
        Some(Self { values, cap })
    }
}

/// By what it says.
impl PartialEq for Distinct {
    fn eq(&self, other: &Self) -> bool {
        (self.count(), self.is_estimate()) == (other.count(), other.is_estimate())
    }
}

/// The register count is a constant within the crate's bounds: there always is one.
fn empty_sketch() -> Option<HllSketch> {
    HllSketch::new(LG_REGISTERS, HllType::Hll8).ok()
}

fn united(one: &HllSketch, other: &HllSketch) -> HllSketch {
    let Ok(mut union) = HllUnion::new(LG_REGISTERS) else { return one.clone() };
    union.update(one);
    union.update(other);
    union.to_sketch(HllType::Hll8)
}
