//! From the aggregate topic to a stock client: every window, in order, also across a restart.

#![allow(clippy::unwrap_used)]
mod support;

use rumqttc::QoS;
use std::sync::Arc;
use support::{Follower, MemoryLog, PATIENCE, TestRow, config, start};
use tifo_mqtt_gateway::{MqttConfig, StreamConfig};

const WINDOW_MS: i64 = 2_000;
const WINDOWS: i64 = 500;
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
    // One by one: of what a client has not taken yet only the newest would come.
    for window in 0..WINDOWS {
        append_window(&log, window);
        let first = expect_windows(&mut at_least_once, window..window + 1);
        let second = expect_windows(&mut at_most_once, window..window + 1);
        tokio::join!(first, second);
    }
    assert_eq!(gateway.status().connected_clients, 2);
    gateway.shutdown().await;
    assert_eq!(gateway.status().messages_published, 500);
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
    wait_until(|| gateway.status().edge.retained == 1).await;
    let mut follower = Follower::subscribe(&gateway, "f", "streams/emoji/ch", QoS::AtLeastOnce).await;
    // The newest one before the restart is there again, for newcomers.
    expect_windows(&mut follower, 4..5).await;
    (5..8).for_each(|window| append_window(&log, window));
    expect_windows(&mut follower, 5..8).await;
    gateway.shutdown().await;
}

#[tokio::test]
async fn what_came_while_nobody_delivered_is_delivered_and_not_taken_for_known() {
    let log = Arc::new(MemoryLog::default());
    let gateway = start(config(), &log).await;
    (0..5).for_each(|window| append_window(&log, window));
    wait_until(|| gateway.status().messages_published == 5).await;
    gateway.shutdown().await;
    (5..9).for_each(|window| append_window(&log, window));

    let gateway = start(config(), &log).await;
    wait_until(|| gateway.status().messages_published == 4).await;
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

fn row(window_end: i64, channel: &str, reaction: &str, count: u64, rev: u64, is_final: bool) -> serde_json::Value {
    serde_json::json!({
        "window_start": window_end - WINDOW_MS, "window_end": window_end, "channel_id": channel, "reaction": reaction,
        "count": count, "rev": rev, "final": is_final,
    })
}

#[tokio::test]
async fn early_rows_corrections_and_the_binary_form_come_in_order() {
    let log = Arc::new(MemoryLog::default());
    let streams = vec![StreamConfig { binary: true, ..StreamConfig::default() }];
    let gateway = start(MqttConfig { streams, ..config() }, &log).await;
    let mut follower = Follower::subscribe(&gateway, "f", "streams/emoji/c", QoS::AtLeastOnce).await;
    let mut compact = Follower::subscribe(&gateway, "b", "streams/emoji/c/bin", QoS::AtLeastOnce).await;
    let rows = [
        (2_000, 1, 0, false),
        (2_000, 3, 0, false),
        (2_000, 4, 0, true),
        (2_000, 2, 0, false),
        (2_000, 6, 1, true),
        (4_000, 1, 0, true),
        (2_000, 7, 2, true),
        (6_000, 5, 0, true),
    ];
    for (window_end, count, rev, is_final) in rows {
        log.append_value(row(window_end, "c", "x", count, rev, is_final).to_string().as_bytes());
    }
    // The fourth and the seventh are older than what was shown before them.
    for (window_end, total, is_final, sequence) in [
        (2_000, 1, false, 1),
        (2_000, 3, false, 2),
        (2_000, 4, true, 3),
        (2_000, 6, true, 5),
        (4_000, 1, true, 6),
        (6_000, 5, true, 8),
    ] {
        let mood = follower.mood().await;
        assert_eq!((&mood["window_end"], &mood["total"]), (&window_end.into(), &total.into()), "{mood}");
        assert_eq!((&mood["final"], &mood["sequence"]), (&is_final.into(), &sequence.into()), "{mood}");
        let bytes = compact.news().await.payload;
        assert_eq!(bytes[..3], [1, u8::from(is_final), u8::try_from(sequence).unwrap()]);
    }
    wait_until(|| log.committed_offset() == Some(log.end())).await;
    gateway.shutdown().await;
}

#[tokio::test]
async fn within_min_interval_ms_the_latest_wins_and_none_is_lost() {
    let log = Arc::new(MemoryLog::default());
    let streams = vec![StreamConfig { min_interval_ms: 1_000, ..StreamConfig::default() }];
    let gateway = start(MqttConfig { streams, ..config() }, &log).await;
    let mut follower = Follower::subscribe(&gateway, "f", "streams/emoji/+", QoS::AtLeastOnce).await;
    for window in 0..50 {
        append_window(&log, window);
    }
    expect_windows(&mut follower, 0..1).await;
    let mut shown = 0;
    while shown < 49 * WINDOW_MS {
        let newer = follower.mood().await["window_start"].as_i64().unwrap();
        assert!(newer > shown, "{newer} after {shown}");
        shown = newer;
    }
    wait_until(|| log.committed_offset() == Some(log.end())).await;
    assert!(gateway.status().messages_published < 10);
    gateway.shutdown().await;
}

#[tokio::test]
async fn a_restart_knows_the_state_of_channels_that_are_silent() {
    let log = Arc::new(MemoryLog::default());
    let gateway = start(config(), &log).await;
    for (offset, channel) in [(2_000, "quiet"), (2_000, "c"), (4_000, "c")] {
        log.append_value(row(offset, channel, "x", 1, 0, true).to_string().as_bytes());
    }
    wait_until(|| log.committed_offset() == Some(log.end())).await;
    gateway.shutdown().await;

    let gateway = start(config(), &log).await;
    wait_until(|| gateway.status().edge.retained == 2).await;
    let mut follower = Follower::subscribe(&gateway, "f", "streams/emoji/+", QoS::AtLeastOnce).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mood = follower.mood().await;
        seen.push((mood["channel_id"].as_str().unwrap().to_owned(), mood["window_end"].as_i64().unwrap()));
    }
    seen.sort();
    assert_eq!(seen, [("c".to_owned(), 4_000), ("quiet".to_owned(), 2_000)]);
    gateway.shutdown().await;
}
