//! Layouts learnt from earlier events: an event that looks like those before is read without a parser.
//!
//! Stands before `extract`, which takes every event that no layout fits. A layout is an event cut into literals
//! (punctuation, names, white space) and holes (texts, numbers, `true`, `false`, `null`). Nothing about an event is
//! believed: each literal is compared byte for byte, each hole must hold one plain value, and no quote, backslash or
//! control character may stand anywhere but in the literals; what is not ASCII must be UTF-8. So an event that fits is JSON of
//! the same structure, with the same names in the same nesting, and what the parser would find stands in the same holes.
//! An event that does not fit is never refused here. Pure.

mod layout;
mod learner;
mod number;
#[cfg(test)]
mod tests;

use crate::extract::{Plan, Slot, Slots};
use layout::Layout;

/// Layouts kept at a time, the one used last in front.
const MAX_LAYOUTS: usize = 6;
/// A longer event is not learnt from.
const MAX_LEARNT_BYTES: usize = 4_096;
/// Events that are parsed between two lessons, at most, when lessons do not help.
const LONGEST_PAUSE: u32 = 4_096;

/// What has been learnt so far.
#[derive(Debug, Default)]
pub struct Hints {
    layouts: Vec<Layout>,
    /// Parsed events to be passed over before the next lesson: doubled by each lesson, lessened by each event that fits.
    pause: u32,
    passed: u32,
}

impl Hints {
    /// Fills the slots and says true, if the event fits a layout. Otherwise the slots mean nothing.
    #[inline]
    pub fn read<'a>(&mut self, json: &'a [u8], slots: &mut Slots<'a>) -> bool {
        if let Some(first) = self.layouts.first_mut()
            && first.read(json, slots)
        {
            self.pause = self.pause.saturating_sub(1);
            return true;
        }
        self.read_by_another(json, slots)
    }

    fn read_by_another<'a>(&mut self, json: &'a [u8], slots: &mut Slots<'a>) -> bool {
        let found = self.layouts.iter_mut().skip(1).position(|layout| {
            // What the one before has left there is none of this one's.
            slots.fill_with(|| Slot::Missing);
            layout.read(json, slots)
        });
        let Some(used) = found.and_then(|index| self.layouts.get_mut(..index + 2)) else { return false };
        used.rotate_right(1);
        self.pause = self.pause.saturating_sub(1);
        true
    }

    /// After an event that no layout fits: `slots` is what the parser found in it.
    pub fn learn<'a>(&mut self, plan: &Plan, json: &'a [u8], slots: &Slots<'a>) {
        if self.passed < self.pause || json.len() > MAX_LEARNT_BYTES {
            self.passed = self.passed.saturating_add(1);
            return;
        }
        self.passed = 0;
        self.pause = (self.pause * 2 + 1).min(LONGEST_PAUSE);
        if let Some(layout) = learner::learn(plan, json, slots) {
            self.layouts.truncate(MAX_LAYOUTS - 1);
            self.layouts.insert(0, layout);
        }
    }
}
