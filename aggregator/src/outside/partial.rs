//! What one stage tells the other: partial counts of one source partition, and how far it has been read.
//!
//! One record of the partials topic each, as JSON; docs/aggregates.md describes it. A partial is a difference to what was
//! told before: each is in the log once, because it is committed with the offsets that it stands for.

use crate::{
    Definition,
    decision::Totals,
    measure::{Acc, Cell, Decimal, Distinct, Fastest, Stamp},
    slice::Slice,
};
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;
/// Groups in one record: what they take stays far below Kafka's default of 1 MB a record.
const PARTS_PER_RECORD: usize = 1_000;

/// The internal topic between the stages; one partition.
pub fn partials_topic(definition: &Definition) -> String {
    format!("{}-partials", definition.name)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    pub version: u32,
    pub fingerprint: String,
    /// The source partition.
    pub partition: usize,
    /// The first offset that is not yet in it.
    pub next: i64,
    /// Highest event time before `next`.
    pub watermark: Option<i64>,
    /// Since when the partition holds back no window.
    pub idle_since: Option<i64>,
    /// What was counted, late and bad, of all partitions of the instance, since its last partials.
    #[serde(default)]
    pub totals: Totals,
    pub parts: Vec<Part>,
}

/// Of one group, what counts in the windows that end from `first_end` to `last_end`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub first_end: i64,
    pub last_end: i64,
    /// Encoded by `group`, in hexadecimal digits.
    pub group: String,
    pub events: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<PartCell>,
}

/// A measure's accumulator. Numbers are in millionths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartCell {
    Count(u64),
    Sum(String),
    Least(Option<String>),
    Greatest(Option<String>),
    Mean(String, u64),
    /// Hashes.
    Distinct(Vec<u64>),
    /// A HyperLogLog sketch in the format of Apache DataSketches, in hexadecimal digits.
    Estimate(String),
    /// Time, partition, offset, value.
    Fastest(Vec<(i64, usize, i64, String)>),
}

/// Something in the partials topic that no stage of this definition wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a partial count cannot be read: {0}")]
pub struct UnreadablePartial(pub String);

impl Partial {
    /// Progress without counts.
    pub fn new(fingerprint: &str, partition: usize) -> Self {
        let fingerprint = fingerprint.to_owned();
        let (totals, parts) = (Totals::default(), Vec::new());
        Self { version: VERSION, fingerprint, partition, next: 0, watermark: None, idle_since: None, totals, parts }
    }

    pub fn add(&mut self, last_end: i64, slice: Slice) {
        for (group, first_end, acc) in slice.into_parts() {
            let cells = acc.cells.iter().map(PartCell::from).collect();
            self.parts.push(Part { first_end, last_end, group: hex(&group), events: acc.events, cells });
        }
    }

    /// As records' values, small enough each. The progress is said with the last of them: a watermark closes windows, and
    /// must not come before what it speaks of.
    pub fn into_json(mut self) -> Vec<Vec<u8>> {
        let mut parts = std::mem::take(&mut self.parts);
        parts.sort_by(|one, other| {
            (one.last_end, one.first_end, &one.group).cmp(&(other.last_end, other.first_end, &other.group))
        });
        let mut values = Vec::new();
        while parts.len() > PARTS_PER_RECORD {
            let rest = parts.split_off(PARTS_PER_RECORD);
            let parts = std::mem::replace(&mut parts, rest);
            values.push(Self { parts, ..Self::new(&self.fingerprint, self.partition) }.to_json());
        }
        self.parts = parts;
        values.push(self.to_json());
        values
    }

    fn to_json(&self) -> Vec<u8> {
        // Plain structs of numbers and strings always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn read(json: &[u8]) -> Result<Self, UnreadablePartial> {
        let partial: Self = serde_json::from_slice(json).map_err(|error| UnreadablePartial(error.to_string()))?;
        match partial.version {
            VERSION => Ok(partial),
            version => Err(UnreadablePartial(format!("version {version}, this Tifo knows {VERSION}"))),
        }
    }
}

impl Part {
    /// The encoded group and what is known of it, if all of it can be read. `empty` is of the same definition.
    pub fn unpack(&self, empty: Acc) -> Result<(Box<[u8]>, Acc), UnreadablePartial> {
        let wrong = |what: &str| UnreadablePartial(format!("{what} of group {}", self.group));
        let group = unhex(&self.group).ok_or_else(|| wrong("the bytes"))?;
        if self.cells.len() != empty.cells.len() {
            return Err(wrong("the number of measures"));
        }
        let cells = self.cells.iter().zip(empty.cells.iter()).map(|(part, empty)| part.unpack(empty));
        let cells: Option<Vec<Cell>> = cells.collect();
        Ok((group.into(), Acc { events: self.events, cells: cells.ok_or_else(|| wrong("a measure"))?.into() }))
    }
}

impl From<&Cell> for PartCell {
    fn from(cell: &Cell) -> Self {
        match cell {
            Cell::Count(count) => Self::Count(*count),
            Cell::Sum(sum) => Self::Sum(text(*sum)),
            Cell::Least(least) => Self::Least(least.map(text)),
            Cell::Greatest(greatest) => Self::Greatest(greatest.map(text)),
            Cell::Mean { sum, count } => Self::Mean(text(*sum), *count),
            Cell::Distinct(distinct) => match distinct.sketch_bytes() {
                Some(sketch) => Self::Estimate(hex(&sketch)),
                None => Self::Distinct(distinct.hashes()),
            },
            Cell::Fastest(fastest) => Self::Fastest(
                fastest
                    .entries()
                    .iter()
                    .map(|(stamp, value)| (stamp.time_ms, stamp.partition, stamp.offset, hex(value)))
                    .collect(),
            ),
        }
    }
}

impl PartCell {
    /// None: it is of another measure than `empty`.
    fn unpack(&self, empty: &Cell) -> Option<Cell> {
        Some(match (self, empty.clone()) {
            (Self::Count(count), Cell::Count(_)) => Cell::Count(*count),
            (Self::Sum(sum), Cell::Sum(_)) => Cell::Sum(number(sum)?),
            (Self::Least(least), Cell::Least(_)) => Cell::Least(optional(least)?),
            (Self::Greatest(greatest), Cell::Greatest(_)) => Cell::Greatest(optional(greatest)?),
            (Self::Mean(sum, count), Cell::Mean { .. }) => Cell::Mean { sum: number(sum)?, count: *count },
            (Self::Distinct(hashes), Cell::Distinct(mut distinct)) => {
                hashes.iter().for_each(|hash| distinct.insert(*hash));
                Cell::Distinct(distinct)
            }
            (Self::Estimate(sketch), Cell::Distinct(distinct)) => {
                Cell::Distinct(Distinct::of_sketch(&unhex(sketch)?, &distinct)?)
            }
            (Self::Fastest(entries), Cell::Fastest(fastest)) => Cell::Fastest(refilled(fastest, entries)?),
            _ => return None,
        })
    }
}

fn refilled(mut fastest: Fastest, entries: &[(i64, usize, i64, String)]) -> Option<Fastest> {
    for (time_ms, partition, offset, value) in entries {
        fastest.insert(Stamp { time_ms: *time_ms, partition: *partition, offset: *offset }, &unhex(value)?);
    }
    Some(fastest)
}

fn text(number: Decimal) -> String {
    i128::from_le_bytes(number.to_bytes()).to_string()
}

fn number(text: &str) -> Option<Decimal> {
    text.parse::<i128>().ok().map(|number| Decimal::from_bytes(number.to_le_bytes()))
}

fn optional(text: &Option<String>) -> Option<Option<Decimal>> {
    match text {
        None => Some(None),
        Some(text) => number(text).map(Some),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Measure, measure::Input, measure::Measures};

    /// A definition with every measure that has an accumulator, and the accumulator of some events.
    fn every_measure(users: u64) -> (Measures, Acc) {
        let texts = ["count() where a = 'x'", "sum(s)", "min(s)", "max(s)", "avg(s)", "distinct(u)", "fastest(3, u)"];
        let measure = texts.iter().enumerate().map(|(n, text)| (format!("m{n}"), Measure::parse(text).unwrap()));
        let measures = Measures::new(&Definition { measure: measure.collect(), ..Definition::emoji() });
        let mut acc = Acc::new(&measures);
        for user in 0..users {
            let number = Input::Number(Decimal::from_fraction(user as f64 / 3.0 - 9.0).unwrap());
            let hash = Input::Hash(user.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let value = Input::Value(Box::from(user.to_le_bytes()));
            let inputs = [Input::Presence, number.clone(), number.clone(), number.clone(), number, hash, value];
            let stamp = Stamp { time_ms: i64::try_from(users - user).unwrap(), partition: 2, offset: 7 };
            acc.take(&inputs, stamp);
        }
        (measures, acc)
    }

    #[test]
    fn every_measure_survives_the_way_through_a_record() {
        for users in [0, 1, 900, 5_000] {
            let (measures, acc) = every_measure(users);
            let cells = acc.cells.iter().map(PartCell::from).collect();
            let part = Part { first_end: 1, last_end: 2, group: hex(b"s\xff\0"), events: acc.events, cells };
            let read: Part = serde_json::from_slice(&serde_json::to_vec(&part).unwrap()).unwrap();
            let (group, unpacked) = read.unpack(Acc::new(&measures)).unwrap();
            assert_eq!((&*group, unpacked), (&b"s\xff\0"[..], acc), "{users} users");
            let other = Measures::new(&Definition::emoji());
            assert!(read.unpack(Acc::new(&other)).is_err(), "of another definition");
        }
    }

    #[test]
    fn a_watermark_is_said_with_the_last_of_the_counts() {
        let part = |number: usize| Part {
            first_end: 1,
            last_end: i64::try_from(number).unwrap(),
            group: String::new(),
            events: 1,
            cells: Vec::new(),
        };
        let parts: Vec<Part> = (0..PARTS_PER_RECORD * 2 + 1).rev().map(part).collect();
        let partial = Partial { next: 9, watermark: Some(5), parts, ..Partial::new("f", 3) };
        let values: Vec<Partial> = partial.into_json().iter().map(|json| Partial::read(json).unwrap()).collect();
        let progress: Vec<_> = values.iter().map(|value| (value.partition, value.next, value.watermark)).collect();
        assert_eq!(progress, [(3, 0, None), (3, 0, None), (3, 9, Some(5))]);
        let ends: Vec<i64> = values.iter().flat_map(|value| &value.parts).map(|part| part.last_end).collect();
        assert!(ends.is_sorted() && ends.len() == PARTS_PER_RECORD * 2 + 1);
        assert!(Partial::read(br#"{"version":2}"#).is_err() && Partial::read(b"x").is_err());
        assert_eq!((unhex("0g"), unhex("abc"), unhex("00ff")), (None, None, Some(vec![0, 255])));
    }
}
