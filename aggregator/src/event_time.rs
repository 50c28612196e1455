//! Event times as they occur in events: ms since the epoch as a number or numeric string, or ISO 8601.
//!
//! Pure. A text without a zone is UTC. Outside the years 1 to 9999 nothing is a time, so that window arithmetic
//! never overflows.

/// 0001-01-01T00:00:00Z.
pub const EARLIEST_MS: i64 = -62_135_596_800_000;
/// 9999-12-31T23:59:59.999Z.
pub const LATEST_MS: i64 = 253_402_300_799_999;

/// Milliseconds since the epoch, if they are within bounds.
pub fn from_ms(ms: i64) -> Option<i64> {
    (EARLIEST_MS..=LATEST_MS).contains(&ms).then_some(ms)
}

/// A numeric string (ms) or ISO 8601: `2024-07-15T12:34:56Z`, with fractions, `+05:30`, or a space for the `T`.
pub fn from_text(text: &str) -> Option<i64> {
    let ms = match text.parse::<i64>() {
        Ok(ms) => ms,
        Err(_) => from_iso(text.as_bytes())?,
    };
    from_ms(ms)
}

fn from_iso(text: &[u8]) -> Option<i64> {
    let (year, rest) = number(text, 4)?;
    let (month, rest) = number(after(rest, b"-")?, 2)?;
    let (day, rest) = number(after(rest, b"-")?, 2)?;
    let (hour, rest) = number(after(rest, b"Tt ")?, 2)?;
    let (minute, rest) = number(after(rest, b":")?, 2)?;
    let (second, rest) = match after(rest, b":") {
        Some(rest) => number(rest, 2)?,
        None => (0, rest),
    };
    let (millis, rest) = match after(rest, b".,") {
        Some(rest) => fraction(rest)?,
        None => (0, rest),
    };
    let offset_minutes = zone(rest)?;
    // A leap second is the first of the next minute.
    let valid = hour < 24 && minute < 60 && second <= 60;
    let days = days_since_epoch(year, month, day).filter(|_| valid)?;
    Some((((days * 24 + hour) * 60 + minute - offset_minutes) * 60 + second) * 1_000 + millis)
}

fn after<'a>(text: &'a [u8], one_of: &[u8]) -> Option<&'a [u8]> {
    text.split_first().filter(|(first, _)| one_of.contains(first)).map(|(_, rest)| rest)
}

/// Exactly `digits` digits.
fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (head, rest) = text.split_at_checked(digits)?;
    let value = head.iter().try_fold(0, |value, byte| digit(*byte).map(|digit| value * 10 + digit))?;
    Some((value, rest))
}

fn digit(byte: u8) -> Option<i64> {
    byte.is_ascii_digit().then(|| i64::from(byte - b'0'))
}

/// Milliseconds of a fraction of any length; what is finer is cut off.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(length).filter(|_| length > 0)?;
    let padded = digits.iter().copied().chain([b'0', b'0']).take(3);
    Some((padded.filter_map(digit).zip([100, 10, 1]).map(|(digit, weight)| digit * weight).sum(), rest))
}

/// Minutes east of UTC: nothing or `Z`, `+05:30`, `+0530`, `-08`.
fn zone(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text == b"Z" || text == b"z" {
        return Some(0);
    }
    let sign = if text.first() == Some(&b'-') { -1 } else { 1 };
    let (hours, rest) = number(after(text, b"+-")?, 2)?;
    let minutes = match rest {
        [] => 0,
        rest => number(after(rest, b":").unwrap_or(rest), 2).filter(|(_, rest)| rest.is_empty())?.0,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar; None if there is no such day.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    if year < 1 || !(1..=longest).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is a year's last: month lengths then follow one line.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_that_occur() {
        let cases = [
            ("1503806734200", 1_503_806_734_200),
            ("-1", -1),
            ("1970-01-01T00:00:00Z", 0),
            ("2024-07-15T12:34:56Z", 1_721_046_896_000),
            ("2024-07-15t12:34:56.7z", 1_721_046_896_700),
            ("2024-07-15 12:34:56.789999", 1_721_046_896_789),
            ("2024-07-15T18:04:56,5+05:30", 1_721_046_896_500),
            ("2024-07-15T04:34:56-0800", 1_721_046_896_000),
            ("2024-07-15T04:34-08", 1_721_046_840_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("1969-12-31T23:59:59.999Z", -1),
            ("0001-01-01T00:00:00Z", EARLIEST_MS),
            ("9999-12-31T23:59:59.999Z", LATEST_MS),
        ];
        for (text, ms) in cases {
            assert_eq!(from_text(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        let cases = [
            "",
            "now",
            "1.5e12",
            "2024-07-15",
            "2024-07-15T",
            "2024-7-15T12:34:56Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00Zz",
            "2024-01-01T00:00:00+25:00",
            "2024-01-01T00:00:00+1",
            "0000-01-01T00:00:00Z",
            "9223372036854775807",
            "99999999999999999999",
            "2024-01-01T00:00:00\u{e9}",
            "१२३४-01-01T00:00:00Z",
        ];
        for text in cases {
            assert_eq!(from_text(text), None, "{text}");
        }
    }

    #[test]
    fn days_follow_one_another() {
        let mut expected = days_since_epoch(1999, 1, 1);
        for year in 1999..=2101 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let days = days_since_epoch(year, month, day);
                    if days.is_some() {
                        assert_eq!(days, expected);
                        expected = expected.map(|day| day + 1);
                    }
                }
            }
        }
        assert_eq!(days_since_epoch(2000, 1, 1), Some(10_957));
    }
}
