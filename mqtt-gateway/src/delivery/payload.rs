//! A mood as bytes: JSON for everybody, a compact binary form for who asks. docs/mqtt.md has both. The same mood always gives
//! the same bytes.

use super::normalise::{Mood, Share, number};
use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

/// First byte of the binary form.
const BINARY_VERSION: u8 = 1;
const FLAG_FINAL: u8 = 1;
const MILLIONTHS: f64 = 1e6;

pub fn json(mood: &Mood) -> Option<Bytes> {
    // Strings and finite numbers only: serialising does not fail.
    serde_json::to_vec(mood).ok().map(Bytes::from)
}

impl Serialize for Mood {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("stream", &self.stream)?;
        map.serialize_entry("channel_id", &self.channel_id)?;
        map.serialize_entry("window_start", &self.telling.window_start)?;
        map.serialize_entry("window_end", &self.telling.window_end)?;
        map.serialize_entry("rev", &self.telling.revision())?;
        map.serialize_entry("final", &self.is_final)?;
        map.serialize_entry("sequence", &self.sequence)?;
        map.serialize_entry("total", &number(self.total))?;
        map.serialize_entry("groups", &self.groups)?;
        map.serialize_entry("top", &self.top)?;
        map.end()
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.group.fields {
            // The share is ours; a measure of that name stays in the aggregate topic.
            if !matches!(name.as_str(), "share" | "score") {
                map.serialize_entry(name, value)?;
            }
        }
        map.serialize_entry("share", &self.share)?;
        map.serialize_entry("score", &Value::from(f64::from(self.score_millionths) / MILLIONTHS))?;
        map.end()
    }
}

/// The binary form: numbers are LEB128, texts a length and UTF-8.
pub fn binary(mood: &Mood) -> Bytes {
    let mut bytes = vec![BINARY_VERSION, if mood.is_final { FLAG_FINAL } else { 0 }];
    let length = mood.telling.window_end.saturating_sub(mood.telling.window_start);
    let entries = u64::try_from(mood.top.len()).unwrap_or(u64::MAX);
    let numbers = [
        mood.sequence,
        natural(mood.telling.window_start),
        natural(length),
        mood.telling.revision(),
        whole(mood.total),
        mood.groups,
        entries,
    ];
    numbers.into_iter().for_each(|number| push_number(&mut bytes, number));
    for share in &mood.top {
        push_number(&mut bytes, u64::try_from(share.group.label.len()).unwrap_or(u64::MAX));
        bytes.extend_from_slice(share.group.label.as_bytes());
        let share_millionths = whole((share.share * MILLIONTHS).round());
        for number in [whole(share.group.amount), share_millionths, u64::from(share.score_millionths)] {
            push_number(&mut bytes, number);
        }
    }
    bytes.into()
}

fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// Rounded down; what is negative or no number is 0.
fn whole(number: f64) -> u64 {
    number as u64
}

/// Seven bits a byte, the lowest first; the high bit says that more follow.
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::delivery::row::{Group, Telling};

    fn mood() -> Mood {
        let fields = vec![
            ("reaction".into(), Value::from("😂")),
            ("count".into(), Value::from(3)),
            ("share".into(), Value::from(1)),
        ];
        let group = Group { label: "😂".into(), fields, amount: 3.0 };
        Mood {
            stream: "emoji".into(),
            channel_id: "c".into(),
            telling: Telling { window_start: 300, window_end: 2_300, stage: 2 },
            is_final: true,
            sequence: 7,
            total: 4.0,
            groups: 2,
            top: vec![Share { group, share: 0.75, score_millionths: 387_096 }],
        }
    }

    #[test]
    fn json_is_as_documented() {
        assert_eq!(
            std::str::from_utf8(&json(&mood()).unwrap()).unwrap(),
            r#"{"stream":"emoji","channel_id":"c","window_start":300,"window_end":2300,"rev":1,"final":true,"sequence":7,"total":4,"groups":2,"top":[{"reaction":"😂","count":3,"share":0.75,"score":0.387096}]}"#
        );
    }

    #[test]
    fn the_binary_form_is_as_documented() {
        let expected = [
            &[1_u8, 1, 7][..],
            &[0xac, 0x02],
            &[0xd0, 0x0f],
            &[1, 4, 2, 1],
            &[4, 0xf0, 0x9f, 0x98, 0x82],
            &[3],
            &[0xb0, 0xe3, 0x2d],
            &[0x98, 0xd0, 0x17],
        ];
        assert_eq!(binary(&mood()), expected.concat());
    }
}
