//! The index against the rule, on made-up filters and topics.

#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn slot(index: u32) -> Slot {
    Slot { index, generation: 1 }
}

fn entry(index: u32) -> Entry {
    Entry { slot: slot(index), id: index, options: Options(1) }
}

fn found(index: &Index, topic: &str) -> BTreeSet<u32> {
    let mut lists = Vec::new();
    index.matching(topic, &mut lists);
    lists.iter().copied().flatten().map(|entry| entry.slot.index).collect()
}

fn levels() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just(""), Just("$x")], 1..5)
        .prop_map(|levels| levels.join("/"))
}

fn filters() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("+"), Just("$x")];
    (proptest::collection::vec(level, 1..5), any::<bool>()).prop_map(|(mut levels, hash)| {
        if hash {
            levels.pop();
            levels.push("#");
        }
        levels.join("/")
    })
}

proptest! {
    #[test]
    fn the_index_finds_what_the_rule_says(
        filters in proptest::collection::vec(filters(), 1..30),
        topics in proptest::collection::vec(levels(), 1..10),
        removed in proptest::collection::vec(0_u32..30, 0..10),
        gone in proptest::collection::btree_set(0_u32..30, 0..10),
    ) {
        let mut index = Index::default();
        for (number, filter) in filters.iter().enumerate() {
            index.add(&filter.as_str().into(), entry(u32::try_from(number).unwrap()), |_| true);
        }
        let mut left: BTreeSet<u32> = (0..u32::try_from(filters.len()).unwrap()).collect();
        for number in removed {
            if let Some(filter) = filters.get(usize::try_from(number).unwrap()) {
                index.remove(filter, slot(number));
                left.remove(&number);
            }
        }
        index.tidy(&|slot| !gone.contains(&slot.index));
        left.retain(|number| !gone.contains(number));
        for topic in topics {
            let expected = left.iter().copied().filter(|number| filter::matches(&filters[*number as usize], &topic));
            prop_assert_eq!(found(&index, &topic), expected.collect::<BTreeSet<_>>(), "{}", topic);
        }
    }
}

#[test]
fn who_has_left_is_tidied_away_as_others_come() {
    let mut index = Index::default();
    let filter: Arc<str> = "t".into();
    for number in 0..10_000 {
        index.add(&filter, entry(number), |slot| slot.index + 10 > number);
    }
    assert!(found(&index, "t").len() <= TIDY_MINIMUM);
    index.tidy(&|_| false);
    assert!(index.plain.is_empty());
}

#[test]
fn several_subscriptions_of_one_are_one_message() {
    let with = |index, id, options| Entry { slot: slot(index), id, options: Options(options) };
    let (first, second) = ([with(1, 7, 0b0100), with(2, 0, 0)], [with(1, 9, 0b1001)]);
    let mut merger = Merger::default();
    merger.merge(&[&first, &second]);
    assert_eq!(merger.merged, [(with(1, 7, 0b1001), vec![9]), (with(2, 0, 0), vec![])]);
}
