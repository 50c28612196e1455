//! What consumers say to each other through the group: ConsumerProtocolSubscription and ConsumerProtocolAssignment, as far as
//! their beginnings go, which are the same in every version.
//!
//! Decoding is bounded: each element is read, or there is nothing more to read. What is not understood is `None`.

/// The protocol type of consumers; others (`connect`, ...) keep what they want in the bytes.
pub(in crate::group) const CONSUMER: &str = "consumer";

/// Version, then the array of topic names.
pub(super) fn subscribed_topics(subscription: &[u8]) -> Option<Vec<String>> {
    let mut rest = subscription.get(2..)?;
    array(&mut rest, string)
}

/// Version, then the array of topics, each with the array of its partitions.
pub(in crate::group) fn assigned_partitions(assignment: &[u8]) -> Option<Vec<(String, Vec<i32>)>> {
    let mut rest = assignment.get(2..)?;
    array(&mut rest, |rest| Some((string(rest)?, array(rest, int32)?)))
}

fn array<T>(rest: &mut &[u8], mut element: impl FnMut(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let mut elements = Vec::new();
    for _ in 0..u32::try_from(int32(rest)?).ok()? {
        elements.push(element(rest)?);
    }
    Some(elements)
}

fn string(rest: &mut &[u8]) -> Option<String> {
    let (length, behind) = rest.split_first_chunk::<2>()?;
    let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
    let text = std::str::from_utf8(behind.get(..length)?).ok()?;
    *rest = behind.get(length..)?;
    Some(text.to_owned())
}

fn int32(rest: &mut &[u8]) -> Option<i32> {
    let (bytes, behind) = rest.split_first_chunk::<4>()?;
    *rest = behind;
    Some(i32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_nonsense_is_not() {
        let subscription = b"\x00\x01\x00\x00\x00\x02\x00\x01a\x00\x02bc\xff\xff\xff\xff";
        assert_eq!(subscribed_topics(subscription), Some(vec!["a".to_owned(), "bc".to_owned()]));
        for nonsense in
            [&b""[..], b"\x00\x01\x7f\xff\xff\xff", b"\x00\x01\x00\x00\x00\x01\x00\x09a", b"\x00\x01\xff\xff\xff\xff"]
        {
            assert_eq!(subscribed_topics(nonsense), None);
        }
    }

    #[test]
    fn partitions_are_read_and_nonsense_is_not() {
        let assignment =
            b"\x00\x03\x00\x00\x00\x02\x00\x01a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x05\x00\x01b\x00\x00\x00\x00";
        let expected = vec![("a".to_owned(), vec![0, 5]), ("b".to_owned(), vec![])];
        assert_eq!(assigned_partitions(assignment), Some(expected));
        for nonsense in [&b"\x00"[..], b"\x00\x03\x00\x00\x00\x01\x00\x01a\x7f\xff\xff\xff", &assignment[..20]] {
            assert_eq!(assigned_partitions(nonsense), None);
        }
    }
}
