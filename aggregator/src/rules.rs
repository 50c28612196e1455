//! The definition's numbers, in ms, and the arithmetic of windows. Pure.
//!
//! A window is named by its end. An event is in the windows from its first end to its last, `every_ms` apart: one for
//! tumbling windows, several for the others. How far each goes back differs; which an event is in is all that counting needs.

use crate::{
    Definition,
    definition::{Function, Keep, Window},
    measure::Measures,
};
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub windows: Windows,
    /// Windows are sessions with this gap; the grid then only says how long they last at least.
    pub session_gap_ms: Option<i64>,
    pub grace_ms: i64,
    /// How long after its closing a window is told again; 0: not at all.
    pub corrections_ms: i64,
    /// A correction tells every row of its window: what one group has shows in the others' rows.
    pub corrects_all: bool,
    pub max_future_ms: i64,
    /// Events before are none of this aggregate's.
    pub begin_ms: Option<i64>,
    /// Events before are not counted.
    pub open_ms: Option<i64>,
    /// Events from here on are not counted.
    pub close_ms: Option<i64>,
    /// Groups that one source partition may add to a slice; hopping windows are made of several slices.
    pub max_groups: usize,
    pub max_open_windows: usize,
    pub measures: Measures,
    pub votes: Option<Votes>,
}

/// The grid of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    pub size_ms: i64,
    pub every_ms: i64,
    /// A window begins only every `size_ms`, and is told again and again until it is whole.
    pub cumulate: bool,
    /// Where the grid is fixed.
    pub origin_ms: i64,
}

/// How events of one voter stand in for one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Votes {
    /// One vote a voter, and which.
    pub dedup: Option<Keep>,
    /// So many events a user.
    pub limit: Option<usize>,
    /// Voters per window and source partition.
    pub max_voters: usize,
}

impl Rules {
    pub fn new(definition: &Definition) -> Self {
        let (dedup, limit) = (definition.dedup.as_ref(), definition.limit.as_ref());
        let votes = Votes {
            dedup: dedup.map(|dedup| dedup.keep),
            limit: limit.map(|limit| limit.max),
            max_voters: definition.max_voters,
        };
        let windows = Windows::new(definition);
        let session_gap_ms = match definition.window {
            Window::Session(gap) => Some(ms(gap)),
            _ => None,
        };
        Self {
            windows,
            session_gap_ms,
            grace_ms: ms(definition.grace),
            corrections_ms: definition.corrections.map_or(0, ms),
            corrects_all: definition.top.is_some()
                || definition.measure.values().any(|measure| matches!(measure.function, Function::Share(_))),
            max_future_ms: ms(definition.max_future),
            begin_ms: definition.begin.as_ref().map(|begin| windows.whole_from(begin.ms, session_gap_ms)),
            open_ms: definition.open.as_ref().map(|open| open.ms),
            close_ms: definition.close.as_ref().map(|close| close.ms),
            max_groups: (definition.max_groups / windows.slices()).max(1),
            max_open_windows: definition.max_open_windows,
            measures: Measures::new(definition),
            votes: (dedup.is_some() || limit.is_some()).then_some(votes),
        }
    }

    /// The start of the first window that an event of this time is in, for people.
    pub fn window_start(&self, time_ms: i64) -> i64 {
        match self.session_gap_ms {
            Some(_) => time_ms,
            None => self.windows.start(self.windows.next_end(time_ms)),
        }
    }

    /// Windows that end here or earlier would miss events from before `begin`.
    pub fn closed_before(&self) -> i64 {
        let Some(begin) = self.begin_ms.filter(|_| self.session_gap_ms.is_none()) else { return i64::MIN };
        if self.windows.cumulate { begin } else { begin + self.windows.size_ms - self.windows.every_ms }
    }

    /// Whether an event was late depends on more than its partition's log: read again, it is looked up.
    pub fn looks_up_late(&self) -> bool {
        self.session_gap_ms.is_some() || self.corrections_ms > 0
    }

    /// How far a partition may run ahead of another before it only piles up windows.
    pub fn stride_ms(&self) -> i64 {
        self.windows.every_ms + self.grace_ms
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Windows {
    fn new(definition: &Definition) -> Self {
        let (size, every) = definition.window.times();
        Self {
            size_ms: ms(size).max(1),
            every_ms: ms(every).max(1),
            cumulate: matches!(definition.window, Window::Cumulate { .. }),
            origin_ms: definition.open.as_ref().map_or(0, |open| open.ms),
        }
    }

    /// Slices of one window.
    fn slices(&self) -> usize {
        if self.cumulate { 1 } else { usize::try_from(self.size_ms / self.every_ms).unwrap_or(1) }
    }

    /// The start of the step, or of the cumulative window, that holds a time; a session begins anywhere.
    fn whole_from(&self, time_ms: i64, session_gap_ms: Option<i64>) -> i64 {
        match session_gap_ms {
            Some(_) => time_ms,
            None => self.floor(time_ms, if self.cumulate { self.size_ms } else { self.every_ms }),
        }
    }

    /// The first end after a time.
    pub fn next_end(&self, time_ms: i64) -> i64 {
        self.floor(time_ms, self.every_ms) + self.every_ms
    }

    /// The same, without a division if it is `near` or the one before: most events are near those before them.
    #[inline]
    pub fn next_end_near(&self, near: i64, time_ms: i64) -> i64 {
        let (before, earlier) = (near.wrapping_sub(self.every_ms), near.wrapping_sub(2 * self.every_ms));
        match time_ms {
            _ if (before..near).contains(&time_ms) => near,
            _ if (earlier..before).contains(&time_ms) => before,
            _ => self.next_end(time_ms),
        }
    }

    /// The end of the last window that an event of this time is in; `next_end` is the first one's.
    #[inline]
    pub fn last_end(&self, time_ms: i64, next_end: i64) -> i64 {
        match self.cumulate {
            true => self.floor(time_ms, self.size_ms) + self.size_ms,
            false => next_end - self.every_ms + self.size_ms,
        }
    }

    /// The first window of the slice whose last one ends here. Not for cumulative windows, whose slices have several.
    pub fn first_end_of_slice(&self, last_end: i64) -> i64 {
        last_end - self.size_ms + self.every_ms
    }

    /// The start of the window that ends here.
    pub fn start(&self, end: i64) -> i64 {
        match self.cumulate {
            true => self.floor(end - 1, self.size_ms),
            false => end - self.size_ms,
        }
    }

    fn floor(&self, time_ms: i64, step_ms: i64) -> i64 {
        (time_ms - self.origin_ms).div_euclid(step_ms) * step_ms + self.origin_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(windows: Windows, time_ms: i64) -> Vec<(i64, i64)> {
        let first = windows.next_end(time_ms);
        for near in [0, first, first + windows.every_ms, first - windows.every_ms, i64::MIN, i64::MAX] {
            assert_eq!(windows.next_end_near(near, time_ms), first);
        }
        let last = windows.last_end(time_ms, first);
        let step = usize::try_from(windows.every_ms).unwrap_or(1);
        (first..=last).step_by(step).map(|end| (windows.start(end), end)).collect()
    }

    #[test]
    fn an_event_is_in_every_window_that_holds_its_time() {
        let tumble = Windows { size_ms: 10, every_ms: 10, cumulate: false, origin_ms: 0 };
        assert_eq!(ends(tumble, 19), [(10, 20)]);
        assert_eq!(ends(tumble, -1), [(-10, 0)]);
        let hop = Windows { every_ms: 5, ..tumble };
        assert_eq!(ends(hop, 19), [(10, 20), (15, 25)]);
        assert_eq!(ends(hop, 20), [(15, 25), (20, 30)]);
        let cumulate = Windows { cumulate: true, ..hop };
        assert_eq!(ends(cumulate, 12), [(10, 15), (10, 20)]);
        assert_eq!(ends(cumulate, 19), [(10, 20)]);
        assert_eq!(ends(Windows { origin_ms: 3, ..cumulate }, 12), [(3, 13)]);
        assert_eq!(ends(Windows { origin_ms: 3, ..cumulate }, 2), [(-7, 3)]);
    }
}
