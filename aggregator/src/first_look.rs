//! A look at the first events: a field that is in none of them is probably misspelt, and somebody should hear of it.
//!
//! Such events are all in the bad topic, each with its reason; this says it once, with the name that was probably meant. It
//! judges nothing. Pure.

use crate::{
    definition::nearest,
    extract::{Slot, Slots},
};
use serde_json::Value;

/// Events looked at.
pub const FIRST_EVENTS: usize = 1_000;
/// Names of one event that are remembered.
const MAX_NAMES: usize = 200;

/// Which wanted fields have been seen.
#[derive(Debug)]
pub struct FirstLook {
    looked: usize,
    /// Path, and whether it has been there; by slot.
    fields: Vec<(String, bool)>,
    /// All paths of the event looked at last, while something is missing.
    names: Vec<String>,
}

impl FirstLook {
    pub fn new(paths: &[String]) -> Self {
        Self { looked: 0, fields: paths.iter().map(|path| (path.clone(), false)).collect(), names: Vec::new() }
    }

    #[inline]
    pub fn is_over(&self) -> bool {
        self.looked >= FIRST_EVENTS
    }

    /// An event that is JSON.
    pub fn take(&mut self, json: &[u8], slots: &Slots<'_>) {
        self.looked += 1;
        for ((_, is_seen), slot) in self.fields.iter_mut().zip(slots) {
            *is_seen |= *slot != Slot::Missing;
        }
        let is_telling = self.looked == 1 || self.is_over();
        if is_telling && self.fields.iter().any(|(_, is_seen)| !is_seen) {
            self.names.clear();
            if let Ok(event) = serde_json::from_slice(json) {
                collect(&event, "", &mut self.names);
            }
        }
    }

    /// What to say of these fields, if one of them has been in no event so far.
    pub fn warning(&self, wanted: &[&str]) -> Option<String> {
        let is_missing = |(path, is_seen): &&(String, bool)| !is_seen && wanted.contains(&path.as_str());
        let (path, _) = self.fields.iter().find(is_missing).filter(|_| self.looked > 0)?;
        let known: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let looked = self.looked;
        Some(format!("`{path}` is in none of the first {looked} events{}", nearest(path, &known)))
    }
}

fn collect(value: &Value, prefix: &str, names: &mut Vec<String>) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        if names.len() >= MAX_NAMES {
            return;
        }
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        collect(value, &path, names);
        names.push(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::{MAX_SLOTS, no_slots};

    #[test]
    fn a_missing_field_is_told_with_the_nearest_name() {
        let paths = ["chanel_id".to_owned(), "metadata.reaction".to_owned(), "score".to_owned()];
        let mut look = FirstLook::new(&paths);
        assert_eq!(look.warning(&["chanel_id"]), None, "nothing has been seen");
        let mut slots = no_slots::<MAX_SLOTS>();
        slots[1] = Slot::Integer(1);
        for _ in 0..FIRST_EVENTS {
            assert!(!look.is_over());
            look.take(br#"{"channel_id":"c","metadata":{"reaction":1}}"#, &slots);
        }
        assert!(look.is_over());
        let words = "`chanel_id` is in none of the first 1000 events; did you mean `channel_id`?";
        assert_eq!(look.warning(&["chanel_id", "metadata.reaction"]).as_deref(), Some(words));
        assert_eq!(look.warning(&["metadata.reaction"]), None);
    }
}
