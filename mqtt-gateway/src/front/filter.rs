//! Which filters are taken (4.7 of MQTT 3.1.1), and why not.

/// Why SUBACK refuses a filter; the text is the label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterRefusal {
    #[error("filter_invalid")]
    Invalid,
    #[error("filter_too_long")]
    TooLong,
    /// `$share/…` endangers the hub, and there are no other `$` topics.
    #[error("filter_dollar")]
    Dollar,
}

pub fn check(filter: &str, max_bytes: usize) -> Result<(), FilterRefusal> {
    if filter.starts_with('$') {
        return Err(FilterRefusal::Dollar);
    }
    if filter.len() > max_bytes {
        return Err(FilterRefusal::TooLong);
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let last = levels.peek().is_none();
        let lone_wildcard = level == "+" || (level == "#" && last);
        if !lone_wildcard && level.contains(['+', '#']) {
            return Err(FilterRefusal::Invalid);
        }
    }
    if filter.is_empty() { Err(FilterRefusal::Invalid) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for good in ["a", "#", "+", "a/#", "a/+/b", "+/+", "/", "/a", "a/", "streams/emoji/ch-1", "été/#", "a b/$x"] {
            assert_eq!(check(good, 64), Ok(()), "{good}");
        }
        for bad in ["", "a/#/b", "#a", "a#", "a/b#", "#/a", "a+", "+a/b", "a/++", "##"] {
            assert_eq!(check(bad, 64), Err(FilterRefusal::Invalid), "{bad}");
        }
        for dollar in ["$share/group/a", "$SYS/#", "$"] {
            assert_eq!(check(dollar, 64), Err(FilterRefusal::Dollar), "{dollar}");
        }
        assert_eq!(check(&"a".repeat(65), 64), Err(FilterRefusal::TooLong));
    }
}
