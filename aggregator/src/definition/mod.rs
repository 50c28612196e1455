//! What an aggregate is: which topic it reads, which windows and groups it counts, where it writes.
//!
//! Read from the config file (`[[aggregate]]`) or built by [`Definition::emoji`]; everything is checked by
//! [`Definition::validate`] before a task starts. It never touches the log.

mod check;
mod measure;
mod shape;
mod sql;
mod sql_options;
mod time;
mod votes;
mod window;
mod words;

pub use measure::{Condition, Function, Literal, Measure};
pub use shape::{Shape, Top};
pub use time::{Moment, TimeSource};
pub use votes::{Dedup, Keep, Limit, Paths};
pub use window::Window;
pub use words::{alike, nearest};

use crate::duration_text;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Group fields of one aggregate.
pub const MAX_GROUP_FIELDS: usize = 8;
/// Segments of one field path (`a.b.c` has three).
pub const MAX_PATH_SEGMENTS: usize = 8;
/// Measures of one aggregate.
pub const MAX_MEASURES: usize = 16;
/// Different fields that one aggregate reads of an event.
pub const MAX_FIELDS: usize = 16;
/// `partitions * max_groups`: what one row batch can become stays below the 2 GiB of a record batch.
pub const MAX_GROUPS_OF_ALL_PARTITIONS: usize = 500_000;
/// Values of one `distinct` that are counted exactly, at least: below, the estimate would be worse than it is said to be.
pub const LEAST_MAX_DISTINCT: usize = 1_000;

/// Why a definition is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("aggregate `{aggregate}`: {field}: {reason}")]
pub struct DefinitionError {
    pub aggregate: String,
    pub field: &'static str,
    pub reason: String,
}

/// One aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    pub name: String,
    /// The raw topic.
    pub from: String,
    /// The aggregate topic; one partition.
    pub into: String,
    /// Partitions that the raw topic gets when it does not exist yet.
    #[serde(default = "default_partitions")]
    pub partitions: i32,
    #[serde(default = "default_time")]
    pub time: TimeSource,
    pub window: Window,
    /// Paths into the JSON event, segments separated by dots.
    pub group_by: Vec<String>,
    /// Name in the output row -> what is computed.
    #[serde(default = "default_measure")]
    pub measure: BTreeMap<String, Measure>,
    /// One vote a voter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<Dedup>,
    /// So many events a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Events before this time are skipped: the first window is the one that holds it (of several, the one that begins there).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin: Option<Moment>,
    /// Events before this time are late (`not_open`); windows are aligned to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Moment>,
    /// Events from this time on are late (`poll_closed`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<Moment>,
    /// Only the largest groups are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<Top>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub shape: Shape,
    /// How often the next window to be closed is told as it is so far (`final: false`); none: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration_text::optional")]
    pub early: Option<Duration>,
    /// How long after its closing a window still takes late events and is told again, with all that it has and `rev` counted up.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration_text::optional")]
    pub corrections: Option<Duration>,
    /// How much later than a partition's newest event an event may still come (allowed lateness).
    #[serde(default = "default_grace", with = "duration_text")]
    pub grace: Duration,
    /// How long nothing may come at a partition's log end before it holds back no window any more.
    #[serde(default = "default_idle_close", with = "duration_text")]
    pub idle_close: Duration,
    /// How far an event's time may be ahead of its record's timestamp.
    #[serde(default = "default_max_future", with = "duration_text")]
    pub max_future: Duration,
    /// Groups that one source partition may add to one window; more go to the late topic as `over_capacity`.
    #[serde(default = "default_max_groups")]
    pub max_groups: usize,
    /// Voters (keys of `dedup` or `limit`) that one source partition may add to one window; events of more go to the late
    /// topic as `over_capacity`.
    #[serde(default = "default_max_voters")]
    pub max_voters: usize,
    /// Values up to which `distinct` is exact; then it is an estimate, marked `approx`.
    #[serde(default = "default_max_distinct")]
    pub max_distinct: usize,
    /// Open windows at which partitions that are ahead are no longer read until the one behind has caught up.
    #[serde(default = "default_max_open_windows")]
    pub max_open_windows: usize,
    /// Events that a restart may read again before it is worth a snapshot of what they have become.
    #[serde(default = "default_snapshot_every")]
    pub snapshot_every: usize,
    /// Default: `<name>-late`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<SideTopic>,
    /// Default: `<name>-bad`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<SideTopic>,
}

/// Where late or unreadable events go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SideTopic {
    pub topic: String,
}

impl Definition {
    /// The stream that is there by default.
    pub fn emoji() -> Self {
        Self {
            name: "emoji".to_owned(),
            from: "emoji".to_owned(),
            into: "emoji-counts".to_owned(),
            partitions: default_partitions(),
            time: default_time(),
            window: Window::Tumble(Duration::from_secs(2)),
            group_by: vec!["channel_id".to_owned(), "metadata.reaction".to_owned()],
            measure: default_measure(),
            dedup: None,
            limit: None,
            begin: None,
            open: None,
            close: None,
            top: None,
            shape: Shape::Row,
            early: None,
            corrections: None,
            grace: default_grace(),
            idle_close: default_idle_close(),
            max_future: default_max_future(),
            max_groups: default_max_groups(),
            max_voters: default_max_voters(),
            max_distinct: default_max_distinct(),
            max_open_windows: default_max_open_windows(),
            snapshot_every: default_snapshot_every(),
            late: Some(SideTopic { topic: "emoji-late".to_owned() }),
            bad: Some(SideTopic { topic: "emoji-bad".to_owned() }),
        }
    }

    pub fn late_topic(&self) -> String {
        self.late.as_ref().map_or_else(|| format!("{}-late", self.name), |side| side.topic.clone())
    }

    pub fn bad_topic(&self) -> String {
        self.bad.as_ref().map_or_else(|| format!("{}-bad", self.name), |side| side.topic.clone())
    }

    /// Made when the first snapshot is due.
    pub fn snapshot_topic(&self) -> String {
        format!("{}-snapshot", self.name)
    }

    /// The topics that nobody else may write to.
    pub fn written_topics(&self) -> [String; 4] {
        [self.into.clone(), self.late_topic(), self.bad_topic(), self.snapshot_topic()]
    }

    /// The group to which source offsets are committed, so that stock tools show the lag.
    pub fn consumer_group(&self) -> String {
        format!("tifo-aggregate-{}", self.name)
    }

    /// The names of the group's fields in the output row: their last path segments.
    pub fn group_fields(&self) -> impl Iterator<Item = &str> {
        self.group_by.iter().map(|path| last_segment(path))
    }

    /// Paths that decide who a voter is.
    pub fn voter_paths(&self) -> impl Iterator<Item = &String> {
        let dedup = self.dedup.iter().flat_map(|dedup| dedup.by.as_slice());
        dedup.chain(self.limit.iter().flat_map(|limit| limit.by.as_slice()))
    }

    /// Everything that decides what is counted where. Output of another fingerprint is never continued. What is not
    /// used leaves no word, so that a new kind of setting does not change the fingerprint of those who do not use it.
    pub fn fingerprint(&self) -> String {
        let time = match &self.time {
            TimeSource::Field(path) => path.as_str(),
            TimeSource::Append => "(append)",
        };
        let mut text = format!(
            "from={} time={time} {} group_by={} measure={} grace={} max_future={} max_groups={}",
            self.from,
            self.window,
            self.group_by.join(","),
            self.measure.iter().map(|(name, measure)| format!("{name}={measure}")).collect::<Vec<_>>().join(","),
            duration_text::format(self.grace),
            duration_text::format(self.max_future),
            self.max_groups,
        );
        for (name, value) in self.fingerprint_extras() {
            text.push_str(&format!(" {name}={value}"));
        }
        text
    }

    fn fingerprint_extras(&self) -> Vec<(&'static str, String)> {
        let mut extras = Vec::new();
        if let Some(dedup) = &self.dedup {
            extras.push(("dedup", format!("{}:{}", dedup.by, dedup.keep)));
        }
        if let Some(limit) = &self.limit {
            extras.push(("limit", format!("{}:{}", limit.by, limit.max)));
        }
        if self.dedup.is_some() || self.limit.is_some() {
            extras.push(("max_voters", self.max_voters.to_string()));
        }
        for (name, moment) in [("begin", &self.begin), ("open", &self.open), ("close", &self.close)] {
            extras.extend(moment.as_ref().map(|moment| (name, moment.ms.to_string())));
        }
        if self.measure.values().any(|measure| matches!(measure.function, Function::Distinct(_))) {
            extras.push(("max_distinct", self.max_distinct.to_string()));
        }
        if let Some(top) = &self.top {
            extras.push(("top", format!("{}:{}:{}", top.n, top.per.join(","), top.by)));
        }
        if let Some(corrections) = self.corrections {
            extras.push(("corrections", duration_text::format(corrections)));
        }
        if self.shape == Shape::Window {
            extras.push(("shape", "window".to_owned()));
        }
        extras
    }
}

/// The name in the row of what stands at a path.
pub fn last_segment(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn default_partitions() -> i32 {
    4
}

fn default_time() -> TimeSource {
    TimeSource::Field("timestamp".to_owned())
}

fn default_measure() -> BTreeMap<String, Measure> {
    BTreeMap::from([("count".to_owned(), Measure::count())])
}

fn default_grace() -> Duration {
    Duration::from_millis(500)
}

fn default_idle_close() -> Duration {
    Duration::from_secs(1)
}

fn default_max_future() -> Duration {
    Duration::from_secs(5)
}

fn default_max_groups() -> usize {
    50_000
}

fn default_max_voters() -> usize {
    500_000
}

fn default_max_distinct() -> usize {
    LEAST_MAX_DISTINCT
}

fn default_max_open_windows() -> usize {
    4_096
}

fn default_snapshot_every() -> usize {
    1_000_000
}

#[cfg(test)]
mod tests;
