//! The newest retained message of each topic, in topic order, so that a newcomer with a wildcard can be served bit by bit.

use super::{filter, wire::publish::Publication};
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

#[derive(Debug)]
pub struct Retained {
    topics: BTreeMap<Arc<str>, Arc<Publication>>,
    /// Topics retained for clients; the rest are the gateway's own.
    from_clients: usize,
    max_own: usize,
    max_from_clients: usize,
}

impl Retained {
    pub fn new(max_own: usize, max_from_clients: usize) -> Self {
        Self { topics: BTreeMap::new(), from_clients: 0, max_own, max_from_clients }
    }

    /// Keeps the message if it is to be retained; an empty one clears its topic (3.3.1.3). `false`: too many topics.
    pub fn update(&mut self, publication: &Arc<Publication>) -> bool {
        if !publication.retain {
            return true;
        }
        if let Some(old) = self.topics.remove(publication.topic()) {
            self.from_clients -= usize::from(old.publisher.is_some());
        }
        if publication.payload.is_empty() {
            return true;
        }
        let from_client = publication.publisher.is_some();
        let (count, max) = if from_client {
            (self.from_clients, self.max_from_clients)
        } else {
            (self.topics.len() - self.from_clients, self.max_own)
        };
        if count >= max {
            return false;
        }
        self.from_clients += usize::from(from_client);
        self.topics.insert(publication.shared_topic(), publication.clone());
        true
    }

    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// The next `limit` messages of a filter, behind the topic `after`.
    pub fn next(&self, filter: &str, after: Option<&str>, limit: usize) -> Vec<Arc<Publication>> {
        if !filter::has_wildcard(filter) {
            return self.topics.get(filter).filter(|_| after.is_none()).cloned().into_iter().collect();
        }
        // What stands before the first wildcard bounds the range. `a/#` also matches `a`, so the slash does not count.
        let prefix = filter.split(['+', '#']).next().unwrap_or_default().trim_end_matches('/');
        let from = match after {
            Some(after) => Excluded(after),
            None if prefix.is_empty() => Unbounded,
            None => Included(prefix),
        };
        self.topics
            .range::<str, _>((from, Unbounded))
            .take_while(|(topic, _)| topic.starts_with(prefix))
            .filter(|(topic, _)| filter::matches(filter, topic))
            .take(limit)
            .map(|(_, publication)| publication.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::wire::{Properties, publish::Publisher};
    use super::*;

    fn message(topic: &str, payload: &'static str, client: bool) -> Arc<Publication> {
        let mut publication = Publication::new(topic, payload.into(), 0, true, &Properties::default()).unwrap();
        publication.publisher = client.then_some(Publisher(1));
        Arc::new(publication)
    }

    fn topics(retained: &Retained, filter: &str, after: Option<&str>, limit: usize) -> Vec<String> {
        retained.next(filter, after, limit).iter().map(|publication| publication.topic().to_owned()).collect()
    }

    #[test]
    fn filters_find_them_bit_by_bit() {
        let mut retained = Retained::new(100, 100);
        for topic in ["a", "a/b", "a/b/c", "a/c", "ab", "$x/a", "/a"] {
            assert!(retained.update(&message(topic, "1", false)));
        }
        assert_eq!(topics(&retained, "a/#", None, 9), ["a", "a/b", "a/b/c", "a/c"]);
        assert_eq!(topics(&retained, "a/#", Some("a/b"), 1), ["a/b/c"]);
        assert_eq!(topics(&retained, "a/+", None, 9), ["a/b", "a/c"]);
        assert_eq!(topics(&retained, "+", None, 9), ["a", "ab"]);
        assert_eq!(topics(&retained, "#", None, 9), ["/a", "a", "a/b", "a/b/c", "a/c", "ab"]);
        assert_eq!(topics(&retained, "/+", None, 9), ["/a"]);
        assert_eq!(topics(&retained, "a/b", None, 9), ["a/b"]);
        assert!(topics(&retained, "a/b", Some("a/b"), 9).is_empty());
    }

    #[test]
    fn they_are_bounded_apart_and_cleared_by_an_empty_message() {
        let mut retained = Retained::new(1, 1);
        assert!(retained.update(&message("a", "1", false)) && retained.update(&message("c", "1", true)));
        assert!(!retained.update(&message("b", "1", false)) && !retained.update(&message("d", "1", true)));
        assert!(retained.update(&message("a", "2", false)));
        assert!(retained.update(&message("c", "", true)) && retained.update(&message("d", "1", true)));
        assert_eq!(topics(&retained, "#", None, 9), ["a", "d"]);
        assert_eq!(retained.next("a", None, 1)[0].payload, "2");
    }
}
