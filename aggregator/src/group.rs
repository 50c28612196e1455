//! One group's values: an encoding to count by, and its way back into the row's key and fields.
//!
//! The encoding is one string of bytes per group, so that a known group costs one look-up and no allocation:
//! per field a tag, for texts the length (4 bytes, little-endian), the bytes. Equal values have equal encodings,
//! however the event spelt them.

use crate::extract::Slot;

/// Bytes of one encoded group; longer ones are refused as unreadable.
pub const MAX_GROUP_BYTES: usize = 512;

const TEXT: u8 = b's';
const INTEGER: u8 = b'i';
const BOOLEAN: u8 = b'b';

/// One decoded value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Text(&'a str),
    Integer(i64),
    Boolean(bool),
}

/// Appends a field's value; false if it is neither text, whole number nor boolean.
pub fn encode(slot: &Slot<'_>, into: &mut Vec<u8>) -> bool {
    match slot {
        Slot::Text(text) => {
            // A longer text than u32 holds is over MAX_GROUP_BYTES anyway.
            let [a, b, c, d] = u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
            into.extend_from_slice(&[TEXT, a, b, c, d]);
            into.extend_from_slice(text);
        }
        Slot::Integer(number) => {
            into.push(INTEGER);
            into.extend_from_slice(&number.to_le_bytes());
        }
        Slot::Boolean(flag) => into.extend_from_slice(&[BOOLEAN, u8::from(*flag)]),
        Slot::Missing | Slot::Fraction(_) | Slot::Other(_) => return false,
    }
    true
}

/// The values of an encoded group, in order.
pub fn values(encoded: &[u8]) -> impl Iterator<Item = Value<'_>> {
    let mut rest = encoded;
    std::iter::from_fn(move || {
        let (value, after) = decode(rest)?;
        rest = after;
        Some(value)
    })
}

/// The encoding of some of the values, by their places.
pub fn selected(encoded: &[u8], places: &[usize]) -> Vec<u8> {
    let mut rest = encoded;
    let mut selected = Vec::new();
    let mut place = 0;
    while let Some((_, after)) = decode(rest) {
        if places.contains(&place) {
            selected.extend_from_slice(rest.get(..rest.len() - after.len()).unwrap_or_default());
        }
        (rest, place) = (after, place + 1);
    }
    selected
}

fn decode(encoded: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (tag, rest) = encoded.split_first()?;
    match *tag {
        TEXT => {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            Some((Value::Text(std::str::from_utf8(text).ok()?), rest))
        }
        INTEGER => {
            rest.split_first_chunk::<8>().map(|(number, rest)| (Value::Integer(i64::from_le_bytes(*number)), rest))
        }
        BOOLEAN => rest.split_first().map(|(flag, rest)| (Value::Boolean(*flag != 0), rest)),
        _ => None,
    }
}

/// Appends a value as JSON has it.
pub fn push_json(value: &Value<'_>, into: &mut String) {
    match value {
        Value::Text(text) => into.push_str(&json_text(text)),
        Value::Integer(number) => into.push_str(&number.to_string()),
        Value::Boolean(flag) => into.push_str(if *flag { "true" } else { "false" }),
    }
}

/// A text in quotes, escaped.
pub fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Appends the record key's part for this group: the values, each followed by `|`. `|` and `\` inside a value are
/// written `\|` and `\\`, so that different groups never share a key.
pub fn push_key(encoded: &[u8], into: &mut String) {
    values(encoded).for_each(|value| push_key_value(&value, into));
}

/// One value and its `|`.
pub fn push_key_value(value: &Value<'_>, into: &mut String) {
    match value {
        Value::Text(text) => push_escaped(text, into),
        plain => push_json(plain, into),
    }
    into.push('|');
}

fn push_escaped(text: &str, into: &mut String) {
    for part in text.split_inclusive(['|', '\\']) {
        match part.strip_suffix(['|', '\\']) {
            Some(plain) => {
                into.push_str(plain);
                into.push('\\');
                into.push_str(part.get(plain.len()..).unwrap_or_default());
            }
            None => into.push_str(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn encoded(slots: &[Slot<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        assert!(slots.iter().all(|slot| encode(slot, &mut bytes)));
        bytes
    }

    fn text(text: &str) -> Slot<'_> {
        Slot::Text(Cow::Borrowed(text.as_bytes()))
    }

    #[test]
    fn values_come_back() {
        let bytes = encoded(&[text("ch|1"), Slot::Integer(-5), Slot::Boolean(true), text("")]);
        let expected = [Value::Text("ch|1"), Value::Integer(-5), Value::Boolean(true), Value::Text("")];
        assert_eq!(values(&bytes).collect::<Vec<_>>(), expected);
        assert_eq!(selected(&bytes, &[1, 2]), encoded(&[Slot::Integer(-5), Slot::Boolean(true)]));
        assert!(!encode(&Slot::Missing, &mut Vec::new()) && !encode(&Slot::Fraction(0.5), &mut Vec::new()));
        assert!(!encode(&Slot::Other("null"), &mut Vec::new()));
    }

    #[test]
    fn different_groups_have_different_keys() {
        let groups = [["a|b", "c"], ["a", "b|c"], ["a\\", "b|c"], ["a\\|b", "c"], ["a", "b"], ["😃", ""]];
        let keys: std::collections::BTreeSet<String> = groups
            .iter()
            .map(|group| {
                let mut key = String::new();
                push_key(&encoded(&group.map(text)), &mut key);
                key
            })
            .collect();
        assert_eq!(keys.len(), groups.len());
        assert!(keys.contains("a\\|b|c|") && keys.contains("😃||"));
    }

    #[test]
    fn damaged_bytes_end_the_values() {
        let bytes = encoded(&[text("abc"), Slot::Integer(1)]);
        for cut in 0..bytes.len() {
            assert!(values(bytes.get(..cut).unwrap_or_default()).count() < 2);
        }
        assert_eq!(values(b"?").count(), 0);
    }
}
