//! Compaction against a model: whatever is written and cleaned whenever, who reads the log from its beginning ends with the same
//! state of every key, and nothing that is still there has moved.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    Origin,
    log::tests_support::LogUnderTest,
    record_batch::{BatchBuilder, Compression, Record},
    testing::*,
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::collections::{BTreeMap, HashSet};

const KEYS: u8 = 12;

/// What happens to the log, one thing after the other.
#[derive(Debug, Clone)]
enum Step {
    /// Key and value of each record, and how much later it is than the last.
    Append(Compression, Vec<(u8, Option<u8>, i64)>),
    /// An idempotent producer's batch.
    Produce(i64, Vec<(u8, Option<u8>, i64)>),
    /// The marker of a transaction without data.
    Marker(i64),
    Clean,
    Wait(i64),
    Restart {
        clean: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let codec =
        select(vec![Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]);
    let records = || vec((0..KEYS, option::weighted(0.7, any::<u8>()), 0i64..50), 1..12);
    let step = prop_oneof![
        6 => (codec, records()).prop_map(|(codec, records)| Step::Append(codec, records)),
        3 => (0i64..3, records()).prop_map(|(producer, records)| Step::Produce(producer, records)),
        1 => (10i64..12).prop_map(Step::Marker),
        2 => Just(Step::Clean),
        1 => (0i64..400).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
    ];
    vec(step, 1..80)
}

struct Run {
    dir: tempfile::TempDir,
    config: LogConfig,
    settings: CleanerSettings,
    log: LogUnderTest,
    now_ms: i64,
    written: Vec<Record>,
    sequences: BTreeMap<i64, i32>,
    first_dirty_offset: i64,
}

impl Run {
    fn new(config: LogConfig, settings: CleanerSettings) -> Self {
        let dir = temporary_dir();
        let log = LogUnderTest::new(open(dir.path(), config.clone()).0);
        let (written, sequences) = (Vec::new(), BTreeMap::new());
        Self { dir, config, settings, log, now_ms: NOW_MS, written, sequences, first_dirty_offset: 0 }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(codec, records) => self.append(BatchBuilder::new(*codec), records),
            Step::Produce(producer_id, records) => {
                let sequence = self.sequences.entry(*producer_id).or_default();
                let mut builder = BatchBuilder::default();
                builder.idempotent(*producer_id, 0, *sequence);
                *sequence += records.len() as i32;
                self.append(builder, records);
            }
            Step::Marker(producer_id) => {
                let marker = marker(*producer_id, 1, self.now_ms);
                self.log.edit(|log| log.append(&marker, Origin::Coordinator, 0, self.now_ms).unwrap());
            }
            Step::Clean => self.clean(),
            Step::Wait(ms) => self.now_ms += ms,
            Step::Restart { clean } => self.restart(*clean),
        }
    }

    fn append(&mut self, mut builder: BatchBuilder, records: &[(u8, Option<u8>, i64)]) {
        let base_offset = self.log.edit(|log| log.log_end_offset());
        for (offset, (key, value, later)) in (base_offset..).zip(records) {
            self.now_ms += later;
            let (key, value) = (format!("key-{key}"), value.map(|value| format!("value {value} of {offset}")));
            builder.push(self.now_ms, Some(key.as_bytes()), value.as_deref().map(str::as_bytes), &[(b"h", None)]);
            self.written.push(Record {
                offset,
                timestamp_ms: self.now_ms,
                key: Some(Bytes::from(key)),
                value: value.map(Bytes::from),
                headers: vec![(Bytes::from_static(b"h"), None)],
            });
        }
        let batch = builder.build();
        let appended = self.log.edit(|log| log.append(&batch, Origin::Internal, 0, self.now_ms)).unwrap();
        assert_eq!(appended.base_offset, base_offset);
    }

    fn clean(&mut self) {
        // Only what lies before a checkpoint may be cleaned; a roll takes one.
        if let Some(cleaned) = clean(&self.log, &self.settings, self.now_ms).unwrap() {
            assert!(cleaned.end_offset > self.first_dirty_offset, "no progress: {cleaned:?}");
            assert!(cleaned.map_bytes <= self.settings.dedupe_buffer_bytes.max(2 * 24));
            self.first_dirty_offset = cleaned.end_offset;
        }
        self.check();
    }

    fn restart(&mut self, clean: bool) {
        let (config, dir) = (self.config.clone(), self.dir.path().to_owned());
        self.log.reopen(clean, || open(&dir, config).0);
        self.check();
    }

    fn check(&mut self) {
        let (found, batches) = self.log.edit(|log| (all_records(log), all_batches(log, 1 << 20)));
        let by_offset: BTreeMap<i64, &Record> = self.written.iter().map(|record| (record.offset, record)).collect();
        for record in found.iter().filter(|record| !is_marker(record)) {
            assert_eq!(Some(&record), by_offset.get(&record.offset), "changed");
        }
        assert_eq!(state(&found), state(&self.written));
        let rising = batches.windows(2).all(|pair| pair[0].header.last_offset() < pair[1].header.base_offset);
        assert!(rising, "batches overlap");
        let mut keys = HashSet::new();
        let clean = found.iter().filter(|record| record.offset < self.first_dirty_offset && !is_marker(record));
        for record in clean {
            assert!(keys.insert(record.key.clone()), "twice below {}: {record:?}", self.first_dirty_offset);
        }
    }

    /// Every offset can be asked for; time is found as a walk over the records finds it.
    fn check_look_ups(&mut self) {
        let found = self.log.edit(|log| all_records(log));
        let data: Vec<&Record> = found.iter().collect();
        self.log.edit(|log| {
            let end = log.log_end_offset();
            for offset in 0..end {
                let slice = log.read(offset, end, 1, true).unwrap().unwrap();
                let batch = crate::record_batch::batches(slice.read().unwrap()).next().unwrap().unwrap();
                assert!(batch.header.last_offset() >= offset);
                let before =
                    data.iter().filter(|record| record.offset >= offset && record.offset < batch.header.base_offset);
                assert_eq!(before.count(), 0, "records before the batch at {offset}");
            }
            let times = data.iter().map(|record| record.timestamp_ms).chain([NOW_MS - 1, i64::MAX]);
            for time in times.flat_map(|time| [time, time.saturating_add(1)]) {
                let expected = data.iter().find(|record| record.timestamp_ms >= time).map(|record| record.offset);
                assert_eq!(log.offset_for_timestamp(time).unwrap().map(|found| found.offset), expected);
            }
            let newest = data.iter().map(|record| record.timestamp_ms).max();
            let expected = data.iter().find(|record| Some(record.timestamp_ms) == newest).map(|record| record.offset);
            assert_eq!(log.offset_of_max_timestamp().unwrap().map(|found| found.offset), expected);
        });
    }

    /// Producers go on where they were even if all that is known of them is the log.
    fn check_producers(&mut self) {
        for name in std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path()) {
            let extension = name.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_owned();
            if extension == "snapshot" || name.ends_with("log-checkpoint") {
                std::fs::remove_file(name).unwrap();
            }
        }
        self.restart(false);
        for producer_id in self.sequences.keys().copied().collect::<Vec<_>>() {
            let mut builder = BatchBuilder::default();
            builder.idempotent(producer_id, 0, self.sequences[&producer_id]);
            self.append(builder, &[(0, Some(1), 0)]);
        }
    }
}

/// Markers have no place in the model.
fn is_marker(record: &Record) -> bool {
    record.headers.is_empty()
}

/// What a reader from the beginning ends with.
fn state(records: &[Record]) -> BTreeMap<Bytes, Bytes> {
    let mut state = BTreeMap::new();
    for record in records.iter().filter(|record| !is_marker(record)) {
        let key = record.key.clone().unwrap();
        match record.value.clone() {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
    state
}

fn compacted(segment_bytes: u32, interval: u32) -> LogConfig {
    LogConfig {
        segment_bytes,
        index_interval_bytes: interval,
        compacted: true,
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: 200,
        ..LogConfig::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_reader_ends_with_the_same_state(
        steps in steps(),
        segment_bytes in 200u32..3000,
        interval in 0u32..600,
        map_bytes in select(vec![24usize, 120, 400, 1 << 20]),
        window in 61usize..2000,
    ) {
        let settings = CleanerSettings { dedupe_buffer_bytes: map_bytes, io_buffer_bytes: window, ..CleanerSettings::default() };
        let mut run = Run::new(compacted(segment_bytes, interval), settings);
        for step in &steps {
            run.take(step);
        }
        for _ in 0..3 {
            run.clean();
            run.now_ms += 300;
        }
        run.check_look_ups();
        run.check_producers();
    }
}

/// Appends one-record batches of these keys, with so many to a segment, and one more segment.
fn filled(keys: &[(&str, Option<&str>)], a_segment: usize) -> (tempfile::TempDir, LogUnderTest) {
    let dir = temporary_dir();
    let mut log = open(dir.path(), compacted(1 << 20, 0)).0;
    for (at, (key, value)) in keys.iter().enumerate() {
        let mut builder = BatchBuilder::default();
        builder.push(NOW_MS, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
        append(&mut log, &builder.build());
        if at % a_segment == a_segment - 1 {
            log.roll(NOW_MS).unwrap();
        }
    }
    (dir, LogUnderTest::new(log))
}

fn offsets(log: &LogUnderTest) -> Vec<i64> {
    log.edit(|log| all_records(log).iter().map(|record| record.offset).collect())
}

#[test]
fn the_newest_of_each_key_stays_where_it_was() {
    let keys = ["a", "b", "a", "c", "b", "a", "d", "a"].map(|key| (key, Some("value")));
    let (_dir, log) = filled(&keys, 3);
    let cleaned = clean(&log, &CleanerSettings::default(), NOW_MS).unwrap().unwrap();
    assert_eq!((cleaned.end_offset, cleaned.keys), (6, 3));
    assert!(cleaned.bytes_after < cleaned.bytes_before);
    // 6 and 7 are in the active segment.
    assert_eq!(offsets(&log), [3, 4, 5, 6, 7]);
    assert_eq!(log.edit(|log| log.log_end_offset()), 8);
    assert!(clean(&log, &CleanerSettings::default(), NOW_MS).unwrap().is_none());
}

#[test]
fn a_tombstone_goes_in_a_cleaning_after_its_horizon() {
    let keys = [("a", Some("1")), ("b", Some("1")), ("a", None), ("c", Some("1")), ("c", Some("2")), ("d", Some("3"))];
    let (_dir, log) = filled(&keys, 3);
    let at = |now_ms| clean(&log, &CleanerSettings::default(), now_ms).unwrap();
    at(NOW_MS).unwrap();
    assert_eq!(offsets(&log), [1, 2, 4, 5]);
    let horizon = log.edit(|log| all_batches(log, 1 << 20).iter().find_map(|batch| batch.header.delete_horizon_ms()));
    assert_eq!(horizon, Some(NOW_MS + 200));
    let more = |log: &LogUnderTest| {
        log.edit(|log| {
            append(log, &batch(Compression::None, &[NOW_MS]));
            log.roll(NOW_MS).unwrap();
        })
    };
    more(&log);
    at(NOW_MS + 199).unwrap();
    assert!(offsets(&log).contains(&2));
    more(&log);
    at(NOW_MS + 200).unwrap();
    assert!(!offsets(&log).contains(&2));
}

#[test]
fn a_record_without_key_is_dropped() {
    let dir = temporary_dir();
    let mut log = open(dir.path(), LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() }).0;
    let mut builder = BatchBuilder::new(Compression::Zstd);
    for (offset, key) in [Some("a"), None, Some("b"), None].into_iter().enumerate() {
        builder.push(NOW_MS + offset as i64, key.map(str::as_bytes), Some(b"value"), &[]);
    }
    append(&mut log, &builder.build());
    log.roll(NOW_MS).unwrap();
    log.set_config(compacted(1 << 20, 0));
    let log = LogUnderTest::new(log);
    clean(&log, &CleanerSettings::default(), NOW_MS).unwrap().unwrap();
    assert_eq!(offsets(&log), [0, 2]);
    let batch = log.edit(|log| all_batches(log, 1 << 20).remove(0));
    assert_eq!((batch.header.last_offset(), batch.header.max_timestamp), (3, NOW_MS + 2));
    assert_eq!(batch.compression().unwrap(), Compression::Zstd);
}

#[test]
fn an_untouched_segment_is_not_written_again() {
    let keys: Vec<String> = (0..20).map(|key| key.to_string()).collect();
    let keys: Vec<_> = keys.iter().map(|key| (key.as_str(), Some("value"))).collect();
    let (dir, log) = filled(&keys, 20);
    let before = std::fs::metadata(dir.path().join("00000000000000000000.log")).unwrap().modified().unwrap();
    assert_eq!(clean(&log, &CleanerSettings::default(), NOW_MS).unwrap().unwrap().keys, 20);
    assert_eq!(std::fs::metadata(dir.path().join("00000000000000000000.log")).unwrap().modified().unwrap(), before);
    assert_eq!(half_cleaned(dir.path()), 0);
    assert_eq!(offsets(&log).len(), 20);
}

#[test]
fn a_damaged_batch_ends_the_cleaning_and_nothing_is_lost() {
    let (dir, log) = filled(&["a", "b", "a", "b"].map(|key| (key, Some("value"))), 4);
    let path = dir.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let failed = clean(&log, &CleanerSettings::default(), NOW_MS);
    assert!(matches!(failed, Err(CleaningError::Storage(StorageError::Corrupt { .. }))), "{failed:?}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}
