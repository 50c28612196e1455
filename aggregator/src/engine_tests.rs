//! The engine against a brute-force recount, in random interleavings of the partitions, and its rules one by one.

#![allow(clippy::unwrap_used)]

use crate::{
    Definition,
    engine::{Engine, Event, LateReason, Verdict},
    event::Voter,
    group,
    rules::Rules,
    source::Source,
    test_events::{GRACE_MS, MAX_FUTURE_MS, Random, RawRecord, Recount, Tap, Truth, WINDOW_MS, partitions, recount},
    test_log::NOW_MS,
};
use proptest::prelude::*;
use std::borrow::Cow;

fn rules() -> Rules {
    Rules { max_groups: 1_000, max_open_windows: 1_000, ..Rules::new(&Definition::emoji()) }
}

fn engine(rules: Rules, partitions: usize) -> Engine {
    let mut engine = Engine::new(rules);
    for _ in 0..partitions {
        engine.add_source(Source::starting_at(0));
    }
    engine
}

fn encoded(channel: &str, reaction: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in [channel, reaction] {
        assert!(group::encode(&crate::extract::Slot::Text(Cow::Borrowed(text.as_bytes())), &mut bytes));
    }
    bytes
}

fn observe_at(engine: &mut Engine, partition: usize, offset: i64, time_ms: i64) -> Verdict {
    observe_group(engine, partition, offset, time_ms, b"i\0\0\0\0\0\0\0\0")
}

fn observe_group(engine: &mut Engine, partition: usize, offset: i64, time_ms: i64, group: &[u8]) -> Verdict {
    engine.observe(partition, &event(offset, time_ms, NOW_MS, group))
}

fn event(offset: i64, time_ms: i64, record_timestamp_ms: i64, group: &[u8]) -> Event<'_> {
    Event { offset, time_ms, record_timestamp_ms, group, inputs: &[], voter: Voter::default() }
}

/// Feeds everything in a random interleaving, closes whenever possible, and says what came out.
fn run(mut random: Random, rules: Rules, records: &[Vec<RawRecord>]) -> Recount {
    let mut engine = engine(rules, records.len());
    let mut result = Recount::default();
    let mut last_closed = i64::MIN;
    loop {
        let unfinished: Vec<usize> = (0..records.len())
            .filter(|p| usize::try_from(engine.sources()[*p].next).unwrap() < records[*p].len())
            .collect();
        if unfinished.is_empty() {
            break;
        }
        let partition = *random.pick(&unfinished);
        let offset = engine.sources()[partition].next;
        let record = &records[partition][usize::try_from(offset).unwrap()];
        let origin = (i32::try_from(partition).unwrap(), offset);
        let verdict = match &record.truth {
            Truth::Bad => engine.observe_bad(partition, offset),
            Truth::Event(Tap { time_ms, channel, reaction, .. }) => {
                observe_group(&mut engine, partition, offset, *time_ms, &encoded(channel, reaction))
            }
        };
        match verdict {
            Verdict::Late(_) => result.late.push(origin),
            Verdict::Bad => result.bad.push(origin),
            Verdict::Counted | Verdict::Blocked => {}
            Verdict::Settled => panic!("nothing was settled before"),
        }
        for (partition, records) in records.iter().enumerate() {
            if usize::try_from(engine.sources()[partition].next).unwrap() == records.len() {
                engine.set_idle(partition, NOW_MS);
            }
        }
        close_all(&mut engine, &mut result, &mut last_closed);
    }
    close_all(&mut engine, &mut result, &mut last_closed);
    assert_eq!(engine.open_window_count(), 0);
    let input: usize = records.iter().map(Vec::len).sum();
    let totals = engine.totals();
    assert_eq!(totals.counted + totals.late + totals.bad, u64::try_from(input).unwrap());
    result.late.sort_unstable();
    result.bad.sort_unstable();
    result
}

fn close_all(engine: &mut Engine, result: &mut Recount, last_closed: &mut i64) {
    while let Some(end) = engine.closable(i64::MAX) {
        let [window] = &engine.close(end)[..] else { panic!("one window") };
        assert!(window.end > *last_closed, "closed twice or out of order");
        *last_closed = window.end;
        for (group, acc) in &window.groups {
            let texts: Vec<String> = group::values(group)
                .map(|value| match value {
                    group::Value::Text(text) => text.to_owned(),
                    other => panic!("{other:?}"),
                })
                .collect();
            let before = result.counts.insert((window.end, texts[0].clone(), texts[1].clone()), acc.events);
            assert_eq!(before, None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn equals_the_recount_in_any_interleaving(seed in any::<u64>(), sizes in prop::collection::vec(0_u64..300, 1..5), open in 1_usize..12) {
        let mut random = Random::new(seed);
        let records = partitions(&mut random, &sizes, 1_500_000_000_000);
        let expected = recount(&records, GRACE_MS, |_, _| i64::MIN);
        for max_open_windows in [1_000, open] {
            let rules = Rules { max_open_windows, ..rules() };
            prop_assert_eq!(&run(random.clone(), rules, &records), &expected);
            random.next();
        }
    }
}

#[test]
fn the_lowest_watermark_closes() {
    let mut engine = engine(rules(), 2);
    assert_eq!(observe_at(&mut engine, 0, 0, 1_000), Verdict::Counted);
    assert_eq!(observe_at(&mut engine, 0, 1, 9_000), Verdict::Counted);
    assert_eq!(engine.closable(i64::MAX), None, "partition 1 has said nothing yet");
    assert_eq!(observe_at(&mut engine, 1, 0, 2_499), Verdict::Counted);
    assert_eq!(engine.closable(i64::MAX), None);
    assert_eq!(observe_at(&mut engine, 1, 1, 2_500), Verdict::Counted);
    assert_eq!(engine.closable(0), Some(2_000));
    assert_eq!(engine.close(2_000)[0].groups.values().map(|acc| acc.events).sum::<u64>(), 1);
    assert_eq!(engine.closable(i64::MAX), None);
}

#[test]
fn lateness_is_each_partitions_own() {
    let mut engine = engine(rules(), 2);
    observe_at(&mut engine, 0, 0, 8_499);
    assert_eq!(observe_at(&mut engine, 0, 1, 1_000), Verdict::Late(LateReason::Late));
    assert_eq!(observe_at(&mut engine, 0, 2, 7_000), Verdict::Counted, "window 6000-8000 is open until 8500 has come");
    assert_eq!(observe_at(&mut engine, 1, 0, 1_000), Verdict::Counted, "partition 1 is only behind");
}

#[test]
fn an_idle_partition_holds_nothing_and_its_late_comer_is_told() {
    let mut engine = engine(rules(), 2);
    observe_at(&mut engine, 0, 0, 1_000);
    observe_at(&mut engine, 0, 1, 5_000);
    engine.set_idle(1, NOW_MS);
    assert_eq!(engine.closable(0), Some(2_000));
    engine.close(2_000);
    engine.set_active(1);
    assert_eq!(observe_at(&mut engine, 1, 0, 1_500), Verdict::Late(LateReason::WindowClosed));
    assert_eq!(observe_at(&mut engine, 1, 1, 3_000), Verdict::Counted);
}

#[test]
fn when_all_are_idle_the_wall_clock_closes_but_not_before_the_window_is_over() {
    let mut engine = engine(rules(), 2);
    let start = NOW_MS - NOW_MS % WINDOW_MS;
    observe_at(&mut engine, 0, 0, start + 100);
    engine.set_idle(0, start + 200);
    assert_eq!(engine.idle_deadline_ms(), None);
    engine.set_idle(1, start + 300);
    let deadline = start + WINDOW_MS + GRACE_MS;
    assert_eq!(engine.idle_deadline_ms(), Some(deadline));
    assert_eq!(engine.closable(deadline - 1), None);
    assert_eq!(engine.closable(deadline), Some(start + WINDOW_MS));
}

#[test]
fn a_fast_clock_keeps_no_window_open_for_long() {
    let mut engine = engine(rules(), 1);
    let event = event(0, NOW_MS + 3_600_000, NOW_MS + 3_600_000, b"b\x01");
    assert_eq!(engine.observe(0, &event), Verdict::Counted);
    engine.set_idle(0, NOW_MS);
    assert_eq!(engine.idle_deadline_ms(), Some(NOW_MS + WINDOW_MS + GRACE_MS + MAX_FUTURE_MS));
}

#[test]
fn a_fast_clock_closes_nothing() {
    let mut engine = engine(rules(), 1);
    observe_at(&mut engine, 0, 0, NOW_MS);
    assert_eq!(observe_at(&mut engine, 0, 1, NOW_MS + MAX_FUTURE_MS + 1), Verdict::Late(LateReason::Future));
    assert_eq!(engine.closable(i64::MAX), None);
    assert_eq!(engine.sources()[0].watermark, Some(NOW_MS));
    assert_eq!(engine.totals().clipped, 1);
    let without_timestamp = event(2, NOW_MS + 90_000, -1, b"b\x01");
    assert_eq!(engine.observe(0, &without_timestamp), Verdict::Counted);
}

#[test]
fn a_window_has_room_for_so_many_groups_of_each_partition() {
    let mut engine = engine(Rules { max_groups: 2, ..rules() }, 2);
    let groups: [&[u8]; 4] = [b"b\x00", b"b\x01", b"b\x02", b"b\x00"];
    let verdicts: Vec<_> =
        (0..).zip(groups).map(|(offset, group)| observe_group(&mut engine, 0, offset, 1_000, group)).collect();
    let over = Verdict::Late(LateReason::OverCapacity);
    assert_eq!(verdicts, [Verdict::Counted, Verdict::Counted, over, Verdict::Counted]);
    assert_eq!(observe_group(&mut engine, 1, 0, 1_000, b"b\x02"), Verdict::Counted);
    assert_eq!(observe_group(&mut engine, 0, 4, 3_000, b"b\x02"), Verdict::Counted);
}

#[test]
fn too_many_open_windows_hold_back_who_is_ahead() {
    let mut engine = engine(Rules { max_open_windows: 2, ..rules() }, 2);
    observe_at(&mut engine, 1, 0, 100);
    observe_at(&mut engine, 0, 0, 3_000);
    assert_eq!(observe_at(&mut engine, 0, 1, 9_000), Verdict::Blocked);
    assert_eq!(engine.sources()[0].next, 1, "it is offered again");
    assert_eq!(observe_at(&mut engine, 0, 1, 3_999), Verdict::Counted, "an open window costs nothing");
    assert_eq!(observe_at(&mut engine, 1, 1, 6_500), Verdict::Counted, "who is behind may always go on");
    assert_eq!(engine.closable(0), Some(2_000));
}

#[test]
fn a_decision_leads_back_to_the_first_event_of_an_open_window() {
    let mut engine = engine(rules(), 2);
    for (offset, time_ms) in [(0, 1_000), (1, 2_100), (2, 1_200), (3, 4_700)] {
        observe_at(&mut engine, 0, offset, time_ms);
    }
    engine.set_idle(1, NOW_MS);
    engine.close(2_000);
    let [first, second] = engine.partition_decisions()[..] else { panic!("two partitions") };
    assert_eq!((first.next, first.watermark, first.resume, first.resume_watermark), (4, Some(4_700), 1, Some(1_000)));
    assert_eq!((second.next, second.watermark, second.resume, second.idle), (0, None, 0, true));
}
