//! Topic filters (4.7, 4.8 of MQTT 5): which are taken, and what they match.

use crate::cluster::ORDERS;

/// Why SUBACK refuses a filter; the text is the label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterRefusal {
    #[error("filter_invalid")]
    Invalid,
    #[error("filter_too_long")]
    TooLong,
    /// There are no `$` topics for clients: silence would be taken for success.
    #[error("filter_dollar")]
    Dollar,
}

/// A checked filter, its share taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// `g` of `$share/g/…`.
    pub group: Option<&'a str>,
    pub filter: &'a str,
}

pub fn parse(text: &str, max_bytes: usize) -> Result<Parsed<'_>, FilterRefusal> {
    if text.len() > max_bytes {
        return Err(FilterRefusal::TooLong);
    }
    let parsed = match text.strip_prefix("$share/") {
        Some(shared) => {
            let (group, filter) = shared.split_once('/').ok_or(FilterRefusal::Invalid)?;
            if group.is_empty() || group.contains(['+', '#']) {
                return Err(FilterRefusal::Invalid);
            }
            Parsed { group: Some(group), filter }
        }
        None => Parsed { group: None, filter: text },
    };
    if parsed.filter.starts_with('$') && !parsed.filter.starts_with(ORDERS) {
        return Err(FilterRefusal::Dollar);
    }
    if is_valid(parsed.filter) { Ok(parsed) } else { Err(FilterRefusal::Invalid) }
}

fn is_valid(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let last = levels.peek().is_none();
        let lone_wildcard = level == "+" || (level == "#" && last);
        if !lone_wildcard && level.contains(['+', '#']) {
            return false;
        }
    }
    !filter.is_empty()
}

pub fn has_wildcard(filter: &str) -> bool {
    filter.contains(['+', '#'])
}

/// 4.7: by levels; wildcards at the beginning leave topics with `$` alone.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for good in ["a", "#", "+", "a/#", "a/+/b", "+/+", "/", "/a", "a/", "streams/emoji/ch-1", "été/#", "a b/$x"] {
            assert_eq!(parse(good, 64), Ok(Parsed { group: None, filter: good }), "{good}");
        }
        for bad in ["", "a/#/b", "#a", "a#", "a/b#", "#/a", "a+", "+a/b", "a/++", "##"] {
            assert_eq!(parse(bad, 64), Err(FilterRefusal::Invalid), "{bad}");
        }
        for bad in ["$share/g", "$share//a", "$share/g/", "$share/+/a", "$share/a#/a", "$share/g/a/#/b"] {
            assert_eq!(parse(bad, 64), Err(FilterRefusal::Invalid), "{bad}");
        }
        for dollar in ["$SYS/#", "$", "$share/g/$SYS"] {
            assert_eq!(parse(dollar, 64), Err(FilterRefusal::Dollar), "{dollar}");
        }
        assert_eq!(parse("$share/g/a/+", 64), Ok(Parsed { group: Some("g"), filter: "a/+" }));
        assert_eq!(parse(&"a".repeat(65), 64), Err(FilterRefusal::TooLong));
    }

    #[test]
    fn matching() {
        let cases = [
            ("a", "a", true),
            ("a", "a/", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("#", "/", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("+", "", true),
            ("+", "a/b", false),
            ("/+", "/a", true),
            ("a/+/c", "a//c", true),
            ("a/+", "a", false),
        ];
        for (filter, topic, expected) in cases {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }
}
