//! The edge over real sockets: what it takes, what it refuses, and that nothing of it reaches others.

#![allow(clippy::unwrap_used)]
mod support;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use rumqttc::QoS;
use std::sync::Arc;
use support::{Follower, MemoryLog, Raw, TestRow, config, connect, frame, publish, start, string, subscribe};
use tifo_mqtt_gateway::{Limits, MqttConfig, MqttGateway};
use tokio_util::sync::CancellationToken;

const NOTHING: [u8; 0] = [];

async fn gateway() -> (Arc<MemoryLog>, MqttGateway) {
    let log = Arc::new(MemoryLog::default());
    let gateway = start(config(), &log).await;
    (log, gateway)
}

fn limited(limits: Limits) -> MqttConfig {
    MqttConfig { limits, ..config() }
}

/// The line still works from end to end.
async fn works(log: &MemoryLog, gateway: &MqttGateway) {
    let mut follower = Follower::subscribe(gateway, "check", "streams/emoji/check", QoS::AtLeastOnce).await;
    let window_start = log.end() * 2_000;
    log.append_rows(&[TestRow { window_start, channel: "check", reaction: "a", count: 1 }]);
    while follower.mood().await["window_start"] != window_start {}
}

#[tokio::test]
async fn first_packets_that_are_refused() {
    let (log, gateway) = gateway().await;
    let long_id = "i".repeat(100);
    let mqtt_6 = frame(0x10, &[&string("MQTT"), &[6, 2, 0, 60, 0], &string("a")]);
    let authenticated = frame(0x10, &[&string("MQTT"), &[5, 2, 0, 60, 5, 0x15], &string("SC"), &string("a")]);
    let mqtt_3_1 = frame(0x10, &[&string("MQIsdp"), &[3, 2, 0, 60], &string("a")]);
    let will =
        |topic: &str| frame(0x10, &[&string("MQTT"), &[4, 6, 0, 60], &string("a"), &string(topic), &string("w")]);
    let cases: [(&str, Vec<u8>, &[u8]); 11] = [
        ("MQTT 6", mqtt_6, &[0x20, 3, 0, 0x84, 0]),
        ("an authentication method", authenticated, &[0x20, 3, 0, 0x8c, 0]),
        ("MQTT 3.1", mqtt_3_1, &[0x20, 2, 0, 1]),
        ("empty client id to be kept", connect("", false, 60), &[0x20, 2, 0, 2]),
        ("client id too long", connect(&long_id, true, 60), &[0x20, 2, 0, 2]),
        ("will on a stream", will("streams/emoji/a"), &[0x20, 2, 0, 5]),
        ("no CONNECT", subscribe("a", 0), &[]),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), &[]),
        ("another protocol", frame(0x10, &[&string("MQTX"), &[4, 2, 0, 60], &string("a")]), &[]),
        ("lying length", vec![0x10, 0xff, 0xff, 0xff, 0x7f, 0, 4], &[]),
        ("endless length", vec![0x10, 0xff, 0xff, 0xff, 0xff, 0xff], &[]),
    ];
    let limits = Limits { max_client_id_bytes: 64, ..Limits::default() };
    let strict = start(limited(limits), &log).await;
    for (name, bytes, answer) in cases {
        let mut raw = Raw::connect(&strict).await;
        raw.send(&bytes).await;
        assert_eq!(raw.rest().await, answer, "{name}");
    }
    strict.shutdown().await;
    works(&log, &gateway).await;
}

#[tokio::test]
async fn client_ids_of_any_kind_and_keep_alive_0_work() {
    let (log, gateway) = gateway().await;
    for client_id in ["a/b", "+", "#", "$share", "", "é🎉", "s1", "gateway", "pulse"] {
        let mut raw = Raw::welcomed(&gateway, client_id, true).await;
        raw.ping().await;
    }
    works(&log, &gateway).await;
}

#[tokio::test]
async fn later_packets_that_end_the_connection_end_no_other() {
    let (log, gateway) = gateway().await;
    let cases: [(&str, Vec<u8>); 10] = [
        ("second CONNECT", connect("a", true, 0)),
        ("publish to a stream", publish("streams/emoji/ch", "forged")),
        ("publish outside the prefix", publish("other", "x")),
        ("topic length 0", frame(0x30, &[&[0, 0]])),
        ("topic with wildcard", publish("clients/#", "x")),
        ("acknowledgement of nothing", frame(0x40, &[&[0, 1]])),
        ("PUBREC", frame(0x50, &[&[0, 1]])),
        ("packet beyond the cap", vec![0x30, 0xff, 0xff, 0x7f]),
        ("an empty filter", subscribe("", 0)),
        ("a server's packet", frame(0x20, &[&[0, 0]])),
    ];
    let mut bystander = Raw::welcomed(&gateway, "bystander", true).await;
    for (name, bytes) in cases {
        let mut raw = Raw::welcomed(&gateway, "a", true).await;
        raw.send(&bytes).await;
        assert_eq!(raw.rest().await, NOTHING, "{name}");
        bystander.ping().await;
    }
    works(&log, &gateway).await;
}

#[tokio::test]
async fn filters_are_refused_one_by_one() {
    let (_, gateway) = gateway().await;
    let mut raw = Raw::welcomed(&gateway, "a", true).await;
    let filters = ["a/#/b", "#a", "$share/g/a", "$SYS/#", "a/+", "b"];
    let parts: Vec<u8> = filters.iter().flat_map(|filter| [string(filter), vec![2]].concat()).collect();
    raw.send(&frame(0x82, &[&[0, 5], &parts])).await;
    assert_eq!(raw.receive(10).await, [0x90, 8, 0, 5, 0x80, 0x80, 1, 0x80, 1, 1]);
    raw.send(&frame(0xa2, &[&[0, 6], &string("a/+"), &string("never")])).await;
    assert_eq!(raw.receive(4).await, [0xb0, 2, 0, 6]);
}

#[tokio::test]
async fn filters_are_bounded_per_client_and_over_all() {
    let log = Arc::new(MemoryLog::default());
    let limits = Limits { max_filters_per_client: 1, max_filters: 2, ..Limits::default() };
    let gateway = start(limited(limits), &log).await;
    let mut here = Vec::new();
    for (client, filter, code) in [("a", "1", 0), ("b", "2", 0), ("c", "3", 0x80), ("d", "1", 0)] {
        let mut raw = Raw::welcomed(&gateway, client, true).await;
        raw.send(&subscribe(filter, 0)).await;
        assert_eq!(raw.receive(5).await, [0x90, 3, 0, 9, code]);
        raw.send(&subscribe("2", 0)).await;
        assert_eq!(raw.receive(5).await[4], if filter == "2" || code == 0x80 { 0 } else { 0x80 });
        here.push(raw);
    }
}

#[tokio::test]
async fn clients_publish_under_their_prefix_in_every_quality() {
    let (_, gateway) = gateway().await;
    let mut follower = Follower::subscribe(&gateway, "f", "clients/#", QoS::AtLeastOnce).await;
    let mut raw = Raw::welcomed(&gateway, "a", true).await;
    raw.send(&publish("clients/a", "0")).await;
    raw.send(&frame(0x32, &[&string("clients/a"), &[0, 7], b"1"])).await;
    assert_eq!(raw.receive(4).await, [0x40, 2, 0, 7]);
    for _ in 0..2 {
        raw.send(&frame(0x34, &[&string("clients/a"), &[0, 8], b"2"])).await;
        assert_eq!(raw.receive(4).await, [0x50, 2, 0, 8]);
    }
    raw.send(&frame(0x62, &[&[0, 8]])).await;
    assert_eq!(raw.receive(4).await, [0x70, 2, 0, 8]);
    raw.send(&publish("clients/a", "end")).await;
    for payload in ["0", "1", "2", "end"] {
        assert_eq!(follower.message().await.payload, payload);
    }
}

#[tokio::test]
async fn a_client_id_is_taken_over_and_its_will_goes_out() {
    let (_, gateway) = gateway().await;
    let mut follower = Follower::subscribe(&gateway, "f", "clients/wills", QoS::AtMostOnce).await;
    let mut older = Raw::connect(&gateway).await;
    let will = [string("clients/wills"), string("gone")].concat();
    older.send(&frame(0x10, &[&string("MQTT"), &[4, 6, 0, 0], &string("same"), &will])).await;
    assert_eq!(older.receive(4).await, [0x20, 2, 0, 0]);
    let mut newer = Raw::welcomed(&gateway, "same", true).await;
    assert_eq!(older.rest().await, NOTHING);
    newer.ping().await;
    assert_eq!(follower.message().await.payload, "gone");
    // Goodbye said: no will.
    newer.send(&[0xe0, 0]).await;
    assert_eq!(newer.rest().await, NOTHING);
}

#[tokio::test]
async fn a_kept_session_gets_what_came_while_it_was_away() {
    let (_, gateway) = gateway().await;
    let mut raw = Raw::welcomed(&gateway, "kept", false).await;
    raw.send(&subscribe("clients/x", 1)).await;
    raw.receive(5).await;
    raw.send(&[0xe0, 0]).await;
    raw.rest().await;
    let mut other = Raw::welcomed(&gateway, "other", true).await;
    other.send(&frame(0x32, &[&string("clients/x"), &[0, 1], b"missed"])).await;
    other.receive(4).await;

    let mut raw = Raw::connect(&gateway).await;
    raw.send(&connect("kept", false, 0)).await;
    assert_eq!(raw.receive(4).await, [0x20, 2, 1, 0]);
    let message = raw.receive(2 + 2 + 9 + 2 + 6).await;
    assert!(message.ends_with(b"missed") && message[0] == 0x32, "{message:?}");
    raw.send(&frame(0x40, &[&message[13..15]])).await;
    raw.send(&frame(0xa2, &[&[0, 6], &string("clients/x")])).await;
    assert_eq!(raw.receive(4).await, [0xb0, 2, 0, 6]);
    raw.ping().await;
    let mut clean = Raw::connect(&gateway).await;
    clean.send(&connect("kept", true, 0)).await;
    assert_eq!(clean.receive(4).await, [0x20, 2, 0, 0]);
}

#[tokio::test]
async fn silent_and_slow_clients_are_closed() {
    let log = Arc::new(MemoryLog::default());
    let limits = Limits { connect_timeout_ms: 60, stall_timeout_ms: 60, ..Limits::default() };
    let gateway = start(limited(limits), &log).await;
    let mut silent = Raw::connect(&gateway).await;
    assert_eq!(silent.rest().await, NOTHING);
    let mut half = Raw::connect(&gateway).await;
    half.send(&connect("a", true, 60)[..9]).await;
    assert_eq!(half.rest().await, NOTHING);
    let mut stalled = Raw::welcomed(&gateway, "b", true).await;
    stalled.send(&[0x30, 20, 0]).await;
    assert_eq!(stalled.rest().await, NOTHING);
    let mut sleeper = Raw::connect(&gateway).await;
    sleeper.send(&connect("c", true, 1)).await;
    assert_eq!(sleeper.rest().await, [0x20, 2, 0, 0]);
    works(&log, &gateway).await;
}

#[tokio::test]
async fn too_many_connections_are_closed_at_once() {
    let log = Arc::new(MemoryLog::default());
    let gateway = start(limited(Limits { max_connections: 2, ..Limits::default() }), &log).await;
    let mut first = Raw::welcomed(&gateway, "a", true).await;
    let second = Raw::welcomed(&gateway, "b", true).await;
    assert_eq!(Raw::connect(&gateway).await.rest().await, NOTHING);
    assert!(!gateway.edge().has_room());
    drop(second);
    first.ping().await;
}

#[tokio::test]
async fn a_websocket_opened_elsewhere_is_a_connection_like_any_other() {
    let (log, gateway) = gateway().await;
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut raw = Raw(tokio::net::TcpStream::connect(elsewhere.local_addr().unwrap()).await.unwrap());
    let (socket, _) = elsewhere.accept().await.unwrap();
    // A client's frames are masked; the mask is 0.
    let framed = |packet: &[u8]| [&[0x82, 0x80 | u8::try_from(packet.len()).unwrap(), 0, 0, 0, 0], packet].concat();
    let (read, rest) = (framed(&connect("", true, 10)), framed(&subscribe("streams/emoji/ch", 0)));
    gateway.edge().adopt(socket.into_std().unwrap().into(), [&read[..], &rest[..4]].concat()).unwrap();
    assert_eq!(raw.receive(6).await, [0x82, 4, 0x20, 2, 0, 0]);
    raw.send(&rest[4..]).await;
    assert_eq!(raw.receive(7).await, [0x82, 5, 0x90, 3, 0, 9, 0]);
    log.append_rows(&[TestRow { window_start: 0, channel: "ch", reaction: "a", count: 1 }]);
    assert_eq!(raw.receive(1).await, [0x82]);
    assert_eq!(gateway.status().connected_clients, 1);
}

#[tokio::test]
async fn a_port_in_use_is_one_clear_line() {
    let (log, gateway) = gateway().await;
    let taken = MqttConfig { listen: gateway.addr().to_string(), ..config() };
    let error = MqttGateway::start(taken, log, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(
        error.contains("--mqtt") && error.contains(&gateway.addr().to_string()) && !error.contains('\n'),
        "{error}"
    );
}

#[tokio::test]
async fn shutdown_ends_every_connection() {
    let (_, gateway) = gateway().await;
    let mut connected = Raw::welcomed(&gateway, "a", true).await;
    let mut half = Raw::connect(&gateway).await;
    gateway.shutdown().await;
    assert_eq!((connected.rest().await, half.rest().await), (vec![], vec![]));
    assert_eq!(gateway.status().connected_clients, 0);
}

#[test]
fn random_bytes_before_and_after_connect_hurt_nobody() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let log = Arc::new(MemoryLog::default());
        let limits = Limits { connect_timeout_ms: 40, stall_timeout_ms: 40, ..Limits::default() };
        let gateway = start(limited(limits), &log).await;
        let mut runner = TestRunner::deterministic();
        let garbage = proptest::collection::vec(any::<u8>(), 0..200);
        for round in 0..150 {
            let bytes = garbage.new_tree(&mut runner).unwrap().current();
            let mut raw = Raw::connect(&gateway).await;
            if round % 2 == 0 {
                raw.send(&connect("r", true, 1)).await;
            }
            raw.send(&bytes).await;
        }
        works(&log, &gateway).await;
    });
}
