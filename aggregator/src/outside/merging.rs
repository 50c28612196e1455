//! The second stage: partial counts of all partitions, put together to windows, closed and written.
//!
//! One member has the partials topic's one partition; others wait. A decision (as inside the broker) goes with the rows,
//! in the transaction that moves the group to the first partial that an open window needs. Whoever takes over reads the last
//! decision and those partials again: what belongs to a closed window is passed over.

use super::{
    Around,
    partial::{Part, Partial, UnreadablePartial, partials_topic},
    stage::outputs,
};
use crate::{
    AggregatorError,
    decision::{DECISION_VERSION, Decision},
    engine::{Engine, LateReason},
    measure::Acc,
    meters::Meters,
    recovery,
    rows::{RowBatch, RowFormat},
    rules::Rules,
    source::Source,
    status::{MAX_LISTED_WINDOWS, State, WindowStatus},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tifo_broker::client::{Member, MemberSpec, Output, Position, Step};
use tifo_storage::record_batch::{Record, RecordRef};

/// Partials taken before windows are closed.
const SLICE_RECORDS: usize = 256;
/// Longest wait for a partial.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// What is kept with the group's offset.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    /// The first partial that the decision does not know.
    next: i64,
}

pub struct Merging {
    around: Around,
    fingerprint: String,
    format: RowFormat,
    /// None: another instance merges.
    work: Option<Work>,
}

/// The state of the one that merges.
struct Work {
    engine: Engine,
    /// The next partial.
    next: i64,
    /// Partials below were known to the decision that was restored.
    decided: i64,
    at_end: bool,
    epoch: u64,
    sequence: u64,
    late: Vec<Output>,
    meters: Meters,
}

impl Merging {
    pub fn spec(around: &Around) -> MemberSpec {
        let group = format!("{}-merge", around.definition.consumer_group());
        MemberSpec { group, topic: partials_topic(&around.definition) }
    }

    pub fn new(around: Around) -> Self {
        let definition = around.definition.clone();
        Self { fingerprint: definition.fingerprint(), format: RowFormat::new(&definition), work: None, around }
    }

    /// Takes what comes next, and closes what may be closed.
    pub fn step(&mut self, member: &mut dyn Member) -> Result<(), AggregatorError> {
        let (mut begun, mut ended, mut trouble) = (None, false, Ok(()));
        member.next(LONGEST_WAIT, SLICE_RECORDS, &mut |step| match step {
            Step::Assigned(positions) => begun = positions.into_iter().find(|position| position.partition == 0),
            Step::Revoked => ended = true,
            Step::Record { record, .. } => {
                if trouble.is_ok() {
                    trouble = self.absorb(&record);
                }
            }
            Step::End { .. } => {
                if let Some(work) = &mut self.work {
                    work.at_end = true;
                }
            }
            Step::HighWatermarks(_) => {}
        })?;
        trouble?;
        if ended || begun.is_some() {
            self.work = None;
        }
        if let Some(position) = begun {
            self.work = Some(self.restore(&position)?);
        }
        self.close(member)
    }

    fn restore(&self, position: &Position) -> Result<Work, AggregatorError> {
        let (client, definition) = (&self.around.client, &self.around.definition);
        let runtime = &self.around.runtime;
        let decision = runtime.block_on(recovery::find_last_decision(&**client, definition))?;
        let partitions = runtime.block_on(client.partitions(&definition.from))?;
        if let Some(decision) = &decision {
            recovery::check_unchanged(definition, decision)?;
        }
        let rules = Rules { max_open_windows: usize::MAX, ..Rules::new(definition) };
        let mut engine = match &decision {
            Some(decision) => Engine::restore(rules, decision),
            None => Engine::new(rules),
        };
        for partition in 0..partitions {
            let known =
                decision.iter().flat_map(|decision| &decision.partitions).find(|one| one.partition == partition);
            let mut source = Source::starting_at(known.map_or(0, |known| known.next));
            source.watermark = known.and_then(|known| known.watermark);
            source.idle_since_ms = known.filter(|known| known.idle).map(|_| self.around.clock.now_ms());
            engine.add_source(source);
        }
        let decided = serde_json::from_str::<Note>(&position.note).unwrap_or_default().next;
        let (epoch, sequence) = decision.as_ref().map_or((1, 0), |decision| (decision.epoch + 1, decision.sequence));
        tracing::info!(aggregate = definition.name, epoch, decisions = sequence, "this instance merges");
        let meters = Meters::new(&definition.name, engine.totals());
        let next = position.offset.unwrap_or(0);
        Ok(Work { engine, next, decided, at_end: false, epoch, sequence, late: Vec::new(), meters })
    }

    fn absorb(&mut self, record: &RecordRef<'_>) -> Result<(), AggregatorError> {
        let Some(work) = &mut self.work else { return Ok(()) };
        let topic = partials_topic(&self.around.definition);
        let unreadable = |error: UnreadablePartial| AggregatorError::Partial(topic.clone(), error);
        let partial = Partial::read(record.value.unwrap_or_default()).map_err(unreadable)?;
        if partial.fingerprint != self.fingerprint {
            let (written, now) = (partial.fingerprint, self.fingerprint.clone());
            return Err(AggregatorError::Changed { topic, written, now });
        }
        work.absorb(&self.around, record.offset, &partial).map_err(unreadable)
    }

    fn close(&mut self, member: &mut dyn Member) -> Result<(), AggregatorError> {
        let Some(work) = &mut self.work else { return Ok(()) };
        while work.next >= work.decided {
            let now_ms = self.around.clock.now_ms();
            let mut rows = RowBatch::new();
            while let Some(end) = work.closable(now_ms).filter(|_| !rows.is_full()) {
                work.engine.close(end).iter().for_each(|window| rows.push(&self.format, window));
            }
            if rows.is_empty() {
                break;
            }
            work.sequence += 1;
            let (ends, count) = (rows.window_ends.clone(), rows.rows);
            let decision = work.decision(&self.around, &self.fingerprint);
            let mut output = outputs(&self.around.definition.into, rows.build(&decision));
            output.append(&mut work.late);
            let note = serde_json::to_string(&Note { next: work.next }).unwrap_or_default();
            member.commit(&output, &[Position { partition: 0, offset: Some(work.resume()), note }])?;
            work.meters.closed(&ends, count, self.around.clock.now_ms());
            work.show(&self.around);
        }
        Ok(())
    }
}

impl Work {
    fn absorb(&mut self, around: &Around, offset: i64, partial: &Partial) -> Result<(), UnreadablePartial> {
        let is_new = offset >= self.decided;
        while self.engine.sources().len() <= partial.partition {
            self.engine.add_source(Source::default());
        }
        if is_new {
            self.engine.add_totals(&partial.totals);
        }
        for part in &partial.parts {
            let (group, acc) = part.unpack(Acc::new(&self.engine.rules().measures))?;
            let events = acc.events;
            let refused = self.engine.absorb(partial.partition, offset, (part.first_end, part.last_end), (group, acc));
            if let Some(reason) = refused.filter(|_| is_new) {
                self.engine.count_as_late(events);
                self.late.push(late_part(around, partial, part, reason));
            }
        }
        if is_new {
            self.engine.pass_on(partial.partition, partial.next, partial.watermark);
            match partial.idle_since {
                Some(since) => self.engine.set_idle(partial.partition, since),
                None if partial.next > 0 => self.engine.set_active(partial.partition),
                None => {}
            }
        }
        (self.next, self.at_end) = (offset + 1, false);
        Ok(())
    }

    /// By the wall clock only when nothing is on its way.
    fn closable(&self, now_ms: i64) -> Option<i64> {
        self.engine.closable(now_ms).filter(|_| self.at_end || !self.engine.is_all_idle())
    }

    /// The first partial that an open window needs.
    fn resume(&self) -> i64 {
        let firsts = self.engine.sources().iter().filter_map(Source::first);
        firsts.map(|(offset, _)| offset).min().unwrap_or(self.next)
    }

    fn decision(&self, around: &Around, fingerprint: &str) -> Decision {
        let resume = self.resume();
        let mut partitions = self.engine.partition_decisions();
        for partition in &mut partitions {
            (partition.resume, partition.resume_watermark) = (resume, None);
        }
        Decision {
            version: DECISION_VERSION,
            aggregate: around.definition.name.clone(),
            epoch: self.epoch,
            sequence: self.sequence,
            fingerprint: fingerprint.to_owned(),
            closed_until: self.engine.closed_until(),
            partitions,
            late_end: 0,
            bad_end: 0,
            totals: self.engine.totals(),
        }
    }

    fn show(&mut self, around: &Around) {
        let (engine, sequence, epoch) = (&self.engine, self.sequence, self.epoch);
        self.meters.show(engine, &[]);
        around.status.update(|status| {
            status.state = State::Running;
            status.open_window_count = engine.open_window_count();
            status.open_windows = engine.open_windows(MAX_LISTED_WINDOWS).into_iter().map(WindowStatus::from).collect();
            status.closed_until = Some(engine.closed_until()).filter(|until| *until > i64::MIN);
            status.show_totals(engine.totals());
            (status.decisions, status.epoch) = (sequence, epoch);
        });
    }
}

/// The events themselves are counted already, one by one they are gone: their number stands in one late record.
fn late_part(around: &Around, partial: &Partial, part: &Part, reason: LateReason) -> Output {
    let definition = &around.definition;
    let text = |text: String| Some(Bytes::from(text));
    let headers = [
        ("tifo-reason", reason.as_str().to_owned()),
        ("tifo-events", part.events.to_string()),
        ("tifo-aggregate", definition.name.clone()),
        ("tifo-source-topic", definition.from.clone()),
        ("tifo-source-partition", partial.partition.to_string()),
        ("tifo-window-end", part.last_end.to_string()),
    ];
    let headers = headers.map(|(name, value)| (Bytes::from_static(name.as_bytes()), text(value)));
    let value = serde_json::to_vec(part).unwrap_or_default();
    let record = Record {
        timestamp_ms: around.clock.now_ms(),
        value: Some(Bytes::from(value)),
        headers: headers.to_vec(),
        ..Record::default()
    };
    Output { topic: definition.late_topic(), partition: 0, record }
}
