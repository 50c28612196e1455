//! Open transactions of one partition, and those whose end is not yet below the high watermark.
//!
//! Both hold the last stable offset back: nothing of a transaction is shown to a reader of committed records before its
//! end is, and the end counts once it cannot be lost any more.

use std::collections::BTreeMap;

/// Decided transactions that are kept apart; beyond it the oldest two become one, which holds back no less.
const MAX_DECIDED: usize = 1024;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Transactions {
    /// First offset -> producer id.
    open: BTreeMap<i64, i64>,
    /// First offset -> offset of the marker.
    decided: BTreeMap<i64, i64>,
}

impl Transactions {
    pub fn begin(&mut self, first_offset: i64, producer_id: i64) {
        self.open.insert(first_offset, producer_id);
    }

    /// The last stable offset that the end of this one leaves, as if every marker counted: what the transaction index says.
    pub fn end(&mut self, first_offset: i64, marker_offset: i64) -> i64 {
        self.open.remove(&first_offset);
        self.decided.insert(first_offset, marker_offset);
        if self.decided.len() > MAX_DECIDED {
            self.merge_oldest();
        }
        self.first_open().unwrap_or(marker_offset + 1)
    }

    fn merge_oldest(&mut self) {
        if let (Some((first, left)), Some((_, right))) = (self.decided.pop_first(), self.decided.pop_first()) {
            self.decided.insert(first, left.max(right));
        }
    }

    fn first_open(&self) -> Option<i64> {
        self.open.first_key_value().map(|(first, _)| *first)
    }

    pub fn last_stable_offset(&mut self, high_watermark: i64) -> i64 {
        self.decided.retain(|_, marker| *marker >= high_watermark);
        let decided = self.decided.first_key_value().map(|(first, _)| *first);
        [self.first_open(), decided].into_iter().flatten().fold(high_watermark, i64::min)
    }
}
