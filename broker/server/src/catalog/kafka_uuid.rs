//! Kafka writes its uuids in URL-safe base64 without padding: 22 characters.

use uuid::Uuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The 22 characters of Kafka's `Uuid.toString`.
pub fn to_kafka_string(id: Uuid) -> String {
    // 128 bits are 21 sextets and two bits; four zero bits fill the last sextet.
    let bits = id.as_u128();
    let sextet = |index: u32| match index {
        21 => (bits & 0b11) << 4,
        _ => bits >> (122 - 6 * index) & 0b11_1111,
    };
    let letter =
        |value: u128| usize::try_from(value).ok().and_then(|value| ALPHABET.get(value)).copied().unwrap_or(b'A');
    (0..22).map(|index| char::from(letter(sextet(index)))).collect()
}

/// The id behind [`to_kafka_string`]'s text; None if it is none.
pub fn from_kafka_string(text: &str) -> Option<Uuid> {
    let sextets = text.bytes().map(|letter| ALPHABET.iter().position(|other| *other == letter));
    let (last, first) =
        sextets.collect::<Option<Vec<usize>>>()?.split_last().map(|(last, first)| (*last, first.to_vec()))?;
    let bits = first.iter().try_fold(0_u128, |bits, sextet| Some(bits << 6 | u128::try_from(*sextet).ok()?))?;
    let last = u128::try_from(last).ok()?;
    (first.len() == 21 && last & 0b1111 == 0).then(|| Uuid::from_u128(bits << 2 | last >> 4))
}

/// A random id; like Kafka's never one whose text begins with a dash, which command lines would take for an option.
pub fn random() -> Uuid {
    loop {
        let id = Uuid::new_v4();
        if !to_kafka_string(id).starts_with('-') && !id.is_nil() {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn known_texts() {
        assert_eq!(to_kafka_string(Uuid::from_u128(0)), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(to_kafka_string(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(to_kafka_string(Uuid::from_u128(u128::MAX)), "_____________________w");
        let id = Uuid::parse_str("12345678-9abc-def0-1234-56789abcdef0").unwrap();
        assert_eq!(to_kafka_string(id), "EjRWeJq83vASNFZ4mrze8A");
        for id in [id, Uuid::from_u128(0), Uuid::from_u128(u128::MAX)] {
            assert_eq!(from_kafka_string(&to_kafka_string(id)), Some(id));
        }
        for text in ["", "short", "EjRWeJq83vASNFZ4mrze8B", "EjRWeJq83vASNFZ4mrze8A2", "EjRWeJq83vASNFZ4mrze8!"] {
            assert_eq!(from_kafka_string(text), None, "{text}");
        }
    }
}
