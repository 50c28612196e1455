//! Hint and parser against each other: what a layout takes, the parser must read alike, on every input.

#![allow(clippy::unwrap_used)]

use super::Hints;
use crate::{
    extract::{self, MAX_SLOTS, Plan, Slot, Unreadable},
    task_tests::real_events,
    test_events::Random,
};
use std::time::{Duration, Instant};

/// Events that are mutated, unless TIFO_FUZZ_SECONDS says how long.
const MUTATIONS: usize = 60_000;

fn no_slots<'a>() -> [Slot<'a>; MAX_SLOTS] {
    extract::no_slots()
}

fn plan() -> Plan {
    Plan::new(["timestamp", "channel_id", "metadata.reaction", "score", "flag"])
}

/// True if a layout took it. The parser has its say either way, and what it reads is learnt from.
fn read(hints: &mut Hints, plan: &Plan, json: &[u8]) -> bool {
    let (mut hinted, mut parsed) = (no_slots(), no_slots());
    let taken = hints.read(json, &mut hinted);
    let result = plan.extract(json, &mut parsed);
    if taken {
        assert_eq!(result, Ok(()), "{}", String::from_utf8_lossy(json));
        assert_eq!(hinted, parsed, "{}", String::from_utf8_lossy(json));
    } else if result.is_ok() {
        hints.learn(plan, json, &parsed);
    }
    taken
}

/// Learns from the first and then looks at the second.
fn is_alike(first: &str, second: &str) -> bool {
    let mut hints = Hints::default();
    assert!(!read(&mut hints, &plan(), first.as_bytes()));
    read(&mut hints, &plan(), second.as_bytes())
}

const TAP: &str = r#"{"user":"u1","timestamp":1500000000000,"channel_id":"ch-1","x":[1,{"reaction":"no"}],"metadata":{"reaction":"r","timestamp":"no"},"flag":true}"#;

#[test]
fn values_may_differ_in_content_and_length() {
    assert!(is_alike(TAP, TAP));
    for (from, to) in [
        ("\"u1\"", "\"u1234567890123456789012345678901234567890\""),
        ("\"u1\"", "\"\""),
        ("\"ch-1\"", "\"😃, {}[]:\""),
        ("1500000000000", "7"),
        ("1500000000000", "-15"),
        ("[1,", "[-1.5e+300,"),
        ("true", "null"),
        ("true", "false"),
    ] {
        assert!(is_alike(TAP, &TAP.replacen(from, to, 1)), "{from} -> {to}");
    }
    let spaced = "\n{ \"timestamp\" : 1 ,\t\"channel_id\" : \"c\" }\r\n";
    assert!(is_alike(spaced, &spaced.replace('c', "d").replace("dhannel", "channel")));
    assert!(is_alike("{}", "{}"));
}

#[test]
fn whatever_may_mean_something_else_is_left_to_the_parser() {
    for (from, to) in [
        // Escapes, control characters, no UTF-8 (below), structure within a text's quotes.
        ("\"u1\"", "\"u\\n\""),
        ("\"u1\"", "\"u\\\"\""),
        ("\"u1\"", "\"u\u{1}\""),
        ("\"u1\"", "\"a\",\"timestamp\":\"b\""),
        ("\"u1\"", "\"a\",\"user\":\"b\""),
        ("\"r\"", "\"r\",\"reaction\":\"q\""),
        ("\"flag\":true", "\"flag\":true,\"metadata\":{}"),
        ("\"flag\":true", "\"flag\":true,\"channel_id\":\"other\""),
        ("\"flag\":true", "\"fl\\u0061g\":true"),
        ("\"channel_id\"", "\"channel-id\""),
        // Numbers and words.
        ("1500000000000", "01500000000000"),
        ("1500000000000", "1500000000000.5"),
        ("1500000000000", "1500000000000000000000"),
        ("1500000000000", "-0"),
        ("1500000000000", "\"1500000000000\""),
        ("1500000000000", ""),
        ("[1,", "[1.,"),
        ("[1,", "[1,2,"),
        ("true", "tru"),
        ("true", "truee"),
        // Ends.
        ("true}", "true"),
        ("true}", "true} "),
        ("true}", "true}}"),
        ("{\"user\"", " {\"user\""),
    ] {
        assert!(!is_alike(TAP, &TAP.replacen(from, to, 1)), "{from} -> {to}");
    }
    let mut hints = Hints::default();
    read(&mut hints, &plan(), TAP.as_bytes());
    assert!(!read(
        &mut hints,
        &plan(),
        &TAP.as_bytes().iter().map(|b| if *b == b'1' { 0xff } else { *b }).collect::<Vec<_>>()
    ));
    let broken: Vec<u8> = TAP.replacen("ch-1", "ch-?", 1).bytes().map(|b| if b == b'?' { 0xff } else { b }).collect();
    assert!(!read(&mut hints, &plan(), &broken));
    assert_eq!(
        plan().extract(&broken, &mut no_slots()).map_err(|error| matches!(error, Unreadable::NotJson(_))),
        Err(true)
    );
}

#[test]
fn ambiguous_events_teach_nothing() {
    for json in [
        r#"{"channel_id":"a","channel_id":"b"}"#,
        r#"{"metadata":{"reaction":"r"},"metadata":{}}"#,
        r#"{"metadata":{"reaction":"r","reaction":"q"}}"#,
        r#"{"metadata":null,"channel_id":"c"}"#,
        r#"{"channel_id":{"a":1}}"#,
        r#"{"channel_id":["c"]}"#,
        r#"{"channel\u005fid":"c"}"#,
        r#"{"x":"a\\b","channel_id":"c"}"#,
        r#"{"score":1.5,"channel_id":"c"}"#,
        r#"{"score":9223372036854775807}"#,
    ] {
        assert!(!is_alike(json, json), "{json}");
    }
    // Names that nobody wants, or that stand elsewhere, may occur as often as they like.
    let json =
        r#"{"x":1,"x":"y","a":{"reaction":"1","reaction":"2"},"metadata":{"x":{"reaction":"no"},"reaction":"r"}}"#;
    assert!(is_alike(json, json));
}

#[test]
fn a_layout_leaves_nothing_behind_for_the_next() {
    let (plan, mut hints) = (plan(), Hints::default());
    let with = r#"{"channel_id":"c","flag":true,"x":1}"#;
    let without = r#"{"channel_id":"c","other":true,"x":1}"#;
    for _ in 0..20 {
        read(&mut hints, &plan, with.as_bytes());
        read(&mut hints, &plan, without.as_bytes());
    }
    let mut slots = no_slots();
    assert!(hints.read(without.as_bytes(), &mut slots));
    assert_eq!(slots[4], Slot::Missing);
}

#[test]
fn several_layouts_are_kept_and_lessons_that_do_not_help_become_rare() {
    let (plan, mut hints) = (plan(), Hints::default());
    let shapes: Vec<String> = (0..5).map(|shape| format!(r#"{{"s{shape}":1,"channel_id":"c"}}"#)).collect();
    let taken = (0..1_000).filter(|round| read(&mut hints, &plan, shapes[round % 5].as_bytes())).count();
    assert!(taken > 950, "{taken}");
    for round in 0..100_000 {
        let json = format!(r#"{{"n{round}":1}}"#);
        let mut slots = no_slots();
        assert!(!hints.read(json.as_bytes(), &mut slots));
        hints.learn(&plan, json.as_bytes(), &slots);
    }
    assert!(hints.pause >= 4_095 && hints.layouts.len() <= super::MAX_LAYOUTS);
}

#[test]
fn nearly_all_real_events_fit() {
    let (plan, mut hints) = (plan(), Hints::default());
    let lines = real_events();
    let taken = lines.lines().filter(|line| read(&mut hints, &plan, line.as_bytes())).count();
    assert!(taken > 26_900, "{taken}");
}

/// Real events, mutated byte by byte and piece by piece.
#[test]
fn hint_and_parser_agree_on_mutated_real_events() {
    let lines = real_events();
    let events: Vec<&[u8]> = lines.lines().map(str::as_bytes).chain([TAP.as_bytes()]).collect();
    let seconds = std::env::var("TIFO_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let (plan, mut hints, mut random) = (plan(), Hints::default(), Random::new(11));
    let (mut taken, mut refused) = (0, 0);
    for round in 0.. {
        if until.map_or(round >= MUTATIONS, |until| Instant::now() > until) {
            break;
        }
        // What the layouts are made of stays what real events look like.
        read(&mut hints, &plan, random.pick::<&[u8]>(&events));
        let mut json = random.pick::<&[u8]>(&events).to_vec();
        (0..=random.below(3)).for_each(|_| mutate(&mut json, &events, &mut random));
        let (mut hinted, mut parsed) = (no_slots(), no_slots());
        let result = plan.extract(&json, &mut parsed);
        if hints.read(&json, &mut hinted) {
            assert_eq!((&result, &hinted), (&Ok(()), &parsed), "{}", String::from_utf8_lossy(&json));
            taken += 1;
        } else {
            refused += usize::from(result.is_err());
        }
    }
    assert!(taken > MUTATIONS / 20 && refused > MUTATIONS / 20, "taken {taken}, refused by both {refused}");
}

fn mutate(json: &mut Vec<u8>, events: &[&[u8]], random: &mut Random) {
    const PIECES: [&[u8]; 20] = [
        b"\"",
        b"\\",
        b"\\\"",
        b"\\u0041",
        b"\n",
        b"\x00",
        b"\xff",
        b"\xf0\x9f\x98",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"0",
        b"-",
        b"1e5",
        b"null",
        b"\"channel_id\":\"z\",",
        b"\"metadata\":{\"reaction\":\"z\"},",
    ];
    let at = |random: &mut Random, json: &[u8]| usize::try_from(random.below(json.len() as u64 + 1)).unwrap();
    let (from, to) = (at(random, json), at(random, json));
    let (from, to) = (from.min(to), from.max(to));
    match random.below(7) {
        0 if from < json.len() => json[from] = u8::try_from(random.below(256)).unwrap(),
        1 if from < json.len() => json[from] ^= 1 << random.below(8),
        2 => drop(json.splice(from..from, random.pick(&PIECES).iter().copied())),
        3 => drop(json.drain(from..to.min(from + 12))),
        4 => {
            let piece = json[from..to].to_vec();
            json.splice(to..to, piece);
        }
        5 => {
            let other = random.pick(events);
            let (from, to) = (from.min(other.len()), to.min(other.len()));
            json.splice(from..to, other[from..to].iter().copied());
        }
        // A value in place of another, between two quotes.
        _ => {
            let quotes: Vec<usize> = (0..json.len()).filter(|at| json[*at] == b'"').collect();
            if quotes.len() > 2 {
                let index = usize::try_from(random.below(quotes.len() as u64 - 1)).unwrap();
                let piece = random.pick(&PIECES);
                json.splice(quotes[index] + 1..quotes[index + 1], piece.iter().copied());
            }
        }
    }
}
