//! ShareFetch, key 78, version 1 (KIP-932).
//!
//! Acknowledges what the last fetch gave, then gives records of the session's partitions: each is held by the member until its
//! lock ends. Waits for `min_bytes` up to `max_wait_ms`, woken by appends and by records that come back.
//! Left out: version 2, whose record limit is strict (KIP-1206) and which can renew locks (KIP-1222); the codec does not know it yet.

use super::{
    Api, Context,
    bounds::*,
    share_acknowledge::{BATCH, WireBatch, acknowledge, session_key},
    versions,
};
use crate::{
    errors::RequestError,
    groups::ShareGroupSettings,
    services::Services,
    share::{self, CLOSE_EPOCH, FetchStep, Given, HostedPartition, Refused, SessionKey, Shares, TopicPartition, Wish},
};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, ShareFetchRequest, ShareFetchResponse,
        share_fetch_request::FetchTopic,
        share_fetch_response::{AcquiredRecords, LeaderIdAndEpoch, PartitionData, ShareFetchableTopicResponse},
    },
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tifo_coordinator::ShareError;
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

const PARTITION: Kind = Kind::Struct(&[field(INT32), field(Kind::Array(&BATCH))]);
const TOPIC: Kind = Kind::Struct(&[field(UUID), field(Kind::Array(&PARTITION))]);
const FORGOTTEN: Kind = Kind::Struct(&[field(UUID), field(Kind::Array(&INT32))]);
const LAYOUT: Layout = Layout::new(
    0,
    &[
        field(Kind::NullableString),
        field(Kind::NullableString),
        field(INT32),
        field(INT32),
        field(INT32),
        field(INT32),
        field(INT32),
        field(INT32),
        field(Kind::Array(&TOPIC)),
        field(Kind::Array(&FORGOTTEN)),
    ],
);

pub const API: Api = Api {
    key: ApiKey::ShareFetch,
    name: "ShareFetch",
    advertised: versions(1, 1),
    served: versions(1, 1),
    request: LAYOUT,
    handle: |services, call| {
        let services = services.clone();
        call.answer(|request, context| async move { handle(&services, &request, &context).await })
    },
};

/// Longest wait that a client may ask for; also keeps the arithmetic of deadlines sound.
const MAX_WAIT: Duration = Duration::from_secs(3600);

async fn handle(services: &Services, request: &ShareFetchRequest, context: &Context) -> ShareFetchResponse {
    let shares = &*services.shares;
    let begun = session_key(request.group_id.as_ref(), request.member_id.as_ref()).and_then(|key| {
        let partitions = shares.begin_fetch(&key, step(request, context))?;
        Ok((key, partitions))
    });
    let (key, partitions) = match begun {
        Ok(begun) => begun,
        Err(error) => return refused(error),
    };
    let settings = shares.settings(&key.0);
    let acknowledged = acknowledge_all(shares, &key, &request.topics).await;
    let fetch = Fetch::new(services, &key, request, settings.clone(), partitions).await;
    let given = fetch.run().await;
    if request.share_session_epoch == CLOSE_EPOCH {
        shares.close(&key);
    }
    let served: Vec<TopicPartition> = given
        .iter()
        .filter(|(_, given)| given.as_ref().is_ok_and(has_records))
        .map(|(partition, _)| *partition)
        .collect();
    shares.served(&key, &served);
    let named: HashSet<TopicPartition> = named(request).collect();
    ShareFetchResponse::default()
        .with_acquisition_lock_timeout_ms(i32::try_from(settings.limits.lock_duration_ms).unwrap_or(i32::MAX))
        .with_responses(responses(given, acknowledged, &named))
}

fn named(request: &ShareFetchRequest) -> impl Iterator<Item = TopicPartition> {
    let of = |topic: &FetchTopic| -> Vec<TopicPartition> {
        topic.partitions.iter().map(|partition| (topic.topic_id, partition.partition_index)).collect()
    };
    request.topics.iter().flat_map(of)
}

fn step(request: &ShareFetchRequest, context: &Context) -> FetchStep {
    let forgotten = request.forgotten_topics_data.iter();
    FetchStep {
        epoch: request.share_session_epoch,
        named: named(request).collect(),
        forgotten: forgotten.flat_map(|topic| topic.partitions.iter().map(|index| (topic.topic_id, *index))).collect(),
        acknowledges: request
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .any(|partition| !partition.acknowledgement_batches.is_empty()),
        connection: context.peer,
    }
}

/// What became of the acknowledgements, by partition.
type Acknowledged = HashMap<TopicPartition, Option<ShareError>>;

async fn acknowledge_all(shares: &Shares, key: &SessionKey, topics: &[FetchTopic]) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    for topic in topics {
        for partition in topic.partitions.iter().filter(|partition| !partition.acknowledgement_batches.is_empty()) {
            let batches = partition.acknowledgement_batches.iter().map(|batch| WireBatch {
                first_offset: batch.first_offset,
                last_offset: batch.last_offset,
                types: &batch.acknowledge_types,
            });
            let named = (topic.topic_id, partition.partition_index);
            let error = acknowledge(shares, key, named, batches.collect()).await.err();
            acknowledged.insert(named, error);
        }
    }
    acknowledged
}

/// What was read of a partition, or why nothing could be.
type Read = (TopicPartition, Result<Given, ResponseError>);

fn has_records(given: &Given) -> bool {
    !given.acquired.is_empty()
}

struct Fetch<'a> {
    services: &'a Services,
    settings: ShareGroupSettings,
    partitions: Vec<(TopicPartition, Result<Arc<HostedPartition>, RequestError>)>,
    wish: Wish,
    min_bytes: usize,
    max_wait: Duration,
}

impl<'a> Fetch<'a> {
    async fn new(
        services: &'a Services,
        (group, member): &SessionKey,
        request: &ShareFetchRequest,
        settings: ShareGroupSettings,
        wanted: Vec<TopicPartition>,
    ) -> Self {
        let mut partitions = Vec::with_capacity(wanted.len());
        for partition in wanted {
            partitions.push((partition, services.shares.hosted(group, partition).await));
        }
        let size = |number: i32| usize::try_from(number).unwrap_or(0);
        let wish = Wish {
            member: member.clone(),
            now_ms: services.clock.now_ms(),
            max_bytes: size(request.max_bytes).min(services.config.now().fetch_max_bytes),
            max_records: request.max_records.into(),
            batch_size: request.batch_size.into(),
        };
        let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(MAX_WAIT);
        Self { services, settings, partitions, wish, min_bytes: size(request.min_bytes), max_wait }
    }

    /// Waits until there is enough, the time is over or the broker stops; then takes what there is.
    async fn run(mut self) -> Vec<Read> {
        if self.partitions.is_empty() || self.wish.max_records <= 0 {
            return self.partitions.into_iter().filter_map(failed).collect();
        }
        let deadline = Instant::now() + self.max_wait;
        let changed = Arc::new(Notify::new());
        let hosted = self.partitions.iter().filter_map(|(_, hosted)| hosted.as_ref().ok());
        let _watches: Vec<_> = hosted.map(|hosted| hosted.partition.watch(&changed)).collect();
        loop {
            let is_over = Instant::now() >= deadline || self.services.shutdown.is_cancelled();
            if is_over || self.is_enough() {
                let given = self.take();
                if is_over || given.iter().any(|(_, given)| given.as_ref().map_or(true, has_records)) {
                    return given;
                }
            }
            tokio::select! {
                () = changed.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = self.services.shutdown.cancelled() => {}
            }
        }
    }

    /// An error is told at once.
    fn is_enough(&self) -> bool {
        let mut available = 0;
        for (_, hosted) in &self.partitions {
            let Ok(hosted) = hosted else { return true };
            match hosted.available(&self.settings, self.wish.max_bytes) {
                Ok(bytes) => available += bytes.unwrap_or(0),
                Err(_) => return true,
            }
            if available >= self.min_bytes.max(1) {
                return true;
            }
        }
        false
    }

    fn take(&mut self) -> Vec<Read> {
        self.wish.now_ms = self.services.clock.now_ms();
        let mut wish = self.wish.clone();
        let take = |(partition, hosted): &(TopicPartition, Result<Arc<HostedPartition>, RequestError>)| {
            let hosted = match hosted {
                Ok(hosted) => hosted,
                Err(error) => return Some((*partition, Err(error.kind()))),
            };
            if wish.max_records <= 0 || wish.max_bytes == 0 {
                return Some((*partition, Ok(Given::default())));
            }
            let given = hosted.acquire(&self.settings, &wish).map_err(|error| error.kind());
            if let Ok(given) = &given {
                let count = given.acquired.iter().map(|records| records.last_offset - records.first_offset + 1);
                wish.max_records -= count.sum::<i64>();
                wish.max_bytes = wish.max_bytes.saturating_sub(given.records.len());
            }
            Some((*partition, given))
        };
        self.partitions.iter().filter_map(take).collect()
    }
}

fn failed((partition, hosted): (TopicPartition, Result<Arc<HostedPartition>, RequestError>)) -> Option<Read> {
    hosted.err().map(|error| (partition, Err(error.kind())))
}

/// A fetch is told of every partition that it names, and of others that have something to say.
fn responses(
    given: Vec<Read>,
    mut acknowledged: Acknowledged,
    named: &HashSet<TopicPartition>,
) -> Vec<ShareFetchableTopicResponse> {
    let mut topics: Vec<ShareFetchableTopicResponse> = Vec::new();
    let mut put =
        |topic_id: Uuid, partition: PartitionData| match topics.iter_mut().find(|topic| topic.topic_id == topic_id) {
            Some(topic) => topic.partitions.push(partition),
            None => topics
                .push(ShareFetchableTopicResponse::default().with_topic_id(topic_id).with_partitions(vec![partition])),
        };
    for ((topic_id, index), given) in given {
        let acknowledged = acknowledged.remove(&(topic_id, index));
        if named.contains(&(topic_id, index)) || acknowledged.is_some() || given.as_ref().map_or(true, has_records) {
            put(topic_id, partition_data(index, given, acknowledged.flatten()));
        }
    }
    for ((topic_id, index), error) in acknowledged {
        put(topic_id, partition_data(index, Ok(Given::default()), error));
    }
    topics
}

fn partition_data(index: i32, given: Result<Given, ResponseError>, acknowledged: Option<ShareError>) -> PartitionData {
    let (given, error) = match given {
        Ok(given) => (given, None),
        Err(error) => (Given::default(), Some(error)),
    };
    let acquired = given.acquired.iter().map(|records| {
        AcquiredRecords::default()
            .with_first_offset(records.first_offset)
            .with_last_offset(records.last_offset)
            .with_delivery_count(records.delivery_count)
    });
    let acknowledge_error = acknowledged.map(share::kind);
    PartitionData::default()
        .with_partition_index(index)
        .with_error_code(error.map_or(0, |error| error.code()))
        .with_error_message(None)
        .with_acknowledge_error_code(acknowledge_error.map_or(0, |error| error.code()))
        .with_acknowledge_error_message(None)
        .with_current_leader(LeaderIdAndEpoch::default())
        .with_records(Some(given.records))
        .with_acquired_records(acquired.collect())
}

/// Without words, as Kafka.
fn refused(error: Refused) -> ShareFetchResponse {
    ShareFetchResponse::default().with_error_code(error.kind().code()).with_error_message(None)
}
