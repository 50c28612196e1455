//! A set of offsets as ranges: what the late and bad topics already hold after the last decision.

use std::collections::BTreeMap;

/// Neighbouring offsets cost nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetRanges {
    /// First offset -> offset after the last.
    ranges: BTreeMap<i64, i64>,
}

impl OffsetRanges {
    pub fn insert(&mut self, offset: i64) {
        if self.contains(offset) {
            return;
        }
        let end = self.ranges.remove(&(offset + 1)).unwrap_or(offset + 1);
        match self.ranges.range_mut(..offset).next_back() {
            Some((_, before)) if *before == offset => *before = end,
            _ => {
                self.ranges.insert(offset, end);
            }
        }
    }

    /// Asked of every event; there is hardly ever anything.
    #[inline]
    pub fn contains(&self, offset: i64) -> bool {
        !self.ranges.is_empty() && self.holds(offset)
    }

    fn holds(&self, offset: i64) -> bool {
        self.ranges.range(..=offset).next_back().is_some_and(|(_, end)| offset < *end)
    }

    /// Forgets `end` and everything behind it.
    pub fn truncate(&mut self, end: i64) {
        self.ranges.split_off(&end);
        if let Some((_, last)) = self.ranges.iter_mut().next_back() {
            *last = end.min(*last);
        }
    }

    /// The offset after the last.
    pub fn end(&self) -> Option<i64> {
        self.ranges.last_key_value().map(|(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_range() {
        let mut set = OffsetRanges::default();
        for offset in [5, 3, 9, 4, 4, 10, 0] {
            set.insert(offset);
        }
        assert_eq!(set.ranges, BTreeMap::from([(0, 1), (3, 6), (9, 11)]));
        let held: Vec<i64> = (-1..12).filter(|offset| set.contains(*offset)).collect();
        assert_eq!(held, [0, 3, 4, 5, 9, 10]);
        set.truncate(5);
        assert_eq!(set.ranges, BTreeMap::from([(0, 1), (3, 5)]));
        assert_eq!((set.end(), OffsetRanges::default().end()), (Some(5), None));
    }
}
