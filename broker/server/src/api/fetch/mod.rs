//! Fetch, key 1, versions 4-18.
//!
//! 5: log start offset. 7 (KIP-227): sessions. 9 (KIP-320): leader epochs. 11 (KIP-392): racks and a preferred replica.
//! 12: flexible; diverging epochs (KIP-595). 13 (KIP-516): topic ids. 15 (KIP-903): the replica's state is a tagged field.
//! 16 (KIP-951): the new leader's address. 17 (KIP-853) and 18 (KIP-1166): fields of replicas only.
//! A fetch that finds less than `min_bytes` waits for appends, up to `max_wait_ms`; it is woken, it does not poll. The first
//! batch comes whole whatever its size. Records go from the file to the socket.
//! Left out: sessions are answered with session id 0, so that clients name their partitions each time; fetches of followers.

mod encode;

use super::{Answer, Api, Call, Context, bounds::*, ready, versions};
use crate::{
    catalog::Catalog,
    cluster::check_leader_epoch,
    errors::RequestError,
    partition::{Isolation, Partition, PartitionRead, Wanted},
};
use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, FetchRequest, TopicName, fetch_request::FetchPartition},
};
use std::{sync::Arc, time::Duration};
use tifo_storage::record_batch;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

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
    handle: |services, call| start(&services.catalog, services.config.fetch_max_bytes, &services.shutdown, call),
};

/// Longest wait that a client may ask for; also keeps the arithmetic of deadlines sound.
const MAX_WAIT: Duration = Duration::from_secs(3600);
/// Slices of one response that are sent from their files, which stay open until then; further ones are copied.
const MAX_FILES_A_RESPONSE: usize = 256;

fn start(catalog: &Catalog, max_bytes: usize, shutdown: &CancellationToken, call: Call) -> super::Pending {
    let context = call.context.clone();
    let request = match call.decode::<FetchRequest>() {
        Ok(request) => request,
        Err(closed) => return ready(Answer::Close(closed)),
    };
    // KIP-227: 0 begins a session and -1 does without; there is none that could be continued.
    if !matches!(request.session_epoch, 0 | -1) {
        return ready(encode::refused(&context, ResponseError::FetchSessionIdNotFound));
    }
    let fetch = Fetch::new(catalog, max_bytes, &request, context);
    let shutdown = shutdown.clone();
    Box::pin(async move { fetch.run(shutdown).await })
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
    offset: i64,
    max_bytes: usize,
    last_fetched_epoch: Option<i32>,
    found: Result<Arc<Partition>, RequestError>,
}

/// What was read of a partition.
type Read = Result<PartitionRead, ResponseError>;

#[derive(Debug)]
struct Fetch {
    context: Context,
    topics: Vec<AskedTopic>,
    isolation: Isolation,
    min_bytes: usize,
    max_bytes: usize,
    max_wait: Duration,
}

impl Fetch {
    fn new(catalog: &Catalog, max_bytes: usize, request: &FetchRequest, context: Context) -> Self {
        let topics = request.topics.iter().map(|topic| {
            let found = match context.version {
                13.. => catalog.topic_by_id(topic.topic_id).ok_or(ResponseError::UnknownTopicId),
                _ => catalog.topic(&topic.topic).ok_or(ResponseError::UnknownTopicOrPartition),
            };
            let look_up = |partition: &FetchPartition| match &found {
                Ok(topic) => topic.partition(partition.partition).cloned(),
                Err(ResponseError::UnknownTopicId) => Err(RequestError::UnknownTopicId),
                Err(_) => Err(RequestError::UnknownTopicOrPartition),
            };
            let asked = topic.partitions.iter().map(|partition| Asked::new(partition, look_up(partition)));
            AskedTopic { name: topic.topic.clone(), id: topic.topic_id, partitions: asked.collect() }
        });
        let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or(0);
        Self {
            topics: topics.collect(),
            isolation: request.isolation_level.into(),
            min_bytes: usize::try_from(request.min_bytes).unwrap_or(0),
            max_bytes: usize::try_from(request.max_bytes).unwrap_or(0).min(max_bytes),
            max_wait: Duration::from_millis(wait_ms).min(MAX_WAIT),
            context,
        }
    }

    fn partitions(&self) -> impl Iterator<Item = &Asked> {
        self.topics.iter().flat_map(|topic| &topic.partitions)
    }

    /// Reads until there is enough, the time is over or the broker stops.
    async fn run(self, shutdown: CancellationToken) -> Answer {
        let deadline = Instant::now() + self.max_wait;
        let mut reads = self.read_all();
        if self.is_enough(&reads) || self.max_wait.is_zero() {
            return encode::answer(&self.context, &self.topics, reads);
        }
        let appended = Arc::new(Notify::new());
        let found = self.partitions().filter_map(|asked| asked.found.as_ref().ok());
        let _watches: Vec<_> = found.map(|partition| partition.watch(&appended)).collect();
        loop {
            // Again, now that no append can be missed.
            reads = self.read_all();
            if self.is_enough(&reads) || Instant::now() >= deadline || shutdown.is_cancelled() {
                return encode::answer(&self.context, &self.topics, reads);
            }
            tokio::select! {
                () = appended.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = shutdown.cancelled() => {}
            }
        }
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

impl Asked {
    fn new(partition: &FetchPartition, found: Result<Arc<Partition>, RequestError>) -> Self {
        let checked = found.and_then(|found| check_leader_epoch(partition.current_leader_epoch).map(|()| found));
        Self {
            index: partition.partition,
            offset: partition.fetch_offset,
            max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
            last_fetched_epoch: Some(partition.last_fetched_epoch).filter(|epoch| *epoch >= 0),
            found: checked,
        }
    }

    fn read(&self, left: usize, min_one: bool, isolation: Isolation) -> Read {
        let partition = self.found.as_ref().map_err(RequestError::kind)?;
        let (offset, max_bytes) = (self.offset, self.max_bytes.min(left));
        let wanted = Wanted { offset, max_bytes, min_one, isolation, last_fetched_epoch: self.last_fetched_epoch };
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
