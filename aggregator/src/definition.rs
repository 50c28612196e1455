//! What an aggregate is: which topic it reads, which windows and groups it counts, where it writes.
//!
//! Read from the config file (`[[aggregate]]`) or built by [`Definition::emoji`]; everything is checked by
//! [`Definition::validate`] before a task starts. It never touches the log.

use crate::duration_text;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use std::{collections::BTreeMap, fmt, time::Duration};

/// Group fields of one aggregate.
pub const MAX_GROUP_FIELDS: usize = 8;
/// Segments of one field path (`a.b.c` has three).
pub const MAX_PATH_SEGMENTS: usize = 8;
/// `partitions * max_groups`: what one row batch can become stays below the 2 GiB of a record batch.
pub const MAX_GROUPS_OF_ALL_PARTITIONS: usize = 500_000;
const LONGEST_TIME: Duration = Duration::from_secs(366 * 86_400);
const RESERVED_FIELDS: [&str; 4] = ["window_start", "window_end", "rev", "final"];
/// Kafka's limit for topic names.
const MAX_TOPIC_NAME: usize = 249;

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
    /// Name in the output row -> function. For now `count()` alone.
    #[serde(default = "default_measure")]
    pub measure: BTreeMap<String, String>,
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
    /// Open windows at which partitions that are ahead are no longer read until the one behind has caught up.
    #[serde(default = "default_max_open_windows")]
    pub max_open_windows: usize,
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

/// Where an event's time comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "RawTime", into = "RawTime")]
pub enum TimeSource {
    /// A field: ms since the epoch as an integer or numeric string, or ISO 8601.
    Field(String),
    /// The record's timestamp; the raw topic is created with `message.timestamp.type=LogAppendTime`.
    Append,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum RawTime {
    Word(String),
    Table {
        field: String,
    },
    #[serde(skip_serializing)]
    Other(IgnoredAny),
}

impl TryFrom<RawTime> for TimeSource {
    type Error = &'static str;

    fn try_from(raw: RawTime) -> Result<Self, Self::Error> {
        match raw {
            RawTime::Table { field } => Ok(Self::Field(field)),
            RawTime::Word(word) if word == "append" => Ok(Self::Append),
            _ => Err("time is { field = \"path\" } or \"append\""),
        }
    }
}

impl From<TimeSource> for RawTime {
    fn from(time: TimeSource) -> Self {
        match time {
            TimeSource::Field(field) => Self::Table { field },
            TimeSource::Append => Self::Word("append".to_owned()),
        }
    }
}

/// How event time is cut into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub enum Window {
    /// Windows of one length, side by side, aligned to the epoch.
    Tumble(Duration),
}

impl TryFrom<BTreeMap<String, String>> for Window {
    type Error = String;

    fn try_from(raw: BTreeMap<String, String>) -> Result<Self, Self::Error> {
        let refused = ["hop", "cumulate", "session"].into_iter().find(|kind| raw.contains_key(*kind));
        if let Some(kind) = refused {
            return Err(format!("windows of kind `{kind}` are not supported yet, only `tumble`"));
        }
        match raw.get("tumble") {
            Some(length) if raw.len() == 1 => duration_text::parse(length).map(Self::Tumble),
            _ => Err("a window is { tumble = \"2s\" }".to_owned()),
        }
    }
}

impl From<Window> for BTreeMap<String, String> {
    fn from(Window::Tumble(length): Window) -> Self {
        Self::from([("tumble".to_owned(), duration_text::format(length))])
    }
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
            grace: default_grace(),
            idle_close: default_idle_close(),
            max_future: default_max_future(),
            max_groups: default_max_groups(),
            max_open_windows: default_max_open_windows(),
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

    /// The group to which source offsets are committed, so that stock tools show the lag.
    pub fn consumer_group(&self) -> String {
        format!("tifo-aggregate-{}", self.name)
    }

    /// The name of the count in the output row.
    pub fn count_field(&self) -> &str {
        self.measure.keys().next().map_or("count", String::as_str)
    }

    /// The names of the group's fields in the output row: their last path segments.
    pub fn group_fields(&self) -> impl Iterator<Item = &str> {
        self.group_by.iter().map(|path| last_segment(path))
    }

    /// Everything that decides what is counted where. Output of another fingerprint is never continued.
    pub fn fingerprint(&self) -> String {
        let time = match &self.time {
            TimeSource::Field(path) => path.as_str(),
            TimeSource::Append => "(append)",
        };
        let Window::Tumble(length) = self.window;
        format!(
            "from={} time={time} tumble={} group_by={} measure={} grace={} max_future={} max_groups={}",
            self.from,
            duration_text::format(length),
            self.group_by.join(","),
            self.measure.iter().map(|(name, function)| format!("{name}={function}")).collect::<Vec<_>>().join(","),
            duration_text::format(self.grace),
            duration_text::format(self.max_future),
            self.max_groups,
        )
    }

    /// Checks what the types do not.
    pub fn validate(&self) -> Result<(), DefinitionError> {
        self.check_topics()?;
        self.check_paths()?;
        self.check_measure()?;
        self.check_times()?;
        self.check_limits()
    }

    fn check_topics(&self) -> Result<(), DefinitionError> {
        let (late, bad) = (self.late_topic(), self.bad_topic());
        let topics = [("from", &self.from), ("into", &self.into), ("late", &late), ("bad", &bad)];
        for (field, topic) in topics.into_iter().chain([("name", &self.name)]) {
            check_topic_name(topic).map_err(|reason| self.error(field, reason))?;
        }
        for (index, (field, topic)) in topics.iter().enumerate() {
            if let Some((other, _)) = topics.iter().take(index).find(|(_, earlier)| earlier == topic) {
                return Err(self.error(field, format!("topic `{topic}` is already used as `{other}`")));
            }
        }
        Ok(())
    }

    fn check_paths(&self) -> Result<(), DefinitionError> {
        if self.group_by.is_empty() || self.group_by.len() > MAX_GROUP_FIELDS {
            return Err(self.error("group_by", format!("name 1 to {MAX_GROUP_FIELDS} fields")));
        }
        let time = match &self.time {
            TimeSource::Field(path) => Some(("time", path)),
            TimeSource::Append => None,
        };
        let paths: Vec<_> = time.into_iter().chain(self.group_by.iter().map(|path| ("group_by", path))).collect();
        for (index, (field, path)) in paths.iter().enumerate() {
            check_path(path).map_err(|reason| self.error(field, reason))?;
            if let Some((_, other)) = paths.iter().take(index).find(|(_, other)| overlap(path, other)) {
                return Err(
                    self.error(field, format!("`{path}` and `{other}` are the same field, or one holds the other"))
                );
            }
        }
        self.check_row_fields()
    }

    fn check_row_fields(&self) -> Result<(), DefinitionError> {
        let mut names: Vec<&str> = RESERVED_FIELDS.into_iter().chain([self.count_field()]).collect();
        for (name, path) in self.group_fields().zip(&self.group_by) {
            if names.contains(&name) {
                return Err(self.error("group_by", format!("`{path}`: the row has a field `{name}` already")));
            }
            names.push(name);
        }
        Ok(())
    }

    fn check_measure(&self) -> Result<(), DefinitionError> {
        let mut measures = self.measure.iter();
        let (Some((name, function)), None) = (measures.next(), measures.next()) else {
            return Err(self.error("measure", "exactly one measure is supported for now: { count = \"count()\" }"));
        };
        if function != "count()" {
            return Err(self.error("measure", format!("`{function}` is not supported yet, only `count()`")));
        }
        if name.is_empty() || RESERVED_FIELDS.contains(&name.as_str()) {
            return Err(self.error("measure", format!("`{name}` cannot be the name of a measure")));
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), DefinitionError> {
        let Window::Tumble(length) = self.window;
        if length.is_zero() {
            return Err(self.error("window", "a window lasts at least 1ms"));
        }
        let times = [
            ("window", length),
            ("grace", self.grace),
            ("idle_close", self.idle_close),
            ("max_future", self.max_future),
        ];
        match times.into_iter().find(|(_, time)| *time > LONGEST_TIME) {
            Some((field, _)) => Err(self.error(field, "longer than a year")),
            None if self.idle_close.is_zero() => Err(self.error("idle_close", "must be at least 1ms")),
            None => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), DefinitionError> {
        let partitions = usize::try_from(self.partitions).unwrap_or(0);
        if partitions == 0 {
            return Err(self.error("partitions", "must be at least 1"));
        }
        if self.max_open_windows == 0 || self.max_groups == 0 {
            return Err(self.error("max_groups", "max_groups and max_open_windows must be at least 1"));
        }
        if partitions.saturating_mul(self.max_groups) > MAX_GROUPS_OF_ALL_PARTITIONS {
            let reason = format!("partitions x max_groups must not be over {MAX_GROUPS_OF_ALL_PARTITIONS}");
            return Err(self.error("max_groups", reason));
        }
        Ok(())
    }

    fn error(&self, field: &'static str, reason: impl fmt::Display) -> DefinitionError {
        DefinitionError { aggregate: self.name.clone(), field, reason: reason.to_string() }
    }
}

fn last_segment(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn check_topic_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > MAX_TOPIC_NAME || name == "." || name == ".." || !name.chars().all(legal) {
        return Err(format!("`{name}` is not a name: 1 to {MAX_TOPIC_NAME} of a-z A-Z 0-9 . _ -"));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), String> {
    if path.split('.').any(str::is_empty) {
        return Err(format!("`{path}` is not a path: names separated by dots, as in `metadata.reaction`"));
    }
    if path.split('.').count() > MAX_PATH_SEGMENTS {
        return Err(format!("`{path}` is deeper than {MAX_PATH_SEGMENTS} names"));
    }
    Ok(())
}

/// Equal, or one is an object on the way to the other.
fn overlap(left: &str, right: &str) -> bool {
    left.split('.').zip(right.split('.')).all(|(a, b)| a == b)
}

fn default_partitions() -> i32 {
    4
}

fn default_time() -> TimeSource {
    TimeSource::Field("timestamp".to_owned())
}

fn default_measure() -> BTreeMap<String, String> {
    BTreeMap::from([("count".to_owned(), "count()".to_owned())])
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

fn default_max_open_windows() -> usize {
    4_096
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const EXAMPLE: &str = r#"{"name": "emoji", "from": "emoji", "into": "emoji-counts", "time": {"field": "timestamp"},
        "window": {"tumble": "2s"}, "group_by": ["channel_id", "metadata.reaction"], "measure": {"count": "count()"},
        "grace": "500ms", "idle_close": "1s", "max_future": "5s", "late": {"topic": "emoji-late"}, "bad": {"topic": "emoji-bad"}}"#;

    #[test]
    fn the_example_is_the_default_stream() {
        let read: Definition = serde_json::from_str(EXAMPLE).unwrap();
        assert_eq!(read, Definition::emoji());
        assert_eq!(read.validate(), Ok(()));
        assert_eq!(serde_json::from_str::<Definition>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
        assert_eq!(read.consumer_group(), "tifo-aggregate-emoji");
    }

    #[test]
    fn the_short_form_gets_the_same_defaults() {
        let short = r#"{"name": "emoji", "from": "emoji", "into": "emoji-counts", "window": {"tumble": "2s"},
            "group_by": ["channel_id", "metadata.reaction"]}"#;
        let read: Definition = serde_json::from_str(short).unwrap();
        assert_eq!((read.late_topic(), read.bad_topic()), ("emoji-late".to_owned(), "emoji-bad".to_owned()));
        assert_eq!(read.fingerprint(), Definition::emoji().fingerprint());
    }

    #[test]
    fn what_cannot_be_read_is_worded() {
        let cases = [
            (r#"{"tumble": "2s"}"#, r#"{"hop": "10s", "every": "2s"}"#, "windows of kind `hop` are not supported yet"),
            (r#"{"tumble": "2s"}"#, r#"{"session": "30s"}"#, "windows of kind `session` are not supported yet"),
            (r#"{"tumble": "2s"}"#, r#"{"tumble": "2 sec"}"#, "`2 sec` is not a duration"),
            (r#"{"tumble": "2s"}"#, "{}", "a window is"),
            (r#"{"field": "timestamp"}"#, r#""produce""#, "time is { field"),
            (r#"{"field": "timestamp"}"#, "7", "time is { field"),
            (r#""grace""#, r#""graze""#, "unknown field `graze`"),
        ];
        for (from, to, expected) in cases {
            let error = serde_json::from_str::<Definition>(&EXAMPLE.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_field() {
        type Change = fn(&mut Definition);
        let cases: [(&str, Change); 14] = [
            ("from", |d| d.from = "a b".into()),
            ("into", |d| d.into = "emoji".into()),
            ("bad", |d| d.bad = d.late.clone()),
            ("name", |d| d.name = String::new()),
            ("group_by", |d| d.group_by.clear()),
            ("group_by", |d| d.group_by.push("metadata".into())),
            ("group_by", |d| d.group_by.push("other.reaction".into())),
            ("group_by", |d| d.group_by.push("a..b".into())),
            ("group_by", |d| d.group_by.push("timestamp".into())),
            ("group_by", |d| d.group_by.push("x.final".into())),
            ("measure", |d| d.measure = BTreeMap::from([("users".into(), "distinct(user_id)".into())])),
            ("window", |d| d.window = Window::Tumble(Duration::ZERO)),
            ("partitions", |d| d.partitions = 0),
            ("max_groups", |d| d.max_groups = 1_000_000),
        ];
        for (field, change) in cases {
            let mut definition = Definition::emoji();
            change(&mut definition);
            let error = definition.validate().unwrap_err();
            assert_eq!(error.field, field, "{error}");
        }
    }
}
