//! What is to be cleaned and when: pure decisions over the sizes, offsets and times of segments, with Kafka's rules.
//!
//! The *clean* part of a log was cleaned before: no key is in it twice. The *dirty* part follows, from the cleaner's checkpoint up to
//! the first offset that must not be cleaned yet. A log is cleaned when the dirty part is large enough beside the whole
//! (`min.cleanable.dirty.ratio`) or too old (`max.compaction.lag.ms`).

use crate::{file_system::bytes, record_batch::HEADER_LENGTH};
use std::ops::Range;

/// Kafka's `segment.index.bytes`: merged segments get no larger index.
const MAX_INDEX_BYTES: u64 = 10 << 20;
/// An entry of the larger of the two indexes, by time.
const INDEX_ENTRY_BYTES: u64 = 12;

/// What the planner knows of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentFacts {
    pub base_offset: i64,
    /// Where the next segment begins.
    pub end_offset: i64,
    pub size: u64,
    /// Highest timestamp of its first batch, and of all; only known where a setting asks for it.
    pub first_timestamp: Option<i64>,
    pub largest_timestamp: Option<i64>,
}

/// The settings that decide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rules {
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
}

/// The parts of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dirt {
    pub first_dirty_offset: i64,
    /// Nothing at or above it may be cleaned yet; a segment begins there.
    pub end_offset: i64,
    pub clean_bytes: u64,
    pub dirty_bytes: u64,
    /// `max.compaction.lag.ms` has passed.
    pub is_overdue: bool,
    /// When time alone may change the answer; i64::MAX: never.
    pub next_ms: i64,
}

impl Dirt {
    pub fn ratio(&self) -> f64 {
        let total = self.clean_bytes + self.dirty_bytes;
        if total == 0 { 0.0 } else { self.dirty_bytes as f64 / total as f64 }
    }
}

/// The parts of a log with these sealed segments (oldest first), of which those that end above `limit` may not be touched.
pub(crate) fn dirt(segments: &[SegmentFacts], first_dirty_offset: i64, limit: i64, rules: &Rules, now_ms: i64) -> Dirt {
    let lag = rules.min_compaction_lag_ms.max(0);
    let is_fresh = |segment: &&SegmentFacts| {
        lag > 0
            && segment.end_offset > first_dirty_offset
            && segment.largest_timestamp.is_some_and(|newest| newest > now_ms.saturating_sub(lag))
    };
    let fresh = segments.iter().find(is_fresh);
    let uncleanable =
        segments.iter().find(|segment| segment.end_offset > limit || fresh.is_some_and(|fresh| fresh == *segment));
    let end = segments.last().map_or(0, |last| last.end_offset);
    let end_offset = uncleanable.map_or(end, |segment| segment.base_offset);
    let bytes = |part: Range<i64>| {
        segments.iter().filter(|segment| part.contains(&segment.base_offset)).map(|segment| segment.size).sum()
    };
    // A segment of which a part is clean counts as clean, as in Kafka.
    let overdue_ms = overdue_from(segments, first_dirty_offset, rules);
    let fresh_until = fresh.and_then(|fresh| fresh.largest_timestamp).map_or(i64::MAX, |at| at.saturating_add(lag));
    let dirty_bytes = bytes(first_dirty_offset..end_offset);
    let is_overdue = overdue_ms < now_ms;
    Dirt {
        first_dirty_offset,
        end_offset,
        clean_bytes: bytes(i64::MIN..first_dirty_offset),
        dirty_bytes,
        is_overdue,
        next_ms: fresh_until.min(if is_overdue { i64::MAX } else { overdue_ms.saturating_add(1) }),
    }
}

/// Kafka's rule: strictly above the ratio, or something that had to be cleaned by now.
pub(crate) fn is_due(dirt: &Dirt, rules: &Rules) -> bool {
    dirt.dirty_bytes > 0 && (dirt.is_overdue || dirt.ratio() > rules.min_cleanable_dirty_ratio)
}

/// After when the oldest dirty segment is overdue.
fn overdue_from(segments: &[SegmentFacts], first_dirty_offset: i64, rules: &Rules) -> i64 {
    let dirty = segments.iter().filter(|segment| segment.end_offset > first_dirty_offset);
    let oldest = dirty.filter_map(|segment| segment.first_timestamp).filter(|first| *first > 0).min();
    oldest.map_or(i64::MAX, |oldest| oldest.saturating_add(rules.max_compaction_lag_ms.max(0)))
}

/// The segments that begin below `end_offset`, in runs each of which becomes one: as long as they fit `max_bytes` together, their indexes
/// fit, and every offset is in reach of the first one's.
pub(crate) fn groups(
    segments: &[SegmentFacts],
    end_offset: i64,
    max_bytes: u64,
    index_interval_bytes: u64,
) -> Vec<Range<usize>> {
    let count = segments.partition_point(|segment| segment.base_offset < end_offset);
    let mut groups: Vec<Range<usize>> = Vec::new();
    for at in 0..count {
        match groups.last_mut() {
            Some(group) if fits(segments.get(group.start..=at), max_bytes, index_interval_bytes) => group.end = at + 1,
            _ => groups.push(at..at + 1),
        }
    }
    groups
}

fn fits(segments: Option<&[SegmentFacts]>, max_bytes: u64, index_interval_bytes: u64) -> bool {
    let Some([first, .., last]) = segments else { return false };
    let size: u64 = segments.into_iter().flatten().map(|segment| segment.size).sum();
    // An index entry takes more than the interval, and no less than one batch.
    let entries = size / index_interval_bytes.max(bytes(HEADER_LENGTH)) + 2;
    size <= max_bytes
        && entries * INDEX_ENTRY_BYTES <= MAX_INDEX_BYTES
        && last.end_offset.saturating_sub(1).saturating_sub(first.base_offset) <= i64::from(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn rules() -> Rules {
        Rules { min_cleanable_dirty_ratio: 0.5, min_compaction_lag_ms: 0, max_compaction_lag_ms: i64::MAX }
    }

    /// Segments of ten offsets and these sizes; the times are hours.
    fn segments(sizes: &[u64]) -> Vec<SegmentFacts> {
        let segment = |(at, size): (i64, &u64)| SegmentFacts {
            base_offset: at * 10,
            end_offset: at * 10 + 10,
            size: *size,
            first_timestamp: Some((at + 1) * HOUR),
            largest_timestamp: Some((at + 2) * HOUR),
        };
        (0..).zip(sizes).map(segment).collect()
    }

    #[test]
    fn the_dirty_part_lies_between_checkpoint_and_limit() {
        let segments = segments(&[100, 50, 70, 30]);
        let found = dirt(&segments, 20, 40, &rules(), 0);
        assert_eq!((found.clean_bytes, found.dirty_bytes, found.end_offset), (150, 100, 40));
        assert!(!is_due(&found, &rules()));
        let found = dirt(&segments, 10, 40, &rules(), 0);
        assert!(is_due(&found, &rules()), "{}", found.ratio());
        for (limit, end) in [(39, 30), (30, 30), (29, 20), (9, 0), (0, 0)] {
            assert_eq!(dirt(&segments, 0, limit, &rules(), 0).end_offset, end, "{limit}");
        }
    }

    #[test]
    fn half_is_not_more_than_half() {
        let found = dirt(&segments(&[100, 100]), 10, 20, &rules(), 0);
        assert_eq!(found.ratio(), 0.5);
        assert!(!is_due(&found, &rules()));
        assert!(is_due(&found, &Rules { min_cleanable_dirty_ratio: 0.49, ..rules() }));
        let nothing = dirt(&[], 0, 0, &rules(), 0);
        assert!(nothing.ratio() == 0.0 && !is_due(&nothing, &Rules { min_cleanable_dirty_ratio: 0.0, ..rules() }));
    }

    #[test]
    fn fresh_records_wait_for_min_compaction_lag() {
        let (segments, rules) = (segments(&[10, 10, 10]), Rules { min_compaction_lag_ms: HOUR, ..rules() });
        for (now_hours, end, next_hours) in [(3, 10, 4), (4, 20, 5), (5, 30, i64::MAX / HOUR)] {
            let found = dirt(&segments, 0, 30, &rules, now_hours * HOUR);
            assert_eq!((found.end_offset, found.next_ms / HOUR), (end, next_hours), "{now_hours}");
        }
        // What is clean stays so, however fresh it is.
        assert_eq!(dirt(&segments, 20, 30, &rules, 5 * HOUR).end_offset, 30);
    }

    #[test]
    fn max_compaction_lag_forces_it() {
        let (segments, rules) = (segments(&[1000, 1]), Rules { max_compaction_lag_ms: 5 * HOUR, ..rules() });
        let (before, after) =
            (dirt(&segments, 10, 20, &rules, 7 * HOUR), dirt(&segments, 10, 20, &rules, 7 * HOUR + 1));
        assert!(!is_due(&before, &rules) && before.next_ms == 7 * HOUR + 1);
        assert!(is_due(&after, &rules) && after.next_ms == i64::MAX);
        // Nothing is cleanable: overdue or not.
        assert!(!is_due(&dirt(&segments, 10, 10, &rules, 100 * HOUR), &rules));
    }

    #[test]
    fn small_segments_are_grouped() {
        let sizes = [40, 50, 20, 20, 60, 10, 0, 200, 10];
        let found = groups(&segments(&sizes), 85, 100, 4096);
        assert_eq!(found, [0..2, 2..5, 5..7, 7..8, 8..9]);
        assert_eq!(groups(&segments(&sizes), 20, 100, 4096), vec![0..2usize; 1]);
        assert_eq!(groups(&segments(&sizes), 0, 100, 4096), []);
    }

    #[test]
    fn groups_stay_within_the_reach_of_an_index() {
        let mut far = segments(&[10, 10, 10]);
        if let Some(last) = far.last_mut() {
            last.end_offset = i64::from(i32::MAX) + 2;
        }
        assert_eq!(groups(&far, 100, 1000, 4096), [0..2, 2..3]);
        let large = segments(&[30 << 20, 30 << 20]);
        assert_eq!(groups(&large, 100, 1 << 30, 0), [0..1, 1..2]);
        assert_eq!(groups(&large, 100, 1 << 30, 4096), vec![0..2usize; 1]);
    }
}
