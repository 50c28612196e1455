//! What is taken, what is refused and how it is said.

use crate::{JSON, NDJSON, event, problem, rig};
use serde_json::{Value, json};
use tifo_http_gateway::{Cause, NotTaken, murmur2, partition_of};

#[tokio::test]
async fn a_committed_event_is_answered_with_its_place() {
    let rig = rig().await;
    let sent = event("ü|1");
    let answer = rig.post("?ack=committed", JSON, sent.clone()).await;
    assert_eq!(answer.status(), 200);
    let partition = partition_of(murmur2("c|ü|1".as_bytes()), 6);
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"topic": "emoji", "partition": partition, "offset": 0}));
    let records = rig.log.records("emoji", usize::try_from(partition).unwrap());
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].key.as_deref(), Some("c|ü|1".as_bytes()));
    assert_eq!(records[0].value.as_deref(), Some(sent.as_bytes()));
    assert!(records[0].timestamp_ms > 1_700_000_000_000, "the gateway's time, not the event's");
}

#[tokio::test]
async fn arrays_and_lines_are_answered_in_order() {
    let rig = rig().await;
    let users = ["u0", "u1", "u2", "u3"];
    let array = format!("[{}]", users.map(event).join(",\n "));
    for (content_type, body) in [(JSON, array), ("Application/X-NDJSON; charset=utf-8", users.map(event).join("\n"))] {
        let answer = rig.post("?ack=committed", content_type, body).await;
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results.len(), users.len());
        for (user, result) in users.iter().zip(results) {
            let partition = usize::try_from(result["partition"].as_u64().unwrap()).unwrap();
            let offset = usize::try_from(result["offset"].as_u64().unwrap()).unwrap();
            let record = &rig.log.records("emoji", partition)[offset];
            assert_eq!(record.value.as_deref(), Some(event(user).as_bytes()));
        }
    }
    let one: Value = rig.post("?ack=committed", NDJSON, event("u")).await.json().await.unwrap();
    assert_eq!(one["results"].as_array().unwrap().len(), 1, "lines are answered as lines");
}

#[tokio::test]
async fn buffered_events_are_answered_at_once_and_follow() {
    let rig = rig().await;
    for (query, content_type, body) in
        [("", JSON, event("a")), ("?ack=buffered", NDJSON, format!("{}\n\n{}\n", event("b"), event("c")))]
    {
        let count = body.matches("user_id").count();
        let answer = rig.post(query, content_type, body).await;
        assert_eq!(answer.status(), 202);
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({"accepted": count}));
    }
    rig.log.holds(3).await;
}

#[tokio::test]
async fn the_order_within_a_partition_is_the_order_of_requests() {
    let rig = rig().await;
    for number in 0..50 {
        let sent = event("same").replace("\"e\"", &format!("\"{number}\""));
        assert_eq!(rig.post("", JSON, sent).await.status(), 202);
    }
    rig.log.holds(50).await;
    let numbers: Vec<String> = rig
        .log
        .all("emoji")
        .iter()
        .map(|record| serde_json::from_slice::<Value>(record.value.as_ref().unwrap()).unwrap())
        .map(|event| event["emoji_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(numbers, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_field_that_is_missing_or_wrong_is_named() {
    let rig = rig().await;
    for ack in ["?ack=buffered", "?ack=committed"] {
        let found = problem(rig.post(ack, JSON, event("u").replace("channel_id", "channel")).await, 400).await;
        assert_eq!((&found["field"], &found["detail"]), (&json!("channel_id"), &json!("channel_id is missing")));
        let found = problem(rig.post(ack, JSON, event("u").replace("{\"reaction\":\"🥊\"}", "null")).await, 400).await;
        assert_eq!(found["field"], "metadata.reaction");
        let found = problem(rig.post(ack, JSON, event("u").replace("1503806734200", "\"today\"")).await, 400).await;
        assert_eq!(found["field"], "timestamp");
    }
}

#[tokio::test]
async fn one_bad_event_refuses_the_whole_request_and_is_placed() {
    let rig = rig().await;
    let lines = format!("{}\n{}\n{}", event("a"), event("b").replace("user_id", "user"), event("c"));
    let found = problem(rig.post("", NDJSON, lines).await, 400).await;
    assert_eq!((&found["field"], &found["index"]), (&json!("user_id"), &json!(1)));
    let array = format!("[{},\n{{\"user_id\":}}]", event("a"));
    let found = problem(rig.post("", JSON, array).await, 400).await;
    assert_eq!((&found["line"], &found["column"], &found["index"]), (&json!(2), &json!(12), &json!(1)));
    let found = problem(rig.post("", NDJSON, format!("{}\n{{\"user_id\"\n", event("a"))).await, 400).await;
    assert_eq!((&found["line"], &found["index"]), (&json!(2), &json!(1)));
    assert_eq!(rig.post("?ack=committed", JSON, event("z")).await.status(), 200);
    assert_eq!(rig.log.all("emoji").len(), 1, "nothing of the refused requests was stored");
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let rig = rig().await;
    for (content_type, body) in [(JSON, ""), (JSON, "[]"), (NDJSON, "\n\n")] {
        assert_eq!(problem(rig.post("", content_type, body).await, 400).await["type"], "urn:tifo:problem:no-events");
    }
    for body in ["7", "\"text\"", "null", "[[]]"] {
        assert_eq!(problem(rig.post("", JSON, body).await, 400).await["type"], "urn:tifo:problem:bad-event");
    }
    let found = problem(rig.post("", JSON, "{\"user_id\": \"u1\", ").await, 400).await;
    assert!(found["detail"].as_str().unwrap().contains("line 1 column"));
    assert_eq!(problem(rig.post("", JSON, vec![b'{', 0xff]).await, 400).await["byte"], 1);
}

#[tokio::test]
async fn other_requests_are_answered_with_what_would_be_right() {
    let rig = rig().await;
    for content_type in ["text/html", "application/xml", ""] {
        let found = problem(rig.post("", content_type, event("u")).await, 415).await;
        assert!(found["detail"].as_str().unwrap().contains("application/json"));
    }
    let url = format!("{}/v1/streams/emoji/events", rig.base);
    let packed = rig.client.post(&url).header("content-type", JSON).header("content-encoding", "gzip").body("x");
    problem(packed.send().await.unwrap(), 415).await;
    let found = problem(rig.post("?ack=maybe", JSON, event("u")).await, 400).await;
    assert!(found["detail"].as_str().unwrap().contains("`committed`"));
    let other = rig.client.post(url.replace("emoji", "nonsense")).header("content-type", JSON).body(event("u"));
    let found = problem(other.send().await.unwrap(), 404).await;
    assert_eq!(found["streams"], json!(["emoji"]));
    assert!(found["detail"].as_str().unwrap().contains("`nonsense`; there are: emoji"));
}

#[tokio::test]
async fn an_event_that_is_too_large_is_refused() {
    let rig = rig().await;
    let found =
        problem(rig.post("", NDJSON, format!("{}\n{}", event("a"), event(&"x".repeat(70_000)))).await, 413).await;
    assert_eq!((&found["type"], &found["index"]), (&json!("urn:tifo:problem:event-too-large"), &json!(1)));
}

#[tokio::test]
async fn events_that_come_otherwise_go_the_same_way() {
    let rig = rig().await;
    let ingest = rig.gateway.ingest();
    ingest.take("emoji", event("a").into(), true).await.unwrap();
    rig.log.holds(1).await;
    let both = format!("[{},{}]", event("b"), event("c"));
    ingest.take("emoji", both.into(), false).await.unwrap();
    rig.log.holds(3).await;
    for (stream, body, cause, word) in [
        ("other", event("a"), Cause::UnknownStream, "there are: emoji"),
        ("emoji", "{".to_owned(), Cause::BadEvent, "line 1"),
        ("emoji", event("a").replace("user_id", "user"), Cause::BadEvent, "user_id"),
    ] {
        for committed in [true, false] {
            let NotTaken { cause: found, why } = ingest.take(stream, body.clone().into(), committed).await.unwrap_err();
            assert_eq!(found, cause, "{why}");
            assert!(why.contains(word), "{why}");
        }
    }
    assert_eq!(rig.log.all("emoji").len(), 3);
}
