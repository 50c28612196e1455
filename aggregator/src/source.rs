//! What the engine knows of one source partition: its watermark, its share of the open windows, and what of it was
//! settled before the last restart. Pure.
//!
//! Every judgement here depends on the partition's log alone (and on which windows are closed), never on how the
//! reading of partitions happened to interleave: so a second reading judges alike.

use crate::{
    decision::PartitionDecision,
    engine::{Event, LateReason, Rules},
    offset_ranges::OffsetRanges,
};
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// Counts of one window by encoded group.
pub type Groups = HashMap<Box<[u8]>, u64>;

/// One partition's part of a window that is not closed.
#[derive(Debug)]
pub struct OpenWindow {
    /// The first offset that was counted here, and the watermark before it: where recovery resumes.
    first_offset: i64,
    watermark_before: Option<i64>,
    pub groups: Groups,
    pub count: u64,
}

/// What an event is, before anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    Late(LateReason),
    /// It belongs to the open window that ends here.
    Open {
        end: i64,
    },
}

#[derive(Debug, Default)]
pub struct Source {
    /// The next offset to read.
    pub next: i64,
    /// Highest event time seen, clipped events apart.
    pub watermark: Option<i64>,
    /// Since when it holds back no window; None: it does.
    pub idle_since_ms: Option<i64>,
    /// Keyed by window end.
    windows: BTreeMap<i64, OpenWindow>,
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
        let windows = std::mem::take(&mut self.windows);
        *self = Self { watermark, windows, ..Self::starting_at(offset) };
        for window in self.windows.values_mut() {
            window.first_offset = offset;
            window.watermark_before = watermark;
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
        let end = rules.window_end(event.time_ms);
        if rules.is_future(event) {
            Judgement::Late(LateReason::Future)
        } else if self.watermark_before(event.offset).is_some_and(|watermark| end + rules.grace_ms <= watermark) {
            Judgement::Late(LateReason::Late)
        } else if end <= closed_until {
            Judgement::Late(LateReason::WindowClosed)
        } else {
            Judgement::Open { end }
        }
    }

    /// Retention may have taken what lies between `resume` and `next`: the decision's watermark then stands in.
    pub fn watermark_before(&self, offset: i64) -> Option<i64> {
        if self.is_new(offset) { self.watermark.max(self.watermark_at_decided) } else { self.watermark }
    }

    /// Passes the event; its time counts for the watermark unless its clock is ahead.
    pub fn pass(&mut self, event: &Event<'_>, judgement: Judgement) {
        self.watermark = self.watermark_before(event.offset);
        if judgement != Judgement::Late(LateReason::Future) {
            self.watermark = self.watermark.max(Some(event.time_ms));
        }
        self.next = event.offset + 1;
    }

    pub fn has_window(&self, end: i64) -> bool {
        self.windows.contains_key(&end)
    }

    /// Counts the event; false if the window has no room for another group. `watermark_before` is that before the event.
    pub fn count(&mut self, rules: &Rules, end: i64, event: &Event<'_>, watermark_before: Option<i64>) -> bool {
        let window = self.windows.entry(end).or_insert_with(|| OpenWindow {
            first_offset: event.offset,
            watermark_before,
            groups: Groups::default(),
            count: 0,
        });
        if let Some(count) = window.groups.get_mut(event.group) {
            *count += 1;
        } else if window.groups.len() < rules.max_groups {
            window.groups.insert(event.group.into(), 1);
        } else {
            return false;
        }
        window.count += 1;
        true
    }

    pub fn take_window(&mut self, end: i64) -> Option<OpenWindow> {
        self.windows.remove(&end)
    }

    pub fn window(&self, end: i64) -> Option<&OpenWindow> {
        self.windows.get(&end)
    }

    pub fn decision(&self, partition: i32) -> PartitionDecision {
        let oldest = self.windows.values().min_by_key(|window| window.first_offset);
        let next = self.next.max(self.decided);
        let watermark = self.watermark_before(next);
        let (resume, resume_watermark) =
            oldest.map_or((self.next, self.watermark), |window| (window.first_offset, window.watermark_before));
        let idle = self.idle_since_ms.is_some();
        PartitionDecision { partition, next, watermark, resume, resume_watermark, idle }
    }
}
