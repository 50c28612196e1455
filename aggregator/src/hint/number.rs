//! Numbers in a hole, by eight bytes at a time.

const ZEROS: u64 = 0x3030_3030_3030_3030;
const SIXES: u64 = 0x0606_0606_0606_0606;
const HIGH_NIBBLES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
/// An i64 holds so many digits, whatever they are.
const MAX_DIGITS: usize = 18;
const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The whole number at the beginning and its length; None if it is written in any other than the plain way (a needless zero,
/// `-0`, more than 18 digits). What follows it is not looked at.
#[inline]
pub fn whole(text: &[u8]) -> Option<(i64, usize)> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let (number, length) = digits_of(digits)?;
    let is_negative = digits.len() < text.len();
    let is_plain = length > 0 && (length == 1 || digits.first() != Some(&b'0')) && !(is_negative && number == 0);
    let number = i64::try_from(number).ok().filter(|_| is_plain)?;
    Some(if is_negative { (-number, length + 1) } else { (number, length) })
}

#[inline]
fn digits_of(text: &[u8]) -> Option<(u64, usize)> {
    let (mut number, mut length) = (0_u64, 0);
    while length <= MAX_DIGITS {
        let plain = eight_bytes(text.get(length..)?) ^ ZEROS;
        // Of a digit the high nibble is 0, with and without six more. A carry runs only from a byte that is none.
        let others = (plain.wrapping_add(SIXES) | plain) & HIGH_NIBBLES;
        let count = usize::try_from(others.trailing_zeros() / 8).ok()?;
        if count > 0 {
            number = number.wrapping_mul(*POWERS.get(count)?).wrapping_add(value_of(plain << (64 - 8 * count)));
            length += count;
        }
        if count < 8 {
            return Some((number, length)).filter(|_| length <= MAX_DIGITS);
        }
    }
    None
}

/// The first eight bytes, the first the lowest; what is missing is 0, which is no digit.
#[inline]
fn eight_bytes(text: &[u8]) -> u64 {
    match text.first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => text.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Eight digits, one a byte, the lowest byte the first of them: added up in pairs, fours, eights.
#[inline]
fn value_of(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let lower = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let upper = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    lower.wrapping_add(upper) >> 32
}

/// The length of any number that JSON knows.
pub fn length_of(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let rest = match rest.split_first()? {
        (b'0', rest) => rest,
        (b'1'..=b'9', rest) => after_digits(rest),
        _ => return None,
    };
    let rest = match rest.strip_prefix(b".") {
        Some(fraction) => after_some_digits(fraction)?,
        None => rest,
    };
    let rest = match rest.split_first() {
        Some((b'e' | b'E', exponent)) => {
            after_some_digits(exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent))?
        }
        _ => rest,
    };
    Some(text.len() - rest.len())
}

fn after_digits(text: &[u8]) -> &[u8] {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.get(count..).unwrap_or_default()
}

fn after_some_digits(text: &[u8]) -> Option<&[u8]> {
    Some(after_digits(text)).filter(|rest| rest.len() < text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_plain_way() {
        for (text, expected) in [
            ("0", Some((0, 1))),
            ("7,", Some((7, 1))),
            ("1500000000000}", Some((1_500_000_000_000, 13))),
            ("12345678,\"a\":1", Some((12_345_678, 8))),
            ("-12.5", Some((-12, 3))),
            ("999999999999999999", Some((999_999_999_999_999_999, 18))),
            ("1000000000000000000", None),
            ("00", None),
            ("-0", None),
            ("-", None),
            ("", None),
            (".5", None),
            ("/", None),
            (":", None),
            ("123456789012345678901234567890", None),
        ] {
            assert_eq!(whole(text.as_bytes()), expected, "{text}");
        }
        for (text, expected) in [
            ("0", Some(1)),
            ("01", Some(1)),
            ("-1.25e+10,", Some(9)),
            ("1e5", Some(3)),
            ("1.", None),
            ("1e", None),
            ("-", None),
            ("x", None),
        ] {
            assert_eq!(length_of(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn as_the_standard_library_reads_it(number: i64, behind in "[^0-9]{0,9}") {
            let text = format!("{number}{behind}");
            let length = text.len() - behind.len();
            let expected = (number.unsigned_abs() < 1_000_000_000_000_000_000).then_some((number, length));
            prop_assert_eq!(whole(text.as_bytes()), expected);
        }
    }
}
