//! The windows: events in, closed windows out. Pure: no I/O, no clock; time that matters is an argument.
//!
//! One watermark per source partition (the highest event time seen); a window closes when the lowest watermark of
//! the partitions that are not idle has passed its end by `grace`. The task feeds events in any interleaving of the
//! partitions; what is counted does not depend on it. It must never lose an event: each gets a [`Verdict`].

use crate::{
    Definition,
    decision::{Decision, PartitionDecision, Totals},
    definition::Window,
    source::{Groups, Judgement, Source},
};
use std::collections::BTreeMap;

/// The definition's numbers, in ms.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub window_ms: i64,
    pub grace_ms: i64,
    pub max_future_ms: i64,
    pub max_groups: usize,
    pub max_open_windows: usize,
}

impl Rules {
    pub fn new(definition: &Definition) -> Self {
        let Window::Tumble(length) = definition.window;
        let ms = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self {
            window_ms: ms(length).max(1),
            grace_ms: ms(definition.grace),
            max_future_ms: ms(definition.max_future),
            max_groups: definition.max_groups,
            max_open_windows: definition.max_open_windows,
        }
    }

    pub fn window_end(&self, time_ms: i64) -> i64 {
        self.window_start(time_ms) + self.window_ms
    }

    /// A record without timestamp (-1) has nothing to be ahead of.
    pub fn is_future(&self, event: &Event<'_>) -> bool {
        event.record_timestamp_ms >= 0 && event.time_ms > event.record_timestamp_ms.saturating_add(self.max_future_ms)
    }

    pub fn window_start(&self, time_ms: i64) -> i64 {
        time_ms.div_euclid(self.window_ms) * self.window_ms
    }
}

/// One readable event.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    pub offset: i64,
    pub time_ms: i64,
    pub record_timestamp_ms: i64,
    /// Encoded by `group`.
    pub group: &'a [u8],
}

/// Why an event is not counted though it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateReason {
    /// Its own partition's watermark had passed its window by `grace`.
    Late,
    /// Its window had been closed: its partition was idle meanwhile.
    WindowClosed,
    /// Its time is more than `max_future` ahead of the record's timestamp.
    Future,
    /// Its group would be one too many in its window.
    OverCapacity,
}

impl LateReason {
    /// The word in the late topic's header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::WindowClosed => "window_closed",
            Self::Future => "future",
            Self::OverCapacity => "over_capacity",
        }
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Counted,
    /// To be written to the late topic.
    Late(LateReason),
    /// To be written to the bad topic.
    Bad,
    /// Read again after a restart; its row, late or bad record is in the log already.
    Settled,
    /// Not taken: too many windows are open, and this partition is ahead. Offer it again when another has moved.
    Blocked,
}

/// A closed window: all groups of all partitions, in no order.
#[derive(Debug, PartialEq, Eq)]
pub struct ClosedWindow {
    pub start: i64,
    pub end: i64,
    pub groups: Groups,
}

/// An open window as `status` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenWindowSummary {
    pub start: i64,
    pub end: i64,
    pub count: u64,
}

#[derive(Debug)]
pub struct Engine {
    rules: Rules,
    /// By partition.
    sources: Vec<Source>,
    /// Ends of open windows, with the number of partitions that have a part of each.
    open: BTreeMap<i64, usize>,
    /// Every window that ends here or earlier is closed. Moves only with a decision, so that a restart knows it.
    closed_until: i64,
    totals: Totals,
}

impl Engine {
    /// Starts from the beginning: no decision was ever written.
    pub fn new(rules: Rules) -> Self {
        Self { rules, sources: Vec::new(), open: BTreeMap::new(), closed_until: i64::MIN, totals: Totals::default() }
    }

    /// Goes on from a decision; partitions follow by [`Engine::add_source`] in order.
    pub fn restore(rules: Rules, decision: &Decision) -> Self {
        Self { closed_until: decision.closed_until, totals: decision.totals, ..Self::new(rules) }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The next partition; returns its number.
    pub fn add_source(&mut self, source: Source) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }

    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    pub fn closed_until(&self) -> i64 {
        self.closed_until
    }

    /// An event that can be read.
    pub fn observe(&mut self, partition: usize, event: &Event<'_>) -> Verdict {
        let Some(source) = self.sources.get(partition) else { return Verdict::Blocked };
        let judgement = source.judge(&self.rules, self.closed_until, event);
        if let Judgement::Open { end } = judgement
            && self.open.len() >= self.rules.max_open_windows
            && !self.open.contains_key(&end)
            && !self.holds_watermark(partition)
        {
            return Verdict::Blocked;
        }
        let reason = self.take(partition, event, judgement);
        self.tally(partition, event.offset, reason)
    }

    /// Moves the partition past the event and counts it if its window is open.
    fn take(&mut self, partition: usize, event: &Event<'_>, judgement: Judgement) -> Option<LateReason> {
        let source = self.sources.get_mut(partition)?;
        let watermark_before = source.watermark_before(event.offset);
        source.pass(event, judgement);
        let end = match judgement {
            Judgement::Late(reason) => return Some(reason),
            Judgement::Open { .. } if source.is_written(event.offset) => return None,
            Judgement::Open { end } => end,
        };
        if !source.has_window(end) {
            *self.open.entry(end).or_default() += 1;
        }
        let counted = source.count(&self.rules, end, event, watermark_before);
        (!counted).then_some(LateReason::OverCapacity)
    }

    /// Adds an event to the totals under what became of it. Below the restored decision the totals hold it already;
    /// what the late or bad topic holds since then is settled as it is there.
    fn tally(&mut self, partition: usize, offset: i64, reason: Option<LateReason>) -> Verdict {
        let Some(source) = self.sources.get(partition) else { return Verdict::Blocked };
        if !source.is_new(offset) {
            return if reason.is_none() { Verdict::Counted } else { Verdict::Settled };
        }
        if source.bad_is_written(offset) {
            self.totals.bad += 1;
            return Verdict::Settled;
        }
        let written = source.late_is_written(offset);
        self.totals.late += u64::from(written || reason.is_some());
        self.totals.clipped += u64::from(reason == Some(LateReason::Future));
        match reason {
            _ if written => Verdict::Settled,
            Some(reason) => Verdict::Late(reason),
            None => {
                self.totals.counted += 1;
                Verdict::Counted
            }
        }
    }

    /// A record that cannot be read.
    pub fn observe_bad(&mut self, partition: usize, offset: i64) -> Verdict {
        self.observe_bad_batch(partition, offset, offset + 1, 1)
    }

    /// `records` records from `offset` on that cannot even be told apart; `next` is the offset after them.
    pub fn observe_bad_batch(&mut self, partition: usize, offset: i64, next: i64, records: u64) -> Verdict {
        let Some(source) = self.sources.get_mut(partition) else { return Verdict::Blocked };
        source.next = next;
        if !source.is_new(offset) {
            return Verdict::Settled;
        }
        self.totals.bad += records;
        if source.bad_is_written(offset) { Verdict::Settled } else { Verdict::Bad }
    }

    /// Offsets that hold no event (markers, compacted away) are passed.
    pub fn advance_to(&mut self, partition: usize, offset: i64) {
        if let Some(source) = self.sources.get_mut(partition) {
            source.next = source.next.max(offset);
        }
    }

    /// Offsets that are gone before they were read.
    pub fn skip_to(&mut self, partition: usize, offset: i64) {
        if let Some(source) = self.sources.get_mut(partition) {
            self.totals.skipped += u64::try_from(offset.saturating_sub(source.next)).unwrap_or(0);
            source.next = source.next.max(offset);
        }
    }

    /// The partition was made anew: its offsets begin again. Windows and watermark stay.
    pub fn begin_again(&mut self, partition: usize, offset: i64) {
        if let Some(source) = self.sources.get_mut(partition) {
            source.begin_again(offset);
        }
    }

    /// From now on the partition holds back no window: its end has been read, and nothing came since `since_ms`.
    pub fn set_idle(&mut self, partition: usize, since_ms: i64) {
        if let Some(source) = self.sources.get_mut(partition) {
            source.idle_since_ms = Some(since_ms);
        }
    }

    pub fn set_active(&mut self, partition: usize) {
        if let Some(source) = self.sources.get_mut(partition) {
            source.idle_since_ms = None;
        }
    }

    /// The oldest open window, if it may close now. `now_ms` matters only when every partition is idle.
    pub fn closable(&self, now_ms: i64) -> Option<i64> {
        let (end, _) = self.open.first_key_value()?;
        let closable = match self.lowest_watermark() {
            Lowest::AllIdle => self.idle_deadline_ms().is_some_and(|deadline| now_ms >= deadline),
            Lowest::Unknown => false,
            Lowest::At(watermark) => watermark >= end + self.rules.grace_ms,
        };
        closable.then_some(*end)
    }

    /// When the oldest open window closes if every partition stays idle. Not before the wall clock has passed it, as
    /// taps may still come in time; but a clock that runs ahead cannot hold it open for long.
    pub fn idle_deadline_ms(&self) -> Option<i64> {
        let (end, _) = self.open.first_key_value()?;
        let quiet_since = self
            .sources
            .iter()
            .try_fold(i64::MIN, |latest, source| source.idle_since_ms.map(|since| latest.max(since)))?;
        let patience = self.rules.window_ms + self.rules.grace_ms + self.rules.max_future_ms;
        Some((end + self.rules.grace_ms).min(quiet_since.saturating_add(patience)))
    }

    /// True if [`Engine::closable`] rests on every partition being idle.
    pub fn is_all_idle(&self) -> bool {
        self.lowest_watermark() == Lowest::AllIdle
    }

    /// Closes the window: from now on its events are late.
    pub fn close(&mut self, end: i64) -> ClosedWindow {
        let mut parts: Vec<Groups> =
            self.sources.iter_mut().filter_map(|source| source.take_window(end)).map(|window| window.groups).collect();
        parts.sort_by_key(|groups| groups.len());
        let mut groups = parts.pop().unwrap_or_default();
        for (group, count) in parts.into_iter().flatten() {
            *groups.entry(group).or_default() += count;
        }
        self.open.remove(&end);
        self.closed_until = self.closed_until.max(end);
        ClosedWindow { start: end - self.rules.window_ms, end, groups }
    }

    /// The late or bad topic holds records of offsets that are not passed again yet: the next decision must still lead
    /// recovery to them.
    pub fn awaits_written(&self) -> bool {
        self.sources.iter().any(Source::awaits_written)
    }

    pub fn partition_decisions(&self) -> Vec<PartitionDecision> {
        (0..).zip(&self.sources).map(|(partition, source)| source.decision(partition)).collect()
    }

    pub fn open_window_count(&self) -> usize {
        self.open.len()
    }

    pub fn open_windows(&self) -> impl Iterator<Item = OpenWindowSummary> {
        self.open.keys().map(|end| OpenWindowSummary {
            start: end - self.rules.window_ms,
            end: *end,
            count: self.sources.iter().filter_map(|source| source.window(*end)).map(|window| window.count).sum(),
        })
    }

    fn lowest_watermark(&self) -> Lowest {
        let mut active =
            self.sources.iter().filter(|source| source.idle_since_ms.is_none()).map(|source| source.watermark);
        match active.try_fold(i64::MAX, |lowest, watermark| watermark.map(|watermark| lowest.min(watermark))) {
            None => Lowest::Unknown,
            Some(_) if self.sources.iter().all(|source| source.idle_since_ms.is_some()) => Lowest::AllIdle,
            Some(lowest) => Lowest::At(lowest),
        }
    }

    /// No other partition is behind this one: it must always be let on, or nothing would ever close.
    fn holds_watermark(&self, partition: usize) -> bool {
        let own = self.sources.get(partition).and_then(|source| source.watermark);
        self.sources.iter().filter(|source| source.idle_since_ms.is_none()).all(|source| own <= source.watermark)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lowest {
    /// A partition that is not idle has given no event yet.
    Unknown,
    At(i64),
    AllIdle,
}
