//! A window's groups to what the crowd sees: shares of the whole, a score against the last windows, cut to the top N.
//!
//! Pure and deterministic: the same rows in any order give the same bytes, so a message that is sent again after a crash is the
//! same message. The score of a group is the mean of its shares in the window and the four before it, each window weighing half
//! of the one after it (16, 8, 4, 2, 1 of 31); a window that the channel was silent in counts 0. It is reckoned in millionths
//! and looks back no further than that, so that a process that starts anew knows all of it from a few rows.

use super::row::{Group, Telling};
use serde_json::Value;
use std::collections::BTreeMap;

/// Windows before the present one that a score looks back at.
pub const SCORED_WINDOWS: usize = 4;
/// Of a window the groups with the largest shares that later scores know of.
pub const MAX_SCORED_GROUPS: usize = 64;
/// Weight of the present window, then of those before it.
const WEIGHTS: [u64; SCORED_WINDOWS + 1] = [16, 8, 4, 2, 1];
const MILLIONTHS: f64 = 1e6;

/// One message: a channel's mood in one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Mood {
    pub stream: String,
    pub channel_id: String,
    pub telling: Telling,
    /// Whether nothing newer comes of this window, but corrections.
    pub is_final: bool,
    /// Grows with each message of the channel.
    pub sequence: u64,
    /// The measure's sum over the window, the cut tail included.
    pub total: f64,
    /// Different groups in the window, the cut tail included.
    pub groups: u64,
    pub top: Vec<Share>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    pub group: Group,
    /// `amount / total`, in 0..=1.
    pub share: f64,
    pub score_millionths: u32,
}

/// What later scores know of a channel's windows: shares in millionths by group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    newest: Option<(Telling, BTreeMap<String, u32>)>,
    before: BTreeMap<String, [u32; SCORED_WINDOWS]>,
}

/// A window's groups, ready to be measured against the channel's history.
#[derive(Debug)]
pub struct Shares {
    pub total: f64,
    pub groups: u64,
    /// The largest first; equal ones by the bytes of the label.
    ranked: Vec<(Group, f64)>,
}

impl Shares {
    /// `total` and `groups` of the whole window, if it is more than the groups that are given.
    pub fn new(mut groups: Vec<Group>, whole: Option<(f64, u64)>) -> Self {
        // Label order first: a sum of fractions depends on the order.
        groups.sort_by(|one, other| one.label.as_bytes().cmp(other.label.as_bytes()));
        let sum = || (groups.iter().map(|group| group.amount).sum(), u64::try_from(groups.len()).unwrap_or(u64::MAX));
        let (total, count) = whole.unwrap_or_else(sum);
        groups.sort_by(|one, other| other.amount.total_cmp(&one.amount));
        let share = |group: Group| {
            let share = if total > 0.0 { (group.amount / total).min(1.0) } else { 0.0 };
            (group, share)
        };
        Self { total, groups: count, ranked: groups.into_iter().map(share).collect() }
    }

    fn remembered(&self) -> BTreeMap<String, u32> {
        let largest = self.ranked.iter().take(MAX_SCORED_GROUPS);
        largest.map(|(group, share)| (group.label.clone(), millionths(*share))).collect()
    }

    /// The top `n` with their scores.
    pub fn top(self, n: usize, history: &History) -> Vec<Share> {
        let scored = |(group, share): (Group, f64)| {
            let score_millionths = history.score(&group.label, millionths(share));
            Share { group, share, score_millionths }
        };
        self.ranked.into_iter().take(n).map(scored).collect()
    }
}

impl History {
    /// A window is told, for the first time or again. Only of the newest one a further telling changes something.
    pub fn tell(&mut self, telling: Telling, shares: &Shares) {
        if let Some((before, told)) = self.newest.take()
            && !before.is_of_same_window(telling)
        {
            self.move_on(&told, windows_between(before, telling));
        }
        self.newest = Some((telling, shares.remembered()));
    }

    /// The window before becomes the past; with `windows` more than one, silent ones lie between.
    fn move_on(&mut self, told: &BTreeMap<String, u32>, windows: usize) {
        for label in told.keys() {
            self.before.entry(label.clone()).or_default();
        }
        for (label, shares) in &mut self.before {
            let mut moved = [0; SCORED_WINDOWS];
            let past = std::iter::once(told.get(label).copied().unwrap_or_default()).chain(*shares);
            for (to, from) in moved.iter_mut().skip(windows - 1).zip(past) {
                *to = from;
            }
            *shares = moved;
        }
        self.before.retain(|_, shares| shares.iter().any(|share| *share > 0));
    }

    fn score(&self, label: &str, share: u32) -> u32 {
        let before = self.before.get(label).copied().unwrap_or_default();
        let weighed =
            std::iter::once(share).chain(before).zip(WEIGHTS).map(|(share, weight)| u64::from(share) * weight);
        u32::try_from(weighed.sum::<u64>() / WEIGHTS.iter().sum::<u64>()).unwrap_or(u32::MAX)
    }
}

/// How many windows later `later` is, at least one; windows that overlap or share their start follow each other.
fn windows_between(earlier: Telling, later: Telling) -> usize {
    let length = later.window_end.saturating_sub(later.window_start).max(1);
    let distance = later.window_end.saturating_sub(earlier.window_end).max(0);
    if earlier.window_start == later.window_start {
        return 1;
    }
    let windows = distance.saturating_add(length - 1) / length;
    usize::try_from(windows).unwrap_or(usize::MAX).clamp(1, SCORED_WINDOWS + 1)
}

/// In 0..=1, so the result is in 0..=1,000,000.
fn millionths(share: f64) -> u32 {
    (share * MILLIONTHS).round() as u32
}

/// A number as JSON writes it best: whole ones without a point.
pub fn number(value: f64) -> Value {
    /// Up to here f64 knows every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT { Value::from(value as i64) } else { Value::from(value) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn group(label: &str, amount: u32) -> Group {
        Group { label: label.into(), fields: Vec::new(), amount: f64::from(amount) }
    }

    fn window(number: i64) -> Telling {
        Telling { window_start: number * 2_000, window_end: (number + 1) * 2_000, stage: 1 }
    }

    fn told(history: &mut History, telling: Telling, groups: &[(&str, u32)]) -> Vec<(String, u32)> {
        let shares = Shares::new(groups.iter().map(|(label, amount)| group(label, *amount)).collect(), None);
        history.tell(telling, &shares);
        shares.top(10, history).into_iter().map(|share| (share.group.label, share.score_millionths)).collect()
    }

    #[test]
    fn shares_are_of_the_whole_window_not_of_the_cut() {
        let shares = Shares::new(vec![group("a", 1), group("b", 2), group("d", 1)], None);
        assert_eq!((shares.total, shares.groups), (4.0, 3));
        let top = shares.top(1, &History::default());
        assert_eq!((top.len(), top[0].group.label.as_str(), top[0].share), (1, "b", 0.5));
        let part = Shares::new(vec![group("a", 1)], Some((10.0, 7)));
        assert_eq!((part.total, part.groups, part.ranked[0].1), (10.0, 7, 0.1));
    }

    #[test]
    fn a_score_is_the_weighed_mean_of_five_windows() {
        let mut history = History::default();
        let of = |weight: u32| 1_000_000 * weight / 31;
        assert_eq!(told(&mut history, window(0), &[("a", 1)]), [("a".into(), of(16))]);
        assert_eq!(told(&mut history, window(1), &[("a", 2)]), [("a".into(), of(24))]);
        // A quarter of the window after two full ones: (16 / 4 + 8 + 4) / 31.
        let scores = told(&mut history, window(2), &[("a", 1), ("b", 3)]);
        assert_eq!(scores, [("b".into(), of(12)), ("a".into(), of(16))]);
    }

    #[test]
    fn silent_windows_count_nothing_and_what_is_over_is_forgotten() {
        let mut history = History::default();
        told(&mut history, window(0), &[("a", 1)]);
        assert_eq!(told(&mut history, window(3), &[("a", 1)]), [("a".into(), 1_000_000 * 18 / 31)]);
        told(&mut history, window(100), &[("b", 1)]);
        assert!(history.before.is_empty());
    }

    #[test]
    fn a_window_told_again_replaces_itself() {
        let (mut twice, mut once) = (History::default(), History::default());
        for history in [&mut twice, &mut once] {
            told(history, window(0), &[("a", 1), ("b", 1)]);
        }
        told(&mut twice, Telling { stage: 0, ..window(1) }, &[("b", 1)]);
        told(&mut twice, window(1), &[("b", 1), ("c", 3)]);
        told(&mut once, window(1), &[("b", 1), ("c", 3)]);
        assert_eq!(twice, once);
    }

    #[test]
    fn steps_of_a_cumulative_window_and_overlapping_windows_follow_each_other() {
        let step = |end: i64| Telling { window_start: 0, window_end: end, stage: 1 };
        assert_eq!(windows_between(step(2), step(4)), 1);
        let hop = |end: i64| Telling { window_start: end - 10, window_end: end, stage: 1 };
        assert_eq!(windows_between(hop(12), hop(14)), 1);
        assert_eq!(windows_between(window(0), window(i64::MAX / 4_000)), SCORED_WINDOWS + 1);
    }

    #[test]
    fn whole_numbers_have_no_point() {
        assert_eq!(number(41.0).to_string(), "41");
        assert_eq!(number(0.5).to_string(), "0.5");
    }

    proptest! {
        #[test]
        fn cut_is_ordered_bounded_and_independent_of_row_order(
            amounts in proptest::collection::btree_map("[a-e😀🎉]{1,2}", 0_u32..1_000_000, 1..30),
            top_n in 1_usize..12,
            seed in any::<u64>(),
        ) {
            let groups: Vec<Group> = amounts.iter().map(|(label, amount)| group(label, *amount)).collect();
            let mut shuffled = groups.clone();
            let length = shuffled.len();
            for index in 0..length {
                shuffled.swap(index, (seed as usize).wrapping_mul(index + 7) % length);
            }
            let (one, other) = (Shares::new(groups, None), Shares::new(shuffled, None));
            prop_assert_eq!(one.total, amounts.values().map(|amount| f64::from(*amount)).sum::<f64>());
            let (one, other) = (one.top(top_n, &History::default()), other.top(top_n, &History::default()));
            prop_assert_eq!(&one, &other);
            prop_assert!(one.len() <= top_n && one.iter().map(|share| share.share).sum::<f64>() <= 1.0 + 1e-9);
            for pair in one.windows(2) {
                let rank = |share: &Share| (std::cmp::Reverse(share.group.amount as u64), share.group.label.clone());
                prop_assert!(rank(&pair[0]) < rank(&pair[1]));
            }
        }

        #[test]
        fn scores_are_shares_and_history_is_bounded(
            windows in proptest::collection::vec((1_i64..4, proptest::collection::vec(0_u32..9, 0..90)), 1..12),
        ) {
            let (mut history, mut number) = (History::default(), 0);
            for (steps, amounts) in windows {
                number += steps;
                let labels: Vec<String> = (0..amounts.len()).map(|index| format!("g{index}")).collect();
                let groups: Vec<(&str, u32)> = labels.iter().map(String::as_str).zip(amounts).collect();
                let scores = told(&mut history, window(number), &groups);
                prop_assert!(scores.iter().all(|(_, score)| *score <= 1_000_000));
                prop_assert!(history.before.len() <= MAX_SCORED_GROUPS * SCORED_WINDOWS);
            }
        }
    }
}
