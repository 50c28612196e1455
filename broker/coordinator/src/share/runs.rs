//! Offsets in runs: neighbours of one value are one entry, however many they are.

use std::collections::BTreeMap;

/// Runs that do not overlap, by their first offset: the last offset, and the value of all between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Runs<T>(BTreeMap<i64, (i64, T)>);

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Clone + PartialEq> Runs<T> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// First offset, last offset and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64, &T)> {
        self.0.iter().map(|(first, (last, value))| (*first, *last, value))
    }

    /// What lies between two offsets, both included, cut to them.
    pub fn within(&self, first: i64, last: i64) -> impl Iterator<Item = (i64, i64, &T)> {
        let before = self.0.range(..first).next_back().filter(|(_, (end, _))| *end >= first);
        let from = before.map_or(first, |(start, _)| *start);
        let runs = self.0.range(from..=last.max(from)).filter(move |(start, _)| **start <= last);
        runs.map(move |(start, (end, value))| ((*start).max(first), (*end).min(last), value))
    }

    pub fn first(&self) -> Option<(i64, i64, &T)> {
        self.iter().next()
    }

    /// All from `first` to `last` has this value now.
    pub fn set(&mut self, first: i64, last: i64, value: T) {
        if last < first {
            return;
        }
        self.split(first);
        self.split(last.saturating_add(1));
        let inside: Vec<i64> = self.0.range(first..=last).map(|(start, _)| *start).collect();
        for start in inside {
            self.0.remove(&start);
        }
        self.0.insert(first, (last, value));
        self.join(first);
        self.join(last.saturating_add(1));
    }

    /// Nothing below `offset` is left.
    pub fn remove_below(&mut self, offset: i64) {
        self.split(offset);
        self.0 = self.0.split_off(&offset);
    }

    /// A run that goes over `at` is two, the second beginning there.
    fn split(&mut self, at: i64) {
        let Some((_, run)) = self.0.range_mut(..at).next_back() else { return };
        if run.0 >= at {
            let rest = (run.0, run.1.clone());
            run.0 = at - 1;
            self.0.insert(at, rest);
        }
    }

    /// The run that begins at `at` goes on with the one before, if they are neighbours of one value.
    fn join(&mut self, at: i64) {
        let Some((end, value)) = self.0.get(&at).cloned() else { return };
        let Some((_, before)) = self.0.range_mut(..at).next_back() else { return };
        if before.0 == at - 1 && before.1 == value {
            before.0 = end;
            self.0.remove(&at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Runs say the same as a map of single offsets, and neighbours differ.
        #[test]
        fn runs_are_offsets(steps in proptest::collection::vec((0i64..40, 0i64..12, 0u8..4), 1..60)) {
            let (mut runs, mut single) = (Runs::default(), BTreeMap::new());
            for (first, length, value) in steps {
                let last = first + length;
                if value == 3 {
                    runs.remove_below(first);
                    single.retain(|offset, _| *offset >= first);
                } else {
                    runs.set(first, last, value);
                    single.extend((first..=last).map(|offset| (offset, value)));
                }
                let told: BTreeMap<i64, u8> = runs.iter().flat_map(|(f, l, v)| (f..=l).map(move |o| (o, *v))).collect();
                prop_assert_eq!(&told, &single);
                let within: Vec<(i64, u8)> =
                    runs.within(first, last).flat_map(|(f, l, v)| (f..=l).map(move |o| (o, *v))).collect();
                let wanted: Vec<(i64, u8)> = single.range(first..=last).map(|(o, v)| (*o, *v)).collect();
                prop_assert_eq!(within, wanted);
                let all: Vec<_> = runs.iter().map(|(f, l, v)| (f, l, *v)).collect();
                prop_assert!(all.windows(2).all(|two| two[0].1 + 1 < two[1].0 || two[0].2 != two[1].2));
            }
        }
    }
}
