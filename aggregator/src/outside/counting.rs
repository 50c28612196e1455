//! The first stage: events of the partitions that are this instance's, counted and told as partials.
//!
//! Everything here is thrown away when the partitions go: what was told is in the cluster with the offsets it stands for,
//! the rest is counted again by whoever has them next. A partition's watermark is kept with its offset, so that lateness is
//! judged as if nobody had changed.

use super::{
    Around,
    partial::{Partial, partials_topic},
    stage::outputs,
};
use crate::{
    decision::Totals,
    engine::{Engine, Event, Verdict},
    event::EventReader,
    rules::Rules,
    side_topics::SideTopics,
    source::Source,
    status::{PartitionStatus, State},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tifo_broker::{
    ClientError,
    client::{Member, MemberSpec, Output, Position, Step},
};
use tifo_storage::record_batch::{Record, RecordRef};

/// Records taken before anything else is looked at.
const SLICE_RECORDS: usize = 4_096;
/// What is counted is told at least so often …
const TELL_EVERY: Duration = Duration::from_millis(500);
/// … or when so many events have been counted.
const TELL_EVENTS: u64 = 200_000;
/// Told at once when a window may close by it, but not more often than this.
const TELL_AT_MOST_EVERY: Duration = Duration::from_millis(10);
/// A partition whose end was seen so lately is read as it grows.
const LIVE: Duration = Duration::from_millis(500);
/// Longest wait for a record.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// What is kept with a partition's offset.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    watermark: Option<i64>,
}

/// One of this instance's partitions.
#[derive(Debug, Default)]
struct Reading {
    /// Where it ends, as far as the cluster has said.
    high_watermark: i64,
    /// When its end was seen last.
    end_seen: Option<Instant>,
    /// Since when nothing came at its end.
    quiet_since_ms: Option<i64>,
    idle: bool,
    /// What was told of it: next offset, idle or not.
    told: Option<(i64, bool)>,
}

pub struct Counting {
    around: Around,
    fingerprint: String,
    engine: Engine,
    events: EventReader,
    sides: SideTopics,
    readings: BTreeMap<i32, Reading>,
    told: Totals,
    told_at: Instant,
    /// A watermark has passed the end of a window that has not been told.
    urgent: bool,
    /// The end that a watermark must reach for that, with the grace.
    next_due: BTreeMap<i32, i64>,
}

impl Counting {
    pub fn spec(around: &Around) -> MemberSpec {
        MemberSpec { group: around.definition.consumer_group(), topic: around.definition.from.clone() }
    }

    pub fn new(around: Around) -> Self {
        let definition = around.definition.clone();
        Self {
            fingerprint: definition.fingerprint(),
            engine: engine(&around),
            events: EventReader::new(&definition),
            sides: SideTopics::new(&definition, 0, 0),
            readings: BTreeMap::new(),
            told: Totals::default(),
            told_at: Instant::now(),
            urgent: false,
            next_due: BTreeMap::new(),
            around,
        }
    }

    /// Takes what comes next, and tells what is due.
    pub fn step(&mut self, member: &mut dyn Member) -> Result<(), ClientError> {
        member.next(LONGEST_WAIT, SLICE_RECORDS, &mut |step| self.take(step))?;
        self.see_idle();
        if self.is_due() {
            self.tell(member)?;
        }
        Ok(())
    }

    fn take(&mut self, step: Step<'_>) {
        match step {
            Step::Assigned(positions) => self.begin(&positions),
            Step::Revoked => self.begin(&[]),
            Step::Record { partition, record } => self.count(partition, &record),
            Step::End { partition } => {
                let now_ms = self.around.clock.now_ms();
                if let Some(reading) = self.readings.get_mut(&partition) {
                    reading.end_seen = Some(Instant::now());
                    reading.quiet_since_ms.get_or_insert(now_ms);
                }
            }
            Step::HighWatermarks(ends) => {
                for (partition, end) in ends {
                    if let Some(reading) = self.readings.get_mut(&partition) {
                        reading.high_watermark = end;
                    }
                }
                self.show();
            }
        }
    }

    fn begin(&mut self, positions: &[Position]) {
        self.engine = engine(&self.around);
        self.sides = SideTopics::new(&self.around.definition, 0, 0);
        (self.told, self.told_at, self.urgent) = (Totals::default(), Instant::now(), false);
        self.readings.clear();
        self.next_due.clear();
        for position in positions {
            let Ok(index) = usize::try_from(position.partition) else { continue };
            let mut source = Source::starting_at(position.offset.unwrap_or(0));
            source.watermark = serde_json::from_str::<Note>(&position.note).unwrap_or_default().watermark;
            while self.engine.sources().len() <= index {
                self.engine.add_source(Source::default());
            }
            self.engine.replace_source(index, source);
            self.readings.insert(position.partition, Reading::default());
        }
        let partitions: Vec<i32> = self.readings.keys().copied().collect();
        tracing::info!(aggregate = self.around.definition.name, ?partitions, "partitions of this instance");
        self.show();
    }

    fn count(&mut self, partition: i32, record: &RecordRef<'_>) {
        let (Ok(index), Some(reading)) = (usize::try_from(partition), self.readings.get_mut(&partition)) else {
            return;
        };
        // Who waits for nobody must soon hear that there is somebody again.
        self.urgent |= reading.idle;
        (reading.quiet_since_ms, reading.idle) = (None, false);
        let time_ms = match self.events.read(record) {
            Ok(time_ms) => time_ms,
            Err(bad) => {
                if self.engine.observe_bad(index, record.offset) == Verdict::Bad {
                    self.sides.push_bad(index, &owned(record), &bad);
                }
                return;
            }
        };
        let event = Event {
            offset: record.offset,
            time_ms,
            record_timestamp_ms: record.timestamp_ms,
            group: self.events.group(),
            inputs: self.events.inputs(),
            voter: self.events.voter(),
        };
        if let Verdict::Late(reason) = self.engine.observe(index, &event) {
            self.sides.push_late(index, &owned(record), time_ms, reason, self.engine.rules());
        }
        self.see_watermark(partition, index);
    }

    fn see_watermark(&mut self, partition: i32, index: usize) {
        let Some(watermark) = self.engine.sources().get(index).and_then(|source| source.watermark) else { return };
        let rules = self.engine.rules();
        let due = self
            .next_due
            .entry(partition)
            .or_insert_with(|| rules.windows.next_end(watermark - rules.grace_ms) + rules.grace_ms);
        if watermark >= *due {
            *due = rules.windows.next_end(watermark - rules.grace_ms) + rules.grace_ms;
            self.urgent = true;
        }
    }

    fn see_idle(&mut self) {
        let now_ms = self.around.clock.now_ms();
        let idle_close_ms = i64::try_from(self.around.definition.idle_close.as_millis()).unwrap_or(i64::MAX);
        for reading in self.readings.values_mut().filter(|reading| !reading.idle) {
            // A clock that was set back starts the time of quiet anew.
            let since = reading.quiet_since_ms.map(|since| since.min(now_ms));
            if since.is_some_and(|since| now_ms - since >= idle_close_ms) {
                reading.idle = true;
                self.urgent = true;
            }
        }
    }

    fn is_due(&self) -> bool {
        let elapsed = self.told_at.elapsed();
        let totals = self.engine.totals();
        let untold = (totals.counted + totals.late + totals.bad) - (self.told.counted + self.told.late + self.told.bad);
        let is_live = |reading: &Reading| {
            reading.quiet_since_ms.is_some() || reading.end_seen.is_some_and(|seen| seen.elapsed() < LIVE)
        };
        untold >= TELL_EVENTS
            || self.sides.is_full()
            || (elapsed >= TELL_EVERY && (untold > 0 || self.urgent))
            || (self.urgent && elapsed >= TELL_AT_MOST_EVERY && self.readings.values().all(is_live))
    }

    /// Writes partials, late and bad records, and moves the group on.
    pub fn tell(&mut self, member: &mut dyn Member) -> Result<(), ClientError> {
        let mut partials: BTreeMap<usize, Partial> = BTreeMap::new();
        for (partition, last_end, slice) in self.engine.drain() {
            let fresh = || Partial::new(&self.fingerprint, partition);
            partials.entry(partition).or_insert_with(fresh).add(last_end, slice);
        }
        let mut progress = Vec::new();
        for (partition, reading) in &mut self.readings {
            let Ok(index) = usize::try_from(*partition) else { continue };
            let Some(source) = self.engine.sources().get(index) else { continue };
            let news = (source.next, reading.idle);
            if reading.told == Some(news) && !partials.contains_key(&index) {
                continue;
            }
            let fresh = || Partial::new(&self.fingerprint, index);
            let partial = partials.entry(index).or_insert_with(fresh);
            (partial.next, partial.watermark) = (source.next, source.watermark);
            partial.idle_since = reading.quiet_since_ms.filter(|_| reading.idle);
            let note = serde_json::to_string(&Note { watermark: source.watermark }).unwrap_or_default();
            progress.push(Position { partition: *partition, offset: Some(source.next), note });
            reading.told = Some(news);
        }
        let totals = self.engine.totals();
        if let Some(last) = partials.values_mut().next_back() {
            last.totals = totals.since(&self.told);
        }
        let output = self.output(partials);
        member.commit(&output, &progress)?;
        (self.told, self.told_at, self.urgent) = (totals, Instant::now(), false);
        self.show();
        Ok(())
    }

    fn output(&mut self, partials: BTreeMap<usize, Partial>) -> Vec<Output> {
        let (topic, now_ms) = (partials_topic(&self.around.definition), self.around.clock.now_ms());
        let values = partials.into_values().flat_map(Partial::into_json);
        let record = |value| Record { timestamp_ms: now_ms, value: Some(Bytes::from(value)), ..Record::default() };
        let partials = values.map(|value| Output { topic: topic.clone(), partition: 0, record: record(value) });
        partials.chain(self.sides.take().into_iter().flat_map(|(topic, batch)| outputs(&topic, batch))).collect()
    }

    fn show(&self) {
        let partitions = self.readings.iter().filter_map(|(partition, reading)| {
            let index = usize::try_from(*partition).ok()?;
            let source = self.engine.sources().get(index)?;
            let high_watermark = reading.high_watermark.max(source.next);
            Some(PartitionStatus {
                partition: index,
                watermark: source.watermark,
                next_offset: source.next,
                high_watermark,
                lag: high_watermark - source.next,
                idle: reading.idle,
            })
        });
        let partitions: Vec<PartitionStatus> = partitions.collect();
        self.around.status.update(|status| {
            status.lag = partitions.iter().map(|partition| partition.lag).sum();
            status.partitions = partitions;
            status.state = State::Running;
            status.error = None;
        });
    }
}

/// Windows are never too many: what is counted is told soon.
fn engine(around: &Around) -> Engine {
    Engine::new(Rules { max_open_windows: usize::MAX, ..Rules::new(&around.definition) })
}

fn owned(record: &RecordRef<'_>) -> Record {
    let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
    let headers = record.headers.iter().filter_map(Result::ok);
    Record {
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: copy(record.key),
        value: copy(record.value),
        headers: headers.map(|(name, value)| (Bytes::copy_from_slice(name), copy(value))).collect(),
    }
}
