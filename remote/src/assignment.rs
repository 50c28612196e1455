//! What a member of a classic consumer group was assigned (`ConsumerProtocolAssignment`), read from its bytes.

use tifo_broker::client::AssignedTopic;

/// None: other members' bytes, which only they understand.
pub fn read(bytes: &[u8]) -> Option<Vec<AssignedTopic>> {
    let mut rest = Bytes(bytes);
    rest.take::<2>()?;
    let topics = rest.count()?;
    let mut all = Vec::new();
    for _ in 0..topics {
        let length = usize::try_from(i16::from_be_bytes(rest.take()?)).ok()?;
        let topic = std::str::from_utf8(rest.slice(length)?).ok()?.to_owned();
        let mut partitions = Vec::new();
        for _ in 0..rest.count()? {
            partitions.push(i32::from_be_bytes(rest.take()?));
        }
        all.push(AssignedTopic { topic, partitions });
    }
    Some(all)
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    /// A count sizes nothing: each element must be there when it is read.
    fn count(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take()?)).filter(|count| *count >= 0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_topics_and_partitions_and_refuses_what_is_cut_off() {
        let bytes = [0, 1, 0, 0, 0, 1, 0, 2, b'a', b'b', 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 7, 255, 255, 255, 255];
        let read_topics = read(&bytes).unwrap();
        assert_eq!(read_topics, [AssignedTopic { topic: "ab".to_owned(), partitions: vec![3, 7] }]);
        for length in 0..22 {
            assert_eq!(read(&bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(read(&[0, 0, 127, 255, 255, 255]), None);
    }
}
