//! From a topic to its subscribers: a table for plain filters, a trie for those with wildcards.
//!
//! A subscriber is a slot of the owner's table with the generation that it had; who leaves stays in the lists until they are
//! tidied, and is recognised as gone by its generation. So leaving costs nothing, however large the crowd.

use super::{filter, wire::Options};
use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

/// A list is tidied when it has grown to this many times what was left in it the last time.
const TIDY_GROWTH: usize = 2;
const TIDY_MINIMUM: usize = 64;

/// Who it is, in the owner's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    pub index: u32,
    pub generation: u32,
}

/// One subscription in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub slot: Slot,
    /// Subscription identifier; 0: none.
    pub id: u32,
    pub options: Options,
}

#[derive(Debug, Default)]
struct List {
    entries: Vec<Entry>,
    tidy_at: usize,
}

#[derive(Debug, Default)]
pub struct Index {
    plain: HashMap<Arc<str>, List>,
    wildcards: Node,
    wildcard_filters: usize,
}

#[derive(Debug, Default)]
struct Node {
    levels: HashMap<Box<str>, Node>,
    /// `+`
    any: Option<Box<Node>>,
    /// Filters that end here.
    here: List,
    /// Filters that end here with `#`.
    below: List,
}

impl Index {
    /// Adds the subscription, or changes it if it is there. `is_alive` says who of a list is still there.
    pub fn add(&mut self, filter: &Arc<str>, entry: Entry, is_alive: impl Fn(Slot) -> bool) {
        if filter::has_wildcard(filter) {
            self.wildcard_filters += 1;
            self.wildcards.list(filter).put(entry, is_alive);
        } else {
            self.plain.entry(filter.clone()).or_default().put(entry, is_alive);
        }
    }

    pub fn remove(&mut self, filter: &str, slot: Slot) {
        if filter::has_wildcard(filter) {
            self.wildcards.remove(filter, slot);
        } else if let Some(list) = self.plain.get_mut(filter)
            && list.remove(slot)
        {
            self.plain.remove(filter);
        }
    }

    /// Forgets filters that nobody alive has. For once in a while: it looks at all of them.
    pub fn tidy(&mut self, is_alive: &impl Fn(Slot) -> bool) {
        self.plain.retain(|_, list| list.tidy(is_alive));
        self.plain.shrink_to_fit();
        self.wildcards.tidy(is_alive);
    }

    /// The lists of all filters that match, the empty ones left out.
    pub fn matching<'a>(&'a self, topic: &str, out: &mut Vec<&'a [Entry]>) {
        if let Some(list) = self.plain.get(topic) {
            out.push(&list.entries);
        }
        if self.wildcard_filters > 0 {
            self.wildcards.matching(topic.split('/'), topic.starts_with('$'), out);
        }
        out.retain(|entries| !entries.is_empty());
    }
}

impl List {
    fn put(&mut self, entry: Entry, is_alive: impl Fn(Slot) -> bool) {
        if self.entries.len() >= self.tidy_at.max(TIDY_MINIMUM) {
            self.tidy(&is_alive);
        }
        self.entries.push(entry);
    }

    /// `true`: nobody is left.
    fn remove(&mut self, slot: Slot) -> bool {
        // Newest last: who unsubscribes soon after subscribing is found at once.
        if let Some(place) = self.entries.iter().rposition(|entry| entry.slot == slot) {
            self.entries.swap_remove(place);
        }
        self.entries.is_empty()
    }

    /// `false`: nobody is left.
    fn tidy(&mut self, is_alive: &impl Fn(Slot) -> bool) -> bool {
        self.entries.retain(|entry| is_alive(entry.slot));
        self.tidy_at = self.entries.len().saturating_mul(TIDY_GROWTH);
        if self.entries.capacity() > self.tidy_at.max(TIDY_MINIMUM) {
            self.entries.shrink_to(self.tidy_at);
        }
        !self.entries.is_empty()
    }
}

impl Node {
    /// Not recursive: filters may have a thousand levels.
    fn list(&mut self, filter: &str) -> &mut List {
        let mut node = self;
        for level in filter.split('/') {
            match level {
                "#" => return &mut node.below,
                "+" => node = node.any.get_or_insert_default(),
                _ => node = node.levels.entry(level.into()).or_default(),
            }
        }
        &mut node.here
    }

    fn remove(&mut self, filter: &str, slot: Slot) {
        self.list(filter).remove(slot);
    }

    /// `false`: nothing is left here or below. Depth is bounded by the filters' length.
    fn tidy(&mut self, is_alive: &impl Fn(Slot) -> bool) -> bool {
        self.levels.retain(|_, node| node.tidy(is_alive));
        if self.any.as_mut().is_some_and(|node| !node.tidy(is_alive)) {
            self.any = None;
        }
        let here = self.here.tidy(is_alive);
        let below = self.below.tidy(is_alive);
        here || below || self.any.is_some() || !self.levels.is_empty()
    }

    fn matching<'a>(&'a self, mut topic: std::str::Split<'_, char>, dollar: bool, out: &mut Vec<&'a [Entry]>) {
        if !dollar {
            out.push(&self.below.entries);
        }
        let Some(level) = topic.next() else {
            out.push(&self.here.entries);
            return;
        };
        if let Some(node) = &self.any
            && !dollar
        {
            node.matching(topic.clone(), false, out);
        }
        if let Some(node) = self.levels.get(level) {
            node.matching(topic, false, out);
        }
    }
}

/// One message per subscriber: several matching subscriptions of one count as the best of them (3.3.4 of MQTT 5).
#[derive(Debug, Default)]
pub struct Merger {
    slots: HashMap<Slot, usize>,
    pub merged: Vec<(Entry, Vec<u32>)>,
}

impl Merger {
    pub fn merge(&mut self, lists: &[&[Entry]]) {
        self.slots.clear();
        self.merged.clear();
        for entry in lists.iter().copied().flatten() {
            match self.slots.entry(entry.slot) {
                hash_map::Entry::Vacant(place) => {
                    place.insert(self.merged.len());
                    self.merged.push((*entry, Vec::new()));
                }
                hash_map::Entry::Occupied(place) => {
                    if let Some((first, more)) = self.merged.get_mut(*place.get()) {
                        first.options = join(first.options, entry.options);
                        more.extend((entry.id != 0).then_some(entry.id));
                    }
                }
            }
        }
    }
}

/// The larger QoS; retain as published if one wants it; no local only if both do.
fn join(left: Options, right: Options) -> Options {
    let best = if left.qos() >= right.qos() { left } else { right };
    let retain_as_published = (left.0 | right.0) & 0b1000;
    let no_local = left.0 & right.0 & 0b0100;
    Options(best.qos() | retain_as_published | no_local)
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
