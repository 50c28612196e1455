//! `time`, and the texts in which a definition names moments: where an event's time comes from.

use crate::event_time;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error, de::IgnoredAny};

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

/// A moment in event time: ISO 8601 or ms since the epoch as a text, kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    pub ms: i64,
    text: String,
}

impl Moment {
    pub fn parse(text: &str) -> Result<Self, String> {
        let ms = event_time::from_text(text).ok_or_else(|| {
            format!("`{text}` is no time: write ISO 8601, as in `2026-06-11T20:00:00Z`, or ms as a text")
        })?;
        Ok(Self { ms, text: text.to_owned() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}
