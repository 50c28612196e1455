//! Which names a topic may bear, in Kafka's words.

/// Longest topic name: a directory name of 255 bytes less the partition and deletion suffixes.
pub const MAX_NAME_BYTES: usize = 249;

/// Why `name` is no legal topic name; None: it is one.
pub fn complaint(name: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if matches!(name, "." | "..") {
        format!("'{name}' is not allowed")
    } else if name.len() > MAX_NAME_BYTES {
        format!("the length of '{name}' is longer than the max allowed length {MAX_NAME_BYTES}")
    } else if !name.chars().all(legal) {
        format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return None;
    };
    Some(format!("Topic name is invalid: {reason}"))
}

/// Names that differ only in `.` and `_` collide: metric names do not tell them apart.
pub fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}

/// Topics of the broker's own, in Kafka's formats.
pub fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal_names() {
        for name in ["a", "a.b_c-D9", "...", &"x".repeat(249)] {
            assert_eq!(complaint(name), None, "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"x".repeat(250)] {
            assert!(complaint(name).is_some(), "{name}");
        }
        assert_eq!(collision_key("a.b"), collision_key("a_b"));
    }
}
