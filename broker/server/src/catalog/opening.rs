//! Start and stop of the catalog: replay of the metadata log, opening of all partitions, clean close.

use super::{
    Catalog, DataDirError, Deletions, Image, Topic, Writer, broker_settings,
    data_dir::DataDir,
    kafka_uuid,
    producer_ids::ProducerIds,
    records::{MetadataError, MetadataLog, MetadataRecord},
    replayed::{Described, Replayed},
};
use crate::{
    clock::Clock,
    errors::RequestError,
    partition::Partition,
    settings::{InForce, Layers, Live, Scope, Settings, log_config},
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use tifo_storage::{Log, LogConfig, StorageError, close_all, file_system::FileSystem};
use uuid::Uuid;

/// Most threads that open or close partitions.
const MAX_THREADS: usize = 8;

/// Why the catalog cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("data directory: {0}")]
    Storage(#[from] StorageError),
    #[error("metadata log: {0}")]
    Record(#[from] RequestError),
}

impl Catalog {
    /// Locks the data directory, replays what exists and opens every partition.
    pub fn open(
        data_dir: &Path,
        config: Arc<Live>,
        clock: Clock,
        file_system: Arc<dyn FileSystem>,
    ) -> Result<Self, OpenError> {
        let data = DataDir::open(data_dir, file_system.clone())?;
        data.withdraw_mark()?;
        let now_ms = clock.now_ms();
        let metadata_config = LogConfig { durability: config.now().durability(), ..LogConfig::default() };
        let (mut log, records) = MetadataLog::open(file_system.clone(), &data.metadata_dir(), metadata_config, now_ms)?;
        let replayed = Replayed::of(records);
        take_altered(&config, &replayed.altered);
        let deletions = Deletions::default();
        data.leftovers(&replayed.known())?.into_iter().for_each(|doomed| deletions.add(doomed, now_ms));
        let cluster_id = match replayed.cluster_id {
            Some(id) => id,
            None => first_start(&mut log, now_ms)?,
        };
        let opener = Opener { data: &data, file_system: &file_system, broker: &config.now().layers, now_ms };
        let mut image = opener.open_all(replayed.topics);
        image.resources = replayed.resources;
        let writer = Writer { log: Some(log), producer_ids: ProducerIds::starting_at(replayed.next_producer_id) };
        Ok(Self {
            image: RwLock::new(image),
            topics_image: Mutex::default(),
            writer: Mutex::new(writer),
            metadata_upkeep: Mutex::default(),
            data,
            deletions,
            file_system,
            config,
            clock,
            cluster_id,
        })
    }

    /// Closes every log cleanly; what is asked of the catalog afterwards fails.
    pub fn close(&self) {
        let _upkeep_has_ended = self.metadata_upkeep.lock();
        let mut writer = self.writer.lock();
        let topics = self.topics();
        let taken = topics.iter().flat_map(|topic| &topic.partitions);
        let taken =
            taken.filter_map(|partition| partition.take_log().map(|log| ((partition, log.log_end_offset()), log)));
        let (partitions, logs): (Vec<_>, Vec<Log>) = taken.unzip();
        let results = close_all(&*self.file_system, self.data.path(), logs);
        let mut clean = results.len() == topics.iter().map(|topic| topic.partitions.len()).sum::<usize>();
        for ((partition, end), result) in partitions.into_iter().zip(results) {
            partition.closed(end, result.is_ok());
            if let Err(error) = result {
                clean = false;
                tracing::error!(topic = %partition.topic, partition = partition.index, %error, "log not closed cleanly");
            }
        }
        if let Some(Err(error)) = writer.log.take().map(MetadataLog::close) {
            clean = false;
            tracing::error!(%error, "metadata log not closed cleanly");
        }
        if clean && let Err(error) = self.data.mark_clean() {
            tracing::error!(%error, "the clean stop is not marked");
        }
        self.data.unlock();
    }

    /// Opens a partition of a topic that is being created or grows.
    pub(super) fn open_partition(
        &self,
        name: &Arc<str>,
        id: Uuid,
        index: i32,
        settings: &Settings,
    ) -> Result<Arc<Partition>, RequestError> {
        let config = log_config(settings, &self.config.now().layers);
        let dir = self.data.new_partition(name, index, id)?;
        let (log, _) = Log::open(self.file_system.clone(), &dir, config, self.clock.now_ms())?;
        Ok(Arc::new(Partition::new(name.clone(), index, Some(log))))
    }
}

/// Puts what was altered at run time over what the broker was started with. Should they not go together any more, the latter holds.
fn take_altered(config: &Live, altered: &BTreeMap<Option<i32>, Settings>) {
    let now = config.now();
    let broker = altered.get(&Some(now.node_id)).cloned().unwrap_or_default();
    let cluster = altered.get(&None).cloned().unwrap_or_else(broker_settings::at_first);
    let layers = now.layers.clone().with(Scope::Broker, broker).with(Scope::Cluster, cluster);
    match InForce::read(layers) {
        Ok(in_force) => config.replace(in_force),
        Err(error) => {
            tracing::error!(%error, "the settings altered at run time are left out: they do not fit the broker's own")
        }
    }
}

fn first_start(log: &mut MetadataLog, now_ms: i64) -> Result<String, OpenError> {
    let id = kafka_uuid::to_kafka_string(kafka_uuid::random());
    log.append(&MetadataRecord::Cluster { id: id.clone() }, now_ms)?;
    Ok(id)
}

struct Opener<'a> {
    data: &'a DataDir,
    file_system: &'a Arc<dyn FileSystem>,
    broker: &'a Layers,
    now_ms: i64,
}

impl Opener<'_> {
    /// Opens all partitions in a few threads. One that cannot be opened is offline, the others go on.
    fn open_all(&self, topics: BTreeMap<Uuid, Described>) -> Image {
        let started = Instant::now();
        let scanned = AtomicUsize::new(0);
        let jobs: Vec<(Uuid, &Described, i32)> =
            topics.iter().flat_map(|(id, topic)| (0..topic.partitions).map(move |index| (*id, topic, index))).collect();
        let opened = in_threads(&jobs, |(id, topic, index)| {
            let config = log_config(&topic.settings, self.broker);
            let log = match self.open_log(&topic.name, *id, *index, config) {
                Ok((log, bytes)) => {
                    scanned.fetch_add(bytes, Ordering::Relaxed);
                    Some(log)
                }
                Err(error) => {
                    tracing::error!(topic = %topic.name, partition = index, %error, "partition is offline: stop the broker and run `tifo log check` on its directory");
                    None
                }
            };
            Arc::new(Partition::new(topic.name.clone(), *index, log))
        });
        let elapsed_ms = started.elapsed().as_millis();
        tracing::info!(partitions = jobs.len(), scanned_bytes = scanned.into_inner(), %elapsed_ms, "partitions opened");
        let mut opened = opened.into_iter();
        let mut image = Image::default();
        for (id, topic) in &topics {
            let partitions = (0..topic.partitions).filter_map(|_| opened.next()).collect();
            let (name, settings) = (topic.name.clone(), topic.settings.clone());
            image.put(Arc::new(Topic { name, id: *id, partitions, settings }));
        }
        image
    }

    fn open_log(&self, topic: &str, id: Uuid, index: i32, config: LogConfig) -> Result<(Log, usize), StorageError> {
        let dir = self.data.known_partition(topic, index, id)?;
        let (log, recovered) = Log::open(self.file_system.clone(), &dir, config, self.now_ms)?;
        if recovered.truncated_bytes > 0 {
            let cut = recovered.truncated_bytes;
            tracing::warn!(topic, partition = index, cut, "a torn tail was cut off after an unclean stop");
        }
        Ok((log, usize::try_from(recovered.scanned_bytes).unwrap_or(usize::MAX)))
    }
}

/// Does `work` on every item, in a bounded number of threads; results in the items' order.
fn in_threads<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(MAX_THREADS).min(items.len());
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, work(item)));
        }
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap_or_default()).collect()
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
