//! Each measure against plain arithmetic, in any order and any division into parts.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::definition::Literal;
use proptest::prelude::*;

fn plan(text: &str, max_distinct: usize) -> Measures {
    Measures::of(&BTreeMap::from([("m".to_owned(), Measure::parse(text).unwrap())]), &[], max_distinct)
}

fn cell(acc: &Acc) -> &Cell {
    &acc.cells[0]
}

/// Divides the inputs into parts by `cuts`, accumulates each and merges them, the last part first.
fn in_parts(measures: &Measures, inputs: &[(Input, Stamp)], parts: usize) -> Acc {
    let mut accs: Vec<Acc> = (0..parts).map(|_| Acc::new(measures)).collect();
    for (index, (input, stamp)) in inputs.iter().enumerate() {
        accs[index % parts].take(std::slice::from_ref(input), *stamp);
    }
    let mut whole = Acc::new(measures);
    accs.into_iter().rev().for_each(|acc| whole.merge(acc));
    whole
}

fn stamp(time_ms: i64, offset: i64) -> Stamp {
    Stamp { time_ms, partition: 0, offset }
}

proptest! {
    #[test]
    fn numbers_are_exact_in_any_order(numbers in prop::collection::vec(-1_000_000_000_i64..1_000_000_000, 1..60), parts in 1_usize..5) {
        let inputs: Vec<_> = numbers.iter().map(|n| (Input::Number(Decimal::from_integer(*n)), stamp(0, 0))).collect();
        let whole = |function: &str| cell(&in_parts(&plan(function, 1_000), &inputs, parts)).clone();
        let decimal = |number: i64| Decimal::from_integer(number);
        let (sum, count) = (numbers.iter().sum::<i64>(), u64::try_from(numbers.len()).unwrap());
        prop_assert_eq!(whole("sum(x)"), Cell::Sum(decimal(sum)));
        prop_assert_eq!(whole("min(x)"), Cell::Least(numbers.iter().min().map(|n| decimal(*n))));
        prop_assert_eq!(whole("max(x)"), Cell::Greatest(numbers.iter().max().map(|n| decimal(*n))));
        prop_assert_eq!(whole("avg(x)"), Cell::Mean { sum: decimal(sum), count });
        prop_assert_eq!(whole("count() where x = 1"), Cell::Count(count));
    }

    #[test]
    fn the_fastest_are_the_first_of_each_value(
        answers in prop::collection::vec((0_i64..20, 0_u8..8), 1..60), parts in 1_usize..5, n in 1_usize..6,
    ) {
        let inputs: Vec<_> = (0..).zip(&answers)
            .map(|(offset, (time, user))| (Input::Value(Box::from([*user])), stamp(*time, offset))).collect();
        let measures = plan(&format!("fastest({n}, user)"), 1_000);
        let mut expected: Vec<(Stamp, Box<[u8]>)> = Vec::new();
        let mut sorted: Vec<_> = (0..).zip(&answers).map(|(offset, (time, user))| (stamp(*time, offset), *user)).collect();
        sorted.sort_unstable();
        for (stamp, user) in sorted {
            if expected.len() < n && !expected.iter().any(|(_, earlier)| **earlier == [user]) {
                expected.push((stamp, Box::from([user])));
            }
        }
        match cell(&in_parts(&measures, &inputs, parts)) {
            Cell::Fastest(fastest) => prop_assert_eq!(fastest.entries(), &expected[..]),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

fn distinct(hashes: impl Iterator<Item = u64>, parts: usize, cap: usize) -> Distinct {
    let inputs: Vec<_> = hashes.map(|hash| (Input::Hash(hash), stamp(0, 0))).collect();
    match cell(&in_parts(&plan("distinct(x)", cap), &inputs, parts)) {
        Cell::Distinct(distinct) => distinct.clone(),
        other => panic!("{other:?}"),
    }
}

/// Spread over all 64 bits, as hashes are.
fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[test]
fn distinct_is_exact_up_to_its_cap() {
    for parts in [1, 3, 7] {
        let values = distinct((0..5_000).map(|number| spread(number % 1_000)), parts, 1_000);
        assert_eq!((values.count(), values.is_estimate()), (1_000, false), "{parts} parts");
        let values = distinct((0..5_000).map(|number| spread(number % 1_001)), parts, 1_000);
        assert!(values.is_estimate() && values.count().abs_diff(1_001) <= 40, "{parts} parts: {}", values.count());
    }
}

#[test]
fn an_estimate_depends_on_the_set_alone() {
    let forward = distinct((0..100_000).map(spread), 1, 1_000);
    assert!(forward.count().abs_diff(100_000) <= 4_000, "{}", forward.count());
    for parts in [1, 2, 5] {
        assert_eq!(distinct((0..100_000).rev().map(spread), parts, 1_000), forward, "{parts} parts");
        assert_eq!(distinct((0..200_000).map(|number| spread(number / 2)), parts, 1_000), forward, "{parts} parts");
    }
}

#[test]
fn decimals_are_written_as_json_has_them() {
    for (decimal, text) in [
        (Decimal::from_integer(7), "7"),
        (Decimal::from_integer(i64::MIN), "-9223372036854775808"),
        (Decimal::from_fraction(-0.25).unwrap(), "-0.25"),
        (Decimal::from_fraction(0.1).unwrap().plus(Decimal::from_fraction(0.2).unwrap()), "0.3"),
        (Decimal::from_fraction(1e-7).unwrap(), "0"),
        (Decimal::ratio(1, 3), "0.333333"),
        (Decimal::ratio(2, 3), "0.666667"),
        (Decimal::ratio(1, 0), "0"),
        (Decimal::from_integer(-1).divided_by(3).unwrap(), "-0.333333"),
        (Decimal::from_integer(-2).divided_by(3).unwrap(), "-0.666667"),
    ] {
        assert_eq!(decimal.to_string(), text);
        assert_eq!(Decimal::from_bytes(decimal.to_bytes()), decimal);
    }
    assert_eq!((Decimal::from_fraction(1e19), Decimal::from_fraction(f64::NAN)), (None, None));
    assert_eq!(Decimal::from_integer(1).divided_by(0), None);
}

#[test]
fn each_measure_has_its_place() {
    let measures = BTreeMap::from([
        ("a".to_owned(), Measure::parse("share(channel_id)").unwrap()),
        ("b".to_owned(), Measure::count()),
        ("c".to_owned(), Measure::parse("count() where answer = 'B'").unwrap()),
    ]);
    let plan = Measures::of(&measures, &["x".to_owned(), "channel_id".to_owned()], 1_000);
    let sources: Vec<_> = plan.columns.into_iter().map(|(_, source)| source).collect();
    assert_eq!(sources, [Source::Share(vec![1]), Source::Events, Source::Cell(0)]);
    assert_eq!(plan.cells[0].condition.as_ref().unwrap().literal, Literal::Text("B".to_owned()));
}
