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

    /// The largest epoch not above `epoch`, and where it ends (KIP-101, KIP-279).
    pub fn end_offset_for(&self, epoch: i32, log_end_offset: i64) -> Option<(i32, i64)> {
        let next = self.entries.partition_point(|(known, _)| *known <= epoch);
        let (found, _) = self.entries.get(next.checked_sub(1)?)?;
        Some((*found, self.entries.get(next).map_or(log_end_offset, |(_, start)| *start)))
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
        let mut lines = std::str::from_utf8(file).ok()?.lines();
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
