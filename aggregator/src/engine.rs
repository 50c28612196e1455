//! The windows: events in, closed windows out. Pure: no I/O, no clock; time that matters is an argument.
//!
//! One watermark per source partition (the highest event time seen); a window closes when the lowest watermark of
//! the partitions that are not idle has passed its end by `grace`. What is counted lies in the partitions' slices. The task feeds events in any interleaving of the
//! partitions; what is counted does not depend on it. It must never lose an event: each gets a [`Verdict`].

use crate::{
    decision::{Decision, PartitionDecision, Totals},
    event::Voter,
    measure::{Acc, Input, Stamp},
    rules::Rules,
    sessions::Sessions,
    slice::{Groups, Place, Slice, Taken},
    snapshot::{Reader, Saved, save_count},
    source::{Judgement, Source},
    votes::elect,
};
use std::collections::{BTreeMap, BTreeSet};

/// One readable event.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    pub offset: i64,
    pub time_ms: i64,
    pub record_timestamp_ms: i64,
    /// Encoded by `group`.
    pub group: &'a [u8],
    /// One entry per cell of the measures.
    pub inputs: &'a [Input],
    pub voter: Voter,
}

impl Event<'_> {
    /// A record without timestamp (-1) has nothing to be ahead of.
    pub fn is_future(&self, rules: &Rules) -> bool {
        self.record_timestamp_ms >= 0 && self.time_ms > self.record_timestamp_ms.saturating_add(rules.max_future_ms)
    }

    pub fn stamp(&self, partition: usize) -> Stamp {
        Stamp { time_ms: self.time_ms, partition, offset: self.offset }
    }
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
    /// Its time is before `open`.
    NotOpen,
    /// Its time is not before `close`.
    PollClosed,
    /// Its group, or its voter, would be one too many in its window.
    OverCapacity,
}

impl LateReason {
    /// The word in the late topic's header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::WindowClosed => "window_closed",
            Self::Future => "future",
            Self::NotOpen => "not_open",
            Self::PollClosed => "poll_closed",
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
#[derive(Debug, PartialEq)]
pub struct ClosedWindow {
    pub start: i64,
    pub end: i64,
    /// Other windows begin where this one does: the start does not name it.
    pub shares_start: bool,
    /// Nothing more will count in it.
    pub is_final: bool,
    /// How often it has been corrected.
    pub rev: usize,
    pub groups: Groups,
}

/// An open window as `status` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenWindowSummary {
    pub start: i64,
    pub end: i64,
    pub count: u64,
}

/// The slices of all partitions with one last end.
#[derive(Debug)]
struct Open {
    /// The first window that something in them counts in.
    first_end: i64,
    /// Closings with which something comes to windows that were told before.
    corrections: BTreeSet<i64>,
}

/// What became of an event beside its lateness.
#[derive(Debug, Clone, Copy, Default)]
struct Manner {
    reason: Option<LateReason>,
    repeated: bool,
    partial: bool,
}

#[derive(Debug)]
pub struct Engine {
    rules: Rules,
    /// By partition.
    sources: Vec<Source>,
    /// By last end; those that are closed stay while they may be corrected.
    open: BTreeMap<i64, Open>,
    /// In place of slices, if windows are sessions.
    sessions: Option<Sessions>,
    /// Every window that ends here or earlier is closed. Moves only with a decision, so that a restart knows it.
    closed_until: i64,
    totals: Totals,
}

impl Engine {
    /// Starts from the beginning: no decision was ever written.
    pub fn new(rules: Rules) -> Self {
        let sessions = rules.session_gap_ms.map(Sessions::new);
        let (sources, open, totals) = (Vec::new(), BTreeMap::new(), Totals::default());
        let closed_until = rules.closed_before();
        Self { rules, sources, open, sessions, closed_until, totals }
    }

    /// Goes on from a decision; partitions follow by [`Engine::add_source`] in order.
    pub fn restore(rules: Rules, decision: &Decision) -> Self {
        Self { closed_until: decision.closed_until, totals: decision.totals, ..Self::new(rules) }
    }

    /// What is counted in open windows, for a snapshot.
    pub fn save(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.open.save(&mut out);
        save_count(self.sources.len(), &mut out);
        self.sources.iter().for_each(|source| source.save(&mut out));
        if let Some(sessions) = &self.sessions {
            sessions.save(&mut out);
        }
        out
    }

    /// Takes over what [`Engine::save`] gave; the sources are there already, at the snapshot's offsets. None: the bytes are
    /// no such thing, and the engine is in any state.
    pub fn load(&mut self, bytes: &[u8]) -> Option<()> {
        let from = &mut Reader(bytes);
        self.open = from.get()?;
        let count = from.get::<usize>().filter(|count| *count <= self.sources.len())?;
        self.sources.iter_mut().take(count).try_for_each(|source| source.load(&self.rules, from))?;
        if let Some(gap_ms) = self.rules.session_gap_ms {
            self.sessions = Some(Sessions::load(gap_ms, from)?);
        }
        from.0.is_empty().then_some(())?;
        self.forget_closed();
        Some(())
    }

    /// What the decision closed that was taken after the snapshot.
    fn forget_closed(&mut self) {
        let closed = self.closed_until.saturating_sub(self.rules.corrections_ms);
        self.open = self.open.split_off(&closed.saturating_add(1));
        for source in &mut self.sources {
            source.take_slices_until(closed);
        }
    }

    /// Everything that was read before the last restart has been read again.
    pub fn is_settled(&self) -> bool {
        self.sources.iter().all(Source::is_settled) && !self.awaits_written()
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
        let Some(source) = self.sources.get_mut(partition) else { return Verdict::Blocked };
        if self.rules.begin_ms.is_some_and(|begin| event.time_ms < begin) {
            self.totals.skipped += u64::from(source.is_new(event.offset));
            source.next = event.offset + 1;
            return Verdict::Settled;
        }
        let judgement = source.judge(&self.rules, self.closed_until, event);
        if let Judgement::Open { last_end, .. } = judgement
            && !self.has_room(last_end, event)
            && !self.holds_watermark(partition)
        {
            return Verdict::Blocked;
        }
        let manner = self.take(partition, event, judgement);
        self.tally(partition, event.offset, manner)
    }

    /// No further window needs to be opened for it, or one may be.
    fn has_room(&self, last_end: i64, event: &Event<'_>) -> bool {
        match &self.sessions {
            Some(sessions) => sessions.len() < self.most_sessions() || sessions.holds(event),
            None => self.open.len() < self.rules.max_open_windows || self.open.contains_key(&last_end),
        }
    }

    fn most_sessions(&self) -> usize {
        self.rules.max_groups.saturating_mul(self.sources.len())
    }

    /// Moves the partition past the event and counts it if a window is open to it.
    fn take(&mut self, partition: usize, event: &Event<'_>, judgement: Judgement) -> Manner {
        let Some(source) = self.sources.get_mut(partition) else { return Manner::default() };
        let watermark_before = source.watermark_before(event.offset);
        source.pass(&self.rules, event, judgement);
        let own_end = source.near_end();
        let (first_end, last_end) = match judgement {
            Judgement::Late(reason) => return Manner { reason: Some(reason), ..Manner::default() },
            Judgement::Open { .. } if source.is_written(event.offset) => return Manner::default(),
            Judgement::Open { .. } if self.rules.looks_up_late() && source.late_is_written(event.offset) => {
                return Manner::default();
            }
            Judgement::Open { first_end, last_end } => (first_end, last_end),
        };
        let place = Place { first_end, partition, watermark_before, closed_until: self.closed_until };
        if self.sessions.is_some() {
            return self.take_in_session(event, &place);
        }
        let taken = source.count(&self.rules, last_end, event, &place);
        if taken == Taken::NoRoom {
            return Manner { reason: Some(LateReason::OverCapacity), ..Manner::default() };
        }
        let partial = first_end > own_end;
        let opened = self.open.entry(last_end).or_insert_with(|| Open { first_end, corrections: BTreeSet::new() });
        opened.first_end = first_end.min(opened.first_end);
        if partial && self.rules.corrections_ms > 0 {
            opened.corrections.insert(first_end);
        }
        Manner { reason: None, repeated: taken == Taken::Repeated, partial }
    }

    fn take_in_session(&mut self, event: &Event<'_>, place: &Place) -> Manner {
        let is_new = self.sources.get(place.partition).is_some_and(|source| source.is_new(event.offset));
        if is_new && !self.has_room(place.first_end, event) {
            return Manner { reason: Some(LateReason::OverCapacity), ..Manner::default() };
        }
        if let Some(sessions) = &mut self.sessions {
            sessions.take(&self.rules, event, place);
        }
        Manner::default()
    }

    /// Adds an event to the totals under what became of it. Below the restored decision the totals hold it already;
    /// what the late or bad topic holds since then is settled as it is there.
    fn tally(&mut self, partition: usize, offset: i64, manner: Manner) -> Verdict {
        let Some(source) = self.sources.get(partition) else { return Verdict::Blocked };
        let reason = manner.reason;
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
                self.totals.repeated += u64::from(manner.repeated);
                self.totals.partial += u64::from(manner.partial);
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
            if let Some(sessions) = &mut self.sessions {
                sessions.begin_again(partition, offset, source.watermark);
            }
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

    /// The window to be closed next: the first, behind the closed ones, in which something counts.
    fn next_end(&self) -> Option<i64> {
        if let Some(sessions) = &self.sessions {
            // Until all is read again, what is closed cannot be told from what is not.
            let settled = self.sources.iter().all(Source::is_settled);
            return sessions.next_end(self.closed_until).filter(|_| settled);
        }
        let after_closed = (self.closed_until > i64::MIN).then(|| self.rules.windows.next_end(self.closed_until));
        let first = |(last_end, open): (&i64, &Open)| {
            let end = open.first_end.max(after_closed.unwrap_or(i64::MIN));
            let correction = open.corrections.range(self.closed_until.saturating_add(1)..).next().copied();
            Some(end).filter(|end| end <= last_end).into_iter().chain(correction).min()
        };
        self.open.iter().filter_map(first).min()
    }

    /// The oldest open window, if it may close now. `now_ms` matters only when every partition is idle.
    pub fn closable(&self, now_ms: i64) -> Option<i64> {
        let end = self.next_end()?;
        let closable = match self.lowest_watermark() {
            Lowest::AllIdle => self.idle_deadline_ms().is_some_and(|deadline| now_ms >= deadline),
            Lowest::Unknown => false,
            Lowest::At(watermark) => watermark >= end + self.rules.grace_ms,
        };
        closable.then_some(end)
    }

    /// When the oldest open window closes if every partition stays idle. Not before the wall clock has passed it, as
    /// taps may still come in time; but a clock that runs ahead cannot hold it open for long.
    pub fn idle_deadline_ms(&self) -> Option<i64> {
        let end = self.next_end()?;
        let quiet_since = self
            .sources
            .iter()
            .try_fold(i64::MIN, |latest, source| source.idle_since_ms.map(|since| latest.max(since)))?;
        let patience = self.rules.windows.size_ms + self.rules.grace_ms + self.rules.max_future_ms;
        Some((end + self.rules.grace_ms).min(quiet_since.saturating_add(patience)))
    }

    /// True if [`Engine::closable`] rests on every partition being idle.
    pub fn is_all_idle(&self) -> bool {
        self.lowest_watermark() == Lowest::AllIdle
    }

    /// Closes the window: from now on its events are late, unless they are in a later one too.
    pub fn close(&mut self, end: i64) -> Vec<ClosedWindow> {
        if let Some(sessions) = &mut self.sessions {
            self.closed_until = self.closed_until.max(end);
            return sessions.close(end);
        }
        let mut closed = self.corrected(end);
        let groups = if self.rules.votes.is_some() { self.elect(end) } else { self.take_groups(end) };
        self.open = self.open.split_off(&(end - self.rules.corrections_ms + 1));
        self.closed_until = self.closed_until.max(end);
        if !groups.is_empty() {
            closed.push(self.window(end, groups, true));
        }
        closed
    }

    fn window(&self, end: i64, groups: Groups, is_final: bool) -> ClosedWindow {
        let (start, shares_start) = (self.rules.windows.start(end), self.rules.windows.cumulate);
        ClosedWindow { start, end, shares_start, is_final, rev: 0, groups }
    }

    /// The windows that were told before and to which something comes with this closing.
    fn corrected(&self, closing: i64) -> Vec<ClosedWindow> {
        let windows = self.rules.windows;
        let step = usize::try_from(windows.every_ms).unwrap_or(usize::MAX);
        let mut ends = BTreeSet::new();
        for (last_end, _) in self.open.iter().filter(|(_, open)| open.corrections.contains(&closing)) {
            let last = (*last_end).min(closing - windows.every_ms);
            let first =
                windows.first_end_of_slice(*last_end).max(windows.next_end(closing - self.rules.corrections_ms - 1));
            ends.extend((first..=last).step_by(step));
        }
        ends.into_iter().filter_map(|end| self.correction(end, closing)).collect()
    }

    /// One of them: all that it has now, of the groups that have changed.
    fn correction(&self, end: i64, closing: i64) -> Option<ClosedWindow> {
        let (mut groups, mut changed, mut rounds) = (Groups::default(), BTreeSet::new(), BTreeSet::new());
        let first_end = |last_end| self.rules.windows.first_end_of_slice(last_end);
        let within = |(last_end, _): &(i64, &Slice)| first_end(*last_end) <= end && end <= *last_end;
        for (_, slice) in self.sources.iter().flat_map(Source::slices).filter(within) {
            slice.add_to(closing, &mut groups);
            changed.extend(slice.groups_from(closing).map(Box::<[u8]>::from));
            rounds.extend(slice.first_ends().filter(|round| (end + 1..=closing).contains(round)));
        }
        if !self.rules.corrects_all {
            groups.retain(|group, _| changed.contains(group));
        }
        let is_changed = !changed.is_empty();
        is_changed.then(|| ClosedWindow { rev: rounds.len(), ..self.window(end, groups, true) })
    }

    /// The next window to be closed, as it is so far. Sessions have none.
    pub fn preview(&self) -> Option<ClosedWindow> {
        let end = self.next_end().filter(|_| self.sessions.is_none())?;
        let mut groups = if self.rules.votes.is_some() { self.elected(end) } else { Groups::default() };
        for slice in self.sources.iter().flat_map(|source| source.slices_from(end)) {
            slice.add_to(end, &mut groups);
        }
        Some(self.window(end, groups, false))
    }

    /// The end of the next window to be closed and its events so far: what tells whether a preview would be new.
    pub fn progress(&self) -> Option<(i64, u64)> {
        self.next_end().map(|end| (end, self.events_in(end)))
    }

    fn elected(&self, end: i64) -> Groups {
        let slices = self.sources.iter().enumerate().flat_map(|(partition, source)| {
            let ballots = source.slices().filter_map(|(_, slice)| slice.ballots());
            ballots.map(move |ballots| (partition, ballots))
        });
        elect(&self.rules, end, slices)
    }

    fn elect(&mut self, end: i64) -> Groups {
        let groups = self.elected(end);
        for source in &mut self.sources {
            source.take_slices_until(end);
        }
        groups
    }

    fn take_groups(&mut self, end: i64) -> Groups {
        let mut groups = Groups::default();
        for source in &mut self.sources {
            if self.rules.corrections_ms > 0 {
                // Nothing is merged: what came with which closing is what `rev` counts.
                source.slices_from(end).for_each(|slice| slice.add_to(end, &mut groups));
                source.take_slices_until(end - self.rules.corrections_ms);
                continue;
            }
            source.take_slices_until(end).into_values().for_each(|slice| slice.drain_into(&mut groups));
            for slice in source.slices_mut() {
                slice.add_to(end, &mut groups);
                slice.settle(end);
            }
        }
        groups
    }

    /// The late or bad topic holds records of offsets that are not passed again yet: the next decision must still lead
    /// recovery to them.
    pub fn awaits_written(&self) -> bool {
        self.sources.iter().any(Source::awaits_written)
    }

    pub fn partition_decisions(&self) -> Vec<PartitionDecision> {
        let firsts = match &self.sessions {
            Some(sessions) => sessions.firsts(self.closed_until, self.sources.len()),
            None => self.sources.iter().map(Source::first).collect(),
        };
        (0..)
            .zip(self.sources.iter().zip(firsts))
            .map(|(partition, (source, first))| source.decision(partition, first))
            .collect()
    }

    /// All that has been counted and not told yet, by partition and last end: the first stage outside the broker.
    pub fn drain(&mut self) -> Vec<(usize, i64, Slice)> {
        self.open.clear();
        let slices = |(partition, source): (usize, &mut Source)| {
            let slices = source.take_slices_until(i64::MAX - 1).into_iter();
            slices.map(move |(last_end, slice)| (partition, last_end, slice))
        };
        self.sources.iter_mut().enumerate().flat_map(slices).collect()
    }

    /// Takes in what another engine has counted of a group in the windows from the first to the last end; `offset` is where it
    /// was told. Returns why it was not taken.
    pub fn absorb(
        &mut self,
        partition: usize,
        offset: i64,
        (first_end, last_end): (i64, i64),
        (group, acc): (Box<[u8]>, Acc),
    ) -> Option<LateReason> {
        if last_end <= self.closed_until {
            return Some(LateReason::WindowClosed);
        }
        let source = self.sources.get_mut(partition)?;
        if !source.absorb(&self.rules, last_end, (offset, first_end), group, acc) {
            return Some(LateReason::OverCapacity);
        }
        let opened = self.open.entry(last_end).or_insert_with(|| Open { first_end, corrections: BTreeSet::new() });
        opened.first_end = first_end.min(opened.first_end);
        None
    }

    /// The partition's log begins anew for this engine.
    pub fn replace_source(&mut self, partition: usize, source: Source) {
        if let Some(place) = self.sources.get_mut(partition) {
            *place = source;
        }
    }

    /// Another engine has read the partition so far.
    pub fn pass_on(&mut self, partition: usize, next: i64, watermark: Option<i64>) {
        if let Some(source) = self.sources.get_mut(partition) {
            source.next = source.next.max(next);
            source.watermark = source.watermark.max(watermark);
        }
    }

    pub fn add_totals(&mut self, totals: &Totals) {
        self.totals.add(totals);
    }

    /// Events that another engine counted, and that came too late here.
    pub fn count_as_late(&mut self, events: u64) {
        self.totals.counted = self.totals.counted.saturating_sub(events);
        self.totals.late += events;
    }

    pub fn open_window_count(&self) -> usize {
        match &self.sessions {
            Some(sessions) => sessions.open_count(self.closed_until),
            None => self.open.iter().filter(|(last_end, open)| self.is_awaited(**last_end, open)).count(),
        }
    }

    /// A window of these slices is still to be told, or to be told again.
    fn is_awaited(&self, last_end: i64, open: &Open) -> bool {
        last_end > self.closed_until || open.corrections.last().is_some_and(|closing| *closing > self.closed_until)
    }

    /// The next windows to be closed, up to `limit`, each with the events that count in it so far.
    pub fn open_windows(&self, limit: usize) -> Vec<OpenWindowSummary> {
        if let Some(sessions) = &self.sessions {
            return sessions.summaries(self.closed_until, limit);
        }
        let Some(next_end) = self.next_end() else { return Vec::new() };
        let step = usize::try_from(self.rules.windows.every_ms).unwrap_or(usize::MAX);
        let mut ends = BTreeSet::new();
        for (last_end, open) in &self.open {
            if ends.len() < limit {
                ends.extend((next_end.max(open.first_end)..=*last_end).step_by(step).take(limit));
            }
        }
        let summary = |end| OpenWindowSummary { start: self.rules.windows.start(end), end, count: self.events_in(end) };
        ends.into_iter().take(limit).map(summary).collect()
    }

    fn events_in(&self, end: i64) -> u64 {
        let slices = self.sources.iter().flat_map(Source::slices);
        let within = slices.filter(|(last_end, slice)| slice.first_end <= end && end <= *last_end);
        within.map(|(_, slice)| slice.events).sum()
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

impl Saved for Open {
    fn save(&self, out: &mut Vec<u8>) {
        self.first_end.save(out);
        self.corrections.save(out);
    }

    fn load(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { first_end: from.get()?, corrections: from.get()? })
    }
}
