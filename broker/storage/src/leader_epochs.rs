//! `leader-epoch-checkpoint`: at which offset each leader epoch began (KIP-101). Kafka's text format, version 0.
//!
//! One node leads everything, so there are few epochs: a new one begins when leadership is moved between the faces of a node.

use std::fmt::Write;

pub(crate) const FILE_NAME: &str = "leader-epoch-checkpoint";
/// Largest file that is read.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochs {
    /// Epoch and start offset, both rising.
    entries: Vec<(i32, i64)>,
}

impl LeaderEpochs {
    /// Notes that a batch at `offset` bears `epoch`; true if the epoch is new.
    pub fn assign(&mut self, epoch: i32, offset: i64) -> bool {
        let known = self.entries.last().is_some_and(|(last, _)| *last >= epoch);
        if epoch < 0 || known {
            return false;
        }
        self.entries.retain(|(_, start)| *start < offset);
        self.entries.push((epoch, offset));
        true
    }

    /// Forgets the epochs that begin at or behind `end_offset`; true if there were any.
    pub fn truncate(&mut self, end_offset: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(_, start)| *start < end_offset);
        before != self.entries.len()
    }

    /// Forgets the epochs that end at or before the log's start; the one in force there begins there now. True if that changed
    /// anything.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> bool {
        let begun = self.entries.partition_point(|(_, start)| *start <= start_offset);
        let Some(in_force) = begun.checked_sub(1) else { return false };
        let gone = self.entries.drain(..in_force).count();
        let Some((_, start)) = self.entries.first_mut() else { return gone > 0 };
        std::mem::replace(start, start_offset) != start_offset || gone > 0
    }

    /// The largest epoch not above `epoch`, and where it ends (KIP-101, KIP-279).
    pub fn end_offset_for(&self, epoch: i32, log_end_offset: i64) -> Option<(i32, i64)> {
        let next = self.entries.partition_point(|(known, _)| *known <= epoch);
        let (found, _) = self.entries.get(next.checked_sub(1)?)?;
        Some((*found, self.entries.get(next).map_or(log_end_offset, |(_, start)| *start)))
    }

    /// The current epoch.
    pub fn latest(&self) -> Option<i32> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// Whether it says of every epoch that `found` in the log has what the log says. It may know of earlier ones, which are gone.
    pub fn agrees_with(&self, found: &Self, log_end_offset: i64) -> bool {
        let end = |known: &Self, epoch| {
            known.end_offset_for(epoch, log_end_offset).map(|(epoch, end)| (epoch, end.min(log_end_offset)))
        };
        found.entries.iter().all(|(epoch, _)| end(self, *epoch) == end(found, *epoch))
    }

    pub fn encode(&self) -> String {
        let mut out = format!("0\n{}\n", self.entries.len());
        for (epoch, start) in &self.entries {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{epoch} {start}");
        }
        out
    }

    /// None if it is not such a file.
    pub fn decode(file: &[u8]) -> Option<Self> {
        // A cut may leave a number that looks whole; it never leaves the end of the last line.
        let mut lines = std::str::from_utf8(file).ok()?.strip_suffix('\n')?.lines();
        (lines.next()? == "0").then_some(())?;
        let count: usize = lines.next()?.parse().ok()?;
        let entries = lines
            .map(|line| {
                let (epoch, start) = line.split_once(' ')?;
                Some((epoch.parse().ok()?, start.parse().ok()?))
            })
            .collect::<Option<Vec<(i32, i64)>>>()?;
        let rising = entries.is_sorted_by(|left, right| left.0 < right.0 && left.1 <= right.1);
        (entries.len() == count && rising).then_some(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_start_takes_epochs_along() {
        let epochs = |entries: &[(i32, i64)]| LeaderEpochs { entries: entries.to_vec() };
        let all = epochs(&[(0, 0), (2, 10), (5, 20)]);
        let from = |start| {
            let mut epochs = all.clone();
            let changed = epochs.truncate_from_start(start);
            assert_eq!(changed, epochs != all);
            epochs
        };
        assert_eq!(from(0), all);
        assert_eq!(from(5), epochs(&[(0, 5), (2, 10), (5, 20)]));
        assert_eq!(from(10), epochs(&[(2, 10), (5, 20)]));
        assert_eq!(from(15), epochs(&[(2, 15), (5, 20)]));
        assert_eq!(from(99), epochs(&[(5, 99)]));
        assert!(!LeaderEpochs::default().truncate_from_start(7));
    }
}
