//! The walk over records against one that knows no short cut: the same shapes, the same refusal, whatever the bytes.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::{collection::vec, option, prelude::*};

type Outcome = (Vec<RecordShape>, Result<(), String>);

fn quick(payload: &[u8], count: i32) -> Outcome {
    let mut seen = Vec::new();
    let done = shapes(payload, count, |shape| seen.push(*shape));
    (seen, done.map_err(|error| error.0))
}

/// Every record taken apart byte by byte.
fn plain(payload: &[u8], count: i32) -> Outcome {
    let (mut rest, mut seen) = (payload, Vec::new());
    for index in 0..count {
        match plain_record(&mut rest, index) {
            Some(shape) => seen.push(shape),
            None => return (seen, Err(format!("record {index} of {count} is malformed or out of order"))),
        }
    }
    let left = rest.len();
    (seen, if left == 0 { Ok(()) } else { Err(format!("{left} bytes behind the last record")) })
}

fn plain_record(rest: &mut &[u8], index: i32) -> Option<RecordShape> {
    let length = usize::try_from(integer(rest, 5)?).ok()?;
    let (mut body, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    body = body.get(1..)?;
    let timestamp_delta = i64::try_from(integer(&mut body, 10)?).ok()?;
    if integer(&mut body, 5)? != i128::from(index) {
        return None;
    }
    let key_length = nullable(&mut body)?;
    nullable(&mut body)?;
    let headers = u32::try_from(integer(&mut body, 5)?).ok()?;
    for _ in 0..headers {
        nullable(&mut body)??;
        nullable(&mut body)?;
    }
    body.is_empty().then_some(RecordShape { index, timestamp_delta, key_length })
}

fn nullable(rest: &mut &[u8]) -> Option<Option<usize>> {
    let length = integer(rest, 5)?;
    if length == -1 {
        return Some(None);
    }
    let length = usize::try_from(length).ok()?;
    *rest = rest.get(length..)?;
    Some(Some(length))
}

/// A zigzag integer of at most `most` bytes, which must fit into 32 bits if those are five and into 64 if they are ten.
fn integer(rest: &mut &[u8], most: usize) -> Option<i128> {
    let size = rest.iter().take(most).position(|byte| *byte < 0x80)? + 1;
    let (number, tail) = rest.split_at(size);
    *rest = tail;
    let raw = number.iter().rev().fold(0u128, |sum, byte| sum << 7 | u128::from(byte & 0x7f));
    (raw >> if most == 5 { 32 } else { 64 } == 0).then_some(())?;
    let half = i128::try_from(raw >> 1).ok()?;
    Some(if raw & 1 == 0 { half } else { -half - 1 })
}

/// Records that are alike but for their offsets.
#[derive(Debug, Clone)]
struct Series {
    records: usize,
    timestamp_delta: i64,
    key_length: Option<usize>,
    value_length: Option<usize>,
    headers: usize,
    /// Bytes that each integer is longer than it need be.
    padding: usize,
}

fn series() -> impl Strategy<Value = Series> {
    let length = || option::weighted(0.8, prop_oneof![0usize..20, 60usize..70, 100usize..101, 8190usize..8194]);
    let timestamp = prop_oneof![0i64..3, -70i64..70, any::<i64>()];
    let headers = prop_oneof![5 => Just(0usize), 1 => 1usize..3];
    let padding = prop_oneof![9 => Just(0usize), 1 => 1usize..3];
    (1usize..150, timestamp, length(), length(), headers, padding).prop_map(
        |(records, timestamp_delta, key_length, value_length, headers, padding)| Series {
            records,
            timestamp_delta,
            key_length,
            value_length,
            headers,
            padding,
        },
    )
}

fn put(out: &mut Vec<u8>, value: i64, padding: usize) {
    let mut number = Vec::new();
    crate::record_batch::varint::write_varlong(&mut number, value);
    let last = number.len() - 1;
    if padding > 0 {
        number[last] |= 0x80;
        number.extend(std::iter::repeat_n(0x80, padding - 1));
        number.push(0);
    }
    out.extend(number);
}

fn put_bytes(out: &mut Vec<u8>, length: Option<usize>, padding: usize) {
    put(out, length.map_or(-1, |length| i64::try_from(length).unwrap()), padding);
    // Zeros look like anything: no headers, an empty key, a length.
    out.extend(std::iter::repeat_n(0, length.unwrap_or(0)));
}

fn encode(all: &[Series]) -> (Vec<u8>, i32) {
    let (mut out, mut index) = (Vec::new(), 0);
    for series in all {
        for _ in 0..series.records {
            let mut body = vec![0];
            put(&mut body, series.timestamp_delta, series.padding);
            put(&mut body, index, series.padding);
            put_bytes(&mut body, series.key_length, series.padding);
            put_bytes(&mut body, series.value_length, series.padding);
            put(&mut body, i64::try_from(series.headers).unwrap(), series.padding);
            for _ in 0..series.headers {
                put_bytes(&mut body, Some(1), series.padding);
                put_bytes(&mut body, None, series.padding);
            }
            put(&mut out, i64::try_from(body.len()).unwrap(), series.padding);
            out.extend(body);
            index += 1;
        }
    }
    (out, i32::try_from(index).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn good_records_have_the_same_shapes(all in vec(series(), 1..6)) {
        let (payload, count) = encode(&all);
        let (seen, done) = quick(&payload, count);
        let longest_padding = all.iter().map(|series| series.padding).max().unwrap();
        if longest_padding == 0 {
            prop_assert_eq!((seen.len(), &done), (usize::try_from(count).unwrap(), &Ok(())));
        }
        prop_assert_eq!((seen, done), plain(&payload, count));
    }

    #[test]
    fn altered_records_have_the_same_verdict(
        all in vec(series(), 1..4),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in option::weighted(0.2, any::<prop::sample::Index>()),
        more in -2i32..3,
    ) {
        let (mut payload, count) = encode(&all);
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        payload.truncate(cut.map_or(payload.len(), |cut| cut.index(payload.len())));
        prop_assert_eq!(quick(&payload, count + more), plain(&payload, count + more));
    }

    /// The fronts of records are where it matters: each byte of them, in records that follow one like them.
    #[test]
    fn altered_fronts_have_the_same_verdict(one in series(), number in 1usize..140, at in 0usize..24, byte: u8, from_end: bool) {
        let (mut payload, count) = encode(&[Series { records: 140, ..one.clone() }]);
        let (before, _) = encode(&[Series { records: number, ..one }]);
        let at = if from_end { before.len().saturating_sub(at + 1) } else { before.len() + at };
        if let Some(place) = payload.get_mut(at) {
            *place = byte;
        }
        prop_assert_eq!(quick(&payload, count), plain(&payload, count));
    }

    #[test]
    fn anything_has_the_same_verdict(payload in vec(prop_oneof![0u8..40, any::<u8>()], 0..200), count in -1i32..9) {
        prop_assert_eq!(quick(&payload, count), plain(&payload, count));
    }
}
