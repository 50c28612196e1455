//! The working loop between a recovery and the next stop: fetch, count, close, write.
//!
//! One task per aggregate. It feeds the engine slice by slice, the partition with the lowest watermark first, and
//! writes a decision whenever windows may close. It never waits while something can be processed, never retries
//! an append (the log alone knows whether it was applied: recovery asks it), and loses nothing when it is dropped.

use crate::{
    AggregatorError, Definition,
    committer::Committer,
    decision::{DECISION_VERSION, Decision, PartitionDecision},
    engine::{Engine, Event, Verdict},
    event::{Bad, EventReader},
    late_marks::LateMarks,
    meters::Meters,
    reader::{MAX_POLL, OpenBatch, PartitionReader, Polled, Polls},
    recovery::Restored,
    rows::{RowBatch, RowFormat},
    side_topics::SideTopics,
    snapshot::Snapshots,
    source::Source,
    status::{State, StatusHandle},
};
use bytes::Bytes;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tifo_broker::{ClientError, LogClient, clock::Clock};
use tifo_storage::record_batch::{BatchError, Record, RecordRef, Records};
use tokio_util::sync::CancellationToken;

/// Records processed before other work gets its turn.
const SLICE_RECORDS: usize = 4_096;

/// What the loop works with, apart from its state.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub definition: Arc<Definition>,
    pub client: Arc<dyn LogClient>,
    pub clock: Clock,
    pub status: StatusHandle,
    pub shutdown: CancellationToken,
}

#[derive(Debug)]
pub struct Pump<'a> {
    around: &'a Surroundings,
    committer: &'a Committer,
    engine: Engine,
    events: EventReader,
    readers: Vec<PartitionReader>,
    polls: Polls,
    sides: SideTopics,
    format: RowFormat,
    meters: Meters,
    epoch: u64,
    sequence: u64,
    scanned_from: (i64, i64),
    /// Where what was late cannot be judged again.
    marks: Option<LateMarks>,
    early: Early,
    snapshots: Snapshots,
    /// The warning of the first events is in the log.
    has_warned: bool,
}

/// What has been told of the next window to be closed.
#[derive(Debug, Default)]
struct Early {
    /// When it may be told again.
    due_ms: i64,
    /// Its end, and its events then.
    told: Option<(i64, u64)>,
}

impl<'a> Pump<'a> {
    pub fn new(around: &'a Surroundings, committer: &'a Committer, restored: Restored) -> Self {
        let definition = &around.definition;
        let looks_up_late = restored.engine.rules().looks_up_late();
        let marks = looks_up_late.then(|| LateMarks::new(restored.scanned_from.0));
        Self {
            committer,
            events: EventReader::new(definition),
            readers: restored.high_watermarks.iter().map(|end| PartitionReader::new(*end)).collect(),
            polls: Polls::new(Arc::clone(&around.client), definition.from.clone()),
            sides: restored.sides,
            format: RowFormat::new(definition),
            meters: Meters::new(&definition.name, restored.engine.totals()),
            engine: restored.engine,
            epoch: restored.epoch,
            sequence: restored.sequence,
            scanned_from: restored.scanned_from,
            marks,
            early: Early::default(),
            snapshots: restored.snapshots,
            has_warned: false,
            around,
        }
    }

    /// Runs until shutdown (Ok) or until an append fails: then recovery must look at what is in the log.
    pub async fn run(&mut self) -> Result<(), AggregatorError> {
        self.snapshots.begin(&*self.around.client, self.around.clock.now_ms()).await?;
        while !self.around.shutdown.is_cancelled() {
            while let Some(polled) = self.polls.ready() {
                self.accept(polled);
            }
            let progressed = self.process_slice();
            self.close_windows().await?;
            self.tell_early().await?;
            self.take_snapshot().await?;
            self.start_polls();
            if progressed {
                if self.sides.is_full() {
                    self.sides.flush(&*self.around.client).await?;
                }
                tokio::task::yield_now().await;
            } else {
                self.sides.flush(&*self.around.client).await?;
                self.show();
                self.wait().await?;
            }
        }
        self.show();
        Ok(())
    }

    /// Sleeps until a poll answers or the wall clock closes a window.
    async fn wait(&mut self) -> Result<(), AggregatorError> {
        let until_deadline = match self.engine.idle_deadline_ms() {
            Some(deadline_ms) => ms_from(self.around.clock.now_ms(), deadline_ms),
            None => MAX_POLL,
        };
        let until_deadline = until_deadline.min(self.until_early());
        tokio::select! {
            () = self.around.shutdown.cancelled() => Ok(()),
            () = tokio::time::sleep(until_deadline.min(MAX_POLL)) => self.find_partitions().await,
            polled = self.polls.next() => {
                self.accept(polled);
                Ok(())
            }
        }
    }

    fn start_polls(&mut self) {
        let now_ms = self.around.clock.now_ms();
        let idle_close_ms = duration_ms(self.around.definition.idle_close);
        for (partition, (reader, source)) in self.readers.iter_mut().zip(self.engine.sources()).enumerate() {
            // A clock that was set back starts the time of quiet anew.
            let since = reader.quiet_since_ms.filter(|since| *since <= now_ms).unwrap_or(now_ms);
            let max_wait = match source.idle_since_ms {
                Some(_) => MAX_POLL,
                None => ms_from(now_ms, since.saturating_add(idle_close_ms)).min(MAX_POLL),
            };
            if !reader.has_data() {
                reader.quiet_since_ms = Some(since);
            }
            self.polls.start(partition, reader, source.next, max_wait);
        }
    }

    fn accept(&mut self, polled: Polled) {
        let partition = polled.partition;
        let Some(reader) = self.readers.get_mut(partition) else { return };
        polled.settle(reader);
        let early = polled.early;
        match polled.result.and_then(|fetched| reader.accept(fetched)) {
            Ok(true) => {
                reader.quiet_since_ms = None;
                self.engine.set_active(partition);
            }
            Ok(false) => {
                if early {
                    reader.back_off();
                }
                self.note_quiet(partition);
            }
            Err(error) => self.note_failure(partition, error),
        }
    }

    /// A poll came back empty: idle if that has been so for long enough, and only at the log's end.
    fn note_quiet(&mut self, partition: usize) {
        let (Some(reader), Some(source)) = (self.readers.get_mut(partition), self.engine.sources().get(partition))
        else {
            return;
        };
        let now_ms = self.around.clock.now_ms();
        let idle_close_ms = duration_ms(self.around.definition.idle_close);
        match reader.quiet_since_ms {
            _ if source.next < reader.high_watermark => reader.quiet_since_ms = None,
            Some(since) if source.idle_since_ms.is_none() && now_ms.saturating_sub(since) >= idle_close_ms => {
                self.engine.set_idle(partition, since);
            }
            _ => {}
        }
    }

    fn note_failure(&mut self, partition: usize, error: ClientError) {
        let Some(reader) = self.readers.get_mut(partition) else { return };
        reader.quiet_since_ms = None;
        let topic = &self.around.definition.from;
        if let ClientError::OffsetOutOfRange { offset, start, end, .. } = error {
            tracing::warn!(topic, partition, offset, start, end, "the raw topic no longer holds the offset to be read");
            if offset < start {
                self.engine.skip_to(partition, start);
            } else {
                self.engine.begin_again(partition, start);
            }
            reader.high_watermark = end;
            return;
        }
        reader.back_off();
        if !matches!(error, ClientError::Unavailable(_)) {
            tracing::error!(topic, partition, %error, "fetch failed");
        }
        reader.error = Some(error.to_string());
    }

    /// Processes one slice of the partition that is furthest behind; false if nothing could be processed.
    fn process_slice(&mut self) -> bool {
        let mut ready: Vec<(Option<i64>, usize)> = self
            .readers
            .iter()
            .zip(self.engine.sources())
            .enumerate()
            .filter(|(_, (reader, _))| reader.has_data())
            .map(|(partition, (_, source))| (source.watermark, partition))
            .collect();
        ready.sort_unstable();
        let furthest_behind = self.furthest_behind();
        ready.into_iter().any(|(watermark, partition)| {
            let ahead = furthest_behind.is_some_and(|behind| self.runs_ahead(watermark, behind));
            !ahead && self.process_partition(partition)
        })
    }

    /// The lowest watermark of partitions whose next data is still on its way.
    fn furthest_behind(&self) -> Option<Option<i64>> {
        let readers = self.readers.iter().zip(self.engine.sources());
        readers
            .filter(|(reader, source)| !reader.has_data() && reader.lags(source.next))
            .map(|(_, source)| source.watermark)
            .min()
    }

    /// Reading on here would only pile up windows that the partition behind must close first.
    fn runs_ahead(&self, watermark: Option<i64>, behind: Option<i64>) -> bool {
        match (watermark, behind) {
            (Some(watermark), Some(behind)) => watermark - behind > self.engine.rules().stride_ms(),
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// Up to a slice of records of one batch; false if it may not go on.
    fn process_partition(&mut self, partition: usize) -> bool {
        if !self.readers.get(partition).is_some_and(PartitionReader::has_open) && !self.open_batch(partition) {
            return false;
        }
        let Some(reader) = self.readers.get_mut(partition) else { return false };
        let Some(mut batch) = reader.take_open() else { return true };
        let (started, before) = (Instant::now(), batch.done);
        let (engine, events, sides) = (&mut self.engine, &mut self.events, &mut self.sides);
        let ended = SliceCounter { engine, events, sides, partition }.count(&mut batch);
        self.meters.parsed(batch.done - before, started.elapsed());
        self.snapshots.read(batch.done - before);
        let progressed = batch.done > before || ended.is_some();
        match ended {
            None => reader.put_open(batch),
            Some(Ok(())) => self.engine.advance_to(partition, batch.end),
            Some(Err(error)) => {
                let offset = self.engine.sources().get(partition).map_or(0, |source| source.next);
                self.refuse(partition, Damaged { offset, end: batch.end, count: batch.count - batch.done }, &error);
            }
        }
        progressed
    }

    /// Opens the next batch; one that cannot be opened goes to the bad topic as a whole.
    fn open_batch(&mut self, partition: usize) -> bool {
        let Some(batch) = self.readers.get_mut(partition).and_then(PartitionReader::next_batch) else { return false };
        let next = self.engine.sources().get(partition).map_or(0, |source| source.next);
        let (offset, end) = (batch.header.base_offset, batch.header.last_offset() + 1);
        if end <= next || batch.is_control() {
            self.engine.advance_to(partition, end);
            return true;
        }
        match (OpenBatch::new(&batch), self.readers.get_mut(partition)) {
            (Ok(open), Some(reader)) => reader.put_open(open),
            (Err(error), _) => {
                let count = usize::try_from(batch.header.record_count).unwrap_or(0);
                self.refuse(partition, Damaged { offset, end, count }, &error);
            }
            (Ok(_), None) => {}
        }
        true
    }

    /// Records that cannot be told apart: one record in the bad topic stands for all.
    fn refuse(&mut self, partition: usize, damaged: Damaged, error: &BatchError) {
        let Damaged { offset, end, count } = damaged;
        tracing::error!(topic = self.around.definition.from, partition, offset, count, %error, "record batch is damaged");
        let records = u64::try_from(count).unwrap_or(0);
        if self.engine.observe_bad_batch(partition, offset, end, records) == Verdict::Bad {
            let record = Record { offset, timestamp_ms: self.around.clock.now_ms(), ..Record::default() };
            let bad = Bad { reason: "damaged_batch", detail: format!("{count} records: {error}") };
            self.sides.push_bad(partition, &record, &bad);
        }
    }

    /// Writes every window that may close, in as few batches as their size allows.
    async fn close_windows(&mut self) -> Result<(), AggregatorError> {
        while self.may_close().await? {
            let now_ms = self.around.clock.now_ms();
            let mut rows = RowBatch::new();
            while let Some(end) = self.engine.closable(now_ms).filter(|_| !rows.is_full()) {
                self.engine.close(end).iter().for_each(|window| rows.push(&self.format, window));
            }
            if rows.is_empty() {
                return Ok(());
            }
            self.decide(rows).await?;
        }
        Ok(())
    }

    /// When there is something new to be told early, and it may be told.
    fn until_early(&self) -> Duration {
        let is_news = self.around.definition.early.is_some() && self.engine.progress() != self.early.told;
        if is_news { ms_from(self.around.clock.now_ms(), self.early.due_ms) } else { MAX_POLL }
    }

    /// Writes the next window to be closed as it is so far, with a decision that closes nothing.
    async fn tell_early(&mut self) -> Result<(), AggregatorError> {
        let Some(interval) = self.around.definition.early else { return Ok(()) };
        let (now_ms, progress) = (self.around.clock.now_ms(), self.engine.progress());
        // A clock that was set back starts the interval anew.
        let due_ms = self.early.due_ms.min(now_ms.saturating_add(duration_ms(interval)));
        if now_ms < due_ms || progress == self.early.told {
            return Ok(());
        }
        let mut rows = RowBatch::new();
        if let Some(window) = self.engine.preview() {
            rows.push(&self.format, &window);
        }
        self.early = Early { due_ms: now_ms.saturating_add(duration_ms(interval)), told: progress };
        if rows.is_empty() { Ok(()) } else { self.decide(rows).await }
    }

    /// Looks again before something final is done: a new partition, or a record that came just now, counts.
    async fn may_close(&mut self) -> Result<bool, AggregatorError> {
        if self.engine.closable(self.around.clock.now_ms()).is_none() {
            return Ok(false);
        }
        self.find_partitions().await?;
        if self.engine.is_all_idle() {
            self.look_for_news().await?;
        }
        Ok(self.engine.closable(self.around.clock.now_ms()).is_some())
    }

    async fn look_for_news(&mut self) -> Result<(), AggregatorError> {
        for partition in 0..self.readers.len() {
            let Ok(number) = i32::try_from(partition) else { continue };
            let (_, end) = self.around.client.offsets(&self.around.definition.from, number).await?;
            let next = self.engine.sources().get(partition).map_or(0, |source| source.next);
            if let Some(reader) = self.readers.get_mut(partition)
                && end > next
            {
                reader.high_watermark = end;
                reader.quiet_since_ms = None;
                self.engine.set_active(partition);
            }
        }
        Ok(())
    }

    async fn find_partitions(&mut self) -> Result<(), AggregatorError> {
        let topic = &self.around.definition.from;
        let count = usize::try_from(self.around.client.partitions(topic).await?).unwrap_or(0);
        for partition in self.readers.len()..count {
            let number = i32::try_from(partition).unwrap_or(i32::MAX);
            let (start, end) = self.around.client.offsets(topic, number).await?;
            tracing::info!(topic, partition, "new partition");
            self.engine.add_source(Source::starting_at(start));
            self.readers.push(PartitionReader::new(end));
        }
        Ok(())
    }

    async fn decide(&mut self, rows: RowBatch) -> Result<(), AggregatorError> {
        let client = &*self.around.client;
        self.sides.flush(client).await?;
        self.sequence += 1;
        let decision = self.decision();
        let (window_ends, count) = (rows.window_ends.clone(), rows.rows);
        client.append(&self.around.definition.into, 0, rows.build(&decision)).await?;
        self.meters.decided();
        self.meters.closed(&window_ends, count, self.around.clock.now_ms());
        self.around.status.update(|status| status.decisions = decision.sequence);
        let offsets = decision.partitions.iter().map(|source| (source.partition, source.next)).collect();
        self.committer.commit(offsets);
        Ok(())
    }

    /// When a restart would read much again.
    async fn take_snapshot(&mut self) -> Result<(), AggregatorError> {
        if !self.snapshots.is_due() || !self.engine.is_settled() {
            return Ok(());
        }
        let read_again =
            self.engine.partition_decisions().iter().map(|source| source.next - source.resume).sum::<i64>();
        if self.snapshots.put_off(usize::try_from(read_again).unwrap_or(0)) {
            return Ok(());
        }
        let client = &*self.around.client;
        self.sides.flush(client).await?;
        let (decision, state) = (self.decision(), self.engine.save());
        self.snapshots.write(client, self.around.clock.now_ms(), decision, &state).await?;
        self.meters.snapshot(state.len());
        Ok(())
    }

    fn decision(&mut self) -> Decision {
        let partitions = self.engine.partition_decisions();
        let (late_end, bad_end) = self.sides_end(&partitions);
        Decision {
            version: DECISION_VERSION,
            aggregate: self.around.definition.name.clone(),
            epoch: self.epoch,
            sequence: self.sequence,
            fingerprint: self.around.definition.fingerprint(),
            closed_until: self.engine.closed_until(),
            partitions,
            late_end,
            bad_end,
            totals: self.engine.totals(),
        }
    }

    /// From where recovery must read the side topics.
    fn sides_end(&mut self, partitions: &[PartitionDecision]) -> (i64, i64) {
        let (late_end, bad_end) = self.sides.ends();
        let marked = self.marks.as_mut().map(|marks| marks.late_end_for(partitions, late_end));
        if self.engine.awaits_written() { self.scanned_from } else { (marked.unwrap_or(late_end), bad_end) }
    }

    fn show(&mut self) {
        if !self.has_warned && self.events.knows_events() {
            self.has_warned = true;
            if let Some(warning) = self.events.warning() {
                let (aggregate, topic) = (&self.around.definition.name, &self.around.definition.from);
                tracing::warn!(aggregate, topic, "{warning}");
            }
        }
        self.meters.show(&self.engine, &self.readers);
        self.around.status.update(|status| {
            status.state = State::Running;
            status.error = self.readers.iter().find_map(|reader| reader.error.clone());
            status.warning = self.events.warning();
            status.epoch = self.epoch;
            status.decisions = self.sequence;
            status.show(&self.engine, &self.readers);
        });
    }
}

/// What is left of a batch that cannot be read.
struct Damaged {
    offset: i64,
    end: i64,
    count: usize,
}

/// Takes the records of one partition one by one.
struct SliceCounter<'p> {
    engine: &'p mut Engine,
    events: &'p mut EventReader,
    sides: &'p mut SideTopics,
    partition: usize,
}

impl SliceCounter<'_> {
    /// Up to a slice of the batch; Some when it has ended, well or badly.
    fn count(&mut self, batch: &mut OpenBatch) -> Option<Result<(), BatchError>> {
        let next = self.engine.sources().get(self.partition).map_or(0, |source| source.next);
        let mut records = batch.records.iter().skip(batch.done);
        for _ in 0..SLICE_RECORDS {
            match records.next() {
                None => return Some(Ok(())),
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(record)) if record.offset >= next && !self.take(&record, &batch.records) => return None,
                Some(Ok(_)) => batch.done += 1,
            }
        }
        None
    }

    /// False: not now.
    fn take(&mut self, record: &RecordRef<'_>, records: &Records) -> bool {
        let time_ms = match self.events.read(record) {
            Ok(time_ms) => time_ms,
            Err(bad) => {
                if self.engine.observe_bad(self.partition, record.offset) == Verdict::Bad {
                    self.sides.push_bad(self.partition, &owned(record, records), &bad);
                }
                return true;
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
        let verdict = self.engine.observe(self.partition, &event);
        if let Verdict::Late(reason) = verdict {
            let record = owned(record, records);
            self.sides.push_late(self.partition, &record, time_ms, reason, self.engine.rules());
        }
        verdict != Verdict::Blocked
    }
}

/// With its headers; should they be damaged, without.
fn owned(record: &RecordRef<'_>, records: &Records) -> Record {
    records.own(record).unwrap_or_else(|_| Record {
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(Bytes::copy_from_slice),
        value: record.value.map(Bytes::copy_from_slice),
        headers: Vec::new(),
    })
}

fn duration_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// From now until then; at least 1 ms, so that a clock that stands still is not asked in a busy loop.
fn ms_from(now_ms: i64, then_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(then_ms.saturating_sub(now_ms)).unwrap_or(0).max(1))
}
