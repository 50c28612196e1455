//! A member of a consumer group that commits what it writes with its offsets, in one transaction.
//!
//! A transaction is open only while it is being committed: what a killed member leaves open is a few milliseconds' work,
//! and ends by itself after [`TRANSACTION_TIMEOUT_MS`]. One that lost its partitions meanwhile is fenced by the group's
//! generation, not by its name: names are never used twice.

use crate::{
    cluster::{ANSWER_TIMEOUT, Cluster, client_says},
    errors,
    records::owned_headers,
};
use parking_lot::Mutex;
use rdkafka::{
    ClientContext, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Headers},
    producer::{BaseProducer, BaseRecord, Producer},
    statistics::Statistics,
};
use std::time::{Duration, Instant};
use tifo_broker::{
    ClientError,
    client::{Member, MemberSpec, Output, Position, Step},
};
use tifo_storage::record_batch::{HeadersRef, RecordRef};
use uuid::Uuid;

/// How long a member may be silent before its partitions go to others; Kafka's brokers allow no less.
const SESSION_TIMEOUT_MS: &str = "6000";
const HEARTBEAT_MS: &str = "1500";
/// How long readers wait for a transaction that nobody ends.
const TRANSACTION_TIMEOUT_MS: &str = "10000";
/// How long committing may take, repetitions included.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the client says where the partitions end.
const STATISTICS_MS: &str = "1000";
/// Fetched and not yet taken, of all partitions.
const QUEUED_KIB: &str = "16384";
/// A full queue of the producer is served for so long before the next try.
const FULL_PAUSE: Duration = Duration::from_millis(5);

pub struct RemoteMember {
    consumer: BaseConsumer<Watch>,
    producer: BaseProducer,
    topic: String,
}

/// Keeps what the group says until the member is asked for what comes next.
#[derive(Default)]
struct Watch {
    changes: Mutex<Vec<Change>>,
}

enum Change {
    Assigned(Vec<i32>),
    Revoked,
    HighWatermarks(Vec<(i32, i64)>),
}

impl ClientContext for Watch {
    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.into_values().flat_map(|topic| topic.partitions);
        let ends = partitions.map(|(partition, known)| (partition, known.hi_offset));
        // Negative: not heard of yet.
        let ends = ends.filter(|(partition, end)| *partition >= 0 && *end >= 0).collect();
        self.changes.lock().push(Change::HighWatermarks(ends));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client_says(&error, reason);
    }
}

impl ConsumerContext for Watch {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                let partitions = list.elements().iter().map(|element| element.partition()).collect();
                self.changes.lock().push(Change::Assigned(partitions));
            }
            Rebalance::Revoke(_) => self.changes.lock().push(Change::Revoked),
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance"),
        }
    }
}

impl RemoteMember {
    pub fn join(cluster: &Cluster, spec: &MemberSpec) -> Result<Self, ClientError> {
        let made = |error: KafkaError| errors::general(&error);
        let reading = [
            ("group.id", spec.group.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
            ("session.timeout.ms", SESSION_TIMEOUT_MS),
            ("heartbeat.interval.ms", HEARTBEAT_MS),
            ("queued.max.messages.kbytes", QUEUED_KIB),
            ("statistics.interval.ms", STATISTICS_MS),
        ];
        let transactional_id = format!("{}-{}", spec.group, Uuid::new_v4());
        let writing =
            [("transactional.id", transactional_id.as_str()), ("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS)];
        let producer: BaseProducer = cluster.config(&writing).create().map_err(made)?;
        producer.init_transactions(COMMIT_TIMEOUT).map_err(made)?;
        let consumer = cluster.config(&reading).create_with_context(Watch::default()).map_err(made)?;
        let member = Self { consumer, producer, topic: spec.topic.clone() };
        member.consumer.subscribe(&[&spec.topic]).map_err(made)?;
        Ok(member)
    }

    /// What the group has said since the last time.
    fn tell_changes(&self, take: &mut dyn FnMut(Step<'_>)) -> Result<(), ClientError> {
        let changes = std::mem::take(&mut *self.consumer.context().changes.lock());
        for change in changes {
            match change {
                Change::Revoked => take(Step::Revoked),
                Change::Assigned(partitions) => take(Step::Assigned(self.positions(&partitions)?)),
                Change::HighWatermarks(ends) => take(Step::HighWatermarks(ends)),
            }
        }
        Ok(())
    }

    fn positions(&self, partitions: &[i32]) -> Result<Vec<Position>, ClientError> {
        let mut wanted = TopicPartitionList::new();
        for partition in partitions {
            wanted.add_partition(&self.topic, *partition);
        }
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let committed = self.consumer.committed_offsets(wanted, ANSWER_TIMEOUT);
        let committed = committed.map_err(|error| errors::general(&error))?;
        let position = |(partition, offset, note): (i32, Offset, String)| {
            let offset = if let Offset::Offset(offset) = offset { Some(offset) } else { None };
            Position { partition, offset, note }
        };
        let elements = committed.elements();
        let known = elements.iter().map(|one| (one.partition(), one.offset(), one.metadata().to_owned()));
        Ok(known.map(position).collect())
    }

    fn write(&self, output: &[Output], progress: &[Position]) -> Result<(), KafkaError> {
        self.producer.begin_transaction()?;
        output.iter().try_for_each(|output| self.send(output))?;
        let offsets = self.offsets(progress)?;
        let deadline = Instant::now() + COMMIT_TIMEOUT;
        if let Some(member) = self.consumer.group_metadata().filter(|_| !progress.is_empty()) {
            again(deadline, || self.producer.send_offsets_to_transaction(&offsets, &member, COMMIT_TIMEOUT))?;
        }
        again(deadline, || self.producer.commit_transaction(COMMIT_TIMEOUT))
    }

    fn offsets(&self, progress: &[Position]) -> Result<TopicPartitionList, KafkaError> {
        let mut offsets = TopicPartitionList::new();
        for position in progress {
            let mut element = offsets.add_partition(&self.topic, position.partition);
            element.set_offset(Offset::Offset(position.offset.unwrap_or(0)))?;
            element.set_metadata(&position.note);
        }
        Ok(offsets)
    }

    fn send(&self, output: &Output) -> Result<(), KafkaError> {
        let record = &output.record;
        loop {
            let mut message: BaseRecord<'_, [u8], [u8]> =
                BaseRecord::to(&output.topic).partition(output.partition).timestamp(record.timestamp_ms);
            message.key = record.key.as_deref();
            message.payload = record.value.as_deref();
            message.headers = owned_headers(record);
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(FULL_PAUSE);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}

/// The same call again while librdkafka says that it may be repeated.
fn again(deadline: Instant, mut call: impl FnMut() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
            done => return done,
        }
    }
}

impl Member for RemoteMember {
    fn next(
        &mut self,
        max_wait: Duration,
        max_records: usize,
        take: &mut dyn FnMut(Step<'_>),
    ) -> Result<usize, ClientError> {
        let (mut wait, mut headers, mut records) = (max_wait, Vec::new(), 0);
        while records < max_records {
            let polled = self.consumer.poll(wait);
            self.tell_changes(take)?;
            match polled {
                None => break,
                Some(Ok(message)) => {
                    let record = lend(&message, &mut headers);
                    take(Step::Record { partition: message.partition(), record });
                    records += 1;
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => take(Step::End { partition }),
                Some(Err(error)) => match errors::about(&self.topic, -1, &error) {
                    ClientError::Unavailable(reason) => {
                        tracing::warn!(topic = self.topic, reason, "the cluster does not answer");
                        break;
                    }
                    lasting => return Err(lasting),
                },
            }
            wait = Duration::ZERO;
        }
        Ok(records)
    }

    fn commit(&mut self, output: &[Output], progress: &[Position]) -> Result<(), ClientError> {
        self.producer.poll(Duration::ZERO);
        self.write(output, progress).map_err(|error| {
            // It may be over already, or the producer fenced: then there is nothing to be aborted.
            if let Err(abort) = self.producer.abort_transaction(ANSWER_TIMEOUT) {
                tracing::debug!(%abort, "a transaction that failed could not be aborted");
            }
            ClientError::Unavailable(format!("the transaction failed: {error}"))
        })
    }
}

fn lend<'m>(message: &'m BorrowedMessage<'_>, headers: &'m mut Vec<u8>) -> RecordRef<'m> {
    let own = message.headers().into_iter().flat_map(Headers::iter);
    let headers = HeadersRef::encode(own.map(|header| (header.key.as_bytes(), header.value)), headers);
    RecordRef {
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key(),
        value: message.payload(),
        headers,
    }
}
