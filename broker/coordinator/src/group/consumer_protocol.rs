//! What classic consumers say to each other through the group: ConsumerProtocolSubscription and ConsumerProtocolAssignment, in their
//! versions 0 to 3, of which each only adds at the end.
//!
//! Decoding is bounded: each element is read, or there is nothing more to read. What is not understood is `None`.

use bytes::{BufMut, Bytes, BytesMut};
use std::collections::BTreeSet;

/// The protocol type of consumers; others (`connect`, ...) keep what they want in the bytes.
pub const CONSUMER: &str = "consumer";

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    pub version: i16,
    pub topics: BTreeSet<String>,
    pub owned: Vec<(String, Vec<i32>)>,
    pub rack_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assigned {
    pub partitions: Vec<(String, Vec<i32>)>,
    /// An assignor of its own has put something here that nobody else understands.
    pub has_user_data: bool,
}

/// The beginning alone, which is the same in every version.
pub fn subscribed_topics(subscription: &[u8]) -> Option<Vec<String>> {
    array(&mut subscription.get(2..)?, string)
}

/// The beginning alone, which is the same in every version.
pub fn assigned_partitions(assignment: &[u8]) -> Option<Vec<(String, Vec<i32>)>> {
    array(&mut assignment.get(2..)?, topic)
}

pub fn subscription(bytes: &[u8]) -> Option<Subscription> {
    let rest = &mut &*bytes;
    let version = int16(rest)?;
    let topics = array(rest, string)?.into_iter().collect();
    nullable_bytes(rest)?;
    let owned = if version >= 1 { array(rest, topic)? } else { Vec::new() };
    if version >= 2 {
        int32(rest)?;
    }
    let rack_id = if version >= 3 { nullable_string(rest)? } else { None };
    Some(Subscription { version, topics, owned, rack_id })
}

pub fn assigned(bytes: &[u8]) -> Option<Assigned> {
    if bytes.is_empty() {
        return Some(Assigned::default());
    }
    let rest = &mut &*bytes;
    int16(rest)?;
    let partitions = array(rest, topic)?;
    Some(Assigned { partitions, has_user_data: nullable_bytes(rest)? > 0 })
}

/// An assignment in the version of its member's subscription.
pub fn assignment(version: i16, topics: &[(&str, impl AsRef<[i32]>)]) -> Bytes {
    let length = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    bytes.put_i32(length(topics.len()));
    for (name, partitions) in topics {
        bytes.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
        bytes.put_slice(name.as_bytes());
        bytes.put_i32(length(partitions.as_ref().len()));
        partitions.as_ref().iter().for_each(|partition| bytes.put_i32(*partition));
    }
    bytes.put_i32(-1);
    bytes.freeze()
}

fn topic(rest: &mut &[u8]) -> Option<(String, Vec<i32>)> {
    Some((string(rest)?, array(rest, int32)?))
}

fn array<T>(rest: &mut &[u8], mut element: impl FnMut(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let mut elements = Vec::new();
    for _ in 0..u32::try_from(int32(rest)?).ok()? {
        elements.push(element(rest)?);
    }
    Some(elements)
}

fn string(rest: &mut &[u8]) -> Option<String> {
    nullable_string(rest)?
}

fn nullable_string(rest: &mut &[u8]) -> Option<Option<String>> {
    let length = int16(rest)?;
    if length == -1 {
        return Some(None);
    }
    let text = take(rest, usize::try_from(length).ok()?)?;
    std::str::from_utf8(text).ok().map(|text| Some(text.to_owned()))
}

/// How many they are.
fn nullable_bytes(rest: &mut &[u8]) -> Option<usize> {
    let length = int32(rest)?;
    if length == -1 {
        return Some(0);
    }
    take(rest, usize::try_from(length).ok()?).map(<[u8]>::len)
}

fn int16(rest: &mut &[u8]) -> Option<i16> {
    take(rest, 2)?.try_into().ok().map(i16::from_be_bytes)
}

fn int32(rest: &mut &[u8]) -> Option<i32> {
    take(rest, 4)?.try_into().ok().map(i32::from_be_bytes)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIPTION: &[u8] = b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\
        \0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x05\0\0\0\x07\0\x02r1";

    #[test]
    fn subscriptions_are_read_and_nonsense_is_not() {
        let expected = Subscription {
            version: 3,
            topics: ["a".to_owned(), "bc".to_owned()].into(),
            owned: vec![("a".to_owned(), vec![0, 5])],
            rack_id: Some("r1".to_owned()),
        };
        assert_eq!(subscription(SUBSCRIPTION), Some(expected));
        for end in 0..SUBSCRIPTION.len() {
            assert_eq!(subscription(&SUBSCRIPTION[..end]), None, "cut at {end}");
        }
        assert_eq!(subscription(b"\0\x01\x7f\xff\xff\xff"), None);
        assert_eq!(subscribed_topics(SUBSCRIPTION), Some(vec!["a".to_owned(), "bc".to_owned()]));
        for nonsense in [&b""[..], b"\0\x01\x7f\xff\xff\xff", b"\0\x01\0\0\0\x01\0\x09a", b"\0\x01\xff\xff\xff\xff"] {
            assert_eq!(subscribed_topics(nonsense), None);
        }
    }

    #[test]
    fn what_is_assigned_is_read() {
        let bytes = assignment(1, &[("a", vec![0, 5]), ("b", vec![])]);
        let partitions = vec![("a".to_owned(), vec![0, 5]), ("b".to_owned(), vec![])];
        assert_eq!(assigned(&bytes), Some(Assigned { partitions, has_user_data: false }));
        assert_eq!(assigned_partitions(&bytes), assigned(&bytes).map(|assigned| assigned.partitions));
        assert_eq!(assigned_partitions(b"\0\x03\0\0\0\x01\0\x01a\x7f\xff\xff\xff"), None);
        assert_eq!(assigned(b""), Some(Assigned::default()));
        assert!(assigned(b"\0\0\0\0\0\0\0\0\0\x01x").is_some_and(|assigned| assigned.has_user_data));
        assert_eq!(assigned(&bytes[..bytes.len() - 5]), None);
    }
}
