//! A replay against a real gateway on a log in memory.
#![allow(clippy::unwrap_used)]

// Its own tests use more of it.
#[allow(dead_code)]
#[path = "../../http-gateway/tests/gateway/log.rs"]
mod log;

use super::*;
use log::{Mode, TestLog};
use serde_json::Value;
use std::{collections::BTreeMap, net::SocketAddr};
use tempfile::TempDir;
use tifo_http_gateway::{Hooks, HttpConfig, HttpGateway, StreamIngest};

async fn gateway(listen: SocketAddr, log: &Arc<TestLog>) -> HttpGateway {
    let streams = vec![StreamIngest { partitions: 6, ..StreamIngest::emoji() }];
    let config =
        HttpConfig { listen, streams, request_timeout_ms: 30, shutdown_timeout_ms: 200, ..HttpConfig::default() };
    HttpGateway::start(config, log.clone(), None, Hooks::default()).await.unwrap()
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn event(number: usize) -> String {
    let user = number % 37;
    format!(
        r#"{{"user_id":"u{user}","timestamp":{},"message_id":"m{number}","channel_id":"c","metadata":{{"reaction":"r"}}}}"#,
        1_500_000_000_000 + number
    )
}

fn recording(lines: impl Iterator<Item = String>) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events.jsonl");
    std::fs::write(&file, lines.map(|line| line + "\n").collect::<String>()).unwrap();
    (dir, file)
}

fn args(file: PathBuf, to: SocketAddr) -> ReplayArgs {
    ReplayArgs {
        file,
        to: format!("http://{to}"),
        speed: 1_000_000.0,
        stream: "emoji".to_owned(),
        ack: AckMode::Committed,
        connections: 1,
        endless: false,
        now: false,
        jitter: false,
        patience: 20,
    }
}

/// Message ids of each partition, in the log's order.
fn stored(log: &TestLog) -> Vec<Vec<String>> {
    let id = |value: &[u8]| serde_json::from_slice::<Value>(value).unwrap()["message_id"].as_str().unwrap().to_owned();
    (0..6)
        .map(|partition| {
            log.records("emoji", partition).iter().map(|record| id(record.value.as_ref().unwrap())).collect()
        })
        .collect()
}

/// Every event once, and each partition in the order of the file.
fn assert_exactly(log: &TestLog, events: usize) {
    let partitions = stored(log);
    let numbers: Vec<Vec<usize>> =
        partitions.iter().map(|ids| ids.iter().map(|id| id[1..].parse().unwrap()).collect()).collect();
    assert!(numbers.iter().all(|numbers| numbers.is_sorted()));
    let mut all: Vec<usize> = numbers.into_iter().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (0..events).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_event_arrives_once_and_in_order() {
    for connections in [1, 4] {
        let log = Arc::new(TestLog::default());
        let gateway = gateway(any_port(), &log).await;
        let (_dir, file) = recording((0..5000).map(event));
        let summary = replay(ReplayArgs { connections, ..args(file, gateway.addr()) }).await.unwrap();
        assert_eq!((summary.report.sent, summary.report.refused), (5000, 0));
        assert_exactly(&log, 5000);
    }
}

#[tokio::test]
async fn a_server_that_dies_half_way_through_a_request_ends_up_with_each_event_once() {
    let log = Arc::new(TestLog::default());
    let first = gateway(any_port(), &log).await;
    let addr = first.addr();
    let (_dir, file) = recording((0..6000).map(event));
    log.set(Mode::Only(8));
    let replaying = tokio::spawn(replay(args(file, addr)));
    // Six partitions: the second request stays behind with a part of its batches stored.
    log.was_asked(10).await;
    let _ = first.shutdown().await;
    let part = log.all("emoji").len();
    assert!(0 < part && part < 6000, "{part}");
    log.set(Mode::Up);
    let second = gateway(addr, &log).await;
    let summary = replaying.await.unwrap().unwrap();
    assert_eq!((summary.report.sent, summary.report.refused, summary.report.ambiguous), (6000, 0, 0));
    assert!(summary.report.repeated > 0);
    assert_exactly(&log, 6000);
    second.shutdown().await.unwrap();
}

#[tokio::test]
async fn buffered_replays_arrive_whole() {
    let log = Arc::new(TestLog::default());
    let gateway = gateway(any_port(), &log).await;
    let (_dir, file) = recording((0..3000).map(event));
    let summary = replay(ReplayArgs { ack: AckMode::Buffered, ..args(file, gateway.addr()) }).await.unwrap();
    assert_eq!(summary.report.sent, 3000);
    gateway.shutdown().await.unwrap();
    assert_exactly(&log, 3000);
}

#[tokio::test]
async fn a_bad_event_is_refused_and_the_others_pass() {
    let log = Arc::new(TestLog::default());
    let gateway = gateway(any_port(), &log).await;
    let lines = (0..100).map(|n| if n == 40 { event(n).replace("user_id", "user") } else { event(n) });
    let (_dir, file) = recording(lines);
    let summary = replay(args(file, gateway.addr())).await.unwrap();
    assert_eq!((summary.report.sent, summary.report.refused), (99, 1));
    assert!(summary.report.first_refusal.contains("user_id is missing"));
    assert_eq!(log.all("emoji").len(), 99);
}

#[tokio::test]
async fn an_endless_replay_is_current_and_its_rounds_differ() {
    let log = Arc::new(TestLog::default());
    let gateway = gateway(any_port(), &log).await;
    let (_dir, file) = recording((0..3).map(event));
    let before_ms = Clock::system().now_ms();
    let endless = tokio::spawn(replay(ReplayArgs { endless: true, ..args(file, gateway.addr()) }));
    log.holds(9).await;
    endless.abort();
    let mut found = BTreeMap::new();
    for record in log.all("emoji") {
        let event: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        assert!(event["timestamp"].as_i64().unwrap() >= before_ms);
        let id = event["message_id"].as_str().unwrap().to_owned();
        assert!(found.insert(id, ()).is_none(), "each id once");
    }
    assert!(["m0", "m1-r2", "m2-r3"].iter().all(|id| found.contains_key(*id)), "{found:?}");
}

#[tokio::test]
async fn what_cannot_work_is_said() {
    let log = Arc::new(TestLog::default());
    let gateway = gateway(any_port(), &log).await;
    let (_dir, file) = recording((0..3).map(event));
    let said = async |args: ReplayArgs| format!("{:#}", replay(args).await.unwrap_err());
    let good = args(file, gateway.addr());
    assert!(
        said(ReplayArgs { stream: "votes".to_owned(), ..good.clone() })
            .await
            .contains("no stream `votes`; there are: emoji")
    );
    assert!(said(ReplayArgs { to: "https://x".to_owned(), ..good.clone() }).await.contains("only http://HOST:PORT"));
    assert!(said(ReplayArgs { to: "nonsense".to_owned(), ..good.clone() }).await.contains("--to nonsense"));
    assert!(
        said(ReplayArgs { file: "/none.jsonl".into(), ..good.clone() }).await.contains("/none.jsonl: No such file")
    );
    let addr = gateway.addr();
    gateway.shutdown().await.unwrap();
    let away = ReplayArgs { patience: 0, to: format!("http://{addr}"), ..good };
    assert!(said(away).await.contains("has taken nothing for 0 s"));
}

#[test]
fn speeds_are_above_zero() {
    assert_eq!(parse_speed("600"), Ok(600.0));
    for wrong in ["0", "-1", "inf", "NaN", "fast"] {
        assert!(parse_speed(wrong).is_err(), "{wrong}");
    }
}
