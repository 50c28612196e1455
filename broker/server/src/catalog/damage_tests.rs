//! Bits flipped in the metadata log, its side files and every `partition.metadata`: the start is refused with the reason, or all that
//! was answered is there. Nothing panics, and no record of a topic is lost with a file that only names its owner.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::BrokerConfig;
use proptest::{prelude::*, sample::Index};
use std::path::{Path, PathBuf};
use tifo_storage::{
    Origin,
    file_system::RealFileSystem,
    record_batch::{BatchBuilder, Compression},
};

const NOW_MS: i64 = 1_700_000_000_000;

fn open(dir: &Path) -> Result<Catalog, OpenError> {
    let config = Arc::new(Live::new(BrokerConfig::new(dir).in_force().unwrap()));
    Catalog::open(dir, config, Clock::fixed(NOW_MS), Arc::new(RealFileSystem))
}

/// What clients see: the cluster's id; of each topic name, id, settings and the records in each partition.
type View = (String, Vec<(String, Uuid, Settings, Vec<i64>)>);

fn view(catalog: &Catalog) -> View {
    let topics = catalog.topics().into_iter().map(|topic| {
        let ends = topic.partitions.iter().map(|partition| partition.offsets().unwrap().high_watermark).collect();
        (topic.name.to_string(), topic.id, topic.settings.clone(), ends)
    });
    (catalog.cluster_id().to_owned(), topics.collect())
}

fn alter(catalog: &Catalog, value: usize) {
    let change = |settings: &Settings| {
        let mut settings = settings.clone();
        settings.insert("retention.bytes".into(), value.to_string());
        Ok(settings)
    };
    catalog.alter_settings("a", false, change).unwrap();
}

struct Original {
    dir: tempfile::TempDir,
    view: View,
    /// Before the last change, which a log that was not closed may lose with its last batch.
    before: View,
}

impl Original {
    fn new(is_compacted: bool, is_clean: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = open(dir.path()).unwrap();
        for (name, partitions) in [("a", 2), ("b", 1), ("gone", 1)] {
            let settings = Settings::from([("retention.ms".to_owned(), "-1".to_owned())]);
            let new =
                NewTopic { name: name.into(), partitions, replication_factor: -1, settings, ..NewTopic::default() };
            let topic = catalog.create_topic(&new, false).unwrap();
            for partition in &topic.partitions {
                let mut batch = BatchBuilder::new(Compression::None);
                batch.push(NOW_MS, Some(b"k"), Some(b"v"), &[]);
                partition.append(&batch.build(), Origin::Client, NOW_MS).unwrap();
            }
        }
        catalog.next_producer_id().unwrap();
        catalog.delete_topic(catalog.topic("gone").unwrap().id).unwrap();
        (0..20).for_each(|round| alter(&catalog, 1000 + round));
        if is_compacted {
            catalog.writer.lock().log.as_mut().unwrap().look_soon();
            catalog.checkpoint_metadata();
            assert!(dir.path().join("metadata/log-start-offset").exists());
        }
        let before = view(&catalog);
        alter(&catalog, 5000);
        let view = view(&catalog);
        if is_clean {
            catalog.close();
        }
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        Self { dir: copied, view, before }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Everything in the metadata log's directory, and who owns each partition's.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let owners = entries(dir).into_iter().map(|dir| dir.join("partition.metadata"));
    let mut files = entries(&dir.join("metadata"));
    files.extend(owners);
    files.retain(|path| std::fs::metadata(path).is_ok_and(|found| found.len() > 0));
    files.sort();
    files
}

/// What is missing at the metadata log's end is a torn end, of which other tests tell; so only the other files may be cut.
fn check(original: &Original, file: &Index, damage: impl FnOnce(&mut Vec<u8>, bool)) {
    let dir = tempfile::tempdir().unwrap();
    copy(original.dir.path(), dir.path());
    let files = files(dir.path());
    let path = &files[file.index(files.len())];
    let is_metadata_log = path.extension().is_some_and(|extension| extension == "log");
    let mut content = std::fs::read(path).unwrap();
    damage(&mut content, !is_metadata_log);
    std::fs::write(path, content).unwrap();
    match open(dir.path()) {
        Err(OpenError::Metadata(_)) if is_metadata_log => {}
        Err(error) => panic!("{path:?}: {error}"),
        Ok(catalog) => {
            let found = view(&catalog);
            let is_right = found == original.view || (is_metadata_log && found == original.before);
            assert!(is_right, "{path:?}: {found:?}\n{:?}", original.view);
            catalog.close();
        }
    }
}

#[test]
fn damaged_metadata_is_refused_or_changes_nothing() {
    let originals: Vec<Original> = [(false, false), (false, true), (true, false), (true, true)]
        .map(|(is_compacted, is_clean)| Original::new(is_compacted, is_clean))
        .into();
    let flips = std::env::var("TIFO_TEST_FLIPS").map_or(200, |flips| flips.parse().unwrap());
    let config = ProptestConfig { max_shrink_iters: 0, ..ProptestConfig::with_cases(flips) };
    proptest!(config, |(which in 0usize..4, file: Index, at: Index, bit in 0u32..8, cut in 0u8..4)| {
        check(&originals[which], &file, |content, may_be_cut| {
            let at = at.index(content.len());
            if cut == 0 && may_be_cut { content.truncate(at) } else { content[at] ^= 1 << bit }
        });
    });
}
