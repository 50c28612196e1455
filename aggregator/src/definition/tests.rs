//! Definitions read, written back and refused.

#![allow(clippy::unwrap_used)]
use super::*;

const EXAMPLE: &str = r#"{"name": "emoji", "from": "emoji", "into": "emoji-counts", "time": {"field": "timestamp"},
    "window": {"tumble": "2s"}, "group_by": ["channel_id", "metadata.reaction"], "measure": {"count": "count()"},
    "grace": "500ms", "idle_close": "1s", "max_future": "5s", "late": {"topic": "emoji-late"}, "bad": {"topic": "emoji-bad"}}"#;

#[test]
fn the_example_is_the_default_stream() {
    let read: Definition = serde_json::from_str(EXAMPLE).unwrap();
    assert_eq!(read, Definition::emoji());
    assert_eq!(read.validate(), Ok(()));
    assert_eq!(serde_json::from_str::<Definition>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
    assert_eq!(read.consumer_group(), "tifo-aggregate-emoji");
}

#[test]
fn the_short_form_gets_the_same_defaults() {
    let short = r#"{"name": "emoji", "from": "emoji", "into": "emoji-counts", "window": {"tumble": "2s"},
        "group_by": ["channel_id", "metadata.reaction"]}"#;
    let read: Definition = serde_json::from_str(short).unwrap();
    assert_eq!((read.late_topic(), read.bad_topic()), ("emoji-late".to_owned(), "emoji-bad".to_owned()));
    assert_eq!(read.fingerprint(), Definition::emoji().fingerprint());
}

#[test]
fn what_cannot_be_read_is_worded() {
    let cases = [
        (r#"{"tumble": "2s"}"#, r#"{"hop": "10s"}"#, "a window of kind `hop` needs `every`"),
        (r#"{"tumble": "2s"}"#, r#"{"cumulate": "10m"}"#, "a window of kind `cumulate` needs `every`"),
        (r#"{"tumble": "2s"}"#, r#"{"tumble": "2s", "every": "1s"}"#, "a window is"),
        (r#""count()""#, r#""coumt()""#, "did you mean `count`?"),
        (r#""count()""#, "1", "invalid type"),
        (r#""grace""#, r#""open": "soon", "grace""#, "`soon` is no time"),
        (r#""grace""#, r#""dedup": {"by": ["user_id"], "keep": "best"}, "grace""#, "unknown variant `best`"),
        (r#"{"tumble": "2s"}"#, r#"{"session": "30s", "every": "2s"}"#, "a window is"),
        (r#"{"tumble": "2s"}"#, r#"{"tumble": "2 sec"}"#, "`2 sec` is not a duration"),
        (r#"{"tumble": "2s"}"#, "{}", "a window is"),
        (r#"{"field": "timestamp"}"#, r#""produce""#, "time is { field"),
        (r#"{"field": "timestamp"}"#, "7", "time is { field"),
        (r#""grace""#, r#""graze""#, "unknown field `graze`"),
    ];
    for (from, to, expected) in cases {
        let error = serde_json::from_str::<Definition>(&EXAMPLE.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_field() {
    type Change = fn(&mut Definition);
    let cases: [(&str, Change); 36] = [
        ("from", |d| d.from = "a b".into()),
        ("into", |d| d.into = "emoji".into()),
        ("bad", |d| d.bad = d.late.clone()),
        ("name", |d| d.name = String::new()),
        ("group_by", |d| d.group_by.clear()),
        ("group_by", |d| d.group_by.push("metadata".into())),
        ("group_by", |d| d.group_by.push("other.reaction".into())),
        ("group_by", |d| d.group_by.push("a..b".into())),
        ("group_by", |d| d.group_by.push("timestamp".into())),
        ("group_by", |d| d.group_by.push("x.final".into())),
        ("measure", |d| d.measure.clear()),
        ("measure", |d| measure(d, "rev", "count()")),
        ("measure", |d| measure(d, "s", "share(chanel_id)")),
        ("measure", |d| measure(d, "s", "sum(metadata)")),
        ("group_by", |d| measure(d, "reaction", "count()")),
        ("dedup", |d| d.dedup = Some(Dedup { by: Paths::Several(Vec::new()), keep: Keep::First })),
        ("limit", |d| d.limit = Some(Limit { by: Paths::One("user_id".into()), max: 0 })),
        ("limit", |d| d.limit = Some(Limit { by: Paths::One("metadata".into()), max: 1 })),
        ("close", |d| (d.open, d.close) = (Moment::parse("7").ok(), Moment::parse("7").ok())),
        ("top", |d| d.top = Some(Top { n: 3, per: vec!["reaction".into()], by: "count".into() })),
        ("top", |d| d.top = Some(Top { n: 3, per: Vec::new(), by: "cuont".into() })),
        ("top", |d| d.top = Some(Top { n: 0, per: Vec::new(), by: "count".into() })),
        ("limit", |d| session(d, |d| d.limit = Some(Limit { by: Paths::One("user_id".into()), max: 1 }))),
        ("measure", |d| session(d, |d| measure(d, "s", "share()"))),
        ("early", |d| d.early = Some(Duration::from_millis(9))),
        ("early", |d| session(d, |d| d.early = Some(Duration::from_secs(1)))),
        ("corrections", |d| d.corrections = Some(Duration::from_secs(1))),
        ("corrections", |d| d.corrections = Some(Duration::from_secs(86_400))),
        ("corrections", |d| session(d, |d| d.corrections = Some(Duration::from_secs(60)))),
        ("shape", |d| d.shape = Shape::Window),
        ("max_distinct", |d| d.max_distinct = 10),
        ("window", |d| d.window = Window::Tumble(Duration::ZERO)),
        ("window", |d| d.window = Window::Hop { size: Duration::from_secs(10), every: Duration::from_secs(3) }),
        ("window", |d| {
            d.window = Window::Cumulate { size: Duration::from_secs(86_400), every: Duration::from_secs(1) }
        }),
        ("partitions", |d| d.partitions = 0),
        ("max_groups", |d| d.max_groups = 1_000_000),
    ];
    for (field, change) in cases {
        let mut definition = Definition::emoji();
        change(&mut definition);
        let error = definition.validate().unwrap_err();
        assert_eq!(error.field, field, "{error}");
    }
}

fn session(definition: &mut Definition, change: fn(&mut Definition)) {
    definition.window = Window::Session(Duration::from_secs(30));
    assert_eq!(definition.validate(), Ok(()));
    change(definition);
}

fn measure(definition: &mut Definition, name: &str, text: &str) {
    definition.measure.insert(name.to_owned(), Measure::parse(text).unwrap());
}

#[test]
fn every_setting_is_read_and_written_back() {
    let text = r#"{"name": "poll", "from": "votes", "into": "results", "window": {"cumulate": "10m", "every": "2s"},
        "group_by": ["choice"], "measure": {"votes": "count()", "part": "share()"},
        "dedup": {"by": ["user_id", "poll_id"], "keep": "last"}, "limit": {"by": "user_id", "max": 20},
        "open": "2026-06-11T20:00:00Z", "close": "2026-06-11T20:10:00Z", "top": {"n": 3, "by": "votes"}, "shape": "window", "early": "250ms"}"#;
    let read: Definition = serde_json::from_str(text).unwrap();
    assert_eq!(read.validate(), Ok(()));
    assert_eq!(serde_json::from_str::<Definition>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
    assert_eq!(
        read.fingerprint(),
        "from=votes time=timestamp cumulate=10m every=2s group_by=choice measure=part=share(),votes=count() grace=500ms \
         max_future=5s max_groups=50000 dedup=user_id,poll_id:last limit=user_id:20 max_voters=500000 open=1781208000000 \
         close=1781208600000 top=3::votes shape=window"
    );
}

/// Output that was written before there were other windows and measures is continued.
#[test]
fn the_fingerprint_of_the_default_stream_stays() {
    assert_eq!(
        Definition::emoji().fingerprint(),
        "from=emoji time=timestamp tumble=2s group_by=channel_id,metadata.reaction measure=count=count() grace=500ms \
         max_future=5s max_groups=50000"
    );
}
