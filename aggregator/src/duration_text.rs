//! Durations as people write them in the config file: `500ms`, `2s`, `10m`, `1h`, `7d`.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a whole number followed by a unit.
pub fn parse(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: u64 = digits.parse().map_err(|_| worded(text))?;
    let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(|| worded(text))?;
    number.checked_mul(*unit_ms).map(Duration::from_millis).ok_or_else(|| format!("`{text}` is too long a time"))
}

fn worded(text: &str) -> String {
    format!("`{text}` is not a duration: write a whole number and one of ms, s, m, h, d, as in `500ms` or `2s`")
}

/// The shortest text that [`parse`] reads back to the same duration (whole milliseconds).
pub fn format(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, unit_ms) = UNITS.iter().rev().find(|(_, unit_ms)| ms % unit_ms == 0).copied().unwrap_or(("ms", 1));
    if ms == 0 { "0ms".to_owned() } else { format!("{}{unit}", ms / unit_ms) }
}

pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}

/// The same for a time that may be missing.
pub mod optional {
    use super::{Deserializer, Duration, Serializer};

    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit_and_writes_it_back() {
        for (text, ms) in
            [("0ms", 0), ("500ms", 500), ("2s", 2_000), ("10m", 600_000), ("1h", 3_600_000), ("7d", 604_800_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)));
            assert_eq!(format(Duration::from_millis(ms)), text);
        }
        assert_eq!(parse("2 s"), Ok(Duration::from_secs(2)));
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["", "2", "s", "2 weeks", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615d"] {
            assert!(parse(text).is_err_and(|error| error.contains(text)), "{text}");
        }
    }
}
