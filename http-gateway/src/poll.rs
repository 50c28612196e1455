//! A question put to the crowd: what a page needs to show a stream as a poll. Counting is the aggregator's; a vote is an event of
//! the stream like any other, with the answer's id where the aggregate groups by.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// More would be a form, not a poll.
const MAX_ANSWERS: usize = 12;

/// `[stream.poll]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    pub question: String,
    /// In the order in which they are shown.
    pub answers: Vec<Answer>,
    /// Put here by the binary from the stream's aggregate.
    #[serde(skip)]
    pub rounds: Rounds,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// What a vote says.
    pub id: String,
    /// What people read.
    pub label: String,
}

/// When one may vote: for ever in rounds of this length, or from `opens_ms` until `closes_ms`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rounds {
    pub round_ms: u64,
    pub opens_ms: Option<i64>,
    pub closes_ms: Option<i64>,
    /// A later vote moves the first one.
    pub may_change: bool,
}

impl Poll {
    /// Why it is none.
    pub fn check(&self) -> Result<(), String> {
        if self.question.trim().is_empty() {
            return Err("`poll.question` is empty".to_owned());
        }
        if !(2..=MAX_ANSWERS).contains(&self.answers.len()) {
            return Err(format!("`poll.answers` holds {}: 2 to {MAX_ANSWERS} are needed", self.answers.len()));
        }
        let ids: BTreeSet<&str> = self.answers.iter().map(|answer| answer.id.as_str()).collect();
        if ids.len() < self.answers.len() || ids.contains("") {
            return Err("`poll.answers`: each needs an `id` of its own".to_owned());
        }
        Ok(())
    }

    /// As `/v1/streams` tells it.
    pub fn describe(&self) -> Value {
        json!({
            "question": self.question,
            "answers": self.answers,
            "round_ms": self.rounds.round_ms,
            "opens_ms": self.rounds.opens_ms,
            "closes_ms": self.rounds.closes_ms,
            "may_change": self.rounds.may_change,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(ids: &[&str]) -> Poll {
        let answer = |id: &&str| Answer { id: (*id).to_owned(), label: id.to_uppercase() };
        Poll { question: "Who?".to_owned(), answers: ids.iter().map(answer).collect(), rounds: Rounds::default() }
    }

    #[test]
    fn a_poll_needs_a_question_and_answers_that_differ() {
        assert_eq!(poll(&["a", "b"]).check(), Ok(()));
        for wrong in [poll(&["a"]), poll(&["a", "a"]), poll(&["a", ""]), poll(&["x"; 13])] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        assert!(Poll { question: " ".to_owned(), ..poll(&["a", "b"]) }.check().is_err());
    }
}
