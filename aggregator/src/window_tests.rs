//! Every kind of window, measure and vote through the whole task against a recount by brute force, which shares nothing
//! with the engine: it lists each event's windows one by one and computes every row from the events themselves.

#![allow(clippy::unwrap_used)]

use crate::{
    Definition, Status,
    definition::{Dedup, Keep, Limit, Measure, Moment, Paths, Shape, Top, Window},
    task_tests::{LONG_AGO_MS, Running, definition, input, live_run, produce, produce_all, replay, run_until},
    test_events::{GRACE_MS, MAX_FUTURE_MS, Random, RawRecord, Tap, Truth, even_partitions, partitions},
    test_log::TestLog,
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// (window start, window end, channel, reaction) -> the row.
pub type Rows = BTreeMap<(i64, i64, String, String), Value>;

/// Where an event comes from, for ties: time, partition, offset.
type Stamp = (i64, usize, usize);

const MEASURES: [(&str, &str); 10] = [
    ("count", "count()"),
    ("right", "count() where right = true"),
    ("sum", "sum(score)"),
    ("least", "min(score)"),
    ("most", "max(score)"),
    ("mean", "avg(score) where right = true"),
    ("users", "distinct(user_id)"),
    ("first", "fastest(2, user_id) where right = true"),
    ("part", "share()"),
    ("of_channel", "share(channel_id)"),
];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn windows() -> [Window; 3] {
    let every = seconds(2);
    [Window::Tumble(every), Window::Hop { size: seconds(6), every }, Window::Cumulate { size: seconds(10), every }]
}

fn by_user(keep: Keep) -> Option<Dedup> {
    Some(Dedup { by: Paths::Several(vec!["user_id".into(), "channel_id".into()]), keep })
}

fn at_most(max: usize) -> Option<Limit> {
    Some(Limit { by: Paths::One("user_id".into()), max })
}

/// Every kind of window with every kind of vote.
pub fn kinds(partitions: usize) -> Vec<Definition> {
    let votes = [
        (None, None),
        (by_user(Keep::First), None),
        (by_user(Keep::Last), None),
        (None, at_most(2)),
        (by_user(Keep::Last), at_most(2)),
    ];
    let measure: BTreeMap<_, _> =
        MEASURES.iter().map(|(name, text)| ((*name).to_owned(), Measure::parse(text).unwrap())).collect();
    let all = windows().into_iter().flat_map(|window| votes.clone().map(|(dedup, limit)| (window, dedup, limit)));
    all.map(|(window, dedup, limit)| Definition {
        window,
        dedup,
        limit,
        measure: measure.clone(),
        ..definition(partitions)
    })
    .collect()
}

/// (start, end) of each window that holds the time.
pub fn windows_of(window: Window, time_ms: i64) -> Vec<(i64, i64)> {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap();
    let floor = |step: i64| time_ms - time_ms.rem_euclid(step);
    match window {
        Window::Session(_) => panic!("sessions are recounted elsewhere"),
        Window::Tumble(size) => vec![(floor(ms(size)), floor(ms(size)) + ms(size))],
        Window::Hop { size, every } => {
            let starts =
                (0..).map(|back| floor(ms(every)) - back * ms(every)).take_while(|start| start + ms(size) > time_ms);
            starts.map(|start| (start, start + ms(size))).collect()
        }
        Window::Cumulate { size, every } => {
            let start = floor(ms(size));
            (1..=ms(size) / ms(every))
                .map(|step| (start, start + step * ms(every)))
                .filter(|(_, end)| *end > time_ms)
                .collect()
        }
    }
}

/// Every row, and the late and bad events, by the rules alone.
pub fn recount(definition: &Definition, partitions: &[Vec<RawRecord>]) -> (Rows, usize, usize) {
    let mut windows: BTreeMap<(i64, i64), Vec<(Stamp, &Tap)>> = BTreeMap::new();
    let (mut late, mut bad) = (0, 0);
    for (partition, records) in partitions.iter().enumerate() {
        let mut newest = i64::MIN / 2;
        for (offset, record) in records.iter().enumerate() {
            let Truth::Event(tap) = &record.truth else {
                bad += 1;
                continue;
            };
            if tap.time_ms > record.timestamp_ms + MAX_FUTURE_MS {
                late += 1;
                continue;
            }
            let open: Vec<_> = windows_of(definition.window, tap.time_ms)
                .into_iter()
                .filter(|(_, end)| end + GRACE_MS > newest)
                .collect();
            late += usize::from(open.is_empty());
            for window in open {
                windows.entry(window).or_default().push(((tap.time_ms, partition, offset), tap));
            }
            newest = newest.max(tap.time_ms);
        }
    }
    let mut rows = Rows::new();
    for ((start, end), taps) in windows {
        add_rows(&mut rows, start, end, &elected(definition, taps));
    }
    (rows, late, bad)
}

/// The events that count in one window.
fn elected<'t>(definition: &Definition, mut taps: Vec<(Stamp, &'t Tap)>) -> Vec<(Stamp, &'t Tap)> {
    taps.sort_by_key(|(stamp, _)| *stamp);
    if let Some(dedup) = &definition.dedup {
        let mut of_voter = BTreeMap::new();
        for (stamp, tap) in taps {
            let voter = (tap.user.clone(), tap.channel.clone());
            match dedup.keep {
                Keep::First => {
                    of_voter.entry(voter).or_insert((stamp, tap));
                }
                Keep::Last => {
                    of_voter.insert(voter, (stamp, tap));
                }
            }
        }
        taps = of_voter.into_values().collect();
        taps.sort_by_key(|(stamp, _)| *stamp);
    }
    if let Some(limit) = &definition.limit {
        let mut seen = BTreeMap::<&str, usize>::new();
        taps.retain(|(_, tap)| {
            let seen = seen.entry(&tap.user).or_default();
            *seen += 1;
            *seen <= limit.max
        });
    }
    taps
}

fn add_rows(rows: &mut Rows, start: i64, end: i64, taps: &[(Stamp, &Tap)]) {
    let mut groups: BTreeMap<(String, String), Vec<(Stamp, &Tap)>> = BTreeMap::new();
    for (stamp, tap) in taps {
        groups.entry((tap.channel.clone(), tap.reaction.clone())).or_default().push((*stamp, tap));
    }
    for ((channel, reaction), group) in groups {
        let of_channel = taps.iter().filter(|(_, tap)| tap.channel == channel).count();
        let mut row = row_of(&group, taps.len(), of_channel);
        row["window_start"] = start.into();
        row["window_end"] = end.into();
        row["channel_id"] = channel.as_str().into();
        row["reaction"] = reaction.as_str().into();
        rows.insert((start, end, channel, reaction), row);
    }
}

fn row_of(group: &[(Stamp, &Tap)], of_window: usize, of_channel: usize) -> Value {
    let scores: Vec<i64> = group.iter().map(|(_, tap)| tap.score).collect();
    let right: Vec<_> = group.iter().filter(|(_, tap)| tap.right).collect();
    let right_sum: i64 = right.iter().map(|(_, tap)| tap.score).sum();
    let mut users: Vec<&str> = group.iter().map(|(_, tap)| tap.user.as_str()).collect();
    users.sort_unstable();
    users.dedup();
    let mut first: Vec<(&str, i64)> = Vec::new();
    for ((time, _, _), tap) in &right {
        if first.len() < 2 && first.iter().all(|(user, _)| *user != tap.user) {
            first.push((&tap.user, *time));
        }
    }
    let first: Vec<Value> = first.iter().map(|(user, time)| serde_json::json!({"value": user, "time": time})).collect();
    let mean = (!right.is_empty()).then(|| right_sum as f64 / 100.0 / right.len() as f64);
    serde_json::json!({
        "count": group.len(),
        "right": right.len(),
        "sum": scores.iter().sum::<i64>() as f64 / 100.0,
        "least": *scores.iter().min().unwrap() as f64 / 100.0,
        "most": *scores.iter().max().unwrap() as f64 / 100.0,
        "mean": mean,
        "users": users.len(),
        "first": first,
        "part": group.len() as f64 / of_window as f64,
        "of_channel": group.len() as f64 / of_channel as f64,
        "rev": 0,
        "final": true,
    })
}

/// What came out, each row once; numbers as they are.
pub fn output(log: &TestLog) -> Rows {
    let mut rows = Rows::new();
    for record in log.records("emoji-counts", 0) {
        let row: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let (start, end) = (row["window_start"].as_i64().unwrap(), row["window_end"].as_i64().unwrap());
        assert_eq!(record.timestamp_ms, end - 1);
        let before = rows.insert((start, end, text("channel_id"), text("reaction")), row);
        assert_eq!(before, None, "a row is there twice");
    }
    rows
}

/// Every record of the aggregate topic, byte for byte.
pub fn records(log: &TestLog) -> Vec<(i64, Option<bytes::Bytes>, Option<bytes::Bytes>)> {
    log.records("emoji-counts", 0).into_iter().map(|record| (record.timestamp_ms, record.key, record.value)).collect()
}

fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => (one.as_f64().unwrap() - other.as_f64().unwrap()).abs() < 1e-6,
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| alike(value, other)))
        }
        (one, other) => one == other,
    }
}

fn assert_alike(output: &Rows, expected: &Rows, what: &str) {
    for (key, row) in expected {
        let found = output.get(key).unwrap_or_else(|| panic!("{what}: {key:?} is missing"));
        assert!(alike(found, row), "{what}: {found}\nexpected {row}");
    }
    assert_eq!(output.len(), expected.len(), "{what}: more rows than there are");
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_window_and_vote_equals_its_recount() {
    for (seed, definition) in (20..).zip(kinds(3)) {
        for pace in [None, Some(900)] {
            let mut random = Random::new(seed);
            let records = match pace {
                None => partitions(&mut random, &[250, 60, 300], LONG_AGO_MS),
                Some(pace) => even_partitions(&mut random, &[120, 110, 130], LONG_AGO_MS, pace),
            };
            let what = format!("seed {seed}, {}", definition.fingerprint());
            let log = TestLog::new();
            produce_all(&log, &records, 23);
            let status = run_until(&log, &definition, input(&records)).await;
            let (rows, late, bad) = recount(&definition, &records);
            assert_alike(&output(&log), &rows, &what);
            assert_eq!(
                (status.late, status.bad),
                (u64::try_from(late).unwrap(), u64::try_from(bad).unwrap()),
                "{what}"
            );
            assert_eq!(status.counted, u64::try_from(input(&records) - late - bad).unwrap(), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_every_kind_equals_the_live_run_bit_for_bit() {
    for (seed, definition) in (40..).zip(kinds(2)) {
        let sources = partitions(&mut Random::new(seed), &[120, 120], LONG_AGO_MS);
        let (live, _) = live_run(&definition, &sources).await;
        let replay = replay(&definition, &sources).await;
        assert!(records(&live) == records(&replay), "seed {seed}, {}", definition.fingerprint());
    }
}

async fn one_partition(definition: &Definition, values: &[(i64, &str)]) -> Arc<TestLog> {
    let log = TestLog::new();
    log.create("emoji", 1);
    let records: Vec<_> =
        values.iter().map(|(time, value)| (*time, value.replace("TIME", &time.to_string()).into_bytes())).collect();
    log.produce("emoji", 0, &records);
    run_until(&log, definition, values.len()).await;
    log
}

fn rows(log: &TestLog) -> Vec<(String, String)> {
    let text = |bytes: Option<bytes::Bytes>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    records(log).into_iter().map(|(_, key, value)| (text(key), text(value))).collect()
}

fn poll() -> Definition {
    Definition { window: Window::Tumble(seconds(10)), group_by: vec!["choice".into()], ..definition(1) }
}

const START: i64 = 1_500_000_000_000;

#[tokio::test(start_paused = true)]
async fn a_later_vote_moves_the_first_one() {
    let votes = [
        (START + 1, r#"{"timestamp":TIME,"user_id":1,"choice":"A"}"#),
        (START + 2, r#"{"timestamp":TIME,"user_id":2,"choice":"A"}"#),
        (START + 3, r#"{"timestamp":TIME,"user_id":1,"choice":"B"}"#),
    ];
    let dedup = |keep| Definition { dedup: Some(Dedup { by: Paths::One("user_id".into()), keep }), ..poll() };
    let row = |choice: &str, count: u64| {
        let value = format!(
            r#"{{"window_start":{START},"window_end":{},"choice":"{choice}","count":{count},"rev":0,"final":true}}"#,
            START + 10_000
        );
        (format!("{choice}|{START}"), value)
    };
    assert_eq!(rows(&*one_partition(&dedup(Keep::Last), &votes).await), [row("A", 1), row("B", 1)]);
    assert_eq!(rows(&*one_partition(&dedup(Keep::First), &votes).await), [row("A", 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_poll_opens_and_closes() {
    let moment = |ms: i64| crate::definition::Moment::parse(&ms.to_string()).ok();
    let definition = Definition {
        window: Window::Cumulate { size: seconds(10), every: seconds(5) },
        open: moment(START + 1_000),
        close: moment(START + 9_000),
        ..poll()
    };
    let vote = r#"{"timestamp":TIME,"user_id":1,"choice":"A"}"#;
    let log = one_partition(
        &definition,
        &[START + 999, START + 1_000, START + 8_999, START + 9_000].map(|time| (time, vote)),
    )
    .await;
    let found: Vec<_> = output_counts(&log);
    assert_eq!(found, [(START + 1_000, START + 6_000, 1), (START + 1_000, START + 11_000, 2)]);
    let reasons: Vec<_> =
        log.records("emoji-late", 0).iter().map(|record| record.headers[0].1.clone().unwrap()).collect();
    assert_eq!(reasons, ["not_open", "poll_closed"]);
    assert_eq!(rows(&log)[0].0, format!("A|{}|{}", START + 1_000, START + 6_000), "steps share a start");
}

fn output_counts(log: &TestLog) -> Vec<(i64, i64, u64)> {
    let number = |row: &Value, name: &str| row[name].as_i64().unwrap();
    let rows = rows(log).into_iter().map(|(_, row)| serde_json::from_str::<Value>(&row).unwrap());
    rows.map(|row| (number(&row, "window_start"), number(&row, "window_end"), row["count"].as_u64().unwrap())).collect()
}

#[tokio::test(start_paused = true)]
async fn one_record_a_window_and_channel_with_its_top() {
    let definition = Definition {
        window: Window::Tumble(seconds(10)),
        measure: BTreeMap::from([
            ("count".to_owned(), Measure::count()),
            ("share".to_owned(), Measure::parse("share(channel_id)").unwrap()),
        ]),
        top: Some(Top { n: 2, per: vec!["channel_id".into()], by: "count".into() }),
        shape: Shape::Window,
        ..definition(1)
    };
    let taps: Vec<String> = [("x", "a", 1), ("x", "b", 3), ("x", "c", 1), ("y|", "a", 1)]
        .iter()
        .flat_map(|(channel, reaction, count)| {
            vec![
                format!(r#"{{"timestamp":TIME,"channel_id":"{channel}","metadata":{{"reaction":"{reaction}"}}}}"#);
                *count
            ]
        })
        .collect();
    let taps: Vec<(i64, &str)> = taps.iter().map(|tap| (START, tap.as_str())).collect();
    let beginning = format!(r#"{{"window_start":{START},"window_end":{},"#, START + 10_000);
    let end = r#""rev":0,"final":true}"#;
    let expected = [
        (
            format!("x|{START}"),
            format!(
                r#"{beginning}"channel_id":"x","total":5,"groups":3,"top":[{{"reaction":"b","count":3,"share":0.6}},{{"reaction":"a","count":1,"share":0.2}}],{end}"#
            ),
        ),
        (
            format!("y\\||{START}"),
            format!(
                r#"{beginning}"channel_id":"y|","total":1,"groups":1,"top":[{{"reaction":"a","count":1,"share":1}}],{end}"#
            ),
        ),
    ];
    assert_eq!(rows(&*one_partition(&definition, &taps).await), expected);
    let cut: Vec<_> = rows(&*one_partition(&Definition { shape: Shape::Row, ..definition }, &taps).await)
        .into_iter()
        .map(|row| row.0)
        .collect();
    assert_eq!(cut, [format!("x|a|{START}"), format!("x|b|{START}"), format!("y\\||a|{START}")]);
}

#[tokio::test(start_paused = true)]
async fn an_estimate_says_so() {
    let definition = Definition {
        window: Window::Tumble(seconds(10)),
        measure: BTreeMap::from([("users".to_owned(), Measure::parse("distinct(user_id)").unwrap())]),
        ..poll()
    };
    let votes = |users: i64| -> Vec<(i64, String)> {
        (0..users).map(|user| (START, format!(r#"{{"timestamp":TIME,"user_id":{user},"choice":"A"}}"#))).collect()
    };
    for (users, exact) in [(1_000, true), (3_000, false)] {
        let votes = votes(users);
        let votes: Vec<(i64, &str)> = votes.iter().map(|(time, vote)| (*time, vote.as_str())).collect();
        let log = one_partition(&definition, &votes).await;
        let row: Value = serde_json::from_str(&rows(&log)[0].1).unwrap();
        let off = (row["users"].as_i64().unwrap() - users).abs();
        assert!(if exact { off == 0 } else { off < 150 }, "{row}");
        assert_eq!(row.get("approx").is_none(), exact, "{row}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_voter_too_many_is_told() {
    let definition = Definition { dedup: by_user(Keep::First), max_voters: 2, ..definition(1) };
    let tap =
        |user: u64| format!(r#"{{"timestamp":TIME,"channel_id":"c","user_id":{user},"metadata":{{"reaction":"r"}}}}"#);
    let taps = [1, 2, 3, 1].map(tap);
    let taps: Vec<(i64, &str)> = taps.iter().map(|tap| (START, tap.as_str())).collect();
    let log = one_partition(&definition, &taps).await;
    let reasons: Vec<_> =
        log.records("emoji-late", 0).iter().map(|record| record.headers[0].1.clone().unwrap()).collect();
    assert_eq!(reasons, ["over_capacity"]);
    assert_eq!(output_counts(&log), [(START, START + 2_000, 2)]);
}

#[tokio::test(start_paused = true)]
async fn early_rows_tell_what_is_so_far_and_change_nothing_in_the_final_ones() {
    for (seed, definition) in (90..).zip(kinds(2)) {
        let sources = even_partitions(&mut Random::new(seed), &[60, 50], LONG_AGO_MS, 300);
        let plain = TestLog::new();
        produce_all(&plain, &sources, 9);
        run_until(&plain, &definition, input(&sources)).await;
        let early = TestLog::slow(Duration::from_millis(30));
        early.create("emoji", 2);
        let definition = Definition { early: Some(Duration::from_millis(20)), ..definition };
        let running = Running::start(&early, &definition).await.unwrap();
        for (partition, records) in sources.iter().enumerate() {
            records.chunks(9).for_each(|records| produce(&early, partition, records));
        }
        running.done(input(&sources)).await;
        running.stop().await;
        let is_final = |record: &(i64, Option<bytes::Bytes>, Option<bytes::Bytes>)| {
            let row: Value = serde_json::from_slice(record.2.as_ref().unwrap()).unwrap();
            row["final"].as_bool().unwrap()
        };
        let (last, first): (Vec<_>, Vec<_>) = records(&early).into_iter().partition(is_final);
        assert!(last == records(&plain), "seed {seed}, {}", definition.fingerprint());
        assert!(!first.is_empty(), "seed {seed}: nothing was told early");
        let keys: Vec<_> = last.iter().map(|record| &record.1).collect();
        let votes = definition.dedup.is_some() || definition.limit.is_some();
        assert!(
            votes || first.iter().all(|record| keys.contains(&&record.1)),
            "seed {seed}: told early, but never at last"
        );
    }
}

/// What `begin` leaves is what the whole has of windows that begin there or later.
#[tokio::test(start_paused = true)]
async fn an_aggregate_that_begins_later_tells_whole_windows_only() {
    let sources = even_partitions(&mut Random::new(60), &[150, 140], LONG_AGO_MS, 200);
    for window in windows() {
        let whole = Definition { window, ..definition(2) };
        let begin = Moment::parse(&(LONG_AGO_MS + 10_500).to_string()).unwrap();
        let part = Definition { begin: Some(begin), ..whole.clone() };
        let log = TestLog::new();
        produce_all(&log, &sources, 30);
        run_until(&log, &whole, input(&sources)).await;
        let wanted: Vec<_> = records(&log)
            .into_iter()
            .filter(|(_, _, row)| start_of(row.as_ref().unwrap()) >= LONG_AGO_MS + 10_000)
            .collect();
        let log = TestLog::new();
        produce_all(&log, &sources, 30);
        let running = Running::start(&log, &part).await.unwrap();
        let is_read = |status: &Status| {
            let read = status.counted + status.late + status.bad + status.skipped;
            read == u64::try_from(input(&sources)).unwrap() && status.lag == 0 && status.open_window_count == 0
        };
        let status = running.aggregator.status_handle().wait_for(is_read).await;
        running.stop().await;
        assert!(status.skipped > 0 && !wanted.is_empty());
        assert!(records(&log) == wanted, "{window}");
    }
}

fn start_of(row: &[u8]) -> i64 {
    serde_json::from_slice::<Value>(row).unwrap()["window_start"].as_i64().unwrap()
}
