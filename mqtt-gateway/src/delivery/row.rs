//! A record of the aggregate topic as delivery understands it: a group of a window, or a whole window with its top within.
//!
//! The stream's format says which fields name the channel and the group, and by which measure shares are taken; all other
//! fields are measures and go through as they are. docs/aggregates.md describes the rows.

use serde_json::{Map, Value};

/// The channel of a stream whose rows name none.
pub const WHOLE_STREAM: &str = "all";
/// Fields of a row that are neither group nor measure.
const FRAME_FIELDS: [&str; 6] = ["window_start", "window_end", "rev", "final", "total", "groups"];
const TOP: &str = "top";

/// What a stream's rows look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// The field that names the channel; none: the whole stream is one.
    pub channel_field: Option<String>,
    /// The fields that tell a channel's groups apart.
    pub group_fields: Vec<String>,
    /// Shares are of this measure.
    pub measure: String,
}

/// The window that a record tells of, and how often it was told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Telling {
    pub window_end: i64,
    pub window_start: i64,
    /// 0: as it was before its end; 1: closed; 2 and more: corrected.
    pub stage: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub telling: Telling,
    pub channel: String,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Group(Group),
    Window { total: u64, groups: u64, top: Vec<Group> },
}

/// One group with its measures.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The values of the group's fields, joined by `|`.
    pub label: String,
    /// The group's fields, then its measures by name.
    pub fields: Vec<(String, Value)>,
    /// The measure that shares are of; never negative.
    pub amount: f64,
}

/// Why a record is no row of this stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("not a JSON object: {0}")]
    NotAnObject(String),
    #[error("field `{0}` is missing or of another type")]
    Field(String),
}

impl Telling {
    pub fn is_final(self) -> bool {
        self.stage > 0
    }

    /// Corrections so far.
    pub fn revision(self) -> u64 {
        self.stage.saturating_sub(1)
    }

    pub fn is_of_same_window(self, other: Self) -> bool {
        (self.window_start, self.window_end) == (other.window_start, other.window_end)
    }
}

impl Format {
    pub fn read(&self, value: &[u8]) -> Result<Record, RowError> {
        let mut row: Map<String, Value> =
            serde_json::from_slice(value).map_err(|error| RowError::NotAnObject(error.to_string()))?;
        let channel = match &self.channel_field {
            Some(field) => row.remove(field).as_ref().and_then(text).ok_or_else(|| missing(field))?,
            None => WHOLE_STREAM.to_owned(),
        };
        let telling = telling(&row)?;
        let content = match row.remove(TOP) {
            Some(Value::Array(top)) => Content::Window {
                total: number(&row, "total")?,
                groups: number(&row, "groups")?,
                top: top.into_iter().map(|entry| self.entry(entry)).collect::<Result<_, _>>()?,
            },
            _ => Content::Group(self.group(row)?),
        };
        Ok(Record { telling, channel, content })
    }

    fn entry(&self, entry: Value) -> Result<Group, RowError> {
        match entry {
            Value::Object(entry) => self.group(entry),
            _ => Err(missing(TOP)),
        }
    }

    fn group(&self, mut row: Map<String, Value>) -> Result<Group, RowError> {
        FRAME_FIELDS.iter().for_each(|field| drop(row.remove(*field)));
        let (mut labels, mut fields) = (Vec::new(), Vec::new());
        for field in &self.group_fields {
            let value = row.remove(field).ok_or_else(|| missing(field))?;
            labels.push(text(&value).ok_or_else(|| missing(field))?);
            fields.push((field.clone(), value));
        }
        let amount = row.get(&self.measure).ok_or_else(|| missing(&self.measure))?;
        // A measure of no events is null.
        let amount = amount.as_f64().unwrap_or_default().max(0.0);
        fields.extend(row);
        Ok(Group { label: labels.join("|"), fields, amount })
    }
}

fn telling(row: &Map<String, Value>) -> Result<Telling, RowError> {
    let time = |field: &str| row.get(field).and_then(Value::as_i64).ok_or_else(|| missing(field));
    let is_final = row.get("final").and_then(Value::as_bool).unwrap_or(true);
    let revision = row.get("rev").and_then(Value::as_u64).unwrap_or_default();
    let stage = if is_final { revision.saturating_add(1) } else { 0 };
    Ok(Telling { window_end: time("window_end")?, window_start: time("window_start")?, stage })
}

fn number(row: &Map<String, Value>, field: &str) -> Result<u64, RowError> {
    row.get(field).and_then(Value::as_u64).ok_or_else(|| missing(field))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn missing(field: &str) -> RowError {
    RowError::Field(field.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn format(channel: Option<&str>, groups: &[&str]) -> Format {
        Format {
            channel_field: channel.map(str::to_owned),
            group_fields: groups.iter().map(|field| (*field).to_owned()).collect(),
            measure: "count".into(),
        }
    }

    #[test]
    fn a_group_keeps_its_fields_and_all_its_measures() {
        let row = br#"{"window_start":1,"window_end":3,"channel_id":"c","reaction":"x","users":2,"count":5,"rev":2,"final":true}"#;
        let record = format(Some("channel_id"), &["reaction"]).read(row).unwrap();
        assert_eq!(record.telling, Telling { window_end: 3, window_start: 1, stage: 3 });
        assert_eq!((record.channel.as_str(), record.telling.revision()), ("c", 2));
        let Content::Group(group) = record.content else { panic!("{record:?}") };
        assert_eq!((group.label.as_str(), group.amount), ("x", 5.0));
        let fields = [("reaction", json!("x")), ("count", json!(5)), ("users", json!(2))];
        assert_eq!(group.fields, fields.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn a_row_without_channel_is_of_the_whole_stream_and_a_group_may_have_several_fields() {
        let row = br#"{"window_start":1,"window_end":3,"team":"a","round":7,"count":5,"rev":0,"final":false}"#;
        let record = format(None, &["team", "round"]).read(row).unwrap();
        assert_eq!((record.channel.as_str(), record.telling.is_final()), (WHOLE_STREAM, false));
        let Content::Group(group) = record.content else { panic!("{record:?}") };
        assert_eq!(group.label, "a|7");
    }

    #[test]
    fn a_window_brings_its_top() {
        let row = r#"{"window_start":1,"window_end":3,"channel_id":"c","total":9,"groups":3,"top":[{"reaction":"😂","count":5}],"rev":0,"final":true}"#;
        let record = format(Some("channel_id"), &["reaction"]).read(row.as_bytes()).unwrap();
        let Content::Window { total, groups, top } = record.content else { panic!("{record:?}") };
        assert_eq!((total, groups, top.len(), top[0].amount), (9, 3, 1, 5.0));
    }

    #[test]
    fn what_is_no_row_is_named() {
        let format = format(Some("channel_id"), &["reaction"]);
        assert!(matches!(format.read(b"[]"), Err(RowError::NotAnObject(_))));
        for (row, field) in [
            (r#"{"window_start":1}"#, "channel_id"),
            (r#"{"channel_id":"c","window_start":1}"#, "window_end"),
            (r#"{"channel_id":{},"window_start":1}"#, "channel_id"),
            (r#"{"channel_id":"c","window_start":1,"window_end":2,"count":1}"#, "reaction"),
            (r#"{"channel_id":"c","window_start":1,"window_end":2,"reaction":"x"}"#, "count"),
            (r#"{"channel_id":"c","window_start":1,"window_end":2,"top":[1],"total":1,"groups":1}"#, "top"),
        ] {
            assert_eq!(format.read(row.as_bytes()), Err(missing(field)), "{row}");
        }
    }
}
