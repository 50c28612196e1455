//! Subscriptions by pattern. Kafka's are of RE2/J and have to match the whole name; an empty one matches nothing.

use crate::{GroupError, assignment::TopicsImage};
use regex::bytes::{Regex, RegexBuilder};
use std::collections::BTreeSet;

/// Most memory that one compiled pattern may take.
const MAX_PROGRAM_BYTES: usize = 1 << 20;

pub fn check(pattern: &str) -> Result<(), GroupError> {
    if pattern.is_empty() { Ok(()) } else { compile(pattern).map(|_| ()) }
}

/// The topics whose whole names match.
pub fn matching(pattern: &str, topics: &TopicsImage) -> BTreeSet<String> {
    let Some(regex) = Some(pattern).filter(|pattern| !pattern.is_empty()).and_then(|pattern| compile(pattern).ok())
    else {
        return BTreeSet::new();
    };
    let names = topics.iter().map(|topic| &topic.name).filter(|name| regex.is_match(name.as_bytes()));
    names.map(|name| name.to_string()).collect()
}

/// As in RE2, classes such as `\d` are of ASCII; one that asks for properties of Unicode is taken as such.
fn compile(pattern: &str) -> Result<Regex, GroupError> {
    // Alone first: brackets that do not match must not pair with ours.
    let build = |pattern: &str, unicode: bool| {
        RegexBuilder::new(pattern).unicode(unicode).size_limit(MAX_PROGRAM_BYTES).build()
    };
    let unicode = build(pattern, false).is_err();
    build(pattern, unicode)
        .and_then(|_| build(&format!(r"\A(?:{pattern})\z"), unicode))
        .map_err(|_| GroupError::InvalidRegularExpression)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::TopicMetadata;
    use uuid::Uuid;

    fn matches(pattern: &str) -> Vec<String> {
        let topic = |(at, name): (u128, &str)| TopicMetadata::new(name.into(), Uuid::from_u128(at), 1);
        let names = ["a", "ab", "b.a", "A", "x1", "x-1"];
        matching(pattern, &TopicsImage::new(1, (1..).zip(names).map(topic))).into_iter().collect()
    }

    #[test]
    fn whole_names_match_and_an_empty_pattern_matches_none() {
        assert_eq!(matches("a"), ["a"]);
        assert_eq!(matches("a.*"), ["a", "ab"]);
        assert_eq!(matches("a|b"), ["a"]);
        assert_eq!(matches("(?i)a"), ["A", "a"]);
        assert_eq!(matches(r"x\d"), ["x1"]);
        assert_eq!(matches(r"\pL\d"), ["x1"]);
        assert_eq!(matches("").len(), 0);
        assert_eq!(matches(".*").len(), 6);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for wrong in ["[", "a)(b", "(?=a)", r"(a)\1", "a{2000}{2000}{2000}"] {
            assert_eq!(check(wrong), Err(GroupError::InvalidRegularExpression), "{wrong}");
        }
        assert_eq!(check(""), Ok(()));
    }
}
