//! Every look-up in an index finds what a linear scan over its entries finds: in memory, in the file, and across both.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{file_system::RealFileSystem, segment::SegmentFiles, testing::temporary_dir};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::{path::Path, sync::Arc};

/// Several times what is read at once.
const MOST_ENTRIES: usize = 2000;

fn files(dir: &Path) -> Arc<SegmentFiles> {
    let file_system = Arc::new(RealFileSystem);
    Arc::new(SegmentFiles { file_system, dir: dir.into(), base_offset: 0, suffix: "" })
}

/// An index of these entries. `written` of them are in the file, and were read from there again; the rest is in memory.
fn index<E: IndexEntry<N>, const N: usize>(dir: &Path, entries: &[E], written: &Index) -> IndexFile<E, N> {
    let written = written.index(entries.len() + 1);
    let mut index = IndexFile::empty(files(dir));
    entries[..written].iter().for_each(|entry| index.push(*entry));
    index.persist().unwrap();
    let mut index = IndexFile::load(files(dir), None).unwrap().unwrap();
    entries[written..].iter().for_each(|entry| index.push(*entry));
    assert_eq!(index.len(), entries.len());
    index
}

/// Numbers that rise, by steps that may be 0 where that is allowed.
fn rising(steps: &[u32], least: u32) -> Vec<u32> {
    steps
        .iter()
        .scan(0u32, |at, step| {
            *at += step + least;
            Some(*at)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn offset_index(steps in vec((0u32..40, 0u32..9000), 0..MOST_ENTRIES), written: Index, asked in vec(0u32..50_000, 40)) {
        let dir = temporary_dir();
        let (offsets, positions): (Vec<u32>, Vec<u32>) = steps.into_iter().unzip();
        let pairs = rising(&offsets, 1).into_iter().zip(rising(&positions, 61));
        let entries: Vec<OffsetEntry> =
            pairs.map(|(relative_last_offset, position)| OffsetEntry { relative_last_offset, position }).collect();
        let index: OffsetIndex = index(dir.path(), &entries, &written);
        let edges = entries.iter().flat_map(|entry| [entry.relative_last_offset, entry.relative_last_offset - 1]);
        for wanted in asked.iter().copied().chain(edges.step_by(37)).chain([0, u32::MAX]) {
            let expected = entries.iter().rev().find(|entry| entry.relative_last_offset <= wanted).copied();
            prop_assert_eq!(index.floor(wanted).unwrap(), expected, "offset {}", wanted);
        }
        let edges = entries.iter().flat_map(|entry| [entry.position, entry.position - 1]);
        for wanted in asked.iter().map(|asked| asked * 180).chain(edges.step_by(37)).chain([0, u32::MAX]) {
            let expected = entries.iter().rev().find(|entry| entry.position <= wanted).copied();
            prop_assert_eq!(index.floor_by_position(wanted).unwrap(), expected, "position {}", wanted);
        }
    }

    #[test]
    fn time_index(steps in vec((0i64..50, 1u32..40), 0..MOST_ENTRIES), first in -100i64..100, written: Index) {
        let dir = temporary_dir();
        let (mut timestamp_ms, mut relative_last_offset) = (first, 0);
        let mut offered = Vec::new();
        for (later, offsets) in steps {
            (timestamp_ms, relative_last_offset) = (timestamp_ms + later, relative_last_offset + offsets);
            offered.push(TimeEntry { timestamp_ms, relative_last_offset });
        }
        // Only what brings a newer timestamp becomes an entry.
        let mut entries: Vec<TimeEntry> = Vec::new();
        for entry in &offered {
            if entries.last().is_none_or(|last| entry.timestamp_ms > last.timestamp_ms) {
                entries.push(*entry);
            }
        }
        let mut index: TimeIndex = index(dir.path(), &entries, &written);
        offered.iter().rev().take(3).for_each(|entry| index.push_if_newer(*entry));
        prop_assert_eq!((index.len(), index.last()), (entries.len(), entries.last().copied()));
        for wanted in (first - 2..timestamp_ms + 3).step_by(17) {
            let expected = entries.iter().rev().find(|entry| entry.timestamp_ms <= wanted).copied();
            prop_assert_eq!(index.floor(wanted).unwrap(), expected, "timestamp {}", wanted);
        }
    }

    /// Transactions that begin anywhere and end in the order of their markers.
    #[test]
    fn transaction_index(
        ends in vec((1i64..60, 0i64..400, 0i64..400), 0..MOST_ENTRIES),
        written: Index,
        asked in vec((0i64..60_000, 1i64..2000), 40),
    ) {
        let dir = temporary_dir();
        let mut entries: Vec<AbortedTransaction> = Vec::new();
        let (mut last_offset, mut stable) = (0i64, 0i64);
        for (at, (later, length, open)) in (0..).zip(ends) {
            last_offset += later;
            // What is still open before this marker holds the last stable offset back; it never falls.
            stable = stable.max(last_offset + 1 - open);
            let first_offset = (last_offset - 1 - length).max(0);
            entries.push(AbortedTransaction { producer_id: at % 7, first_offset, last_offset, last_stable_offset: stable });
        }
        let split = written.index(entries.len() + 1);
        let mut index = TransactionIndex::empty(files(dir.path()));
        entries[..split].iter().for_each(|entry| index.push(*entry));
        index.persist().unwrap();
        let mut index = TransactionIndex::load(files(dir.path()), Some(split)).unwrap().unwrap();
        entries[split..].iter().for_each(|entry| index.push(*entry));
        for (from, length) in asked {
            let (from, to) = (from % (last_offset + 2), from % (last_offset + 2) + length);
            // The first whose last stable offset has passed the reader's end is the last that can concern it.
            let reach = entries.iter().position(|entry| entry.last_stable_offset >= to);
            let near = &entries[..reach.map_or(entries.len(), |at| at + 1)];
            let expected: Vec<_> =
                near.iter().filter(|entry| entry.last_offset >= from && entry.first_offset < to).copied().collect();
            let mut found = Vec::new();
            let is_complete = index.collect(from, to, &mut found).unwrap();
            prop_assert_eq!((found, is_complete), (expected, reach.is_some()), "{}..{}", from, to);
        }
    }
}
