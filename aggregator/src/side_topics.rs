//! Records that are not counted: late events and bad records, kept whole, with the reason in headers.
//!
//! Written before the decision whose next offsets pass them; after a crash [`Origin::read`] tells recovery which source
//! records are there already, so that none is written twice.

use crate::{Definition, engine::LateReason, event::Bad, rules::Rules};
use bytes::Bytes;
use tifo_broker::{ClientError, LogClient};
use tifo_storage::record_batch::{BatchBuilder, Compression, Record};

/// A buffer that has grown to this is written at once.
pub const SIDE_BATCH_TARGET_BYTES: usize = 512 * 1024;

const REASON: &[u8] = b"tifo-reason";
const DETAIL: &[u8] = b"tifo-detail";
const AGGREGATE: &[u8] = b"tifo-aggregate";
const SOURCE_TOPIC: &[u8] = b"tifo-source-topic";
const SOURCE_PARTITION: &[u8] = b"tifo-source-partition";
const SOURCE_OFFSET: &[u8] = b"tifo-source-offset";
const WINDOW_START: &[u8] = b"tifo-window-start";
const EVENT_TIME: &[u8] = b"tifo-event-time";

/// Where a side record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub partition: i32,
    pub offset: i64,
}

impl Origin {
    /// The source of a record in a side topic, if this aggregate wrote it. Our headers come last: an event that went
    /// round once more bears older ones before them.
    pub fn read(record: &Record, definition: &Definition) -> Option<Self> {
        let text = |name: &[u8]| {
            let (_, value) = record.headers.iter().rev().find(|(key, _)| key.as_ref() == name)?;
            std::str::from_utf8(value.as_ref()?).ok()
        };
        if text(AGGREGATE)? != definition.name || text(SOURCE_TOPIC)? != definition.from {
            return None;
        }
        Some(Self { partition: text(SOURCE_PARTITION)?.parse().ok()?, offset: text(SOURCE_OFFSET)?.parse().ok()? })
    }
}

/// Appends to one side topic (partition 0).
#[derive(Debug)]
struct SideTopic {
    topic: String,
    builder: BatchBuilder,
    pending: i64,
    /// The offset after our last record there, or where the topic ended when we began.
    end: i64,
}

impl SideTopic {
    fn new(topic: String, end: i64) -> Self {
        Self { topic, builder: BatchBuilder::new(Compression::None), pending: 0, end }
    }

    fn take(&mut self) -> Option<(String, Bytes)> {
        let batch = std::mem::replace(&mut self.builder, BatchBuilder::new(Compression::None)).build();
        (std::mem::take(&mut self.pending) > 0).then(|| (self.topic.clone(), batch))
    }

    async fn flush(&mut self, client: &dyn LogClient) -> Result<(), ClientError> {
        if self.pending > 0 {
            let batch = std::mem::replace(&mut self.builder, BatchBuilder::new(Compression::None)).build();
            let first = client.append(&self.topic, 0, batch).await?;
            self.end = first + std::mem::take(&mut self.pending);
        }
        Ok(())
    }
}

/// The late and the bad topic of one aggregate.
#[derive(Debug)]
pub struct SideTopics {
    aggregate: String,
    source_topic: String,
    late: SideTopic,
    bad: SideTopic,
}

impl SideTopics {
    /// `late_end` and `bad_end`: where the topics end now.
    pub fn new(definition: &Definition, late_end: i64, bad_end: i64) -> Self {
        Self {
            aggregate: definition.name.clone(),
            source_topic: definition.from.clone(),
            late: SideTopic::new(definition.late_topic(), late_end),
            bad: SideTopic::new(definition.bad_topic(), bad_end),
        }
    }

    pub fn push_late(&mut self, partition: usize, record: &Record, time_ms: i64, reason: LateReason, rules: &Rules) {
        let window_start = rules.window_start(time_ms).to_string();
        let event_time = time_ms.to_string();
        let extra = [(WINDOW_START, window_start.as_bytes()), (EVENT_TIME, event_time.as_bytes())];
        let headers = Headers::new(&self.aggregate, &self.source_topic, partition, record.offset);
        headers.push(&mut self.late, record, reason.as_str(), &extra);
    }

    pub fn push_bad(&mut self, partition: usize, record: &Record, bad: &Bad) {
        let headers = Headers::new(&self.aggregate, &self.source_topic, partition, record.offset);
        headers.push(&mut self.bad, record, bad.reason, &[(DETAIL, bad.detail.as_bytes())]);
    }

    pub fn is_full(&self) -> bool {
        self.late.builder.size_bytes().max(self.bad.builder.size_bytes()) >= SIDE_BATCH_TARGET_BYTES
    }

    /// Writes what is buffered. After an error nothing is known about the topic's end: recover.
    pub async fn flush(&mut self, client: &dyn LogClient) -> Result<(), ClientError> {
        self.late.flush(client).await?;
        self.bad.flush(client).await
    }

    /// What is buffered, for somebody else to write: topic and batch.
    pub fn take(&mut self) -> Vec<(String, Bytes)> {
        [&mut self.late, &mut self.bad].into_iter().filter_map(SideTopic::take).collect()
    }

    /// (late topic's, bad topic's) end offset.
    pub fn ends(&self) -> (i64, i64) {
        (self.late.end, self.bad.end)
    }
}

/// The headers that every side record gets.
struct Headers<'a> {
    aggregate: &'a str,
    source_topic: &'a str,
    partition: String,
    offset: String,
}

impl<'a> Headers<'a> {
    fn new(aggregate: &'a str, source_topic: &'a str, partition: usize, offset: i64) -> Self {
        Self { aggregate, source_topic, partition: partition.to_string(), offset: offset.to_string() }
    }

    fn push(&self, side: &mut SideTopic, record: &Record, reason: &str, extra: &[(&[u8], &[u8])]) {
        let own = [
            (REASON, reason.as_bytes()),
            (AGGREGATE, self.aggregate.as_bytes()),
            (SOURCE_TOPIC, self.source_topic.as_bytes()),
            (SOURCE_PARTITION, self.partition.as_bytes()),
            (SOURCE_OFFSET, self.offset.as_bytes()),
        ];
        let original = record.headers.iter().map(|(name, value)| (name.as_ref(), value.as_deref()));
        let own = own.iter().chain(extra).map(|(name, value)| (*name, Some(*value)));
        let headers: Vec<(&[u8], Option<&[u8]>)> = original.chain(own).collect();
        side.builder.push(record.timestamp_ms, record.key.as_deref(), record.value.as_deref(), &headers);
        side.pending += 1;
    }
}
