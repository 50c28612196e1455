//! A generator of raw records that knows the truth: which of them are readable events, in which window and group they
//! belong, and which are late by the rules. The recount is brute force and shares no code with the engine.

#![allow(clippy::unwrap_used)]

use crate::test_log::NOW_MS;
use std::collections::BTreeMap;

/// A seeded generator (xorshift); equal seeds, equal tests.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.below(u64::try_from(items.len()).unwrap())).unwrap()]
    }
}

/// What a raw record is, apart from lateness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    Event(Tap),
    Bad,
}

/// A readable event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    pub time_ms: i64,
    pub channel: String,
    pub reaction: String,
    pub user: String,
    /// In hundredths.
    pub score: i64,
    pub right: bool,
}

#[derive(Debug, Clone)]
pub struct RawRecord {
    pub timestamp_ms: i64,
    pub value: Vec<u8>,
    pub truth: Truth,
}

pub fn event(time_ms: i64, channel: &str, reaction: &str) -> RawRecord {
    let value = serde_json::json!({
        "emoji_id": "e100", "user_id": "u1", "score": 0, "timestamp": time_ms, "channel_id": channel,
        "metadata": {"reaction": reaction, "emotion": "other"},
    });
    let (channel, reaction) = (channel.to_owned(), reaction.to_owned());
    let truth = Truth::Event(Tap { time_ms, channel, reaction, user: "u1".to_owned(), score: 0, right: false });
    RawRecord { timestamp_ms: NOW_MS, value: value.to_string().into_bytes(), truth }
}

/// Counts by (window end, channel, reaction), and what is not counted by (partition, offset).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Recount {
    pub counts: BTreeMap<(i64, String, String), u64>,
    pub late: Vec<(i32, i64)>,
    pub bad: Vec<(i32, i64)>,
}

pub const WINDOW_MS: i64 = 2_000;
pub const GRACE_MS: i64 = 500;
pub const MAX_FUTURE_MS: i64 = 5_000;

/// Recounts whole partitions by the rules alone. `closed` says which windows were closed by idleness before the record
/// at (partition, offset) came.
pub fn recount(partitions: &[Vec<RawRecord>], grace_ms: i64, closed: impl Fn(i32, i64) -> i64) -> Recount {
    let mut recount = Recount::default();
    for (partition, records) in (0..).zip(partitions) {
        let mut newest = i64::MIN / 2;
        for (offset, record) in (0..).zip(records) {
            let Truth::Event(Tap { time_ms, channel, reaction, .. }) = &record.truth else {
                recount.bad.push((partition, offset));
                continue;
            };
            let end = time_ms - time_ms.rem_euclid(WINDOW_MS) + WINDOW_MS;
            if *time_ms > record.timestamp_ms + MAX_FUTURE_MS {
                recount.late.push((partition, offset));
                continue;
            }
            if end + grace_ms <= newest || end <= closed(partition, offset) {
                recount.late.push((partition, offset));
            } else {
                *recount.counts.entry((end, channel.clone(), reaction.clone())).or_default() += 1;
            }
            newest = newest.max(*time_ms);
        }
    }
    recount
}

const CHANNELS: [&str; 4] = ["ch-1", "ch|2", "ch \"3\"", "канал-4"];
const REACTIONS: [&str; 6] = ["😃", "🇮🇪", "👊🏽", "a\\b", "cheer", ""];

/// Skewed partitions: each begins a little apart, advances at its own pace, out of order, now and then late by much,
/// from a fast clock, or unreadable.
pub fn partitions(random: &mut Random, sizes: &[u64], from_ms: i64) -> Vec<Vec<RawRecord>> {
    sizes
        .iter()
        .map(|size| {
            let pace = 1 + random.below(400);
            partition(random, *size, from_ms, pace)
        })
        .collect()
}

/// Partitions that advance alike, by up to `pace` ms an event: many windows close one after the other.
pub fn even_partitions(random: &mut Random, sizes: &[u64], from_ms: i64, pace: u64) -> Vec<Vec<RawRecord>> {
    sizes.iter().map(|size| partition(random, *size, from_ms, pace)).collect()
}

fn partition(random: &mut Random, size: u64, from_ms: i64, pace: u64) -> Vec<RawRecord> {
    let ms = |value: u64| i64::try_from(value).unwrap();
    let mut now_ms = from_ms + ms(random.below(3_000));
    (0..size)
        .map(|_| {
            now_ms += ms(random.below(pace));
            let time_ms = match random.below(100) {
                0..5 => NOW_MS + MAX_FUTURE_MS + 1 + ms(random.below(100_000)),
                5..12 => now_ms - ms(random.below(20_000)),
                12..50 => now_ms - ms(random.below(800)),
                _ => now_ms,
            };
            if random.chance(6) { garbage(random, time_ms) } else { spelt(random, time_ms) }
        })
        .collect()
}

/// A good event, spelt in one of many ways.
fn spelt(random: &mut Random, time_ms: i64) -> RawRecord {
    let (channel, reaction) = (*random.pick(&CHANNELS), *random.pick(&REACTIONS));
    let (user, score, right) = (format!("u{}", random.below(20)), score(random), random.chance(40));
    let time = if random.chance(20) { format!("\"{time_ms}\"") } else { time_ms.to_string() };
    let text = |random: &mut Random, text: &str| {
        if random.chance(20) {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            format!("\"{escaped}\"")
        } else {
            serde_json::to_string(text).unwrap()
        }
    };
    let metadata =
        format!("{{\"emotion\":\"timestamp\",\"reaction\":{},\"channel_id\":\"no\"}}", text(random, reaction));
    let mut fields = [
        ("timestamp".to_owned(), time),
        ("channel_id".to_owned(), text(random, channel)),
        (if random.chance(10) { "metad\\u0061ta".to_owned() } else { "metadata".to_owned() }, metadata),
        (
            "user".to_owned(),
            "{\"timestamp\":1,\"metadata\":{\"reaction\":\"no\"},\"list\":[{\"channel_id\":\"no\"}]}".to_owned(),
        ),
        ("reaction".to_owned(), "\"no\"".to_owned()),
        ("user_id".to_owned(), text(random, &user)),
        ("score".to_owned(), number(random, score)),
        ("right".to_owned(), right.to_string()),
    ];
    for index in (1..fields.len()).rev() {
        let other = usize::try_from(random.below(u64::try_from(index).unwrap() + 1)).unwrap();
        fields.swap(index, other);
    }
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let value = format!("{{{}}}", fields.join(if random.chance(10) { " ,\n" } else { "," }));
    let tap = Tap { time_ms, channel: channel.to_owned(), reaction: reaction.to_owned(), user, score, right };
    RawRecord { timestamp_ms: NOW_MS, value: value.into_bytes(), truth: Truth::Event(tap) }
}

fn score(random: &mut Random) -> i64 {
    i64::try_from(random.below(200_000)).unwrap() - 100_000
}

/// Hundredths, with a fraction, with an exponent, or whole.
fn number(random: &mut Random, score: i64) -> String {
    match score % 100 {
        0 if random.chance(50) => (score / 100).to_string(),
        _ if random.chance(30) => format!("{score}e-2"),
        _ => format!("{}{}.{:02}", if score < 0 { "-" } else { "" }, score.abs() / 100, score.abs() % 100),
    }
}

fn garbage(random: &mut Random, time_ms: i64) -> RawRecord {
    let mut value = match random.below(6) {
        0 => b"not json at all".to_vec(),
        1 => format!("{{\"timestamp\":{time_ms},\"channel_id\":\"ch-1\"}}").into_bytes(),
        2 => b"{\"timestamp\":\"soon\",\"channel_id\":\"c\",\"metadata\":{\"reaction\":\"r\"}}".to_vec(),
        3 => {
            format!("{{\"timestamp\":{time_ms},\"channel_id\":null,\"metadata\":{{\"reaction\":\"r\"}}}}").into_bytes()
        }
        4 => b"[1,2,3]".to_vec(),
        _ => spelt(random, time_ms).value,
    };
    if value.first() == Some(&b'{') && random.chance(50) {
        value.truncate(value.len() - 1);
    } else if random.chance(50) {
        value.push(0xff);
    } else {
        value = b"{\"timestamp\":1}".to_vec();
    }
    RawRecord { timestamp_ms: NOW_MS, value, truth: Truth::Bad }
}
