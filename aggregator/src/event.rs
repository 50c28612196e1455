//! A record of the raw topic becomes an event time, a group and what the measures need, or the reason why it cannot.
//!
//! Pure: the verdict depends on the definition and the record alone, so that it is the same on every reading.

use crate::{
    Definition,
    definition::{Condition, Function, Literal, TimeSource},
    event_time,
    extract::{MAX_SLOTS, Plan, Slot, Slots, Unreadable, no_slots},
    first_look::FirstLook,
    group::{self, MAX_GROUP_BYTES},
    hint::Hints,
    measure::{CellPlan, Decimal, Input, Measures},
};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use tifo_storage::record_batch::RecordRef;

/// As many as most aggregates read of an event.
const FEW_FIELDS: usize = 4;

/// Why a record goes to the bad topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// One word for programs: see docs/aggregates.md.
    pub reason: &'static str,
    /// For people: which field, and what about it.
    pub detail: String,
}

/// A wanted field: its slot in the plan, its path for messages.
#[derive(Debug, Clone)]
struct Field {
    slot: usize,
    path: String,
}

/// What one cell of the measures reads.
#[derive(Debug)]
struct CellFields {
    plan: CellPlan,
    value: Option<Field>,
    condition: Option<(Field, Literal)>,
}

/// Who votes: by which fields an event is told apart from others of the same window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Voter {
    /// Hash of the fields of `dedup`.
    pub dedup: u128,
    /// Hash of the fields of `limit`.
    pub limit: u128,
}

/// Reads one record after the other; keeps buffers for what it finds.
#[derive(Debug)]
pub struct EventReader {
    plan: Plan,
    /// Different ones.
    field_count: usize,
    hints: Hints,
    look: FirstLook,
    /// None: the record's timestamp is the event time.
    time: Option<Field>,
    group_by: Vec<Field>,
    cells: Vec<CellFields>,
    dedup: Vec<Field>,
    limit: Vec<Field>,
    group: Vec<u8>,
    inputs: Vec<Input>,
    voter: Voter,
    scratch: Vec<u8>,
}

/// Gives each different path a slot.
#[derive(Default)]
struct Fields(Vec<String>);

impl Fields {
    fn add(&mut self, path: &str) -> Field {
        let slot = self.0.iter().position(|known| known == path).unwrap_or_else(|| {
            self.0.push(path.to_owned());
            self.0.len() - 1
        });
        Field { slot, path: path.to_owned() }
    }

    fn add_all<'p>(&mut self, paths: impl IntoIterator<Item = &'p String>) -> Vec<Field> {
        paths.into_iter().map(|path| self.add(path)).collect()
    }

    fn add_cell(&mut self, plan: &CellPlan) -> CellFields {
        let value = plan.function.path().map(|path| self.add(path));
        let condition = plan.condition.as_ref().map(|Condition { path, literal }| (self.add(path), literal.clone()));
        CellFields { plan: plan.clone(), value, condition }
    }
}

impl EventReader {
    pub fn new(definition: &Definition) -> Self {
        let mut fields = Fields::default();
        let time = match &definition.time {
            TimeSource::Field(path) => Some(fields.add(path)),
            TimeSource::Append => None,
        };
        let group_by = fields.add_all(&definition.group_by);
        let cells = Measures::new(definition).cells.iter().map(|plan| fields.add_cell(plan)).collect();
        let dedup = definition.dedup.as_ref().map(|dedup| fields.add_all(dedup.by.as_slice())).unwrap_or_default();
        let limit = definition.limit.as_ref().map(|limit| fields.add_all(limit.by.as_slice())).unwrap_or_default();
        let plan = Plan::new(fields.0.iter().map(String::as_str));
        let (group, scratch) = (Vec::with_capacity(MAX_GROUP_BYTES), Vec::with_capacity(MAX_GROUP_BYTES));
        let voter = Voter::default();
        let (hints, look) = (Hints::default(), FirstLook::new(&fields.0));
        Self {
            plan,
            field_count: fields.0.len(),
            hints,
            look,
            time,
            group_by,
            cells,
            dedup,
            limit,
            group,
            inputs: Vec::new(),
            voter,
            scratch,
        }
    }

    /// The event time in ms; group, inputs and voter can be asked for afterwards.
    pub fn read(&mut self, record: &RecordRef<'_>) -> Result<i64, Bad> {
        match self.field_count {
            ..=FEW_FIELDS => self.read_into(record, &mut no_slots::<FEW_FIELDS>()),
            _ => self.read_into(record, &mut no_slots::<MAX_SLOTS>()),
        }
    }

    #[inline]
    fn read_into<'a>(&mut self, record: &RecordRef<'a>, slots: &mut Slots<'a>) -> Result<i64, Bad> {
        let Some(value) = record.value else {
            return Err(Bad { reason: "empty_value", detail: "the record has no value".to_owned() });
        };
        if !self.hints.read(value, slots) {
            self.plan.extract(value, slots).map_err(unreadable)?;
            self.hints.learn(&self.plan, value, slots);
        }
        if !self.look.is_over() {
            self.look.take(value, slots);
        }
        let time_ms = self.event_time(slots, record)?;
        self.read_group(slots)?;
        self.inputs.clear();
        for cell in &self.cells {
            self.inputs.push(cell.input(slots, &mut self.scratch)?);
        }
        self.voter = Voter {
            dedup: voter_hash(&self.dedup, slots, &mut self.scratch)?,
            limit: voter_hash(&self.limit, slots, &mut self.scratch)?,
        };
        Ok(time_ms)
    }

    /// That a field which every event must have is in none so far.
    pub fn warning(&self) -> Option<String> {
        let needed: Vec<&str> = self.time.iter().chain(&self.group_by).map(|field| field.path.as_str()).collect();
        self.look.warning(&needed)
    }

    /// So many events have been seen that a warning is more than a guess.
    pub fn knows_events(&self) -> bool {
        self.look.is_over()
    }

    /// The encoded group of the event read last.
    pub fn group(&self) -> &[u8] {
        &self.group
    }

    /// What the event read last contributes, one entry per cell of the measures.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    pub fn voter(&self) -> Voter {
        self.voter
    }

    fn event_time(&self, slots: &Slots<'_>, record: &RecordRef<'_>) -> Result<i64, Bad> {
        let Some(field) = &self.time else {
            return event_time::from_ms(record.timestamp_ms).ok_or_else(|| no_time("the record's timestamp"));
        };
        match field.slot(slots) {
            Slot::Integer(ms) => event_time::from_ms(*ms).ok_or_else(|| no_time(&field.path)),
            Slot::Text(text) => {
                let text = std::str::from_utf8(text).ok();
                text.and_then(event_time::from_text).ok_or_else(|| no_time(&field.path))
            }
            other => Err(wrong(&field.path, other, "a time")),
        }
    }

    fn read_group(&mut self, slots: &Slots<'_>) -> Result<(), Bad> {
        self.group.clear();
        for field in &self.group_by {
            field.encode(slots, &mut self.group)?;
            if self.group.len() > MAX_GROUP_BYTES {
                let detail = format!("the group is over {MAX_GROUP_BYTES} bytes at `{}`", field.path);
                return Err(Bad { reason: "group_too_long", detail });
            }
        }
        Ok(())
    }
}

impl Field {
    fn slot<'s, 'a>(&self, slots: &'s Slots<'a>) -> &'s Slot<'a> {
        slots.get(self.slot).unwrap_or(&Slot::Missing)
    }

    fn encode(&self, slots: &Slots<'_>, into: &mut Vec<u8>) -> Result<(), Bad> {
        let slot = self.slot(slots);
        if group::encode(slot, into) {
            Ok(())
        } else {
            Err(wrong(&self.path, slot, "a text, a whole number or a boolean"))
        }
    }
}

impl CellFields {
    fn input(&self, slots: &Slots<'_>, scratch: &mut Vec<u8>) -> Result<Input, Bad> {
        if self.condition.as_ref().is_some_and(|(field, literal)| !equals(field.slot(slots), literal)) {
            return Ok(Input::Nothing);
        }
        let Some(field) = &self.value else { return Ok(Input::Presence) };
        match self.plan.function {
            Function::Distinct(_) => {
                scratch.clear();
                field.encode(slots, scratch)?;
                Ok(Input::Hash(hash(scratch).h1))
            }
            Function::Fastest { .. } => {
                scratch.clear();
                field.encode(slots, scratch)?;
                if scratch.len() > MAX_GROUP_BYTES {
                    let detail = format!("`{}` is over {MAX_GROUP_BYTES} bytes", field.path);
                    return Err(Bad { reason: "value_too_long", detail });
                }
                Ok(Input::Value(scratch.as_slice().into()))
            }
            _ => number(field, slots).map(Input::Number),
        }
    }
}

fn number(field: &Field, slots: &Slots<'_>) -> Result<Decimal, Bad> {
    match field.slot(slots) {
        Slot::Integer(number) => Ok(Decimal::from_integer(*number)),
        Slot::Fraction(number) => Decimal::from_fraction(*number).ok_or_else(|| Bad {
            reason: "wrong_type",
            detail: format!("`{}` is {number}, too large a number", field.path),
        }),
        other => Err(wrong(&field.path, other, "a number")),
    }
}

fn equals(slot: &Slot<'_>, literal: &Literal) -> bool {
    match (slot, literal) {
        (Slot::Text(text), Literal::Text(wanted)) => **text == *wanted.as_bytes(),
        (Slot::Integer(number), Literal::Integer(wanted)) => number == wanted,
        (Slot::Boolean(flag), Literal::Boolean(wanted)) => flag == wanted,
        _ => false,
    }
}

/// Of the fields' values, each encoded so that no two lists of values are alike; 0 if nobody asks.
fn voter_hash(fields: &[Field], slots: &Slots<'_>, scratch: &mut Vec<u8>) -> Result<u128, Bad> {
    if fields.is_empty() {
        return Ok(0);
    }
    scratch.clear();
    fields.iter().try_for_each(|field| field.encode(slots, scratch))?;
    Ok(hash(scratch).as_u128())
}

/// With a fixed key: equal on every reading. 128 bits, so that no voter is taken for another.
fn hash(bytes: &[u8]) -> siphasher::sip128::Hash128 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish128()
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
        Slot::Fraction(_) => "a number with a fraction",
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
