//! A log that is slow, away or refuses; and the end.

use crate::{JSON, NDJSON, Rig, config, event, log::Mode, problem, rig, rig_with};
use serde_json::json;
use std::time::Duration;
use tifo_http_gateway::{Hooks, HttpConfig, HttpError};

async fn small_buffer() -> Rig {
    rig_with(HttpConfig { buffer_events: 10, flush_events: 5, ..config() }, None, Hooks::default()).await
}

#[tokio::test]
async fn a_full_buffer_is_503_and_nothing_answered_is_lost() {
    let rig = small_buffer().await;
    rig.log.set(Mode::Hold);
    let mut accepted = 0;
    let refused = loop {
        let answer = rig.post("", NDJSON, format!("{}\n{}", event("a"), event("b"))).await;
        if answer.status() != 202 {
            break answer;
        }
        accepted += 2;
    };
    assert_eq!(accepted, 10);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(problem(refused, 503).await["type"], "urn:tifo:problem:buffer-full");
    problem(rig.post("?ack=committed", JSON, event("c")).await, 503).await;
    let eleven = vec![event("a"); 11].join("\n");
    assert_eq!(problem(rig.post("", NDJSON, eleven).await, 413).await["type"], "urn:tifo:problem:body-too-large");
    rig.log.set(Mode::Up);
    rig.log.holds(accepted).await;
    rig.gateway.shutdown().await.unwrap();
    assert_eq!(rig.log.all("emoji").len(), accepted);
}

#[tokio::test]
async fn a_log_that_is_away_is_tried_again() {
    let rig = rig().await;
    rig.ready().await;
    rig.log.set(Mode::Unavailable);
    assert_eq!(rig.post("", JSON, event("a")).await.status(), 202);
    rig.log.was_asked(3).await;
    rig.log.set(Mode::Up);
    rig.log.holds(1).await;
}

#[tokio::test]
async fn a_topic_that_was_deleted_is_made_again() {
    let rig = rig().await;
    assert_eq!(rig.post("?ack=committed", JSON, event("a")).await.status(), 200);
    rig.log.remove_topic("emoji");
    assert_eq!(rig.post("?ack=committed", JSON, event("a")).await.status(), 200);
    assert_eq!(rig.log.all("emoji").len(), 1);
}

#[tokio::test]
async fn committed_requests_that_wait_together_share_batches() {
    let rig = rig().await;
    rig.ready().await;
    rig.log.set(Mode::Hold);
    let first = rig.post("?ack=committed", JSON, event("same"));
    let others = futures::future::join_all((0..20).map(|_| rig.post("?ack=committed", JSON, event("same"))));
    let release = async {
        rig.log.was_asked(1).await;
        // All are in the buffer when its fill says so.
        while rig.get("/v1/status").await.json::<serde_json::Value>().await.unwrap()["http"]["streams"]["emoji"]["buffer"]
            ["events"]
            != json!(21)
        {}
        rig.log.set(Mode::Up);
    };
    let (first, others, ()) = futures::join!(first, others, release);
    assert!(others.iter().chain([&first]).all(|answer| answer.status() == 200));
    assert_eq!(rig.log.all("emoji").len(), 21);
    assert!(rig.log.batches("emoji") <= 3, "{} batches", rig.log.batches("emoji"));
}

#[tokio::test]
async fn many_events_are_split_into_batches_below_the_limit() {
    let rig = rig().await;
    let large = event(&"x".repeat(60_000));
    let lines = vec![large; 17].join("\n");
    let answer = rig.post("?ack=committed", NDJSON, lines).await;
    assert_eq!(answer.status(), 200);
    let offsets: Vec<u64> = answer.json::<serde_json::Value>().await.unwrap()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["offset"].as_u64().unwrap())
        .collect();
    assert_eq!(offsets, (0..17).collect::<Vec<_>>());
    assert_eq!(rig.log.batches("emoji"), 3);
}

#[tokio::test]
async fn what_the_log_refuses_is_said_to_who_waits() {
    let rig = rig().await;
    rig.ready().await;
    rig.log.set(Mode::Refuse);
    let found = problem(rig.post("?ack=committed", JSON, event("a")).await, 409).await;
    assert!(found["detail"].as_str().unwrap().contains("refused: no"));
    assert_eq!(rig.post("", JSON, event("b")).await.status(), 202);
    rig.log.was_asked(2).await;
    assert!(matches!(rig.gateway.shutdown().await, Err(HttpError::Lost(1))));
}

#[tokio::test]
async fn a_log_that_does_not_answer_in_time_is_503() {
    let rig = rig_with(HttpConfig { request_timeout_ms: 20, ..config() }, None, Hooks::default()).await;
    rig.ready().await;
    rig.log.set(Mode::Unavailable);
    let answer = rig.post("?ack=committed", JSON, event("gone")).await;
    let found = problem(answer, 503).await;
    assert_eq!(found["type"], "urn:tifo:problem:commit-timeout");
    assert!(found["detail"].as_str().unwrap().contains("unavailable: down"));
    rig.log.set(Mode::Up);
    assert_eq!(rig.post("?ack=committed", JSON, event("here")).await.status(), 200);
    assert_eq!(rig.log.all("emoji").len(), 1, "who has gone is not served behind his back");
}

#[tokio::test]
async fn shutdown_brings_everything_answered_into_the_log() {
    let rig = rig_with(HttpConfig { flush_interval_ms: 3_600_000, ..config() }, None, Hooks::default()).await;
    rig.ready().await;
    for _ in 0..30 {
        assert_eq!(rig.post("", JSON, event("u")).await.status(), 202);
    }
    assert!(rig.log.all("emoji").is_empty());
    rig.log.set(Mode::Hold);
    let shutdown = tokio::spawn(rig.gateway.shutdown());
    rig.log.was_asked(1).await;
    rig.log.set(Mode::Up);
    shutdown.await.unwrap().unwrap();
    assert_eq!(rig.log.all("emoji").len(), 30);
    assert!(rig.client.get(format!("{}/healthz", rig.base)).send().await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn shutdown_gives_up_in_the_end_and_says_so() {
    let rig = rig_with(HttpConfig { shutdown_timeout_ms: 50, ..config() }, None, Hooks::default()).await;
    rig.ready().await;
    rig.log.set(Mode::Unavailable);
    assert_eq!(rig.post("", JSON, event("u")).await.status(), 202);
    let ended = tokio::time::timeout(Duration::from_secs(5), rig.gateway.shutdown()).await.unwrap();
    assert!(matches!(ended, Err(HttpError::Lost(1))));
}
