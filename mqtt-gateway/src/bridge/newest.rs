//! Whether a message is newer than what was seen of its topic. Pure.
//!
//! A sequence grows within one topic of one main node. So a node that gets the retained state again, or a main node that sends
//! again what a crash caught, changes nothing here: an older state never follows a newer one.

use crate::message::Message;
use bytes::Bytes;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

/// What a message is in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nothing to compare it with.
    First,
    Newer,
    /// Newer, and something between it and the last one has not come here.
    AfterGap,
    /// This one or a later one was here already.
    Older,
    /// It has been through this node: the tree has a loop.
    Loop,
}

#[derive(Debug)]
pub struct Newest {
    node: String,
    topics: HashMap<Bytes, Mark>,
    max_topics: usize,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Hash of the main node's name: another one counts anew.
    source: u64,
    sequence: u64,
}

impl Newest {
    pub fn new(node: &str, max_topics: usize) -> Self {
        Self { node: node.to_owned(), topics: HashMap::new(), max_topics, hasher: RandomState::new() }
    }

    pub fn see(&mut self, message: &Message) -> Place {
        let origin = &message.origin;
        if origin.path.contains(&self.node) {
            return Place::Loop;
        }
        // Of a client's message nothing is known.
        if origin.sequence == 0 {
            return Place::First;
        }
        let mark = Mark { source: self.hasher.hash_one(origin.path.source()), sequence: origin.sequence };
        let Some(last) = self.topics.get_mut(&message.topic) else {
            self.make_room();
            self.topics.insert(message.topic.clone(), mark);
            return Place::First;
        };
        let before = std::mem::replace(last, mark);
        if before.source != mark.source {
            return Place::First;
        }
        if before.sequence >= mark.sequence {
            *last = before;
            return Place::Older;
        }
        if origin.previous > before.sequence { Place::AfterGap } else { Place::Newer }
    }

    /// Beyond the limit all are forgotten: at worst a state is shown twice.
    fn make_room(&mut self) {
        if self.topics.len() >= self.max_topics {
            self.topics.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{NodePath, Origin};

    fn message(topic: &'static str, path: &str, sequence: u64, previous: u64) -> Message {
        let origin = Origin { time_ms: 1, sequence, previous, path: NodePath::from_text(path) };
        Message { topic: Bytes::from_static(topic.as_bytes()), payload: Bytes::new(), retain: true, origin }
    }

    #[test]
    fn only_what_is_newer_in_its_topic_goes_on() {
        let mut newest = Newest::new("edge", 10);
        let cases = [
            ("a", 5, 0, Place::First),
            ("b", 3, 0, Place::First),
            ("a", 5, 0, Place::Older),
            ("a", 4, 3, Place::Older),
            ("a", 6, 5, Place::Newer),
            ("a", 9, 8, Place::AfterGap),
            ("a", 10, 0, Place::Newer),
        ];
        for (topic, sequence, previous, expected) in cases {
            assert_eq!(newest.see(&message(topic, "main", sequence, previous)), expected, "{topic} {sequence}");
        }
    }

    #[test]
    fn another_main_node_counts_anew_and_a_clients_message_is_not_compared() {
        let mut newest = Newest::new("edge", 10);
        assert_eq!(newest.see(&message("a", "main-1", 100, 99)), Place::First);
        assert_eq!(newest.see(&message("a", "main-2", 1, 0)), Place::First);
        assert_eq!(newest.see(&message("a", "main-2", 1, 0)), Place::Older);
        assert_eq!(newest.see(&message("a", "", 0, 0)), Place::First);
    }

    #[test]
    fn a_message_that_comes_back_is_a_loop() {
        let mut newest = Newest::new("b", 10);
        assert_eq!(newest.see(&message("a", "main,b,c", 7, 0)), Place::Loop);
        assert_eq!(newest.see(&message("a", "main,bb", 7, 0)), Place::First);
    }

    #[test]
    fn memory_is_bounded() {
        let mut newest = Newest::new("b", 2);
        for topic in ["a", "b", "c"] {
            newest.see(&message(topic, "main", 1, 0));
        }
        assert!(newest.topics.len() <= 2);
    }
}
