//! Fetch, key 1, versions 4-18.
//!
//! 5: log start offset. 7 (KIP-227): sessions. 9 (KIP-320): leader epochs. 11 (KIP-392): racks and a preferred replica.
//! 12: flexible; diverging epochs (KIP-595). 13 (KIP-516): topic ids. 15 (KIP-903): the replica's state is a tagged field.
//! 16 (KIP-951): the new leader's address. 17 (KIP-853) and 18 (KIP-1166): fields of replicas only.
//! A fetch that finds less than `min_bytes` waits for appends, up to `max_wait_ms`; it is woken, it does not poll. The first
//! batch comes whole whatever its size. Records go from the file to the socket.
//! Left out: fetches of followers.

mod encode;
mod sessions;

pub use sessions::FetchSessions;

use super::{Answer, Api, Call, Context, bounds::*, ready, versions};
use crate::{
    catalog::{Catalog, Topic},
    cluster::check_leader_epoch,
    errors::RequestError,
    partition::{self, Isolation, Partition, PartitionRead},
    services::Services,
};
use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, FetchRequest, TopicName},
};
use sessions::{Begun, Key, NO_SESSION, Told, Wanted};
use std::{sync::Arc, time::Duration};
use tifo_storage::record_batch;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Topics are named by their ids from here on (KIP-516).
const FIRST_WITH_TOPIC_IDS: i16 = 13;

const PARTITION: Kind = Kind::Struct(&[
    field(INT32),
    field(INT32).since(9),
    field(INT64),
    field(INT32).since(12),
    field(INT64).since(5),
    field(INT32),
    field(UUID).since(17).tag(0),
    field(INT64).since(18).tag(1),
]);
const TOPIC: Kind =
    Kind::Struct(&[field(Kind::String).until(12), field(UUID).since(13), field(Kind::Array(&PARTITION))]);
const FORGOTTEN: Kind =
    Kind::Struct(&[field(Kind::String).until(12), field(UUID).since(13), field(Kind::Array(&INT32))]);
const REPLICA_STATE: Kind = Kind::Struct(&[field(INT32), field(INT64)]);
const LAYOUT: Layout = Layout::new(
    12,
    &[
        field(INT32).until(14),
        field(INT32),
        field(INT32),
        field(INT32),
        field(INT8),
        field(INT32).since(7),
        field(INT32).since(7),
        field(Kind::Array(&TOPIC)),
        field(Kind::Array(&FORGOTTEN)).since(7),
        field(Kind::String).since(11),
        field(Kind::NullableString).since(12).tag(0),
        field(REPLICA_STATE).since(15).tag(1),
    ],
);

pub const API: Api = Api {
    key: ApiKey::Fetch,
    name: "Fetch",
    advertised: versions(4, 18),
    served: versions(4, 18),
    request: LAYOUT,
    handle: start,
};

/// Longest wait that a client may ask for; also keeps the arithmetic of deadlines sound.
const MAX_WAIT: Duration = Duration::from_secs(3600);
/// Slices of one response that are sent from their files, which stay open until then; further ones are copied.
const MAX_FILES_A_RESPONSE: usize = 256;

fn start(services: &Arc<Services>, call: Call) -> super::Pending {
    let context = call.context.clone();
    let request = match call.decode::<FetchRequest>() {
        Ok(request) => request,
        Err(closed) => return ready(Answer::Close(closed)),
    };
    match Fetch::new(services, &request, context.clone()) {
        Ok(fetch) => Box::pin(fetch.run(services.shutdown.clone())),
        Err(refused) => ready(encode::refused(&context, refused)),
    }
}

/// What the request says of its session, and of partitions.
fn asked(request: &FetchRequest, context: &Context) -> sessions::Asked {
    let key = |topic: &TopicName, topic_id, partition| Key { topic: topic.clone(), topic_id, partition };
    let partitions = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let wanted = Wanted {
                offset: partition.fetch_offset,
                max_bytes: partition.partition_max_bytes,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
            };
            (key(&topic.topic, topic.topic_id, partition.partition), wanted)
        })
    });
    let forgotten = request
        .forgotten_topics_data
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| key(&topic.topic, topic.topic_id, *partition)));
    sessions::Asked {
        session_id: request.session_id,
        epoch: request.session_epoch,
        uses_topic_ids: context.version >= FIRST_WITH_TOPIC_IDS,
        partitions: partitions.collect(),
        forgotten: forgotten.collect(),
    }
}

/// How the answer is cut to a session.
#[derive(Debug)]
enum Session {
    Without,
    /// All is told, and remembered from now on.
    New,
    /// What has changed is told.
    Goes {
        id: i32,
        epoch: i32,
    },
}

/// A topic as the client named it.
#[derive(Debug)]
struct AskedTopic {
    name: TopicName,
    id: Uuid,
    partitions: Vec<Asked>,
}

/// A partition as the client asked for it, looked up.
#[derive(Debug)]
struct Asked {
    index: i32,
    wanted: Wanted,
    found: Result<Arc<Partition>, RequestError>,
}

/// What was read of a partition.
type Read = Result<PartitionRead, ResponseError>;

#[derive(Debug)]
struct Fetch {
    context: Context,
    services: Arc<Services>,
    session: Session,
    topics: Vec<AskedTopic>,
    isolation: Isolation,
    min_bytes: usize,
    max_bytes: usize,
    max_wait: Duration,
}

impl Fetch {
    fn new(services: &Arc<Services>, request: &FetchRequest, context: Context) -> Result<Self, ResponseError> {
        let asked = asked(request, &context);
        let goes = Session::Goes { id: asked.session_id, epoch: asked.epoch };
        let (session, partitions) = match services.fetch_sessions.begin(asked, services.clock.now_ms()) {
            Begun::Without(named) => (Session::Without, named),
            Begun::Full(named) => (Session::New, named),
            Begun::Incremental(all) => (goes, all),
            Begun::Refused(error) => return Err(error),
        };
        let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or(0);
        Ok(Self {
            topics: look_up(&services.catalog, partitions, context.version),
            session,
            isolation: request.isolation_level.into(),
            min_bytes: usize::try_from(request.min_bytes).unwrap_or(0),
            max_bytes: usize::try_from(request.max_bytes).unwrap_or(0).min(services.config.now().fetch_max_bytes),
            max_wait: Duration::from_millis(wait_ms).min(MAX_WAIT),
            services: services.clone(),
            context,
        })
    }

    fn partitions(&self) -> impl Iterator<Item = &Asked> {
        self.topics.iter().flat_map(|topic| &topic.partitions)
    }

    /// Reads until there is enough, the time is over or the broker stops.
    async fn run(self, shutdown: CancellationToken) -> Answer {
        let deadline = Instant::now() + self.max_wait;
        let mut reads = self.read_all();
        if self.is_enough(&reads) || self.max_wait.is_zero() {
            return self.finish(reads);
        }
        let appended = Arc::new(Notify::new());
        let found = self.partitions().filter_map(|asked| asked.found.as_ref().ok());
        let _watches: Vec<_> = found.map(|partition| partition.watch(&appended)).collect();
        loop {
            // Again, now that no append can be missed.
            reads = self.read_all();
            if self.is_enough(&reads) || Instant::now() >= deadline || shutdown.is_cancelled() {
                return self.finish(reads);
            }
            tokio::select! {
                () = appended.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// The answer, cut to what the session has not been told yet.
    fn finish(mut self, mut reads: Vec<Read>) -> Answer {
        let mut session_id = NO_SESSION;
        match self.session {
            Session::Without => {}
            Session::New => {
                let told = self.keys().zip(&reads).map(|((key, wanted), read)| (key, wanted, told(read))).collect();
                let uses_topic_ids = self.context.version >= FIRST_WITH_TOPIC_IDS;
                session_id = self.services.fetch_sessions.create(uses_topic_ids, told, self.services.clock.now_ms());
            }
            Session::Goes { id, epoch } => {
                let answers: Vec<(Key, Told)> =
                    self.keys().zip(&reads).map(|((key, _), read)| (key, told(read))).collect();
                match self.services.fetch_sessions.select(id, epoch, &answers) {
                    Ok(chosen) => keep(&mut self.topics, &mut reads, &chosen),
                    Err(error) => return encode::refused(&self.context, error),
                }
                session_id = id;
            }
        }
        encode::answer(&self.context, session_id, &self.topics, reads)
    }

    fn keys(&self) -> impl Iterator<Item = (Key, Wanted)> {
        self.topics.iter().flat_map(|topic| {
            let key = |partition| Key { topic: topic.name.clone(), topic_id: topic.id, partition };
            topic.partitions.iter().map(move |asked| (key(asked.index), asked.wanted.clone()))
        })
    }

    fn read_all(&self) -> Vec<Read> {
        let mut left = self.max_bytes;
        let mut is_empty = true;
        let mut files = 0;
        let reads = self.partitions().map(|asked| {
            let mut read = asked.read(left, is_empty, self.isolation)?;
            if let Some(slice) = &mut read.slice {
                is_empty = false;
                left = left.saturating_sub(slice.length);
                if slice.length < encode::SENDFILE_FROM_BYTES || files >= MAX_FILES_A_RESPONSE {
                    slice.load().map_err(|_| ResponseError::KafkaStorageError)?;
                } else {
                    files += 1;
                }
            }
            Ok(read)
        });
        reads.collect()
    }

    /// An error is told at once; so is what a closed segment holds, however little.
    fn is_enough(&self, reads: &[Read]) -> bool {
        let size =
            |read: &Read| read.as_ref().ok().and_then(|read| read.slice.as_ref()).map_or(0, |slice| slice.length);
        let total: usize = reads.iter().map(size).sum();
        reads.is_empty()
            || total >= self.min_bytes
            || reads.iter().any(|read| read.as_ref().map_or(true, |read| read.diverging.is_some()))
            || (total > 0 && reads.iter().flatten().any(has_more_behind))
    }
}

/// Finds what was asked for; neighbours of one topic come together.
fn look_up(catalog: &Catalog, partitions: Vec<(Key, Wanted)>, version: i16) -> Vec<AskedTopic> {
    let mut topics: Vec<(AskedTopic, Result<Arc<Topic>, ResponseError>)> = Vec::new();
    for (key, wanted) in partitions {
        let is_next = topics.last().is_none_or(|(last, _)| last.name != key.topic || last.id != key.topic_id);
        if is_next {
            let found = match version {
                FIRST_WITH_TOPIC_IDS.. => catalog.topic_by_id(key.topic_id).ok_or(ResponseError::UnknownTopicId),
                _ => catalog.topic(&key.topic).ok_or(ResponseError::UnknownTopicOrPartition),
            };
            topics.push((AskedTopic { name: key.topic, id: key.topic_id, partitions: Vec::new() }, found));
        }
        if let Some((topic, found)) = topics.last_mut() {
            let found = match found {
                Ok(topic) => topic.partition(key.partition).cloned(),
                Err(ResponseError::UnknownTopicId) => Err(RequestError::UnknownTopicId),
                Err(_) => Err(RequestError::UnknownTopicOrPartition),
            };
            topic.partitions.push(Asked::new(key.partition, wanted, found));
        }
    }
    topics.into_iter().map(|(topic, _)| topic).collect()
}

/// Drops what was not chosen, and topics of which nothing was.
fn keep(topics: &mut Vec<AskedTopic>, reads: &mut Vec<Read>, chosen: &[bool]) {
    let mut is_chosen = chosen.iter().copied();
    reads.retain(|_| is_chosen.next().unwrap_or(true));
    let mut is_chosen = chosen.iter().copied();
    for topic in topics.iter_mut() {
        topic.partitions.retain(|_| is_chosen.next().unwrap_or(true));
    }
    topics.retain(|topic| !topic.partitions.is_empty());
}

fn told(read: &Read) -> Told {
    match read {
        Ok(read) => Told {
            has_records: read.slice.is_some(),
            is_special: read.diverging.is_some(),
            high_watermark: read.offsets.high_watermark,
            log_start_offset: read.offsets.log_start_offset,
        },
        Err(_) => Told { has_records: false, is_special: true, high_watermark: -1, log_start_offset: -1 },
    }
}

impl Asked {
    fn new(index: i32, wanted: Wanted, found: Result<Arc<Partition>, RequestError>) -> Self {
        let found = found.and_then(|found| check_leader_epoch(wanted.current_leader_epoch).map(|()| found));
        Self { index, wanted, found }
    }

    fn read(&self, left: usize, min_one: bool, isolation: Isolation) -> Read {
        let partition = self.found.as_ref().map_err(RequestError::kind)?;
        let wanted = partition::Wanted {
            offset: self.wanted.offset,
            max_bytes: usize::try_from(self.wanted.max_bytes).unwrap_or(0).min(left),
            min_one,
            isolation,
            last_fetched_epoch: Some(self.wanted.last_fetched_epoch).filter(|epoch| *epoch >= 0),
        };
        partition.read_as(&wanted).map_err(|error| error.kind())
    }
}

/// A slice ends with its segment: is there more behind it? Asked only when a fetch found less than it wants.
fn has_more_behind(read: &PartitionRead) -> bool {
    let Some(bytes) = read.slice.as_ref().and_then(|slice| slice.read().ok()) else { return false };
    let last = record_batch::batches(bytes).filter_map(Result::ok).last();
    let next = last.map(|batch| batch.header.base_offset + i64::from(batch.header.last_offset_delta) + 1);
    next.is_some_and(|next| next < read.offsets.end(read.isolation))
}
