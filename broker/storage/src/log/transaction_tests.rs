//! Transactions as readers of committed records see them: a model over random interleavings, restarts, cuts and damage.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    AbortedTransaction,
    index::IndexEntry,
    record_batch::{BatchBuilder, EndTransactionMarker, TransactionResult},
    testing::*,
};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use std::{collections::BTreeMap, fs};

/// Three records in the producer's open transaction.
fn data(producer_id: i64, epoch: i16, sequence: i32, is_transactional: bool) -> Bytes {
    let mut builder = BatchBuilder::default();
    builder.idempotent(producer_id, epoch, sequence);
    if is_transactional {
        builder.transactional();
    }
    for at in 0..3u8 {
        builder.push(NOW_MS, Some(&[at]), Some(&[b'x'; 90]), &[]);
    }
    builder.build()
}

fn marker(producer_id: i64, epoch: i16, result: TransactionResult, coordinator_epoch: i32) -> Bytes {
    EndTransactionMarker { result, coordinator_epoch }.batch(producer_id, epoch, NOW_MS)
}

fn end(log: &mut Log, producer_id: i64, result: TransactionResult) -> i64 {
    log.append(&marker(producer_id, 0, result, 0), Origin::Coordinator, 0, NOW_MS).unwrap().base_offset
}

fn stable(log: &mut Log) -> i64 {
    let end = log.log_end_offset();
    log.last_stable_offset(end)
}

/// What a consumer of committed records must be told, kept the plain way.
#[derive(Default)]
struct Model {
    end: i64,
    open: BTreeMap<i64, i64>,
    aborted: Vec<AbortedTransaction>,
    sequences: BTreeMap<i64, i32>,
}

impl Model {
    fn stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end)
    }

    fn apply(&mut self, log: &mut Log, producer_id: i64, action: u8) {
        let sequence = self.sequences.entry(producer_id).or_default();
        match action {
            0 | 1 => {
                // A plain batch while no transaction is open, else one of the transaction.
                let is_transactional = action == 0 || self.open.contains_key(&producer_id);
                let base = append(log, &data(producer_id, 0, *sequence, is_transactional));
                assert_eq!(base, self.end);
                *sequence += 3;
                if is_transactional {
                    self.open.entry(producer_id).or_insert(base);
                }
                self.end += 3;
            }
            _ => {
                let result = if action == 2 { TransactionResult::Commit } else { TransactionResult::Abort };
                let last_offset = end(log, producer_id, result);
                self.end += 1;
                let Some(first_offset) = self.open.remove(&producer_id) else { return };
                let last_stable_offset = self.stable();
                if action == 3 {
                    self.aborted.push(AbortedTransaction {
                        producer_id,
                        first_offset,
                        last_offset,
                        last_stable_offset,
                    });
                }
            }
        }
    }

    fn check(&self, log: &mut Log) {
        assert_eq!((log.log_end_offset(), stable(log)), (self.end, self.stable()));
        for from in (0..self.end).step_by(7) {
            for to in [from + 1, from + 10, self.stable(), self.end] {
                let told = log.aborted_transactions(from, to).unwrap();
                let needed: Vec<_> =
                    self.aborted.iter().filter(|one| one.last_offset >= from && one.first_offset < to).collect();
                let found: Vec<_> = told.iter().filter(|one| one.first_offset < to).collect();
                assert_eq!(found, needed, "{from}..{to}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Last stable offset and aborted ranges of any interleaving; before and after clean and unclean stops.
    #[test]
    fn interleaved_producers(actions in vec((1i64..6, 0u8..4, 0u8..20), 1..150)) {
        let dir = temporary_dir();
        let (mut log, _) = open(dir.path(), small_segments());
        let mut model = Model::default();
        for (producer_id, action, stop) in actions {
            model.apply(&mut log, producer_id, action);
            match stop {
                0 => log.close().unwrap(),
                1 => drop(log),
                2 => { log.checkpoint().unwrap(); drop(log) }
                _ => continue,
            }
            log = open(dir.path(), small_segments()).0;
        }
        model.check(&mut log);
        log.close().unwrap();
        model.check(&mut open(dir.path(), small_segments()).0);
    }
}

/// Several segments with aborted transactions in most.
fn sample(dir: &Path) -> (Log, Model) {
    let (mut log, mut model) = (open(dir, small_segments()).0, Model::default());
    for round in 0..60i64 {
        for (producer_id, action) in [(1, 0), (2, 0), (2, 1), (1, 2 + u8::from(round % 3 > 0)), (2, 3)] {
            model.apply(&mut log, producer_id, action);
        }
    }
    model.apply(&mut log, 3, 0);
    assert!(log.sealed.len() > 5 && model.aborted.len() > 50);
    (log, model)
}

#[test]
fn a_transaction_index_that_is_lost_cut_or_altered_is_made_anew() {
    let original = temporary_dir();
    let (log, model) = sample(original.path());
    log.close().unwrap();
    let names: Vec<_> = fs::read_dir(original.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let indexes: Vec<_> = names.iter().filter(|name| name.to_string_lossy().ends_with(".txnindex")).collect();
    assert!(indexes.len() > 5);
    for (at, name) in indexes.into_iter().enumerate() {
        let whole = fs::read(original.path().join(name)).unwrap();
        assert_eq!(whole.len() % 34, 0);
        let mut cases: Vec<Option<Vec<u8>>> = vec![None, Some(Vec::new()), Some(whole[..whole.len() - 34].to_vec())];
        cases.push(Some(whole[..whole.len() - 1].to_vec()));
        cases.push(Some([&whole[..], &[0; 34]].concat()));
        cases.extend((at % 3..whole.len()).step_by(29).map(|flipped| {
            let mut altered = whole.clone();
            altered[flipped] ^= 4;
            Some(altered)
        }));
        for case in cases {
            let dir = temporary_dir();
            for name in &names {
                fs::copy(original.path().join(name), dir.path().join(name)).unwrap();
            }
            match case {
                None => fs::remove_file(dir.path().join(name)).unwrap(),
                Some(content) => fs::write(dir.path().join(name), content).unwrap(),
            }
            let (mut log, recovered) = open(dir.path(), small_segments());
            assert_eq!(recovered.scanned_bytes, 0);
            model.check(&mut log);
            log.close().unwrap();
            // Behind what counts there may be more, until the index is written again.
            assert!(fs::read(dir.path().join(name)).unwrap().starts_with(&whole));
        }
    }
}

#[test]
fn without_checkpoint_and_snapshots_all_is_read_from_the_log() {
    let dir = temporary_dir();
    let (log, model) = sample(dir.path());
    log.close().unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "log") {
            fs::remove_file(path).unwrap();
        }
    }
    let (mut log, _) = open(dir.path(), small_segments());
    model.check(&mut log);
    append(&mut log, &data(3, 0, 3, true));
}

#[test]
fn a_crash_at_any_change_keeps_what_committed_readers_are_told() {
    type Done = (i64, i64, Vec<AbortedTransaction>);
    fn scenario(file_system: &Arc<TestFileSystem>, dir: &Path, done: &mut Vec<Done>) -> Result<(), AppendError> {
        let (mut log, _) = Log::open(file_system.clone(), dir, small_segments(), NOW_MS)?;
        let (mut open_at, mut aborted) = (BTreeMap::new(), Vec::new());
        for round in 0..36i32 {
            let producer_id = i64::from(round % 2);
            if round % 4 < 2 {
                let first =
                    log.append(&data(producer_id, 0, round / 4 * 3, true), Origin::Client, 0, NOW_MS)?.base_offset;
                open_at.insert(producer_id, first);
            } else {
                let batch = marker(producer_id, 0, TransactionResult::Abort, 0);
                let last_offset = log.append(&batch, Origin::Coordinator, 0, NOW_MS)?.base_offset;
                let first_offset = open_at.remove(&producer_id).unwrap();
                let last_stable_offset = open_at.values().copied().min().unwrap_or(last_offset + 1);
                aborted.push(AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset });
            }
            let end = log.log_end_offset();
            done.push((end, open_at.values().copied().min().unwrap_or(end), aborted.clone()));
            if round % 5 == 4 {
                log.checkpoint()?;
            }
        }
        log.close().map_err(AppendError::Storage)
    }
    let whole = temporary_dir();
    let counting = Arc::new(TestFileSystem::default());
    let mut all = Vec::new();
    scenario(&counting, whole.path(), &mut all).unwrap();
    for cut in 0..counting.changes() {
        let dir = temporary_dir();
        let file_system = Arc::new(TestFileSystem::cut_at(cut));
        scenario(&file_system, dir.path(), &mut Vec::new()).unwrap_err();
        for image in IMAGES {
            let left = temporary_dir();
            file_system.leave(image, dir.path(), left.path());
            let (mut log, _) = open(left.path(), small_segments());
            let end = log.log_end_offset();
            let told = (end, stable(&mut log), log.aborted_transactions(0, end).unwrap());
            let expected = all.iter().find(|one| one.0 == end).cloned().unwrap_or_default();
            assert_eq!(told, expected, "{image:?} at change {cut}");
        }
    }
}

#[test]
fn what_does_not_fit_a_transaction_is_refused() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig::default());
    append(&mut log, &data(1, 4, 0, true));
    let mut refuse = |batch: &Bytes, origin| log.append(batch, origin, 0, NOW_MS).unwrap_err();
    let plain = refuse(&data(1, 4, 3, false), Origin::Client);
    assert!(matches!(plain, AppendError::InvalidTransactionState { producer_id: 1, .. }), "{plain:?}");
    let stale = marker(1, 3, TransactionResult::Commit, 7);
    assert!(matches!(
        refuse(&stale, Origin::Coordinator),
        AppendError::InvalidProducerEpoch { current: 4, got: 3, .. }
    ));
    let commit = |epoch| marker(1, 5, TransactionResult::Commit, epoch);
    log.append(&commit(7), Origin::Coordinator, 0, NOW_MS).unwrap();
    for reopened in [false, true] {
        let fenced = log.append(&commit(6), Origin::Coordinator, 0, NOW_MS).unwrap_err();
        assert!(matches!(fenced, AppendError::CoordinatorFenced { current: 7, got: 6, .. }), "{fenced:?}");
        // The marker's epoch fences the zombie, and the next transaction begins its sequences anew.
        let zombie = log.append(&data(1, 4, 3, true), Origin::Client, 0, NOW_MS).unwrap_err();
        assert!(matches!(zombie, AppendError::InvalidProducerEpoch { current: 5, got: 4, .. }), "{zombie:?}");
        let gap = log.append(&data(1, 5, 3, true), Origin::Client, 0, NOW_MS).unwrap_err();
        assert!(matches!(gap, AppendError::OutOfOrderSequence { expected: 0, got: 3, .. }), "{gap:?}");
        if !reopened {
            log.close().unwrap();
            log = open(dir.path(), LogConfig::default()).0;
        }
    }
    assert_eq!(append(&mut log, &data(1, 5, 0, true)), 4);
    assert_eq!(stable(&mut log), 4);
}

#[test]
fn a_decision_counts_once_it_is_below_the_high_watermark() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig::default());
    append(&mut log, &data(1, 0, 0, true));
    append(&mut log, &data(2, 0, 0, false));
    end(&mut log, 1, TransactionResult::Commit);
    assert_eq!([2, 3, 6, 7].map(|high_watermark| log.last_stable_offset(high_watermark)), [0, 0, 0, 7]);
}

#[test]
fn a_producer_with_an_open_transaction_is_not_forgotten() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig { producer_id_expiration_ms: 1000, ..LogConfig::default() });
    append(&mut log, &data(1, 0, 0, true));
    append(&mut log, &data(2, 0, 0, false));
    log.append(&data(3, 0, 0, false), Origin::Client, 0, NOW_MS + 10_000_000).unwrap();
    assert_eq!(log.producers.len(), 2);
    assert_eq!(stable(&mut log), 0);
    end(&mut log, 1, TransactionResult::Abort);
    assert_eq!(stable(&mut log), 10);
}

#[test]
fn a_marker_alone_changes_nothing() {
    let dir = temporary_dir();
    let (mut log, _) = open(dir.path(), LogConfig::default());
    end(&mut log, 9, TransactionResult::Abort);
    assert_eq!((stable(&mut log), log.aborted_transactions(0, 9).unwrap()), (1, vec![]));
    log.close().unwrap();
    assert!(!dir.path().join("00000000000000000000.txnindex").exists());
}

/// Apache Kafka's dump-log prints: version: 0 producerId: 1 firstOffset: 2 lastOffset: 3 lastStableOffset: 4.
#[test]
fn golden_bytes() {
    let entry = AbortedTransaction { producer_id: 1, first_offset: 2, last_offset: 3, last_stable_offset: 4 };
    let hex: String = entry.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "00000000000000000001000000000000000200000000000000030000000000000004");
    assert_eq!(AbortedTransaction::decode(entry.encode()), entry);
    let commit = marker(0x77, 1, TransactionResult::Commit, 9);
    let hex: String = commit[57..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "000000012000000008000000010c00000000000900");
}

#[test]
fn a_cleaning_drops_what_was_aborted_and_stops_where_a_transaction_is_open() {
    use crate::{compaction::CleanerSettings, compaction::clean, log::tests_support::LogUnderTest};
    let dir = temporary_dir();
    let config = LogConfig { compacted: true, min_cleanable_dirty_ratio: 0.0, ..LogConfig::default() };
    let (mut log, _) = open(dir.path(), config.clone());
    append(&mut log, &data(1, 0, 0, true)); // 0..3, aborted
    append(&mut log, &data(2, 0, 0, true)); // 3..6, committed
    end(&mut log, 1, TransactionResult::Abort); // 6
    end(&mut log, 2, TransactionResult::Commit); // 7
    log.roll(NOW_MS).unwrap();
    append(&mut log, &data(3, 0, 0, true)); // 8..11, open
    append(&mut log, &data(4, 0, 0, false)); // 11..14, the same keys, but not below the last stable offset
    log.roll(NOW_MS).unwrap();
    log.checkpoint().unwrap();
    let log = LogUnderTest::new(log);
    let cleaned = clean(&log, &CleanerSettings::default(), NOW_MS).unwrap().unwrap();
    assert_eq!(cleaned.end_offset, 8);
    for clean_stop in [true, false] {
        let left: Vec<i64> = log.edit(|log| {
            let data = all_batches(log, 1 << 20).into_iter().filter(|batch| !batch.is_control());
            data.flat_map(|batch| batch.records(CAP).unwrap()).map(|record| record.offset).collect()
        });
        assert_eq!(left, [3, 4, 5, 8, 9, 10, 11, 12, 13]);
        assert_eq!(log.edit(|log| (stable(log), log.aborted_transactions(0, 14).unwrap())), (8, vec![]));
        log.reopen(clean_stop, || open(dir.path(), config.clone()).0);
    }
}
