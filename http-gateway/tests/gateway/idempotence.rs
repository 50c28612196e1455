//! Requests that are repeated: nothing is stored twice, whatever of the first time was stored.

use crate::{NDJSON, Rig, config, event, log::Mode, problem, rig, rig_with};
use reqwest::Response;
use serde_json::Value;
use tifo_http_gateway::{Hooks, HttpConfig};

const EVENTS: usize = 40;

async fn numbered(rig: &Rig, producer: &Value, sequences: &str, body: String) -> Response {
    let url = format!("{}/v1/streams/emoji/events?ack=committed", rig.base);
    rig.client
        .post(url)
        .header("content-type", NDJSON)
        .header("tifo-producer-id", producer["producer_id"].to_string())
        .header("tifo-producer-epoch", producer["epoch"].to_string())
        .header("tifo-sequences", sequences)
        .body(body)
        .send()
        .await
        .unwrap()
}

async fn producer(rig: &Rig) -> Value {
    let answer = rig.client.post(format!("{}/v1/producers", rig.base)).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    answer.json().await.unwrap()
}

/// Many users, so that many partitions take part.
fn lines(round: usize) -> String {
    (0..EVENTS).map(|user| event(&format!("r{round}u{user}"))).collect::<Vec<_>>().join("\n")
}

fn sequences(answer: &Value) -> String {
    let mut counts = [0; 6];
    for result in answer["results"].as_array().unwrap() {
        counts[usize::try_from(result["partition"].as_u64().unwrap()).unwrap()] += 1;
    }
    counts.iter().enumerate().map(|(partition, count)| format!("{partition}={count}")).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn a_repetition_is_answered_as_the_first_time() {
    let rig = rig().await;
    let producer = producer(&rig).await;
    let first: Value = numbered(&rig, &producer, "", lines(1)).await.json().await.unwrap();
    let again: Value = numbered(&rig, &producer, "", lines(1)).await.json().await.unwrap();
    assert_eq!(first, again);
    assert_eq!(rig.log.all("emoji").len(), EVENTS);
    let next = numbered(&rig, &producer, &sequences(&first), lines(2)).await;
    assert_eq!(next.status(), 200);
    assert_eq!(rig.log.all("emoji").len(), 2 * EVENTS);
}

#[tokio::test]
async fn a_request_that_was_stored_in_part_is_completed() {
    let rig = rig_with(HttpConfig { request_timeout_ms: 50, ..config() }, None, Hooks::default()).await;
    rig.ready().await;
    let producer = producer(&rig).await;
    rig.log.set(Mode::Only(3));
    problem(numbered(&rig, &producer, "", lines(1)).await, 503).await;
    let part = rig.log.all("emoji").len();
    assert!(0 < part && part < EVENTS);
    rig.log.set(Mode::Up);
    assert_eq!(numbered(&rig, &producer, "", lines(1)).await.status(), 200);
    let mut values: Vec<_> = rig.log.all("emoji").into_iter().map(|record| record.value).collect();
    assert_eq!(values.len(), EVENTS);
    values.sort();
    values.dedup();
    assert_eq!(values.len(), EVENTS);
}

#[tokio::test]
async fn numbers_that_cannot_be_are_refused() {
    let rig = rig().await;
    let producer = producer(&rig).await;
    assert_eq!(numbered(&rig, &producer, "", lines(1)).await.status(), 200);
    problem(numbered(&rig, &producer, "0=900,1=900,2=900,3=900,4=900,5=900", lines(2)).await, 409).await;
    problem(numbered(&rig, &producer, "0:1", lines(2)).await, 400).await;
    let url = format!("{}/v1/streams/emoji/events", rig.base);
    let buffered = rig.client.post(url).header("content-type", NDJSON).header("tifo-producer-id", "1");
    let found = problem(buffered.header("tifo-producer-epoch", "0").body(lines(1)).send().await.unwrap(), 400).await;
    assert_eq!(found["field"], "ack");
}
