//! After any stop: finds the last decision in the aggregate topic and what the late and bad topics hold since.
//!
//! Reads only. The search walks back from the end of the aggregate topic in steps that double, so a decision in the
//! last batch costs one fetch; foreign records without our header are passed over. It ends at the log start, never
//! earlier: to miss a decision would mean to count twice.

use crate::{
    AggregatorError, Definition,
    decision::{DECISION_HEADER, Decision, PartitionDecision},
    definition::TimeSource,
    engine::Engine,
    offset_ranges::OffsetRanges,
    reader::MAX_DECOMPRESSED_BYTES,
    rules::Rules,
    side_topics::{Origin, SideTopics},
    snapshot::{self, Snapshots},
    source::Source,
};
use std::{collections::BTreeMap, time::Duration};
use tifo_broker::{ClientError, LogClient, client::TopicSpec};
use tifo_storage::record_batch::{Record, batches};

/// A row batch holds whole windows, a side record a whole raw record with more headers: only i32 is the limit.
const MAX_MESSAGE_BYTES: i32 = i32::MAX;
/// Bytes of one fetch while searching.
const SCAN_BYTES: usize = 1 << 20;
/// Longest step back, in offsets.
const MAX_STEP: i64 = 1 << 16;

/// How much earlier than the one before a record's timestamp may be where an aggregate's beginning is looked for.
const OUT_OF_ORDER_MS: i64 = 60_000;

/// Where to go on.
#[derive(Debug)]
pub struct Restored {
    pub engine: Engine,
    pub sides: SideTopics,
    /// High watermark of each source partition.
    pub high_watermarks: Vec<i64>,
    pub epoch: u64,
    pub sequence: u64,
    /// Where the scan of the late and bad topic began: still valid until everything found there is passed again.
    pub scanned_from: (i64, i64),
    pub snapshots: Snapshots,
}

/// Offsets in a side topic by source partition.
#[derive(Debug, Default)]
struct Written(BTreeMap<i32, OffsetRanges>);

impl Written {
    /// Where the raw topic lost its tail, its offsets are given out again: what is written of them is of older records.
    fn written_below(&mut self, partition: i32, end: i64) -> OffsetRanges {
        let mut written = self.0.remove(&partition).unwrap_or_default();
        written.truncate(end);
        written
    }
}

/// Makes sure of the topics and finds out where to go on.
pub async fn recover(client: &dyn LogClient, definition: &Definition) -> Result<Restored, AggregatorError> {
    for topic in topics(definition) {
        client.ensure_topic(&topic).await?;
    }
    let decision = find_last_decision(client, definition).await?;
    if let Some(decision) = &decision {
        check_unchanged(definition, decision)?;
    }
    let snapshot = snapshot::find(client, definition).await?;
    if let Some(snapshot) = &snapshot
        && let Some(lead) = snapshot.lead(decision.as_ref(), &ends(client, definition).await?)
    {
        let mut restored = restore(client, definition, Some(&lead)).await?;
        if restored.engine.load(&snapshot.state).is_some() {
            restored.snapshots = Snapshots::new(definition, Some(snapshot), false);
            return Ok(restored);
        }
        tracing::error!(aggregate = definition.name, "a snapshot cannot be understood");
    }
    let mut restored = restore(client, definition, decision.as_ref()).await?;
    restored.snapshots = Snapshots::new(definition, None, snapshot.is_some());
    Ok(restored)
}

/// Where the raw topic's partitions end.
async fn ends(client: &dyn LogClient, definition: &Definition) -> Result<BTreeMap<i32, i64>, AggregatorError> {
    let mut ends = BTreeMap::new();
    for partition in 0..client.partitions(&definition.from).await? {
        ends.insert(partition, client.offsets(&definition.from, partition).await?.1);
    }
    Ok(ends)
}

/// Where to go on from a decision; what is in open windows is to be read again from its `resume` offsets.
async fn restore(
    client: &dyn LogClient,
    definition: &Definition,
    decision: Option<&Decision>,
) -> Result<Restored, AggregatorError> {
    let from = decision.map_or((0, 0), |decision| (decision.late_end, decision.bad_end));
    let (late, late_end) = written_since(client, definition, &definition.late_topic(), from.0).await?;
    let (bad, bad_end) = written_since(client, definition, &definition.bad_topic(), from.1).await?;
    let sides = SideTopics::new(definition, late_end, bad_end);
    let rules = Rules::new(definition);
    let engine = match decision {
        Some(decision) => Engine::restore(rules, decision),
        None => Engine::new(rules),
    };
    let (epoch, sequence) = decision.map_or((1, 0), |decision| (decision.epoch + 1, decision.sequence));
    let (high_watermarks, snapshots) = (Vec::new(), Snapshots::new(definition, None, false));
    let mut restored = Restored { engine, sides, high_watermarks, epoch, sequence, scanned_from: from, snapshots };
    add_sources(client, definition, decision, Sides { late, bad }, &mut restored).await?;
    Ok(restored)
}

pub fn topics(definition: &Definition) -> [TopicSpec; 4] {
    let unlimited = BTreeMap::from([
        ("max.message.bytes".to_owned(), MAX_MESSAGE_BYTES.to_string()),
        ("message.timestamp.after.max.ms".to_owned(), i64::MAX.to_string()),
    ]);
    let raw = match definition.time {
        TimeSource::Append => BTreeMap::from([("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())]),
        TimeSource::Field(_) => BTreeMap::new(),
    };
    let one = |name: String| TopicSpec { name, partitions: 1, settings: unlimited.clone() };
    [
        TopicSpec { name: definition.from.clone(), partitions: definition.partitions, settings: raw },
        one(definition.into.clone()),
        one(definition.late_topic()),
        one(definition.bad_topic()),
    ]
}

pub fn check_unchanged(definition: &Definition, decision: &Decision) -> Result<(), AggregatorError> {
    let now = definition.fingerprint();
    if decision.fingerprint == now {
        return Ok(());
    }
    Err(AggregatorError::Changed { topic: definition.into.clone(), written: decision.fingerprint.clone(), now })
}

pub async fn find_last_decision(
    client: &dyn LogClient,
    definition: &Definition,
) -> Result<Option<Decision>, AggregatorError> {
    let (start, mut end) = client.offsets(&definition.into, 0).await?;
    let mut step = 1;
    while end > start {
        let from = (end - step).max(start);
        let found = last_decision_between(client, definition, from, end).await?;
        if found.is_some() {
            return Ok(found);
        }
        (end, step) = (from, (step * 2).min(MAX_STEP));
    }
    Ok(None)
}

async fn last_decision_between(
    client: &dyn LogClient,
    definition: &Definition,
    from: i64,
    end: i64,
) -> Result<Option<Decision>, AggregatorError> {
    let mut last = None;
    let unreadable = |source| AggregatorError::Decision(definition.into.clone(), source);
    scan(client, &definition.into, from, end, |record| {
        for (_, value) in record.headers.iter().filter(|(name, _)| name.as_ref() == DECISION_HEADER) {
            let json = value.as_deref().unwrap_or_default();
            let decision = Decision::from_json(json, &definition.name).map_err(unreadable)?;
            last = decision.or(last.take());
        }
        Ok(())
    })
    .await?;
    Ok(last)
}

/// Hands over every record of partition 0 from the batch that holds `from` up to `end`.
pub async fn scan(
    client: &dyn LogClient,
    topic: &str,
    from: i64,
    end: i64,
    mut take: impl FnMut(&Record) -> Result<(), AggregatorError>,
) -> Result<(), AggregatorError> {
    let mut position = from;
    while position < end {
        let fetched = client.fetch(topic, 0, position, SCAN_BYTES, Duration::ZERO).await?;
        let before = position;
        for batch in batches(fetched.batches) {
            let unreadable = |source| AggregatorError::Batch { topic: topic.to_owned(), source };
            let batch = batch.map_err(unreadable)?;
            position = batch.header.last_offset() + 1;
            if !batch.is_control() {
                batch.records(MAX_DECOMPRESSED_BYTES).map_err(unreadable)?.iter().try_for_each(&mut take)?;
            }
        }
        if position <= before {
            break;
        }
    }
    Ok(())
}

/// What of our source is in a side topic from `from` on, and where the topic ends.
async fn written_since(
    client: &dyn LogClient,
    definition: &Definition,
    topic: &str,
    from: i64,
) -> Result<(Written, i64), AggregatorError> {
    let (start, end) = client.offsets(topic, 0).await?;
    let mut written = Written::default();
    scan(client, topic, from.max(start), end, |record| {
        if let Some(origin) = Origin::read(record, definition) {
            written.0.entry(origin.partition).or_default().insert(origin.offset);
        }
        Ok(())
    })
    .await?;
    Ok((written, end))
}

struct Sides {
    late: Written,
    bad: Written,
}

async fn add_sources(
    client: &dyn LogClient,
    definition: &Definition,
    decision: Option<&Decision>,
    mut sides: Sides,
    restored: &mut Restored,
) -> Result<(), AggregatorError> {
    let committed = match decision {
        Some(_) => BTreeMap::new(),
        None => committed_before(client, definition).await?,
    };
    for partition in 0..client.partitions(&definition.from).await? {
        let (start, end) = client.offsets(&definition.from, partition).await?;
        let known = decision.and_then(|decision| decision.partitions.iter().find(|known| known.partition == partition));
        let begin = match (&definition.begin, known) {
            (Some(moment), None) => first_since(client, definition, partition, moment.ms, (start, end)).await?,
            _ => start,
        };
        let begin = committed.get(&partition).map_or(begin, |offset| (*offset).clamp(start, end));
        let from = known.map_or_else(|| beginning(partition, begin), |known| fit(known, start, end));
        let late = sides.late.written_below(partition, end);
        let bad = sides.bad.written_below(partition, end);
        let index = restored.engine.add_source(Source::restored(&from, late, bad));
        restored.engine.skip_to(index, start);
        restored.high_watermarks.push(end);
    }
    Ok(())
}

/// An offset before which no event of `begin` or later is expected, by the records' timestamps, which are no earlier than the
/// event's time less `max_future`. Found by halves: the timestamps are taken to grow, but for [`OUT_OF_ORDER_MS`].
async fn first_since(
    client: &dyn LogClient,
    definition: &Definition,
    partition: i32,
    begin_ms: i64,
    (mut low, mut high): (i64, i64),
) -> Result<i64, AggregatorError> {
    let max_future_ms = i64::try_from(definition.max_future.as_millis()).unwrap_or(i64::MAX);
    let since_ms = begin_ms.saturating_sub(max_future_ms).saturating_sub(OUT_OF_ORDER_MS);
    while low < high {
        let middle = low + (high - low) / 2;
        let fetched = client.fetch(&definition.from, partition, middle, 1, Duration::ZERO).await?;
        // What cannot be told has to be read.
        let batch = batches(fetched.batches).next().and_then(Result::ok);
        match batch.filter(|batch| (0..since_ms).contains(&batch.header.max_timestamp)) {
            Some(earlier) => low = (earlier.header.last_offset() + 1).max(middle + 1),
            None => high = middle,
        }
    }
    Ok(low)
}

/// The committed offsets matter only when retention has taken every decision: to begin at the log start would then
/// count windows again that were closed long ago.
async fn committed_before(
    client: &dyn LogClient,
    definition: &Definition,
) -> Result<BTreeMap<i32, i64>, AggregatorError> {
    let (_, end) = client.offsets(&definition.into, 0).await?;
    if end == 0 {
        return Ok(BTreeMap::new());
    }
    let committed = match client.committed(&definition.consumer_group(), &definition.from).await {
        // A log without groups has nothing to go on from.
        Err(ClientError::Refused(_)) => BTreeMap::new(),
        committed => committed?,
    };
    if !committed.is_empty() {
        tracing::warn!(
            aggregate = definition.name,
            "no decision is left in {}: going on from the committed offsets",
            definition.into
        );
    }
    Ok(committed)
}

fn beginning(partition: i32, offset: i64) -> PartitionDecision {
    PartitionDecision { partition, next: offset, watermark: None, resume: offset, resume_watermark: None, idle: false }
}

/// The log may have lost its tail in a power cut (it was only acknowledged in memory): what comes now is new.
fn fit(known: &PartitionDecision, start: i64, end: i64) -> PartitionDecision {
    if known.next > end {
        tracing::warn!(
            partition = known.partition,
            next = known.next,
            end,
            "the raw topic ends before what was counted"
        );
    }
    if known.resume < start {
        tracing::warn!(
            partition = known.partition,
            resume = known.resume,
            start,
            "retention took events of open windows"
        );
    }
    PartitionDecision { next: known.next.min(end), resume: known.resume.min(end), ..*known }
}
