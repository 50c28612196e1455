//! The few fields that an aggregate needs, taken from a JSON event in one pass that checks the whole text.
//!
//! No document is built: a visitor walks the text along a small tree of wanted names, everything else is skipped with
//! validation. Repeated names: the last one holds, as in every common JSON library. It never judges what a
//! field means; that is `event`'s job.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, fmt};

/// Fields of one plan: the event time, the group, what is measured, who votes.
pub const MAX_SLOTS: usize = crate::definition::MAX_FIELDS;
/// Objects and arrays within one another. The parser recurses; a deeper event is not readable.
pub const MAX_NESTING: usize = 128;

/// What stands at a wanted path.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Slot<'a> {
    #[default]
    Missing,
    /// Always UTF-8: bytes are all that counting needs of it.
    Text(Cow<'a, [u8]>),
    Integer(i64),
    Boolean(bool),
    /// A number with a fraction or an exponent.
    Fraction(f64),
    /// null, a huge whole number, an object or an array: the word says which.
    Other(&'static str),
}

/// One for each path of a plan, or more.
pub type Slots<'a> = [Slot<'a>];

/// Why an event cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    NotJson(String),
    NotAnObject,
    TooDeep,
}

/// The wanted paths as a tree; node 0 is the event itself. A path's position is its slot.
#[derive(Debug, Clone)]
pub struct Plan {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    children: Vec<(Box<str>, Child)>,
    /// Every slot below, to be forgotten when the object is repeated.
    slots: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Child {
    Slot(usize),
    Node(usize),
}

/// What a plan wants of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Nothing,
    Slot(usize),
    /// Some of its fields; 0 is the event itself.
    Object(usize),
}

impl Plan {
    /// `paths` have passed `Definition::validate`: at most [`MAX_SLOTS`], none a prefix of another.
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p str>) -> Self {
        let mut plan = Self { nodes: vec![Node::default()] };
        for (slot, path) in paths.into_iter().take(MAX_SLOTS).enumerate() {
            plan.insert(slot, path);
        }
        plan
    }

    fn insert(&mut self, slot: usize, path: &str) {
        let mut at = 0;
        let mut segments = path.split('.').peekable();
        while let Some(segment) = segments.next() {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            node.slots.push(slot);
            if segments.peek().is_none() {
                node.children.push((segment.into(), Child::Slot(slot)));
                return;
            }
            let known = node.children.iter().find_map(|(name, child)| match child {
                Child::Node(index) if **name == *segment => Some(*index),
                _ => None,
            });
            if known.is_none() {
                node.children.push((segment.into(), Child::Node(next)));
                self.nodes.push(Node::default());
            }
            at = known.unwrap_or(next);
        }
    }

    /// What is wanted of the field with this name in an object of [`Wanted::Object`].
    pub fn wanted(&self, object: usize, name: &[u8]) -> Wanted {
        match self.nodes.get(object).and_then(|node| node.child(name)) {
            None => Wanted::Nothing,
            Some(Child::Slot(slot)) => Wanted::Slot(slot),
            Some(Child::Node(node)) => Wanted::Object(node),
        }
    }

    /// Fills one slot per path.
    pub fn extract<'a>(&self, json: &'a [u8], slots: &mut Slots<'a>) -> Result<(), Unreadable> {
        if nests_too_deep(json) {
            return Err(Unreadable::TooDeep);
        }
        let text = std::str::from_utf8(json).map_err(|error| Unreadable::NotJson(error.to_string()))?;
        let mut deserializer = sonic_rs::Deserializer::from_str(text);
        let Some(node) = self.nodes.first() else { return Ok(()) };
        ObjectSeed { plan: self, node, slots }
            .deserialize(&mut deserializer)
            .and_then(|is_object| deserializer.end().map(|()| is_object))
            .map_err(|error| Unreadable::NotJson(first_line(&error)))
            .and_then(|is_object| if is_object { Ok(()) } else { Err(Unreadable::NotAnObject) })
    }
}

impl Node {
    fn child(&self, name: &[u8]) -> Option<Child> {
        self.children.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, child)| *child)
    }
}

/// Every slot missing.
pub fn no_slots<'a, const N: usize>() -> [Slot<'a>; N] {
    [const { Slot::Missing }; N]
}

/// The parser's message quotes the text over several lines; the first says what is wrong and where.
fn first_line(error: &sonic_rs::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Few brackets cannot nest deep: that is all that an ordinary event costs here.
fn nests_too_deep(json: &[u8]) -> bool {
    json.len() > MAX_NESTING && brackets(json) > MAX_NESTING && nesting(json) > MAX_NESTING
}

/// `[` and `{`, which differ in one bit. Counted in bytes over short runs, which the compiler turns into vectors.
fn brackets(json: &[u8]) -> usize {
    let in_run = |run: &[u8]| run.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    json.chunks(usize::from(u8::MAX)).map(|run| usize::from(in_run(run))).sum()
}

/// How deep a parser would get, brackets in strings apart.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Reads one value; true if it was an object.
struct ObjectSeed<'p, 's, 'a> {
    plan: &'p Plan,
    node: &'p Node,
    slots: &'s mut Slots<'a>,
}

impl<'a> DeserializeSeed<'a> for ObjectSeed<'_, '_, 'a> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<bool, D::Error> {
        for slot in &self.node.slots {
            set(self.slots, *slot, Slot::Missing);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ObjectSeed<'_, '_, 'a> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<bool, A::Error> {
        while let Some(child) = map.next_key_seed(KeySeed(self.node))? {
            match child {
                Some(Child::Slot(slot)) => {
                    let value = map.next_value_seed(SlotSeed)?;
                    set(self.slots, slot, value);
                }
                Some(Child::Node(index)) => {
                    let node = self.plan.nodes.get(index).ok_or_else(|| A::Error::custom("no such node"))?;
                    map.next_value_seed(ObjectSeed { plan: self.plan, node, slots: &mut *self.slots })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut sequence: A) -> Result<bool, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
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

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
}

fn set<'a>(slots: &mut Slots<'a>, slot: usize, value: Slot<'a>) {
    if let Some(place) = slots.get_mut(slot) {
        *place = value;
    }
}

/// Which wanted child a name is, if any.
struct KeySeed<'p>(&'p Node);

impl<'a> DeserializeSeed<'a> for KeySeed<'_> {
    type Value = Option<Child>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<Child>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.child(name.as_bytes()))
    }
}

/// Reads the value of a wanted field.
struct SlotSeed;

impl<'a> DeserializeSeed<'a> for SlotSeed {
    type Value = Slot<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Slot<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for SlotSeed {
    type Value = Slot<'a>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Slot<'a>, E> {
        Ok(Slot::Text(Cow::Borrowed(text.as_bytes())))
    }

    fn visit_str<E>(self, text: &str) -> Result<Slot<'a>, E> {
        Ok(Slot::Text(Cow::Owned(text.as_bytes().to_owned())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Slot<'a>, E> {
        Ok(Slot::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Slot<'a>, E> {
        Ok(i64::try_from(number).map_or(Slot::Other("a number over 2^63"), Slot::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Slot<'a>, E> {
        Ok(Slot::Fraction(number))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Slot<'a>, E> {
        Ok(Slot::Boolean(value))
    }

    fn visit_unit<E>(self) -> Result<Slot<'a>, E> {
        Ok(Slot::Other("null"))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Slot<'a>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Slot::Other("an object"))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut sequence: A) -> Result<Slot<'a>, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Slot::Other("an array"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn plan() -> Plan {
        Plan::new(["timestamp", "channel_id", "metadata.reaction"])
    }

    fn extract(json: &[u8]) -> Result<[Slot<'_>; MAX_SLOTS], Unreadable> {
        let mut slots = no_slots();
        plan().extract(json, &mut slots).map(|()| slots)
    }

    fn slots(json: &str) -> [Slot<'_>; 3] {
        let [time, channel, reaction, ..] = extract(json.as_bytes()).unwrap();
        [time, channel, reaction]
    }

    fn text(text: &str) -> Slot<'_> {
        Slot::Text(Cow::Borrowed(text.as_bytes()))
    }

    #[test]
    fn finds_fields_by_path_in_any_order() {
        let expected = [Slot::Integer(7), text("c"), text("r")];
        for json in [
            r#"{"timestamp":7,"channel_id":"c","metadata":{"reaction":"r"}}"#,
            r#" {"metadata" : {"x":[{"reaction":"no"}],"reaction":"r"} , "channel_id":"c","timestamp":7} "#,
            r#"{"reaction":"no","deep":{"metadata":{"reaction":"no"},"timestamp":1},"metadata":{"reaction":"r","channel_id":"no"},"channel_id":"c","timestamp":7}"#,
            r#"{"channel_id":"no","timestamp":"no","metadata":{"reaction":"no"},"metadata":{"reaction":"r"},"timestamp":7,"channel_id":"c"}"#,
            r#"{"\u0074imestamp":7,"channel\u005fid":"\u0063","metadata":{"reacti\u006fn":"\u0072"}}"#,
        ] {
            assert_eq!(slots(json), expected, "{json}");
        }
    }

    #[test]
    fn a_repeated_object_forgets_the_first() {
        assert_eq!(slots(r#"{"metadata":{"reaction":"r"},"metadata":{}}"#)[2], Slot::Missing);
        assert_eq!(slots(r#"{"metadata":{"reaction":"r"},"metadata":[{"reaction":"q"}]}"#)[2], Slot::Missing);
        assert_eq!(slots(r#"{"metadata":{"reaction":"r"},"metadata":null}"#)[2], Slot::Missing);
    }

    #[test]
    fn tells_types_apart() {
        for (json, expected) in [
            ("true", Slot::Boolean(true)),
            ("-3", Slot::Integer(-3)),
            ("1.0", Slot::Fraction(1.0)),
            ("-2.5e3", Slot::Fraction(-2_500.0)),
            ("9223372036854775808", Slot::Other("a number over 2^63")),
            ("null", Slot::Other("null")),
            ("[1,{}]", Slot::Other("an array")),
            (r#"{"a":[1]}"#, Slot::Other("an object")),
            (r#""\ud83d\ude03""#, text("😃")),
        ] {
            assert_eq!(slots(&format!(r#"{{"channel_id":{json}}}"#))[1], expected, "{json}");
        }
    }

    #[test]
    fn the_whole_text_must_be_json() {
        for json in [
            "",
            " ",
            "{",
            "nul",
            r#"{"channel_id":"c"} x"#,
            r#"{"channel_id":"c"}}"#,
            r#"{"a":tru,"channel_id":"c"}"#,
            r#"{"channel_id":"c","x":"\x"}"#,
            r#"{"channel_id":"c",}"#,
            r#"{"channel_id":"c" "x":1}"#,
            r#"{"x":01}"#,
            r#"{"x":[1,]}"#,
            "{\"channel_id\":\"c\",\"x\":\"\u{1}\"}",
            r#"{"channel_id":"\ud83d"}"#,
        ] {
            assert!(matches!(extract(json.as_bytes()), Err(Unreadable::NotJson(_))), "{json}");
        }
        assert!(matches!(extract(b"{\"x\":\"\xff\"}"), Err(Unreadable::NotJson(_))));
        for json in ["[]", "7", "\"channel_id\"", "null", "true", "1.5", "[{\"channel_id\":\"c\"}]"] {
            assert_eq!(extract(json.as_bytes()), Err(Unreadable::NotAnObject), "{json}");
        }
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested =
            |depth: usize| format!("{{\"channel_id\":\"c\",\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(slots(&nested(MAX_NESTING - 1))[1], text("c"));
        assert_eq!(extract(nested(MAX_NESTING).as_bytes()), Err(Unreadable::TooDeep));
        assert_eq!(extract("[".repeat(1_000_000).as_bytes()), Err(Unreadable::TooDeep));
        let strings = format!("{{\"channel_id\":\"c\",\"x\":\"{}\\\"\"}}", "[".repeat(1_000));
        assert_eq!(slots(&strings)[1], text("c"));
    }

    /// What the same paths give in a document of serde_json.
    fn by_document(json: &[u8]) -> Option<[Option<serde_json::Value>; 3]> {
        let value: serde_json::Value = serde_json::from_slice(json).ok()?;
        let object = value.as_object()?;
        Some([
            object.get("timestamp").cloned(),
            object.get("channel_id").cloned(),
            object.get("metadata").and_then(|metadata| metadata.get("reaction")).cloned(),
        ])
    }

    fn same(slot: &Slot<'_>, value: Option<&serde_json::Value>) -> bool {
        match (slot, value) {
            (Slot::Missing, None) => true,
            (Slot::Text(text), Some(value)) => value.as_str().map(str::as_bytes) == Some(text),
            (Slot::Integer(number), Some(value)) => value.as_i64() == Some(*number),
            (Slot::Boolean(flag), Some(value)) => value.as_bool() == Some(*flag),
            // serde_json's reading is off by the last bit now and then.
            (Slot::Fraction(number), Some(value)) => {
                value.is_f64() && value.as_f64().is_some_and(|other| (number - other).abs() <= other.abs() * 1e-15)
            }
            (Slot::Other(_), Some(value)) => !value.is_string() && !value.is_boolean() && value.as_i64().is_none(),
            _ => false,
        }
    }

    fn leaf() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|flag| flag.to_string()),
            any::<i64>().prop_map(|number| number.to_string()),
            (-1e6..1e6).prop_map(|number: f64| format!("{number:e}")),
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        ]
    }

    fn json() -> impl Strategy<Value = String> {
        leaf().prop_recursive(4, 40, 6, |inner| {
            let name = prop_oneof![
                Just("timestamp"),
                Just("channel_id"),
                Just("metadata"),
                Just("reaction"),
                Just("x"),
                Just("")
            ];
            let fields = prop::collection::vec((name, inner.clone()), 0..6);
            prop_oneof![
                fields.prop_map(|fields| {
                    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                    format!("{{{}}}", fields.join(","))
                }),
                prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_document_parser(json in json(), cut in any::<prop::sample::Index>(), flip in any::<(prop::sample::Index, u8)>()) {
            let mut damaged = json.clone().into_bytes();
            let at = flip.0.index(damaged.len());
            damaged[at] ^= flip.1;
            for bytes in [json.as_bytes(), &json.as_bytes()[..cut.index(json.len())], &damaged] {
                match (extract(bytes), by_document(bytes)) {
                    (Ok(slots), Some(values)) => {
                        for (slot, value) in slots.iter().zip(&values) {
                            prop_assert!(same(slot, value.as_ref()), "{slot:?} {value:?}");
                        }
                    }
                    (Err(_), None) => {}
                    // serde_json also judges what is skipped: lone surrogates and numbers beyond f64.
                    (Ok(_), None) => prop_assert!(serde_json::from_slice::<IgnoredAny>(bytes).is_ok(), "{}", String::from_utf8_lossy(bytes)),
                    (Err(error), Some(_)) => prop_assert!(false, "{error:?} in {}", String::from_utf8_lossy(bytes)),
                }
            }
        }
    }
}
