//! Topics come, grow and go, and the machine dies at every change of the disk: what was answered holds, the rest leaves no trouble.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{config::BrokerConfig, maintenance::Maintenance};
use bytes::Bytes;
use std::path::Path;
use tifo_storage::{
    Log, LogConfig, Origin,
    file_system::RealFileSystem,
    record_batch::{BatchBuilder, Compression},
    testing::{IMAGES, Image, TestFileSystem},
};

const NOW_MS: i64 = 1_700_000_000_000;

/// In memory where there is such a place: the test syncs thousands of times.
fn temporary_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn open(dir: &Path, file_system: Arc<dyn FileSystem>) -> Result<Arc<Catalog>, OpenError> {
    let config = Arc::new(Live::new(BrokerConfig::new(dir).in_force().unwrap()));
    Catalog::open(dir, config, Clock::fixed(NOW_MS), file_system).map(Arc::new)
}

fn records() -> Bytes {
    let mut batch = BatchBuilder::new(Compression::None);
    batch.push(NOW_MS, Some(b"k"), Some(b"v"), &[]);
    batch.build()
}

/// What was answered: topics by name with their ids and partitions, records by partition, log start offsets.
#[derive(Debug, Default)]
struct Promised {
    topics: BTreeMap<String, (Uuid, usize)>,
    deleted: Vec<Uuid>,
    records: BTreeMap<(Uuid, i32), i64>,
    starts: BTreeMap<(Uuid, i32), i64>,
    retention: Option<String>,
    /// The metadata log may have been compacted; no topic comes after that.
    compacted: bool,
}

impl Promised {
    fn create(&mut self, catalog: &Catalog, name: &str, partitions: i32) -> Result<(), RequestError> {
        let settings = Settings::from([("file.delete.delay.ms".to_owned(), "0".to_owned())]);
        let new = NewTopic { name: name.into(), partitions, replication_factor: -1, settings, ..NewTopic::default() };
        let topic = catalog.create_topic(&new, false)?;
        self.topics.insert(name.into(), (topic.id, topic.partitions.len()));
        Ok(())
    }

    fn produce(&mut self, catalog: &Catalog, name: &str, index: i32) -> Result<(), RequestError> {
        let topic = catalog.topic(name).unwrap();
        let appended = topic.partition(index)?.append(&records(), Origin::Client, NOW_MS)?;
        self.records.insert((topic.id, index), appended.appended.last_offset + 1);
        Ok(())
    }

    fn delete_records(&mut self, catalog: &Catalog, name: &str, index: i32) -> Result<(), RequestError> {
        let topic = catalog.topic(name).unwrap();
        let start = topic.partition(index)?.delete_records(None)?;
        self.starts.insert((topic.id, index), start);
        Ok(())
    }

    fn delete(&mut self, catalog: &Catalog, name: &str) -> Result<(), RequestError> {
        let (id, _) = self.topics.remove(name).unwrap();
        self.deleted.push(id);
        catalog.delete_topic(id)?;
        Ok(())
    }

    fn grow(&mut self, catalog: &Catalog, name: &str, count: i32) -> Result<(), RequestError> {
        catalog.create_partitions(name, &Increase { count, assignments: None }, false)?;
        self.topics.get_mut(name).unwrap().1 = usize::try_from(count).unwrap();
        Ok(())
    }

    fn alter(&mut self, catalog: &Catalog, name: &str) -> Result<(), RequestError> {
        catalog.alter_settings(name, false, |settings| {
            let mut settings = settings.clone();
            settings.insert("retention.ms".into(), "1234".into());
            Ok(settings)
        })?;
        self.retention = Some(name.into());
        Ok(())
    }
}

/// So many more changes that the metadata log is worth compacting, which the next tick does.
fn overgrow(catalog: &Catalog, promised: &mut Promised) -> Result<(), RequestError> {
    for round in 0..12 {
        catalog.alter_settings("a", false, |settings| {
            let mut settings = settings.clone();
            settings.insert("retention.bytes".into(), (1000 + round).to_string());
            Ok(settings)
        })?;
    }
    promised.compacted = true;
    catalog.writer.lock().log.as_mut().unwrap().look_soon();
    Ok(())
}

/// Until something fails. A deletion that failed half-way may hold or not.
fn scenario(catalog: &Arc<Catalog>, promised: &mut Promised) -> Result<(), RequestError> {
    let maintenance = Maintenance::new(catalog.clone(), Clock::fixed(NOW_MS), catalog.config.clone());
    promised.create(catalog, "a", 2)?;
    promised.create(catalog, "b", 1)?;
    promised.produce(catalog, "a", 0)?;
    promised.produce(catalog, "b", 0)?;
    maintenance.tick();
    promised.grow(catalog, "a", 3)?;
    promised.produce(catalog, "a", 2)?;
    promised.alter(catalog, "a")?;
    promised.produce(catalog, "a", 0)?;
    promised.delete_records(catalog, "a", 0)?;
    promised.delete(catalog, "b")?;
    promised.create(catalog, "b", 1)?;
    promised.produce(catalog, "b", 0)?;
    maintenance.tick();
    promised.delete(catalog, "b")?;
    maintenance.tick();
    overgrow(catalog, promised)?;
    maintenance.tick();
    promised.produce(catalog, "a", 1)?;
    promised.alter(catalog, "a")
}

fn check_image(file_system: &TestFileSystem, dir: &Path, image: Image, promised: &Promised, cut: usize) {
    let left = temporary_dir();
    file_system.leave(image, dir, left.path());
    let context = format!("{image:?} at change {cut}");
    let catalog = open(left.path(), Arc::new(RealFileSystem)).unwrap_or_else(|error| panic!("{context}: {error}"));
    for topic in catalog.topics() {
        for partition in &topic.partitions {
            let offsets = partition.offsets().unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(offsets.log_start_offset <= offsets.high_watermark, "{context}: {offsets:?}");
        }
    }
    if image == Image::Killed {
        check_promised(&catalog, promised, &context);
    }
    // The names are free or taken, never in between; and what is left of deletions goes.
    for name in ["a", "b", "c"] {
        let topic = catalog.ensure_topic(&NewTopic {
            name: name.into(),
            partitions: 1,
            replication_factor: -1,
            ..NewTopic::default()
        });
        let topic = topic.unwrap_or_else(|error| panic!("{context}: {name}: {error}"));
        topic.partition(0).unwrap().append(&records(), Origin::Client, NOW_MS).unwrap();
    }
    Maintenance::new(catalog.clone(), Clock::fixed(NOW_MS), catalog.config.clone()).tick();
    check_removed(left.path(), &catalog, promised, &context);
    let names: Vec<_> = std::fs::read_dir(left.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_str().unwrap().ends_with("-delete")), "{context}: {names:?}");
    catalog.close();
}

/// A compacted metadata log has forgotten no deleted topic of which a directory is left.
fn check_removed(dir: &Path, catalog: &Catalog, promised: &Promised, context: &str) {
    if promised.compacted {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let owner = tifo_storage::read_partition_metadata(&RealFileSystem, &entry.path()).ok().flatten();
            let is_left = owner.is_some_and(|id| promised.deleted.contains(&id) && catalog.topic_by_id(id).is_none());
            assert!(!is_left, "{context}: {:?} is left behind", entry.path());
        }
    }
}

fn check_promised(catalog: &Catalog, promised: &Promised, context: &str) {
    for (name, (id, partitions)) in &promised.topics {
        let topic = catalog.topic(name).unwrap_or_else(|| panic!("{context}: topic {name} is gone"));
        assert!(topic.id == *id && topic.partitions.len() >= *partitions, "{context}: {topic:?}");
        for (index, partition) in (0..).zip(&topic.partitions) {
            let offsets = partition.offsets().unwrap();
            let written = promised.records.get(&(*id, index)).copied().unwrap_or(0);
            let start = promised.starts.get(&(*id, index)).copied().unwrap_or(0);
            assert!(
                offsets.high_watermark >= written && offsets.log_start_offset >= start,
                "{context}: {name}-{index} {offsets:?}"
            );
        }
    }
    if let Some(name) = &promised.retention {
        assert_eq!(catalog.topic(name).unwrap().settings.get("retention.ms").unwrap(), "1234", "{context}");
    }
    // The last deletion may not have been answered.
    for id in promised.deleted.iter().rev().skip(1) {
        assert!(catalog.topic_by_id(*id).is_none(), "{context}: a deleted topic is back");
    }
}

#[test]
fn a_crash_at_any_change_of_topics_leaves_a_catalog_that_opens() {
    let whole = temporary_dir();
    let counting = Arc::new(TestFileSystem::default());
    let mut promised = Promised::default();
    scenario(&open(whole.path(), counting.clone()).unwrap(), &mut promised).unwrap();
    let start = std::fs::read_to_string(whole.path().join("metadata/log-start-offset")).unwrap();
    assert!(start.contains("log_start_offset: 2"), "compacted: {start}");
    for cut in 0..counting.changes() {
        let dir = temporary_dir();
        let file_system = Arc::new(TestFileSystem::cut_at(cut));
        let mut promised = Promised::default();
        if let Ok(catalog) = open(dir.path(), file_system.clone()) {
            // Failures of the maintenance are only told.
            let _ = scenario(&catalog, &mut promised);
        }
        for image in IMAGES {
            check_image(&file_system, dir.path(), image, &promised, cut);
        }
    }
}

/// Twice: a start, a record, a clean stop.
fn two_runs(dir: &Path, file_system: &Arc<TestFileSystem>) -> Option<()> {
    for _ in 0..2 {
        let catalog = open(dir, file_system.clone()).ok()?;
        let new = NewTopic { name: "a".into(), partitions: 2, replication_factor: -1, ..NewTopic::default() };
        let topic = catalog.ensure_topic(&new).ok()?;
        let _ = topic.partition(0).ok()?.append(&records(), Origin::Client, NOW_MS);
        catalog.close();
    }
    Some(())
}

#[test]
fn where_kafkas_mark_says_that_all_was_closed_cleanly_nothing_is_behind_a_checkpoint() {
    let counting = Arc::new(TestFileSystem::default());
    two_runs(temporary_dir().path(), &counting).unwrap();
    let mut marked = 0;
    for cut in 0..=counting.changes() {
        let dir = temporary_dir();
        let file_system = Arc::new(TestFileSystem::cut_at(cut));
        two_runs(dir.path(), &file_system);
        for image in IMAGES {
            let left = temporary_dir();
            file_system.leave(image, dir.path(), left.path());
            if left.path().join(".kafka_cleanshutdown").exists() {
                let log = left.path().join("a-0");
                let (_, recovered) = Log::open(Arc::new(RealFileSystem), &log, LogConfig::default(), NOW_MS).unwrap();
                assert_eq!(recovered.scanned_bytes, 0, "{image:?} at change {cut}");
                marked += 1;
            }
        }
    }
    assert!(marked > IMAGES.len(), "{marked}");
}
