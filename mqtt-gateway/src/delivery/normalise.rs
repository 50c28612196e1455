//! Rows of a window to messages: shares of the whole, cut to the top N. Pure and deterministic: the same rows in any order give
//! the same bytes, so a message that is sent again after a crash is the same message.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One row of the aggregate topic, as far as delivery needs it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Row {
    pub window_start: i64,
    pub window_end: i64,
    pub channel_id: String,
    pub reaction: String,
    pub count: u64,
}

/// One message: a channel's mood in one window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mood {
    pub stream: String,
    pub channel_id: String,
    pub window_start: i64,
    pub window_end: i64,
    /// Events in the window, the cut tail included.
    pub total: u64,
    /// Different reactions in the window, the cut tail included.
    pub groups: usize,
    pub top: Vec<Share>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    pub reaction: String,
    pub count: u64,
    /// `count / total`, in 0..=1.
    pub share: f64,
}

/// One message per (window, channel), in that order.
pub fn moods(stream: &str, rows: Vec<Row>, top_n: usize) -> Vec<Mood> {
    let mut windows: BTreeMap<(i64, String, i64), Vec<Row>> = BTreeMap::new();
    for row in rows {
        windows.entry((row.window_start, row.channel_id.clone(), row.window_end)).or_default().push(row);
    }
    windows
        .into_iter()
        .map(|((window_start, channel_id, window_end), rows)| {
            mood(stream, channel_id, window_start, window_end, rows, top_n)
        })
        .collect()
}

fn mood(stream: &str, channel_id: String, window_start: i64, window_end: i64, rows: Vec<Row>, top_n: usize) -> Mood {
    let total = rows.iter().fold(0_u64, |sum, row| sum.saturating_add(row.count));
    let groups = rows.len();
    Mood { stream: stream.into(), channel_id, window_start, window_end, total, groups, top: top(rows, total, top_n) }
}

/// Largest count first; equal counts by the bytes of the reaction.
fn top(mut rows: Vec<Row>, total: u64, top_n: usize) -> Vec<Share> {
    rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.reaction.as_bytes().cmp(b.reaction.as_bytes())));
    rows.into_iter().take(top_n).map(|row| share(row, total)).collect()
}

fn share(row: Row, total: u64) -> Share {
    // Counts stay far below 2^53, where f64 is exact.
    let share = if total == 0 { 0.0 } else { row.count as f64 / total as f64 };
    Share { reaction: row.reaction, count: row.count, share }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn row(window_start: i64, channel: &str, reaction: &str, count: u64) -> Row {
        let window_end = window_start + 2_000;
        Row { window_start, window_end, channel_id: channel.into(), reaction: reaction.into(), count }
    }

    #[test]
    fn shares_are_of_the_whole_window_not_of_the_cut() {
        let moods = moods("emoji", vec![row(0, "c", "a", 1), row(0, "c", "b", 2), row(0, "c", "d", 1)], 1);
        assert_eq!(
            serde_json::to_string(&moods[0]).unwrap(),
            r#"{"stream":"emoji","channel_id":"c","window_start":0,"window_end":2000,"total":4,"groups":3,"top":[{"reaction":"b","count":2,"share":0.5}]}"#
        );
    }

    #[test]
    fn one_message_per_window_and_channel_in_order() {
        let rows = vec![row(2_000, "a", "x", 1), row(0, "b", "x", 1), row(0, "a", "x", 1), row(0, "a", "y", 1)];
        let order: Vec<_> = moods("emoji", rows, 10).iter().map(|m| (m.window_start, m.channel_id.clone())).collect();
        assert_eq!(order, [(0, "a".into()), (0, "b".into()), (2_000, "a".into())]);
    }

    proptest! {
        #[test]
        fn cut_is_ordered_bounded_and_independent_of_row_order(
            counts in proptest::collection::btree_map("[a-e😀🎉]{1,2}", 0_u64..1_000_000, 1..30),
            top_n in 1_usize..12,
            seed in any::<u64>(),
        ) {
            let rows: Vec<Row> = counts.iter().map(|(reaction, count)| row(0, "c", reaction, *count)).collect();
            let mut shuffled = rows.clone();
            let length = shuffled.len();
            for index in 0..length {
                shuffled.swap(index, (seed as usize).wrapping_mul(index + 7) % length);
            }
            let mood = moods("emoji", rows, top_n).remove(0);
            prop_assert_eq!(&mood, &moods("emoji", shuffled, top_n).remove(0));
            prop_assert!(mood.top.len() <= top_n);
            prop_assert_eq!(mood.total, counts.values().sum::<u64>());
            prop_assert!(mood.top.iter().map(|s| s.share).sum::<f64>() <= 1.0 + 1e-9);
            for pair in mood.top.windows(2) {
                let ordered = (std::cmp::Reverse(pair[0].count), &pair[0].reaction) < (std::cmp::Reverse(pair[1].count), &pair[1].reaction);
                prop_assert!(ordered);
            }
        }
    }
}
