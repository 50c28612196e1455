//! Which late records lie behind which source offsets: how far back recovery must read the late topic for sessions
//! and corrections.
//!
//! Whether an event was too late for a session or a correction, or one session too many, depends on what was open at that moment; read a
//! second time it cannot be judged again. So recovery looks it up: a decision's `late_end` is then where the late topic ended
//! when nothing from `resume` on had been read. Pure.

use crate::decision::PartitionDecision;
use std::collections::VecDeque;

/// Marks that are kept; of more, every second one goes, and recovery reads a little more.
const MAX_MARKS: usize = 128;

/// Where the late topic ended when each partition had been read so far.
#[derive(Debug)]
struct Mark {
    next: Vec<i64>,
    late_end: i64,
}

#[derive(Debug)]
pub struct LateMarks(VecDeque<Mark>);

impl LateMarks {
    /// `late_end`: where the last recovery began to read; nothing that is to be read again lies before it.
    pub fn new(late_end: i64) -> Self {
        Self(VecDeque::from([Mark { next: Vec::new(), late_end }]))
    }

    /// For a decision with these partitions; `late_end` is where the late topic ends now.
    pub fn late_end_for(&mut self, partitions: &[PartitionDecision], late_end: i64) -> i64 {
        while self.0.get(1).is_some_and(|mark| mark.is_before(partitions)) {
            self.0.pop_front();
        }
        let found = self.0.front().map_or(late_end, |mark| mark.late_end);
        if self.0.len() >= MAX_MARKS {
            let mut index = 0;
            self.0.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.0.push_back(Mark { next: partitions.iter().map(|partition| partition.next).collect(), late_end });
        found
    }
}

impl Mark {
    /// Nothing that recovery reads again had been read then. A partition that was not there yet had not.
    fn is_before(&self, partitions: &[PartitionDecision]) -> bool {
        self.next.iter().zip(partitions).all(|(next, partition)| *next <= partition.resume)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(next: i64, resume: i64) -> PartitionDecision {
        PartitionDecision { partition: 0, next, watermark: None, resume, resume_watermark: None, idle: false }
    }

    #[test]
    fn leads_back_to_before_the_first_open_event() {
        let mut marks = LateMarks::new(5);
        assert_eq!(marks.late_end_for(&[partition(10, 3)], 7), 5);
        assert_eq!(marks.late_end_for(&[partition(20, 9)], 8), 5);
        assert_eq!(marks.late_end_for(&[partition(30, 19)], 9), 7);
        assert_eq!(marks.late_end_for(&[partition(40, 40)], 11), 9);
        for round in 0..10_000 {
            marks.late_end_for(&[partition(50 + round, 41)], 12);
        }
        assert!(marks.0.len() <= MAX_MARKS);
        assert_eq!(marks.late_end_for(&[partition(90_000, 41)], 13), 11);
    }
}
