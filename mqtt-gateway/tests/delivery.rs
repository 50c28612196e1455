//! From the aggregate topic to a stock client: every window, in order, also across a restart.

#![allow(clippy::unwrap_used)]
mod support;

use rumqttc::QoS;
use std::sync::Arc;
use support::{Follower, MemoryLog, PATIENCE, TestRow, config, start};
use tifo_mqtt_gateway::MqttConfig;

const WINDOW_MS: i64 = 2_000;
const REACTIONS: [&str; 12] = ["😂", "🥊", "🇮🇪", "🔥", "🤣", "👊", "😭", "💰", "💪", "👏", "🤔", "😍"];

/// Twelve reactions in one window; the counts differ by window and reaction.
fn append_window(log: &MemoryLog, window: i64) {
    let row = |(index, reaction): (usize, &&'static str)| TestRow {
        window_start: window * WINDOW_MS,
        channel: "ch",
        reaction,
        count: (window as u64 + index as u64 * 7) % 19 + 1,
    };
    log.append_rows(&REACTIONS.iter().enumerate().map(row).collect::<Vec<_>>());
}

async fn wait_until(mut done: impl FnMut() -> bool) {
    tokio::time::timeout(PATIENCE, async {
        while !done() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

async fn expect_windows(follower: &mut Follower, windows: std::ops::Range<i64>) {
    for window in windows {
        let mood = follower.mood().await;
        assert_eq!(mood["window_start"], window * WINDOW_MS);
        assert_eq!(mood["window_end"], (window + 1) * WINDOW_MS);
        assert_eq!((mood["groups"].as_u64(), mood["top"].as_array().map(Vec::len)), (Some(12), Some(10)));
        let counts: Vec<u64> = (0..12).map(|index| (window as u64 + index * 7) % 19 + 1).collect();
        assert_eq!(mood["total"].as_u64(), Some(counts.iter().sum()));
        assert_eq!(mood["top"][0]["count"].as_u64(), counts.iter().max().copied());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_window_reaches_stock_clients_of_both_qualities_in_order() {
    let log = Arc::new(MemoryLog::default());
    let gateway = start(config(), &log).await;
    let mut at_least_once = Follower::subscribe(&gateway, "qos/1", "streams/emoji/#", QoS::AtLeastOnce).await;
    let mut at_most_once = Follower::subscribe(&gateway, "qos/0", "streams/emoji/ch", QoS::AtMostOnce).await;
    let writer = tokio::spawn({
        let log = log.clone();
        async move { (0..2_000).for_each(|window| append_window(&log, window)) }
    });
    let first = async { expect_windows(&mut at_least_once, 0..2_000).await };
    let second = async { expect_windows(&mut at_most_once, 0..2_000).await };
    tokio::join!(first, second);
    writer.await.unwrap();
    assert_eq!(gateway.status().connected_clients, 2);
    gateway.shutdown().await;
    assert_eq!(gateway.status().messages_published, 2_000);
    assert_eq!(log.committed_offset(), Some(log.end()));
}

#[tokio::test]
async fn a_restart_goes_on_at_the_committed_offset() {
    let log = Arc::new(MemoryLog::default());
    let gateway = start(config(), &log).await;
    (0..5).for_each(|window| append_window(&log, window));
    wait_until(|| gateway.status().messages_published == 5).await;
    gateway.shutdown().await;

    let gateway = start(config(), &log).await;
    let mut follower = Follower::subscribe(&gateway, "f", "streams/emoji/ch", QoS::AtLeastOnce).await;
    (5..8).for_each(|window| append_window(&log, window));
    expect_windows(&mut follower, 5..8).await;
    gateway.shutdown().await;
}

#[tokio::test]
async fn what_was_not_yet_due_for_commit_comes_again_after_a_crash() {
    let log = Arc::new(MemoryLog::default());
    let slow_commit = MqttConfig { commit_delay_ms: 60_000, ..config() };
    let gateway = start(slow_commit, &log).await;
    (0..5).for_each(|window| append_window(&log, window));
    wait_until(|| gateway.status().messages_published == 5).await;
    // The crash: its tasks stay without a chance to commit.
    std::mem::forget(gateway);
    assert_eq!(log.committed_offset(), None);

    let gateway = start(config(), &log).await;
    wait_until(|| gateway.status().messages_published == 5).await;
    let mut follower = Follower::subscribe(&gateway, "f", "streams/emoji/ch", QoS::AtLeastOnce).await;
    let retained = follower.message().await;
    assert!(retained.retain);
    assert!(String::from_utf8_lossy(&retained.payload).contains("\"window_start\":8000,"));
    gateway.shutdown().await;
}

#[tokio::test]
async fn odd_records_and_channels_do_not_stop_delivery() {
    let log = Arc::new(MemoryLog::default());
    let gateway = start(config(), &log).await;
    let mut follower = Follower::subscribe(&gateway, "f", "streams/emoji/+", QoS::AtLeastOnce).await;
    let long = "x".repeat(1_000);
    log.append_value(b"no JSON");
    log.append_value(br#"{"window_start":1}"#);
    log.append_rows(&[TestRow { window_start: 0, channel: &long, reaction: "a", count: 1 }]);
    log.append_rows(&[TestRow { window_start: 0, channel: "a/#+%\0", reaction: "a", count: 1 }]);
    let message = follower.message().await;
    assert_eq!(message.topic, "streams/emoji/a%2F%23%2B%25%00");
    wait_until(|| log.committed_offset() == Some(log.end())).await;
    assert_eq!(gateway.status().lag, 0);
    gateway.shutdown().await;
}
