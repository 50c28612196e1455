#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn emoji() -> Schema {
    Schema::new(&StreamIngest::emoji(), 1000)
}

fn event(user: &str) -> String {
    format!(r#"{{"user_id":"{user}","timestamp":1,"channel_id":"c","metadata":{{"reaction":"r"}},"more":[1,{{}}]}}"#)
}

fn read(format: Format, body: &str) -> Result<Vec<(String, String)>, EventError> {
    let events = emoji().read(format, body.as_bytes())?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let pair = |span: &EventSpan| (text(&events.keys[span.key.clone()]), body[span.value.clone()].to_owned());
    Ok(events.spans.iter().map(pair).collect())
}

fn field_error(body: &str) -> (String, String) {
    match read(Format::Json, body).unwrap_err() {
        EventError::Field { field, reason, .. } => (field, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_object_is_kept_as_sent() {
    let sent = format!("\n {} \r\n", event("u").replace(",\"", " , \""));
    assert_eq!(read(Format::Json, &sent).unwrap(), [("c|u".to_owned(), sent.trim().to_owned())]);
}

#[test]
fn arrays_and_lines_give_each_event_its_bytes() {
    let wanted = [("c|u1".to_owned(), event("u1")), ("c|ü2".to_owned(), event("ü2"))];
    assert_eq!(read(Format::Json, &format!(" [ {} ,\n{}] ", event("u1"), event("ü2"))).unwrap(), wanted);
    assert_eq!(read(Format::Ndjson, &format!("\n{}\r\n\n{}", event("u1"), event("ü2"))).unwrap(), wanted);
}

#[test]
fn escapes_are_undone_for_the_key_only() {
    let sent = event("x").replace("user_id", r"\u0075ser_id").replace("\"x\"", r#""\ud83d\ude00|\n""#);
    assert_eq!(read(Format::Json, &sent).unwrap(), [("c|😀|\n".to_owned(), sent.clone())]);
}

#[test]
fn a_missing_or_wrong_field_is_named() {
    let with = |from: &str, to: &str| field_error(&event("u").replace(from, to));
    assert_eq!(with("user_id", "user"), ("user_id".into(), "is missing".into()));
    assert_eq!(with("\"u\"", "\"\""), ("user_id".into(), "is empty".into()));
    assert_eq!(with("\"u\"", "5"), ("user_id".into(), "must be a text, not a number".into()));
    assert_eq!(with("\"c\"", "null"), ("channel_id".into(), "must be a text, not null".into()));
    assert_eq!(with("\"c\"", "[[]]"), ("channel_id".into(), "must be a text, not an array".into()));
    assert_eq!(with("{\"reaction\":\"r\"}", "7"), ("metadata.reaction".into(), "is missing".into()));
    assert_eq!(with("\"more\"", "\"user_id\""), ("user_id".into(), "stands twice".into()));
}

#[test]
fn a_timestamp_is_milliseconds_or_iso_8601() {
    let with = |value: &str| event("u").replace(":1,", &format!(":{value},"));
    assert!(read(Format::Json, &with("1721046896000")).is_ok());
    assert!(read(Format::Json, &with("\"2024-07-15T12:34:56Z\"")).is_ok());
    for wrong in ["-1", "1.5", "\"\"", "\"yesterday\"", "true", "99999999999999999999", "18446744073709551615"] {
        assert_eq!(field_error(&with(wrong)).0, "timestamp", "{wrong}");
    }
}

#[test]
fn syntax_errors_name_line_and_column() {
    let place = |format, body: &str| match read(format, body).unwrap_err() {
        EventError::Syntax { line, column, index, .. } => (line, column, index),
        other => panic!("{other:?}"),
    };
    assert_eq!(place(Format::Json, "{\"a\":}"), (1, 6, None));
    assert_eq!(place(Format::Json, "\n\n{\"a\":\n }"), (4, 2, None));
    assert_eq!(place(Format::Json, &format!("[{},\n{{]", event("u"))), (2, 2, Some(1)));
    assert_eq!(place(Format::Ndjson, &format!("{}\n\n{{\"a\" 1}}\n", event("u"))), (3, 6, Some(1)));
    assert_eq!(place(Format::Json, &format!("{} x", event("u"))).0, 1);
    assert!(matches!(read(Format::Json, "{\"a\":1"), Err(EventError::Syntax { .. })));
}

#[test]
fn what_is_not_an_event_is_refused() {
    for (format, body) in [(Format::Json, " \n"), (Format::Json, "[]"), (Format::Ndjson, "\r\n\n"), (Format::Json, "")]
    {
        assert_eq!(read(format, body), Err(EventError::Empty), "{body:?}");
    }
    for scalar in ["1", "-1", "1.5", "null", "true", "\"text\""] {
        assert_eq!(read(Format::Json, scalar), Err(EventError::NotAnObject { index: None }));
        assert_eq!(read(Format::Ndjson, scalar), Err(EventError::NotAnObject { index: Some(0) }));
    }
    assert_eq!(read(Format::Json, "[[]]"), Err(EventError::NotAnObject { index: Some(0) }));
    assert_eq!(emoji().read(Format::Json, b"{\"a\":\"\xff\"}").unwrap_err(), EventError::NotUtf8 { byte: 6 });
}

#[test]
fn the_first_fault_of_many_events_is_placed() {
    let body = format!("[{},{},{}]", event("a"), event("b").replace("channel_id", "x"), event("c"));
    let EventError::Field { field, index, .. } = read(Format::Json, &body).unwrap_err() else { panic!() };
    assert_eq!((field.as_str(), index), ("channel_id", Some(1)));
    let large = event(&"u".repeat(1000));
    let error = read(Format::Ndjson, &format!("{}\n{large}", event("a"))).unwrap_err();
    assert_eq!(error, EventError::TooLarge { bytes: large.len(), limit: 1000, index: Some(1) });
}

#[test]
fn deep_nesting_is_an_error_not_a_crash() {
    let body = format!("{{\"user_id\":{}", "[".repeat(900));
    assert!(matches!(read(Format::Json, &body), Err(EventError::Syntax { .. })));
}

proptest! {
    #[test]
    fn any_bytes_are_answered(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = emoji().read(Format::Json, &body);
        let _ = emoji().read(Format::Ndjson, &body);
    }

    #[test]
    fn any_cut_of_an_event_is_answered(cut in 0usize..90, junk in "[\\[\\]{}\",:0-9a\n]{0,8}") {
        let whole = event("u");
        let body = format!("{}{junk}", &whole[..cut.min(whole.len())]);
        for format in [Format::Json, Format::Ndjson] {
            let _ = emoji().read(format, body.as_bytes());
        }
    }
}
