//! Topic names: any channel id becomes one safe topic level.

use std::fmt::Write;

/// `streams/{stream}/{channel_id}`, each escaped to one topic level; `None` if the channel id is too long for a topic.
pub fn stream_topic(stream: &str, channel_id: &str, max_channel_bytes: usize) -> Option<String> {
    let channel = escape(channel_id);
    (channel.len() <= max_channel_bytes).then(|| format!("streams/{}/{channel}", escape(stream)))
}

/// Where the binary form of a channel's message goes.
pub fn binary_topic(topic: &str) -> String {
    format!("{topic}/bin")
}

/// Percent-encodes what has a meaning in topics and filters (`/ + #`), `%` itself and control characters; the rest stays.
fn escape(name: &str) -> String {
    let mut level = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '/' | '+' | '#' | '%') || character.is_control() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(level, "%{byte:02X}");
            }
        } else {
            level.push(character);
        }
    }
    level
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn special_characters_are_percent_encoded() {
        let cases = [
            ("ch-maymac", "ch-maymac"),
            ("a/b", "a%2Fb"),
            ("+", "%2B"),
            ("a#", "a%23"),
            ("100%", "100%25"),
            ("nul\0", "nul%00"),
            ("del\u{7f}\u{85}", "del%7F%C2%85"),
            ("şampiyon 🎉", "şampiyon 🎉"),
            ("", ""),
        ];
        for (channel, level) in cases {
            assert_eq!(stream_topic("emoji", channel, 512).unwrap(), format!("streams/emoji/{level}"));
        }
    }

    #[test]
    fn a_long_channel_is_refused() {
        assert!(stream_topic("emoji", &"x".repeat(512), 512).is_some());
        assert!(stream_topic("emoji", &"x".repeat(513), 512).is_none());
        assert!(stream_topic("emoji", &"/".repeat(171), 512).is_none());
    }

    proptest! {
        #[test]
        fn one_level_and_no_two_channels_share_it(left in any::<String>(), right in any::<String>()) {
            let (a, b) = (escape(&left), escape(&right));
            prop_assert!(!a.contains(['/', '+', '#', '\0']));
            prop_assert_eq!(a == b, left == right);
        }
    }
}
