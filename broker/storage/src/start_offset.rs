//! `log-start-offset`: the first offset that readers may ask for, once DeleteRecords or retention has moved it. Tifo's own file.
//!
//! Kafka keeps these offsets for a whole data directory in one file that it writes once a minute; here each log has its own,
//! written before the move is told to anyone. It only ever grows. A damaged one (CRC-32C) counts as missing.

pub(crate) const FILE_NAME: &str = "log-start-offset";
/// Largest file that is read.
pub(crate) const MAX_BYTES: u64 = 4096;

pub(crate) fn encode(log_start_offset: i64) -> String {
    let body = format!("version: 0\nlog_start_offset: {log_start_offset}\n");
    let crc = crc32c::crc32c(body.as_bytes());
    format!("{body}crc32c: {crc:08x}\n")
}

/// None if it is damaged.
pub(crate) fn decode(file: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(file).ok()?;
    let (body, crc) = text.strip_suffix('\n')?.rsplit_once("crc32c: ")?;
    (u32::from_str_radix(crc, 16).ok()? == crc32c::crc32c(body.as_bytes())).then_some(())?;
    let offset = body.strip_prefix("version: 0\nlog_start_offset: ")?.strip_suffix('\n')?.parse().ok()?;
    (offset >= 0).then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(offset in 0..i64::MAX) {
            prop_assert_eq!(decode(encode(offset).as_bytes()), Some(offset));
        }

        #[test]
        fn a_flipped_bit_is_noticed(offset in 0..i64::MAX, at: prop::sample::Index, bit in 0..8u32) {
            let mut file = encode(offset).into_bytes();
            let at = at.index(file.len());
            file[at] ^= 1u8 << bit;
            prop_assert!(decode(&file).is_none_or(|found| found == offset));
        }
    }
}
