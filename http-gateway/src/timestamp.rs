//! Event times as text: ISO 8601 as RFC 3339 narrows it, proleptic Gregorian, no leap seconds.

const MS_PER_DAY: i64 = 86_400_000;

/// Milliseconds since the epoch; digits beyond the millisecond are cut. None: not such a text.
pub fn parse_iso_8601(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (date_time, rest) = bytes.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, separator)| date_time.get(*at) != Some(separator)) {
        return None;
    }
    if !matches!(date_time.get(10), Some(b'T' | b't' | b' ')) {
        return None;
    }
    let part = |from: usize, length: usize| digits(date_time.get(from..from + length)?);
    let (year, month, day) = (part(0, 4)?, part(5, 2)?, part(8, 2)?);
    let (hour, minute, second) = (part(11, 2)?, part(14, 2)?, part(17, 2)?);
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    let (fraction_ms, zone) = fraction(rest)?;
    let local =
        days_since_epoch(year, month, day) * MS_PER_DAY + (hour * 3600 + minute * 60 + second) * 1000 + fraction_ms;
    Some(local - zone_offset_ms(zone)?)
}

/// UTC with milliseconds: `2024-07-15T12:34:56.789Z`.
pub fn format_iso_8601(timestamp_ms: i64) -> String {
    let (days, in_day) = (timestamp_ms.div_euclid(MS_PER_DAY), timestamp_ms.rem_euclid(MS_PER_DAY));
    let (year, month, day) = date_of(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, ms) = (in_day / 1000 % 60, in_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

/// `.123456` in ms, and what follows it.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.' | b',', digits_and_zone)) = rest.split_first() else { return Some((0, rest)) };
    let length = digits_and_zone.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, zone) = digits_and_zone.split_at_checked(length).filter(|(fraction, _)| !fraction.is_empty())?;
    let mut ms = [b'0'; 3];
    ms.iter_mut().zip(fraction).for_each(|(place, digit)| *place = *digit);
    Some((digits(&ms)?, zone))
}

/// `Z`, `+02:00` or `+0200`.
fn zone_offset_ms(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match zone {
        [b'Z' | b'z'] => return Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            (*sign, digits(&[*h1, *h2])?, digits(&[*m1, *m2])?)
        }
        _ => return None,
    };
    let offset = (hours * 60 + minutes) * 60_000;
    (hours < 24 && minutes < 60).then_some(if sign == b'-' { -offset } else { offset })
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Years are counted from March, so that the leap day comes last; an era is 400 years of 146,097 days.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_since_epoch`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times() {
        assert_eq!(parse_iso_8601("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_iso_8601("2024-07-15T12:34:56Z"), Some(1_721_046_896_000));
        assert_eq!(parse_iso_8601("2024-07-15T14:34:56.789999+02:00"), Some(1_721_046_896_789));
        assert_eq!(parse_iso_8601("2024-07-15T14:34:56.7+0200"), Some(1_721_046_896_700));
        assert_eq!(parse_iso_8601("2024-02-29T00:00:00Z"), Some(1_709_164_800_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let wrong = [
            "",
            "now",
            "2024-07-15",
            "2024-07-15T12:34:56",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-07-15T24:00:00Z",
            "2024-07-15T12:34:56.Z",
            "2024-07-15T12:34:56Zulu",
            "2024-07-15T12:34:56+2",
            "２024-07-15T12:34:56Z",
        ];
        for text in wrong {
            assert_eq!(parse_iso_8601(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn format_and_parse_are_inverse(timestamp_ms in 0i64..253_402_300_800_000) {
            prop_assert_eq!(parse_iso_8601(&format_iso_8601(timestamp_ms)), Some(timestamp_ms));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            let _ = parse_iso_8601(&text);
        }
    }
}
