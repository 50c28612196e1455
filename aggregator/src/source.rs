//! What the engine knows of one source partition: its watermark, its slices of the open windows, and what of it was
//! settled before the last restart. Pure.
//!
//! Every judgement here depends on the partition's log alone (and on which windows are closed), never on how the
//! reading of partitions happened to interleave: so a second reading judges alike.

use crate::{
    decision::PartitionDecision,
    engine::{Event, LateReason},
    measure::Acc,
    offset_ranges::OffsetRanges,
    rules::Rules,
    slice::{Place, Slice, Taken},
    snapshot::{Reader, Saved, save_count},
};
use std::collections::BTreeMap;

/// What an event is, before anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    Late(LateReason),
    /// It counts in the windows that end from `first_end` to `last_end`.
    Open {
        first_end: i64,
        last_end: i64,
    },
}

#[derive(Debug, Default)]
pub struct Source {
    /// The next offset to read.
    pub next: i64,
    /// Highest event time seen, clipped events apart.
    pub watermark: Option<i64>,
    /// The end of the step that the event judged last is in: the next one's is probably the same.
    near_end: i64,
    /// Since when it holds back no window; None: it does.
    pub idle_since_ms: Option<i64>,
    /// Keyed by the end of the last window that each is in.
    slices: BTreeMap<i64, Slice>,
    /// `next` of the decision that was restored: what lies below is settled unless its window is still open.
    decided: i64,
    watermark_at_decided: Option<i64>,
    /// Written to the late or bad topic after the decision that was restored.
    late_written: OffsetRanges,
    bad_written: OffsetRanges,
}

impl Source {
    pub fn starting_at(offset: i64) -> Self {
        Self { next: offset, decided: offset, ..Self::default() }
    }

    pub fn restored(decision: &PartitionDecision, late_written: OffsetRanges, bad_written: OffsetRanges) -> Self {
        Self {
            next: decision.resume,
            watermark: decision.resume_watermark,
            decided: decision.next,
            watermark_at_decided: decision.watermark,
            late_written,
            bad_written,
            ..Self::default()
        }
    }

    /// The partition was made anew: nothing of its old offsets is settled any more.
    pub fn begin_again(&mut self, offset: i64) {
        let watermark = self.watermark.max(self.watermark_at_decided);
        let slices = std::mem::take(&mut self.slices);
        *self = Self { watermark, slices, ..Self::starting_at(offset) };
        for slice in self.slices.values_mut() {
            slice.first_offset = offset;
            slice.watermark_before = watermark;
        }
    }

    /// Read for the first time by this aggregate, not again after a restart.
    pub fn is_new(&self, offset: i64) -> bool {
        offset >= self.decided
    }

    pub fn late_is_written(&self, offset: i64) -> bool {
        self.late_written.contains(offset)
    }

    pub fn bad_is_written(&self, offset: i64) -> bool {
        self.bad_written.contains(offset)
    }

    pub fn is_written(&self, offset: i64) -> bool {
        self.is_new(offset) && (self.late_is_written(offset) || self.bad_is_written(offset))
    }

    /// Not every offset that the late or bad topic holds has been passed again.
    pub fn awaits_written(&self) -> bool {
        self.late_written.end().max(self.bad_written.end()).is_some_and(|end| self.next < end)
    }

    pub fn judge(&self, rules: &Rules, closed_until: i64, event: &Event<'_>) -> Judgement {
        if event.is_future(rules) {
            return Judgement::Late(LateReason::Future);
        }
        if rules.open_ms.is_some_and(|open| event.time_ms < open) {
            return Judgement::Late(LateReason::NotOpen);
        }
        if rules.close_ms.is_some_and(|close| event.time_ms >= close) {
            return Judgement::Late(LateReason::PollClosed);
        }
        if let Some(gap_ms) = rules.session_gap_ms {
            return self.judge_in_session(rules, closed_until, event, gap_ms);
        }
        let first_end = rules.windows.next_end_near(self.near_end, event.time_ms);
        let last_end = rules.windows.last_end(event.time_ms, first_end);
        // A window is still open to it while `end + grace` is above its own partition's watermark.
        let in_time = self
            .watermark_before(event.offset)
            .map(|watermark| rules.windows.next_end_near(first_end, watermark - rules.grace_ms));
        let first_end = in_time.map_or(first_end, |in_time| first_end.max(in_time));
        let told_until = last_end + rules.corrections_ms;
        // An event for a window that was told already waits for the closing of a later one. One that was counted before a
        // restart is counted again; whether its correction has been told since shows in `closed_until`.
        let waits_for =
            if rules.looks_up_late() && !self.is_new(event.offset) { told_until } else { first_end.max(last_end) };
        if first_end > told_until {
            Judgement::Late(LateReason::Late)
        } else if waits_for <= closed_until {
            Judgement::Late(LateReason::WindowClosed)
        } else {
            Judgement::Open { first_end, last_end }
        }
    }

    /// Read again after a restart, what the late topic does not hold was counted.
    fn judge_in_session(&self, rules: &Rules, closed_until: i64, event: &Event<'_>, gap_ms: i64) -> Judgement {
        let end = event.time_ms + gap_ms;
        if self.watermark_before(event.offset).is_some_and(|watermark| event.time_ms + rules.grace_ms < watermark) {
            Judgement::Late(LateReason::Late)
        } else if self.is_new(event.offset) && event.time_ms < closed_until {
            Judgement::Late(LateReason::WindowClosed)
        } else {
            Judgement::Open { first_end: end, last_end: end }
        }
    }

    /// What was counted before the restored decision has all been read again.
    pub fn is_settled(&self) -> bool {
        self.next >= self.decided
    }

    /// Retention may have taken what lies between `resume` and `next`: the decision's watermark then stands in.
    pub fn watermark_before(&self, offset: i64) -> Option<i64> {
        if self.is_new(offset) { self.watermark.max(self.watermark_at_decided) } else { self.watermark }
    }

    /// Passes the event; its time counts for the watermark unless its clock is ahead.
    pub fn pass(&mut self, rules: &Rules, event: &Event<'_>, judgement: Judgement) {
        self.near_end = rules.windows.next_end_near(self.near_end, event.time_ms);
        self.watermark = self.watermark_before(event.offset);
        if judgement != Judgement::Late(LateReason::Future) {
            self.watermark = self.watermark.max(Some(event.time_ms));
        }
        self.next = event.offset + 1;
    }

    /// See [`crate::rules::Windows::next_end_near`].
    pub fn near_end(&self) -> i64 {
        self.near_end
    }

    pub fn has_slice(&self, last_end: i64) -> bool {
        self.slices.contains_key(&last_end)
    }

    /// Counts the event in the slice of its last window.
    pub fn count(&mut self, rules: &Rules, last_end: i64, event: &Event<'_>, place: &Place) -> Taken {
        let slice = self.slices.entry(last_end).or_insert_with(|| Slice::new(rules, event, place));
        slice.take(rules, event, place)
    }

    /// What another engine counted; `origin` is where it was told, and the first window it counts in. False: no room.
    pub fn absorb(&mut self, rules: &Rules, last_end: i64, origin: (i64, i64), group: Box<[u8]>, acc: Acc) -> bool {
        let (offset, first_end) = origin;
        let slice = self.slices.entry(last_end).or_insert_with(|| Slice::of_counts(offset, first_end));
        slice.absorb(rules, first_end, group, acc)
    }

    /// The slices whose last window this or an earlier one is.
    pub fn take_slices_until(&mut self, end: i64) -> BTreeMap<i64, Slice> {
        let later = self.slices.split_off(&(end + 1));
        std::mem::replace(&mut self.slices, later)
    }

    pub fn slices(&self) -> impl Iterator<Item = (i64, &Slice)> {
        self.slices.iter().map(|(last_end, slice)| (*last_end, slice))
    }

    /// The slices that are in this window or in later ones.
    pub fn slices_from(&self, end: i64) -> impl Iterator<Item = &Slice> {
        self.slices.range(end..).map(|(_, slice)| slice)
    }

    pub fn slices_mut(&mut self) -> impl Iterator<Item = &mut Slice> {
        self.slices.values_mut()
    }

    /// The first event that is counted in an open window: its offset, and the watermark before it.
    pub fn first(&self) -> Option<(i64, Option<i64>)> {
        let oldest = self.slices.values().min_by_key(|slice| slice.first_offset)?;
        Some((oldest.first_offset, oldest.watermark_before))
    }

    /// The slices as a snapshot has them.
    pub fn save(&self, out: &mut Vec<u8>) {
        save_count(self.slices.len(), out);
        for (last_end, slice) in &self.slices {
            last_end.save(out);
            slice.save(out);
        }
    }

    pub fn load(&mut self, rules: &Rules, from: &mut Reader<'_>) -> Option<()> {
        let slices = from.list(|from| Some((from.get()?, Slice::load(rules, from)?)))?;
        self.slices = slices.into_iter().collect();
        Some(())
    }

    pub fn decision(&self, partition: i32, first: Option<(i64, Option<i64>)>) -> PartitionDecision {
        let next = self.next.max(self.decided);
        let watermark = self.watermark_before(next);
        let (resume, resume_watermark) = first.unwrap_or((self.next, self.watermark));
        let idle = self.idle_since_ms.is_some();
        PartitionDecision { partition, next, watermark, resume, resume_watermark, idle }
    }
}
