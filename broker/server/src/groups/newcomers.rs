//! Tells in the log when a consumer begins at the end of a partition, behind records that it will never see: the usual reason why a
//! test reads nothing.
//!
//! What the broker truly sees: OffsetFetch tells a client that its group has nothing committed for a partition; then the same client (by
//! client id and address) asks ListOffsets for that partition's end, and for nothing else of it. That is `auto.offset.reset=latest`. A consumer without
//! a group that seeks to the end does so on purpose, and nothing is said. Two consumers of one machine that share
//! a client id are told apart by nothing: the line may name the other one's group.

use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

/// Partitions that are remembered, of all clients together. When there are more, those of long ago are forgotten, then all.
const MAX_PARTITIONS: usize = 10_000;
/// A consumer asks for the end within moments.
const REMEMBERED_MS: i64 = 60_000;
/// Partitions named in one line.
const NAMED: usize = 3;

/// A client, as far as it can be recognised on another connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Who {
    pub client_id: String,
    pub host: IpAddr,
}

#[derive(Debug, Default)]
pub struct Newcomers(Mutex<HashMap<Place, Newcomer>>);

/// A client, and a partition by topic and number.
type Place = (Who, Arc<str>, i32);

#[derive(Debug)]
struct Newcomer {
    group: Arc<str>,
    told_ms: i64,
}

/// A partition of which the start or the end was asked for.
#[derive(Debug, Clone)]
pub struct Sought {
    pub topic: Arc<str>,
    pub partition: i32,
    /// What lies behind it, if its end was asked for; anything else than the end: `None`.
    pub unseen: Option<i64>,
}

/// A group whose consumer begins at the end.
#[derive(Debug, PartialEq, Eq)]
pub struct Unseen {
    pub group: Arc<str>,
    pub records: i64,
    pub partitions: usize,
    /// The first few.
    pub named: Vec<String>,
}

impl Newcomers {
    /// Nothing is remembered, so that nothing can be found.
    pub fn are_none(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// The group has nothing committed for these.
    pub fn nothing_committed(&self, who: &Who, group: &Arc<str>, partitions: &[(Arc<str>, i32)], now_ms: i64) {
        if partitions.is_empty() {
            return;
        }
        let mut told = self.0.lock();
        if told.len() + partitions.len() > MAX_PARTITIONS {
            told.retain(|_, newcomer| newcomer.is_recent(now_ms));
        }
        if told.len() + partitions.len() > MAX_PARTITIONS {
            told.clear();
        }
        for (topic, partition) in partitions.iter().take(MAX_PARTITIONS) {
            let newcomer = Newcomer { group: group.clone(), told_ms: now_ms };
            told.insert((who.clone(), topic.clone(), *partition), newcomer);
        }
    }

    /// The client has asked where these begin or end: what it will never see, by group.
    pub fn seeks(&self, who: &Who, sought: &[Sought], now_ms: i64) -> Vec<Unseen> {
        let mut told = self.0.lock();
        let mut unseen: BTreeMap<Arc<str>, Unseen> = BTreeMap::new();
        for Sought { topic, partition, unseen: records } in sought {
            let newcomer = told.remove(&(who.clone(), topic.clone(), *partition));
            let Some(newcomer) = newcomer.filter(|newcomer| newcomer.is_recent(now_ms)) else { continue };
            if let Some(records) = records.filter(|records| *records > 0) {
                let group = newcomer.group;
                unseen.entry(group.clone()).or_insert_with(|| Unseen::of(group)).add(topic, *partition, records);
            }
        }
        unseen.into_values().collect()
    }
}

impl Newcomer {
    fn is_recent(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.told_ms) <= REMEMBERED_MS
    }
}

impl Unseen {
    fn of(group: Arc<str>) -> Self {
        Self { group, records: 0, partitions: 0, named: Vec::new() }
    }

    fn add(&mut self, topic: &str, partition: i32, records: i64) {
        self.records += records;
        self.partitions += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("{topic}-{partition}"));
        }
    }

    pub fn tell(&self, client_id: &str) {
        let Self { group, records, partitions, named } = self;
        let named = named.join(", ");
        tracing::info!(
            %group, client_id, records, partitions,
            "a consumer without committed offsets begins at the end and will not see what is there already ({named}, …): \
             auto.offset.reset is latest; earliest reads it"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(client_id: &str) -> Who {
        Who { client_id: client_id.to_owned(), host: IpAddr::from([127, 0, 0, 1]) }
    }

    fn seeks(partition: i32, unseen: Option<i64>) -> Vec<Sought> {
        vec![Sought { topic: "t".into(), partition, unseen }]
    }

    fn told(partitions: &[i32]) -> Newcomers {
        let newcomers = Newcomers::default();
        let partitions: Vec<_> = partitions.iter().map(|partition| ("t".into(), *partition)).collect();
        newcomers.nothing_committed(&who("c"), &"g".into(), &partitions, 0);
        newcomers
    }

    #[test]
    fn who_was_told_of_nothing_and_seeks_the_end_is_found_once() {
        let newcomers = told(&[0, 1]);
        let found = newcomers.seeks(&who("c"), &[seeks(0, Some(5)), seeks(1, Some(2))].concat(), 10);
        let expected = Unseen { group: "g".into(), records: 7, partitions: 2, named: vec!["t-0".into(), "t-1".into()] };
        assert_eq!(found, [expected]);
        assert_eq!(newcomers.seeks(&who("c"), &seeks(0, Some(5)), 10), []);
    }

    #[test]
    fn others_say_nothing() {
        assert_eq!(told(&[0]).seeks(&who("another"), &seeks(0, Some(5)), 0), []);
        assert_eq!(told(&[0]).seeks(&who("c"), &seeks(1, Some(5)), 0), [], "another partition");
        assert_eq!(told(&[0]).seeks(&who("c"), &seeks(0, Some(0)), 0), [], "there is nothing to miss");
        assert_eq!(told(&[0]).seeks(&who("c"), &seeks(0, Some(5)), REMEMBERED_MS + 1), [], "long after");
        let earliest = told(&[0]);
        assert_eq!(earliest.seeks(&who("c"), &seeks(0, None), 0), []);
        assert_eq!(earliest.seeks(&who("c"), &seeks(0, Some(5)), 0), [], "it looks for the end out of curiosity");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let newcomers = Newcomers::default();
        let many = |from: i32| (from..from + 6_000).map(|partition| ("t".into(), partition)).collect::<Vec<_>>();
        newcomers.nothing_committed(&who("c"), &"g".into(), &many(0), 0);
        newcomers.nothing_committed(&who("c"), &"g".into(), &many(6_000), 1);
        assert!(newcomers.0.lock().len() <= MAX_PARTITIONS);
        assert_eq!(newcomers.seeks(&who("c"), &seeks(6_000, Some(1)), 2).len(), 1, "the newest are remembered");
    }
}
