//! The decision: what the aggregator knows when it closes windows, written beside their rows.
//!
//! It travels as a header on the last row of the batch that closes the windows, so rows and decision are in the log
//! together or not at all. Recovery starts from the last one. docs/aggregates.md describes the JSON.

use serde::{Deserialize, Serialize};

/// The header that bears a decision.
pub const DECISION_HEADER: &[u8] = b"tifo-decision";
/// Version of the JSON.
pub const DECISION_VERSION: u32 = 1;

/// Events so far, up to the decision's next offsets. `counted + late + bad` is all that was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub counted: u64,
    pub late: u64,
    pub bad: u64,
    /// Of the late ones: those whose clock is more than `max_future` ahead.
    pub clipped: u64,
    /// Offsets that were gone before they could be read (retention, or a raw topic made anew).
    pub skipped: u64,
    /// Of the counted ones: those whose voter had voted before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeated: u64,
    /// Of the counted ones: those that came too late for some of their windows, but not for all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub partial: u64,
}

impl Totals {
    /// What came since `earlier`, which is a part of it.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            counted: self.counted - earlier.counted,
            late: self.late - earlier.late,
            bad: self.bad - earlier.bad,
            clipped: self.clipped - earlier.clipped,
            skipped: self.skipped - earlier.skipped,
            repeated: self.repeated - earlier.repeated,
            partial: self.partial - earlier.partial,
        }
    }

    pub fn add(&mut self, more: &Self) {
        self.counted += more.counted;
        self.late += more.late;
        self.bad += more.bad;
        self.clipped += more.clipped;
        self.skipped += more.skipped;
        self.repeated += more.repeated;
        self.partial += more.partial;
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One source partition in a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionDecision {
    pub partition: i32,
    /// The first offset that was not yet read.
    pub next: i64,
    /// Highest event time before `next`.
    pub watermark: Option<i64>,
    /// The first offset that holds an event of a window still open; `next` if there is none.
    pub resume: i64,
    /// Highest event time before `resume`.
    pub resume_watermark: Option<i64>,
    /// It held back no window.
    pub idle: bool,
}

/// Everything that recovery needs, but the input itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub version: u32,
    pub aggregate: String,
    /// Counts the recoveries; told apart in logs.
    pub epoch: u64,
    /// Counts the decisions of this aggregate, from 1.
    pub sequence: u64,
    pub fingerprint: String,
    /// Every window that ends here or earlier is closed.
    pub closed_until: i64,
    pub partitions: Vec<PartitionDecision>,
    /// Where the late and the bad topic ended: everything before `next` that belongs there lies below.
    pub late_end: i64,
    pub bad_end: i64,
    pub totals: Totals,
}

impl Decision {
    pub fn to_json(&self) -> Vec<u8> {
        // Plain structs of numbers and strings always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The decision in a header, if it is `aggregate`'s; someone else's record is none. One that this version cannot
    /// read must not be passed over: what it closed would be counted again.
    pub fn from_json(json: &[u8], aggregate: &str) -> Result<Option<Self>, UnreadableDecision> {
        let Ok(about) = serde_json::from_slice::<About>(json) else { return Ok(None) };
        if about.aggregate != aggregate {
            return Ok(None);
        }
        serde_json::from_slice::<Self>(json).map_err(|error| UnreadableDecision(error.to_string())).and_then(
            |decision| match decision.version {
                DECISION_VERSION => Ok(Some(decision)),
                version => Err(UnreadableDecision(format!("version {version}, this Tifo knows {DECISION_VERSION}"))),
            },
        )
    }
}

#[derive(Deserialize)]
struct About {
    aggregate: String,
}

/// A decision of this aggregate that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the last decision cannot be read: {0}")]
pub struct UnreadableDecision(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_way_through_a_header() {
        let partition = PartitionDecision {
            partition: 1,
            next: 9,
            watermark: Some(5),
            resume: 3,
            resume_watermark: None,
            idle: true,
        };
        let decision = Decision {
            version: DECISION_VERSION,
            aggregate: "emoji".into(),
            epoch: 2,
            sequence: 7,
            fingerprint: "f".into(),
            closed_until: -4,
            partitions: vec![partition],
            late_end: 1,
            bad_end: 2,
            totals: Totals { counted: 1, late: 2, bad: 3, clipped: 4, skipped: 5, repeated: 6, partial: 0 },
        };
        assert_eq!(Decision::from_json(&decision.to_json(), "emoji"), Ok(Some(decision.clone())));
        assert_eq!(Decision::from_json(&decision.to_json(), "other"), Ok(None));
        assert_eq!(Decision::from_json(b"{}", "emoji"), Ok(None));
        let newer = Decision { version: DECISION_VERSION + 1, ..decision };
        assert!(Decision::from_json(&newer.to_json(), "emoji").is_err());
        assert!(Decision::from_json(br#"{"aggregate":"emoji"}"#, "emoji").is_err());
    }
}
