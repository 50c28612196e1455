//! Taps: JSON events of about 230 bytes, stamped with the current time.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// A seeded stream of taps over a fixed set of channels and reactions.
pub struct Source {
    state: u64,
    channels: u32,
    reactions: u32,
    text: String,
}

impl Source {
    pub fn new(seed: u64, channels: u32, reactions: u32) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, channels, reactions, text: String::new() }
    }

    /// `count` events, one a line.
    pub fn lines(&mut self, count: u32) -> &str {
        self.text.clear();
        let stamp = timestamp(SystemTime::now());
        for _ in 0..count {
            let channel = self.next() % u64::from(self.channels);
            self.push(&stamp, &format!("match-{channel}"));
            self.text.push('\n');
        }
        &self.text
    }

    /// One event in the given channel.
    pub fn one(&mut self, channel: &str) -> &str {
        self.text.clear();
        self.push(&timestamp(SystemTime::now()), channel);
        &self.text
    }

    fn push(&mut self, stamp: &str, channel: &str) {
        let (user, message) = (self.next() % 1_000_000, self.next());
        let reaction = self.next() % u64::from(self.reactions);
        // Writing to a String cannot fail.
        let _ = write!(
            self.text,
            "{{\"emoji_id\":\"e{reaction}\",\"user_id\":\"u{user}\",\"timestamp\":\"{stamp}\",\"emoji_type\":\"animation\",\
             \"message_id\":\"{message:016x}\",\"recipient_id\":\"all\",\"channel_id\":\"{channel}\",\"event_id\":\"final-2026\",\
             \"metadata\":{{\"reaction\":\"reaction-{reaction}\",\"emotion\":\"happy\"}}}}"
        );
    }

    /// xorshift64
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 11
    }
}

/// RFC 3339 in UTC with milliseconds.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// Days since 1970 to (year, month, day): counts years from March, so that the leap day is the last of a year.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps_are_rfc_3339() {
        let at = |ms| timestamp(UNIX_EPOCH + Duration::from_millis(ms));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(1_709_208_000_123), "2024-02-29T12:00:00.123Z");
        assert_eq!(at(1_721_046_896_000), "2024-07-15T12:34:56.000Z");
    }

    #[test]
    fn events_are_json_of_about_230_bytes() {
        let mut source = Source::new(1, 50, 10);
        let lines = source.lines(10).to_owned();
        assert_eq!(lines.lines().count(), 10);
        for line in lines.lines() {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert!(value["metadata"]["reaction"].is_string());
            assert!((210..270).contains(&line.len()), "{}", line.len());
        }
    }
}
