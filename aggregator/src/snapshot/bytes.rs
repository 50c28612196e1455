//! What is in memory as bytes and back: numbers in little-endian order, lists with their length in front.
//!
//! Whatever is read may be damaged: nothing is believed, a length never reserves more than the bytes that are there. The layout
//! belongs to the snapshot's version; whoever changes what a type saves raises it.

use hashbrown::HashMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hash,
};

/// The bytes that are left; every reading takes from the front.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub fn get<T: Saved>(&mut self) -> Option<T> {
        T::load(self)
    }

    /// So many elements; each takes a byte at least.
    pub fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.get::<u64>()?).ok().filter(|count| *count <= self.0.len())?;
        (0..count).map(|_| element(self)).collect()
    }
}

/// Something that a snapshot holds.
pub trait Saved: Sized {
    fn save(&self, out: &mut Vec<u8>);
    fn load(from: &mut Reader<'_>) -> Option<Self>;
}

pub fn save_list<'t, T: Saved + 't>(elements: impl ExactSizeIterator<Item = &'t T>, out: &mut Vec<u8>) {
    save_count(elements.len(), out);
    elements.for_each(|element| element.save(out));
}

pub fn save_count(count: usize, out: &mut Vec<u8>) {
    u64::try_from(count).unwrap_or(u64::MAX).save(out);
}

macro_rules! saved_numbers {
    ($($number:ty)*) => {$(
        impl Saved for $number {
            fn save(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn load(from: &mut Reader<'_>) -> Option<Self> {
                from.array().map(Self::from_le_bytes)
            }
        }
    )*};
}

saved_numbers! { u8 u32 u64 i64 u128 }

impl Saved for usize {
    fn save(&self, out: &mut Vec<u8>) {
        save_count(*self, out);
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        Self::try_from(from.get::<u64>()?).ok()
    }
}

impl<T: Saved> Saved for Option<T> {
    fn save(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.save(out);
        }
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        match from.get::<u8>()? {
            0 => Some(None),
            1 => T::load(from).map(Some),
            _ => None,
        }
    }
}

impl Saved for Box<[u8]> {
    fn save(&self, out: &mut Vec<u8>) {
        save_count(self.len(), out);
        out.extend_from_slice(self);
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        let length = from.get::<usize>()?;
        from.take(length).map(Self::from)
    }
}

impl<A: Saved, B: Saved> Saved for (A, B) {
    fn save(&self, out: &mut Vec<u8>) {
        self.0.save(out);
        self.1.save(out);
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        Some((A::load(from)?, B::load(from)?))
    }
}

impl<T: Saved> Saved for Vec<T> {
    fn save(&self, out: &mut Vec<u8>) {
        save_list(self.iter(), out);
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        from.list(T::load)
    }
}

impl<T: Saved + Ord> Saved for BTreeSet<T> {
    fn save(&self, out: &mut Vec<u8>) {
        save_list(self.iter(), out);
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        from.list(T::load).map(|elements| elements.into_iter().collect())
    }
}

impl<K: Saved + Ord, V: Saved> Saved for BTreeMap<K, V> {
    fn save(&self, out: &mut Vec<u8>) {
        save_count(self.len(), out);
        self.iter().for_each(|(key, value)| save_entry(key, value, out));
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        from.list(<(K, V)>::load).map(|entries| entries.into_iter().collect())
    }
}

impl<K: Saved + Hash + Eq, V: Saved> Saved for HashMap<K, V> {
    fn save(&self, out: &mut Vec<u8>) {
        save_count(self.len(), out);
        self.iter().for_each(|(key, value)| save_entry(key, value, out));
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        from.list(<(K, V)>::load).map(|entries| entries.into_iter().collect())
    }
}

fn save_entry(key: &impl Saved, value: &impl Saved, out: &mut Vec<u8>) {
    key.save(out);
    value.save(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    type Nested = BTreeMap<i64, (Option<u128>, Vec<Box<[u8]>>)>;

    #[test]
    fn comes_back_and_no_part_of_it_is_taken_for_the_whole() {
        let value: Nested =
            BTreeMap::from([(-5, (Some(7), vec![Box::from(&b"abc"[..]), Box::default()])), (9, (None, Vec::new()))]);
        let mut bytes = Vec::new();
        value.save(&mut bytes);
        let mut reader = Reader(&bytes);
        assert_eq!((reader.get::<Nested>(), reader.0), (Some(value), &[][..]));
        for length in 0..bytes.len() {
            assert_eq!(Reader(bytes.get(..length).unwrap_or_default()).get::<Nested>(), None);
        }
        let huge = [u64::MAX.to_le_bytes(), [1; 8]].concat();
        assert_eq!(Reader(&huge).get::<Vec<u8>>(), None);
        assert_eq!(Reader(&huge).get::<Box<[u8]>>(), None);
    }
}
