//! One partition read in order: a consumer of its own, no group.
//!
//! The cluster hands over records, not the batches that somebody wrote. What was written together must be read together
//! (a window's rows make one message), so records that follow one another with the same timestamp, as a window's rows do,
//! are never parted unless the partition ends between them.

use crate::{
    cluster::{ANSWER_TIMEOUT, Cluster, Says},
    errors,
    records::{own, pack, size_bytes},
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use std::time::{Duration, Instant};
use tifo_broker::{ClientError, client::Fetched};
use tifo_storage::record_batch::Record;

/// Records of one timestamp that are kept together at most.
const MAX_TOGETHER_BYTES: usize = 64 << 20;
/// How long the rest of what has begun to come may take.
const REST_WAIT: Duration = Duration::from_millis(200);
/// How often the end of a partition is asked for that has not been reached.
const ASK_END_EVERY: Duration = Duration::from_secs(1);
/// Named only because librdkafka wants a name; nothing is committed to it, nobody joins it.
const READER_GROUP: &str = "tifo-reader";

pub struct Reader {
    consumer: BaseConsumer<Says>,
    topic: String,
    partition: i32,
    /// What the consumer gives next; None: it must be told.
    next: Option<i64>,
    /// Taken from the consumer, to be given out first.
    held: Option<Record>,
    at_end: bool,
    /// The partition's end as it was last seen, and when.
    end: (i64, Option<Instant>),
}

/// What comes of one poll.
enum Polled {
    Record(Record),
    End,
    Nothing,
    /// May pass.
    Trouble(ClientError),
}

impl Reader {
    pub fn new(cluster: &Cluster, topic: &str, partition: i32) -> Result<Self, ClientError> {
        let own = [
            ("group.id", READER_GROUP),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
            ("fetch.wait.max.ms", "100"),
        ];
        let consumer = cluster.config(&own).create_with_context(Says).map_err(|error| errors::general(&error))?;
        let topic = topic.to_owned();
        Ok(Self { consumer, topic, partition, next: None, held: None, at_end: false, end: (0, None) })
    }

    /// Records from `offset` on; blocks up to `max_wait` for the first. Without any wait it is asked what lies there: that
    /// answer is waited for.
    pub fn fetch(&mut self, offset: i64, max_bytes: usize, max_wait: Duration) -> Result<Fetched, ClientError> {
        if self.next != Some(offset) {
            self.seek(offset)?;
        }
        // Whatever goes wrong on the way: what was taken is asked for again.
        self.next = None;
        let until_end = max_wait.is_zero();
        let deadline = Instant::now() + if until_end { ANSWER_TIMEOUT } else { max_wait };
        let records = self.take(offset, max_bytes, deadline, until_end)?;
        let next = records.last().map_or(offset, |last| last.offset + 1);
        self.next = Some(next);
        Ok(Fetched { batches: pack(&records), log_start_offset: 0, high_watermark: self.high_watermark(next) })
    }

    fn seek(&mut self, offset: i64) -> Result<(), ClientError> {
        let mut wanted = TopicPartitionList::new();
        wanted
            .add_partition_offset(&self.topic, self.partition, Offset::Offset(offset))
            .and_then(|()| self.consumer.assign(&wanted))
            .map_err(|error| errors::about(&self.topic, self.partition, &error))?;
        (self.held, self.at_end) = (None, false);
        Ok(())
    }

    fn take(
        &mut self,
        offset: i64,
        max_bytes: usize,
        deadline: Instant,
        until_end: bool,
    ) -> Result<Vec<Record>, ClientError> {
        if until_end && self.at_end {
            // Said once already; said again only when something has come.
            self.seek(offset)?;
        }
        let mut records: Vec<Record> = self.held.take().into_iter().collect();
        let mut bytes: usize = records.iter().map(size_bytes).sum();
        let mut trouble = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = if records.is_empty() { left } else { REST_WAIT };
            match self.poll(offset, wait)? {
                Polled::Record(record) => {
                    let together = records.last().is_some_and(|last| last.timestamp_ms == record.timestamp_ms);
                    if bytes >= MAX_TOGETHER_BYTES || (bytes >= max_bytes && !together) {
                        self.held = Some(record);
                        return Ok(records);
                    }
                    bytes += size_bytes(&record);
                    records.push(record);
                }
                Polled::End if records.is_empty() && !until_end => {}
                Polled::Trouble(error) if records.is_empty() => trouble = Some(error),
                Polled::Nothing if records.is_empty() && !left.is_zero() => {}
                Polled::Nothing if records.is_empty() => return trouble.map_or(Ok(records), Err),
                Polled::End | Polled::Nothing | Polled::Trouble(_) => return Ok(records),
            }
        }
    }

    fn poll(&mut self, offset: i64, wait: Duration) -> Result<Polled, ClientError> {
        match self.consumer.poll(wait) {
            None => Ok(Polled::Nothing),
            Some(Ok(message)) => {
                self.at_end = false;
                Ok(Polled::Record(own(&message)))
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                self.at_end = true;
                Ok(Polled::End)
            }
            Some(Err(error)) => self.judge(offset, &error),
        }
    }

    fn judge(&self, offset: i64, error: &KafkaError) -> Result<Polled, ClientError> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                let (start, end) = self.bounds()?;
                Err(ClientError::OffsetOutOfRange {
                    topic: self.topic.clone(),
                    partition: self.partition,
                    offset,
                    start,
                    end,
                })
            }
            _ => match errors::about(&self.topic, self.partition, error) {
                error @ ClientError::Unavailable(_) => Ok(Polled::Trouble(error)),
                lasting => Err(lasting),
            },
        }
    }

    fn bounds(&self) -> Result<(i64, i64), ClientError> {
        let asked = self.consumer.fetch_watermarks(&self.topic, self.partition, ANSWER_TIMEOUT);
        asked.map_err(|error| errors::about(&self.topic, self.partition, &error))
    }

    /// At the end there is nothing left to read, whatever markers of transactions lie behind.
    fn high_watermark(&mut self, next: i64) -> i64 {
        if self.at_end && self.held.is_none() {
            return next;
        }
        let (end, asked) = self.end;
        if asked.is_none_or(|asked| asked.elapsed() >= ASK_END_EVERY) {
            let end = self.bounds().map_or(end, |(_, end)| end);
            self.end = (end, Some(Instant::now()));
        }
        self.end.0.max(next)
    }
}
