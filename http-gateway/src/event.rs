//! Reading a request's events: where each lies in the body, whether it has what its stream requires, and its key.
//!
//! Events are validated as they pass, no tree is built, and the body's bytes are what is stored. The first fault ends
//! the reading: a request is taken whole or not at all.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, ops::Range};

use crate::{config::StreamIngest, partitioner::murmur2, timestamp::parse_iso_8601};

/// Where one event lies in the request's body, and its key in the request's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSpan {
    pub value: Range<usize>,
    pub key: Range<usize>,
    /// `murmur2` of the key.
    pub hash: i32,
}

/// The events of one request.
#[derive(Debug, Default)]
pub struct Events {
    pub spans: Vec<EventSpan>,
    pub keys: Vec<u8>,
}

/// How a body holds its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One object, or an array of objects.
    Json,
    /// One object a line; blank lines are skipped.
    Ndjson,
}

/// What is wrong with a request's events. `index` counts events from 0, line and column from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventError {
    Empty,
    NotUtf8 { byte: usize },
    Syntax { reason: String, line: usize, column: usize, index: Option<usize> },
    Field { field: String, reason: String, index: Option<usize> },
    NotAnObject { index: Option<usize> },
    TooLarge { bytes: usize, limit: usize, index: Option<usize> },
}

/// A stream's required fields as a tree of names.
#[derive(Debug)]
pub struct Schema {
    fields: Vec<Field>,
    roots: Vec<Node>,
    /// Places in `fields` of what makes the key.
    key: Vec<usize>,
    max_event_bytes: usize,
}

#[derive(Debug)]
struct Field {
    path: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Timestamp,
}

#[derive(Debug)]
struct Node {
    name: String,
    /// The field that ends here.
    field: Option<usize>,
    children: Vec<Node>,
}

/// What a required field held.
#[derive(Debug, Clone, Default)]
enum Found<'de> {
    #[default]
    Nothing,
    Text(Cow<'de, str>),
    Integer(i64),
    Other(&'static str),
    Twice,
}

impl Schema {
    pub fn new(ingest: &StreamIngest, max_event_bytes: usize) -> Self {
        let text = |path: &String| Field { path: path.clone(), kind: Kind::Text };
        let mut fields: Vec<Field> = ingest.required.iter().map(text).collect();
        fields.push(Field { path: ingest.timestamp.clone(), kind: Kind::Timestamp });
        let mut roots = Vec::new();
        for (place, field) in fields.iter().enumerate() {
            plant(&mut roots, &field.path, place);
        }
        let key = ingest.key.iter().filter_map(|path| fields.iter().position(|field| field.path == *path)).collect();
        Self { fields, roots, key, max_event_bytes }
    }

    /// All events of a body, or the first fault.
    pub fn read(&self, format: Format, body: &[u8]) -> Result<Events, EventError> {
        let body = std::str::from_utf8(body).map_err(|error| EventError::NotUtf8 { byte: error.valid_up_to() })?;
        let mut reader = Reader { schema: self, body, events: Events::default(), found: Vec::new() };
        match format {
            Format::Ndjson => reader.lines()?,
            Format::Json if body.trim_start_matches(JSON_SPACE).starts_with('[') => reader.array()?,
            Format::Json => reader.document()?,
        }
        if reader.events.spans.is_empty() { Err(EventError::Empty) } else { Ok(reader.events) }
    }
}

const JSON_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

fn plant(nodes: &mut Vec<Node>, path: &str, field: usize) {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let place = nodes.iter().position(|node| node.name == name).unwrap_or_else(|| {
        nodes.push(Node { name: name.to_owned(), field: None, children: Vec::new() });
        nodes.len() - 1
    });
    let Some(node) = nodes.get_mut(place) else { return };
    match rest {
        Some(rest) => plant(&mut node.children, rest, field),
        None => node.field = Some(field),
    }
}

struct Reader<'de, 'schema> {
    schema: &'schema Schema,
    body: &'de str,
    events: Events,
    /// One place per field of the schema, emptied for each event.
    found: Vec<Found<'de>>,
}

impl<'de> Reader<'de, '_> {
    fn document(&mut self) -> Result<(), EventError> {
        if self.body.trim_matches(JSON_SPACE).is_empty() {
            return Ok(());
        }
        self.event(self.body, None, 1)
    }

    fn lines(&mut self) -> Result<(), EventError> {
        for (line, text) in (1..).zip(self.body.split('\n')) {
            if !text.trim_matches(JSON_SPACE).is_empty() {
                self.event(text, Some(self.events.spans.len()), line)?;
            }
        }
        Ok(())
    }

    fn array(&mut self) -> Result<(), EventError> {
        let mut deserializer = serde_json::Deserializer::from_str(self.body);
        let mut fault = None;
        let read = deserializer
            .deserialize_seq(Elements { reader: self, fault: &mut fault })
            .and_then(|()| deserializer.end());
        match (fault, read) {
            (Some(fault), _) => Err(fault),
            (None, Err(error)) => Err(syntax(&error, 1, Some(self.events.spans.len()))),
            (None, Ok(())) => Ok(()),
        }
    }

    /// One event in `text`, a part of the body that begins at `line`.
    fn event(&mut self, text: &'de str, index: Option<usize>, line: usize) -> Result<(), EventError> {
        let text = text.trim_matches(JSON_SPACE);
        if text.len() > self.schema.max_event_bytes {
            return Err(EventError::TooLarge { bytes: text.len(), limit: self.schema.max_event_bytes, index });
        }
        self.found.clear();
        self.found.resize(self.schema.fields.len(), Found::Nothing);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let seed = Object { nodes: &self.schema.roots, found: &mut self.found };
        let is_object = seed
            .deserialize(&mut deserializer)
            .and_then(|is_object| deserializer.end().map(|()| is_object))
            .map_err(|error| syntax(&error, line + lines_before(self.body, text, index), index))?;
        if !is_object {
            return Err(EventError::NotAnObject { index });
        }
        self.check_fields(index)?;
        self.keep(text);
        Ok(())
    }

    fn check_fields(&self, index: Option<usize>) -> Result<(), EventError> {
        for (field, found) in self.schema.fields.iter().zip(&self.found) {
            if let Some(reason) = wrong(field.kind, found) {
                return Err(EventError::Field { field: field.path.clone(), reason, index });
            }
        }
        Ok(())
    }

    fn keep(&mut self, text: &str) {
        let start = offset_in(self.body, text);
        let key_start = self.events.keys.len();
        for (nth, place) in self.schema.key.iter().enumerate() {
            if nth > 0 {
                self.events.keys.push(b'|');
            }
            if let Some(Found::Text(part)) = self.found.get(*place) {
                self.events.keys.extend_from_slice(part.as_bytes());
            }
        }
        let key = key_start..self.events.keys.len();
        let hash = murmur2(self.events.keys.get(key.clone()).unwrap_or_default());
        self.events.spans.push(EventSpan { value: start..start + text.len(), key, hash });
    }
}

/// `text` is a part of `body`.
fn offset_in(body: &str, text: &str) -> usize {
    text.as_ptr().addr().saturating_sub(body.as_ptr().addr())
}

/// Lines that were trimmed off before a lone document, which may begin with blank ones.
fn lines_before(body: &str, text: &str, index: Option<usize>) -> usize {
    match index {
        None => body.get(..offset_in(body, text)).map_or(0, |before| before.matches('\n').count()),
        Some(_) => 0,
    }
}

/// `first_line`: the line of the body on which the parser's line 1 lies.
fn syntax(error: &serde_json::Error, first_line: usize, index: Option<usize>) -> EventError {
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned();
    EventError::Syntax { reason, line: first_line + error.line().max(1) - 1, column: error.column().max(1), index }
}

fn wrong(kind: Kind, found: &Found<'_>) -> Option<String> {
    const TIME: &str = "must be a time: whole milliseconds since 1970, or a text such as 2024-07-15T12:34:56Z";
    let reason = match (kind, found) {
        (_, Found::Nothing) => "is missing".to_owned(),
        (_, Found::Twice) => "stands twice".to_owned(),
        (Kind::Text, Found::Text(text)) if text.is_empty() => "is empty".to_owned(),
        (Kind::Timestamp, Found::Text(text)) if parse_iso_8601(text).is_none() => TIME.to_owned(),
        (Kind::Timestamp, Found::Integer(..0)) => format!("{TIME}, not a negative number"),
        (Kind::Text, Found::Text(_)) | (Kind::Timestamp, Found::Text(_) | Found::Integer(_)) => return None,
        (Kind::Text, Found::Integer(_)) => "must be a text, not a number".to_owned(),
        (Kind::Text, Found::Other(what)) => format!("must be a text, not {what}"),
        (Kind::Timestamp, Found::Other(what)) => format!("{TIME}, not {what}"),
    };
    Some(reason)
}

/// The elements of an array, each validated when it is met.
struct Elements<'reader, 'de, 'schema> {
    reader: &'reader mut Reader<'de, 'schema>,
    fault: &'reader mut Option<EventError>,
}

impl<'de> Visitor<'de> for Elements<'_, 'de, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&RawValue>()? {
            let index = self.reader.events.spans.len();
            if let Err(fault) = self.reader.event(element.get(), Some(index), 1) {
                *self.fault = Some(fault);
                return Err(A::Error::custom("a bad event"));
            }
        }
        Ok(())
    }
}

/// An object of which some fields are wanted; false: it is something else.
struct Object<'seed, 'de> {
    nodes: &'seed [Node],
    found: &'seed mut [Found<'de>],
}

impl<'de> DeserializeSeed<'de> for Object<'_, 'de> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while let Some(node) = map.next_key_seed(Name(self.nodes))? {
            match node {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some(Node { field: Some(field), .. }) => {
                    let value = map.next_value_seed(Scalar)?;
                    if let Some(place) = self.found.get_mut(*field) {
                        *place = if matches!(place, Found::Nothing) { value } else { Found::Twice };
                    }
                }
                Some(Node { children, .. }) => {
                    map.next_value_seed(Object { nodes: children, found: self.found })?;
                }
            }
        }
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<bool, A::Error> {
        IgnoredAny.visit_seq(elements).map(|_| false)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
}

/// A field's name, looked up among the wanted ones.
struct Name<'seed>(&'seed [Node]);

impl<'de, 'seed> DeserializeSeed<'de> for Name<'seed> {
    type Value = Option<&'seed Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'seed> Visitor<'_> for Name<'seed> {
    type Value = Option<&'seed Node>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|node| node.name == name))
    }
}

/// The value of a wanted field.
struct Scalar;

impl<'de> DeserializeSeed<'de> for Scalar {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalar {
    type Value = Found<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Found<'de>, E> {
        Ok(Found::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Found<'de>, E> {
        Ok(Found::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Found<'de>, E> {
        Ok(Found::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Found<'de>, E> {
        Ok(i64::try_from(number).map_or(Found::Other("a number that large"), Found::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found<'de>, E> {
        Ok(Found::Other("a number with a fraction"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found<'de>, E> {
        Ok(Found::Other("a boolean"))
    }

    fn visit_unit<E>(self) -> Result<Found<'de>, E> {
        Ok(Found::Other("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Found<'de>, A::Error> {
        IgnoredAny.visit_seq(elements).map(|_| Found::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Found<'de>, A::Error> {
        IgnoredAny.visit_map(map).map(|_| Found::Other("an object"))
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
