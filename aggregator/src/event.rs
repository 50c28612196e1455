//! A record of the raw topic becomes an event time and a group, or the reason why it cannot.
//!
//! Pure: the verdict depends on the definition and the record alone, so that it is the same on every reading.

use crate::{
    Definition,
    definition::TimeSource,
    event_time,
    extract::{MAX_SLOTS, Plan, Slot, Slots, Unreadable, no_slots},
    group::{self, MAX_GROUP_BYTES},
};
use tifo_storage::record_batch::RecordRef;

/// Why a record goes to the bad topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// One word for programs: see docs/aggregates.md.
    pub reason: &'static str,
    /// For people: which field, and what about it.
    pub detail: String,
}

/// Reads one record after the other; keeps a buffer for the group.
#[derive(Debug)]
pub struct EventReader {
    plan: Plan,
    /// None: the record's timestamp is the event time.
    time_path: Option<String>,
    group_paths: Vec<String>,
    group: Vec<u8>,
}

impl EventReader {
    pub fn new(definition: &Definition) -> Self {
        let time_path = match &definition.time {
            TimeSource::Field(path) => Some(path.clone()),
            TimeSource::Append => None,
        };
        let group_paths = definition.group_by.clone();
        let plan = Plan::new(time_path.iter().chain(&group_paths).map(String::as_str));
        Self { plan, time_path, group_paths, group: Vec::with_capacity(MAX_GROUP_BYTES) }
    }

    /// The event time in ms; the group is in [`EventReader::group`] afterwards.
    pub fn read(&mut self, record: &RecordRef<'_>) -> Result<i64, Bad> {
        let Some(value) = record.value else {
            return Err(Bad { reason: "empty_value", detail: "the record has no value".to_owned() });
        };
        let mut slots = no_slots();
        self.plan.extract(value, &mut slots).map_err(unreadable)?;
        let time_ms = self.event_time(&slots, record)?;
        self.read_group(&slots)?;
        Ok(time_ms)
    }

    /// The encoded group of the event read last.
    pub fn group(&self) -> &[u8] {
        &self.group
    }

    fn event_time(&self, slots: &Slots<'_>, record: &RecordRef<'_>) -> Result<i64, Bad> {
        let (Some(path), [slot, ..]) = (&self.time_path, slots) else {
            return event_time::from_ms(record.timestamp_ms).ok_or_else(|| no_time("the record's timestamp"));
        };
        match slot {
            Slot::Integer(ms) => event_time::from_ms(*ms).ok_or_else(|| no_time(path)),
            Slot::Text(text) => event_time::from_text(text).ok_or_else(|| no_time(path)),
            other => Err(wrong(path, other, "a time")),
        }
    }

    fn read_group(&mut self, slots: &Slots<'_>) -> Result<(), Bad> {
        self.group.clear();
        let first = usize::from(self.time_path.is_some()).min(MAX_SLOTS);
        for (slot, path) in slots.iter().skip(first).zip(&self.group_paths) {
            if !group::encode(slot, &mut self.group) {
                return Err(wrong(path, slot, "a text, a whole number or a boolean"));
            }
            if self.group.len() > MAX_GROUP_BYTES {
                let detail = format!("the group is over {MAX_GROUP_BYTES} bytes at `{path}`");
                return Err(Bad { reason: "group_too_long", detail });
            }
        }
        Ok(())
    }
}

fn unreadable(error: Unreadable) -> Bad {
    match error {
        Unreadable::NotJson(detail) => Bad { reason: "not_json", detail },
        Unreadable::NotAnObject => Bad { reason: "not_json", detail: "the event is not a JSON object".to_owned() },
        Unreadable::TooDeep => Bad { reason: "too_deep", detail: "the event is nested too deep".to_owned() },
    }
}

fn no_time(path: &str) -> Bad {
    Bad { reason: "invalid_time", detail: format!("`{path}` is neither ms since the epoch nor ISO 8601") }
}

fn wrong(path: &str, slot: &Slot<'_>, wanted: &str) -> Bad {
    let found = match slot {
        Slot::Missing => return Bad { reason: "missing_field", detail: format!("`{path}` is missing") },
        Slot::Text(_) => "a text",
        Slot::Integer(_) => "a number",
        Slot::Boolean(_) => "a boolean",
        Slot::Other(what) => what,
    };
    Bad { reason: "wrong_type", detail: format!("`{path}` is {found}, not {wanted}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::group::{Value, values};
    use tifo_storage::record_batch::{BatchBuilder, Compression, batches};

    /// Reads a record with this value and the timestamp 99.
    fn read_with(reader: &mut EventReader, value: Option<&str>) -> Result<i64, Bad> {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(99, None, value.map(str::as_bytes), &[]);
        let batch = batches(builder.build()).next().unwrap().unwrap();
        let records = batch.open(usize::MAX).unwrap();
        let record = records.iter().next().unwrap().unwrap();
        reader.read(&record)
    }

    fn read(value: &str) -> Result<(i64, Vec<u8>), Bad> {
        let mut reader = EventReader::new(&Definition::emoji());
        read_with(&mut reader, Some(value)).map(|time| (time, reader.group().to_vec()))
    }

    #[test]
    fn reads_time_and_group() {
        for time in ["7000", "\"7000\"", "\"1970-01-01T00:00:07Z\""] {
            let event = format!(r#"{{"timestamp":{time},"channel_id":"c","metadata":{{"reaction":"😃"}}}}"#);
            let (time_ms, group) = read(&event).unwrap();
            assert_eq!(time_ms, 7_000);
            assert_eq!(values(&group).collect::<Vec<_>>(), [Value::Text("c"), Value::Text("😃")]);
        }
    }

    #[test]
    fn by_append_time_the_field_is_not_needed() {
        let definition =
            Definition { time: TimeSource::Append, group_by: vec!["n".into(), "flag".into()], ..Definition::emoji() };
        let mut reader = EventReader::new(&definition);
        assert_eq!(read_with(&mut reader, Some(r#"{"flag":true,"n":1,"timestamp":"x"}"#)), Ok(99));
        assert_eq!(values(reader.group()).collect::<Vec<_>>(), [Value::Integer(1), Value::Boolean(true)]);
    }

    #[test]
    fn says_why_an_event_is_bad() {
        let long = "x".repeat(MAX_GROUP_BYTES);
        let cases = [
            ("not json".to_owned(), "not_json", ""),
            ("[]".to_owned(), "not_json", "not a JSON object"),
            ("[".repeat(500), "too_deep", ""),
            (r#"{"channel_id":"c","metadata":{"reaction":"r"}}"#.to_owned(), "missing_field", "`timestamp` is missing"),
            (r#"{"timestamp":1,"channel_id":"c"}"#.to_owned(), "missing_field", "`metadata.reaction` is missing"),
            (
                r#"{"timestamp":1,"channel_id":null,"metadata":{"reaction":"r"}}"#.to_owned(),
                "wrong_type",
                "`channel_id` is null",
            ),
            (
                r#"{"timestamp":true,"channel_id":"c","metadata":{"reaction":"r"}}"#.to_owned(),
                "wrong_type",
                "`timestamp` is a boolean",
            ),
            (
                r#"{"timestamp":"soon","channel_id":"c","metadata":{"reaction":"r"}}"#.to_owned(),
                "invalid_time",
                "`timestamp`",
            ),
            (
                r#"{"timestamp":9223372036854775807,"channel_id":"c","metadata":{"reaction":"r"}}"#.to_owned(),
                "invalid_time",
                "",
            ),
            (
                format!(r#"{{"timestamp":1,"channel_id":"{long}","metadata":{{"reaction":"r"}}}}"#),
                "group_too_long",
                "`channel_id`",
            ),
        ];
        for (event, reason, detail) in cases {
            let bad = read(&event).unwrap_err();
            assert_eq!(bad.reason, reason, "{bad:?}");
            assert!(bad.detail.contains(detail), "{bad:?}");
        }
        let empty = read_with(&mut EventReader::new(&Definition::emoji()), None);
        assert_eq!(empty.unwrap_err().reason, "empty_value");
    }
}
