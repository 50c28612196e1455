//! MQTT 5 over real sockets: what 3.1.1 does not have, section by section, and what slow clients get.

#![allow(clippy::unwrap_used)]
mod support;

use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use support::{MemoryLog, PATIENCE, Raw, config, frame, start, string};
use tifo_mqtt_gateway::{Edge, Limits, Message, MqttConfig, MqttGateway, Origin, Publisher, TapRefused, Taps};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// CONNECT of MQTT 5: flags beside clean start, keep-alive, properties, and what follows the client id.
struct Hello<'a> {
    client_id: &'a str,
    clean_start: bool,
    flags: u8,
    keep_alive_s: u8,
    properties: &'a [u8],
    rest: Vec<u8>,
}

impl Default for Hello<'_> {
    fn default() -> Self {
        Self { client_id: "c", clean_start: true, flags: 0, keep_alive_s: 0, properties: &[], rest: Vec::new() }
    }
}

impl Hello<'_> {
    fn bytes(&self) -> Vec<u8> {
        let flags = self.flags | u8::from(self.clean_start) << 1;
        let head = [5, flags, 0, self.keep_alive_s, u8::try_from(self.properties.len()).unwrap()];
        frame(0x10, &[&string("MQTT"), &head, self.properties, &string(self.client_id), &self.rest])
    }

    async fn connect(&self, gateway: &MqttGateway) -> Raw<TcpStream> {
        self.greeted(gateway).await.0
    }

    /// The connection and CONNACK.
    async fn greeted(&self, gateway: &MqttGateway) -> (Raw<TcpStream>, Vec<u8>) {
        let mut raw = Raw::connect(gateway).await;
        raw.send(&self.bytes()).await;
        let connack = packet(&mut raw).await;
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:02x?}");
        (raw, connack)
    }
}

async fn gateway() -> MqttGateway {
    start(config(), &Arc::new(MemoryLog::default())).await
}

/// The next whole packet (short ones only).
async fn packet<S: AsyncRead + AsyncWrite + Unpin>(raw: &mut Raw<S>) -> Vec<u8> {
    let mut packet = raw.receive(2).await;
    let mut length = usize::from(packet[1] & 0x7f);
    if packet[1] & 0x80 != 0 {
        let more = raw.receive(1).await;
        length |= usize::from(more[0]) << 7;
        packet.extend(more);
    }
    packet.extend(raw.receive(length).await);
    packet
}

async fn subscribe_with<S: AsyncRead + AsyncWrite + Unpin>(
    raw: &mut Raw<S>,
    properties: &[u8],
    filter: &str,
    options: u8,
) -> u8 {
    let length = [u8::try_from(properties.len()).unwrap()];
    raw.send(&frame(0x82, &[&[0, 9], &length, properties, &string(filter), &[options]])).await;
    let suback = packet(raw).await;
    assert_eq!((suback[0], suback.len()), (0x90, 6), "{suback:02x?}");
    suback[5]
}

async fn subscribe(raw: &mut Raw<TcpStream>, filter: &str, options: u8) -> u8 {
    subscribe_with(raw, &[], filter, options).await
}

fn publish_qos(qos: u8, topic: &str, payload: &str) -> Vec<u8> {
    let id: &[u8] = if qos == 0 { &[] } else { &[0, 5] };
    frame(0x30 | qos << 1, &[&string(topic), id, &[0], payload.as_bytes()])
}

async fn tell(edge: &Edge, topic: &str, payload: &str, retain: bool) {
    let topic = Bytes::copy_from_slice(topic.as_bytes());
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    edge.publish(&[Message { topic, payload, retain, origin: Origin::default() }]).await.unwrap();
}

/// PUBLISH of QoS 0 or 1 with properties: flags, topic, packet id, properties, payload.
fn parse(packet: &[u8]) -> (u8, String, u16, Vec<u8>, String) {
    assert_eq!(packet[0] >> 4, 3, "{packet:02x?}");
    let body = &packet[if packet[1] & 0x80 != 0 { 3 } else { 2 }..];
    let (topic, mut rest) = body[2..].split_at(usize::from(u16::from_be_bytes([body[0], body[1]])));
    let mut id = 0;
    if packet[0] & 0b110 != 0 {
        id = u16::from_be_bytes([rest[0], rest[1]]);
        rest = &rest[2..];
    }
    let (properties, payload) = rest[1..].split_at(usize::from(rest[0]));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (packet[0] & 0x0f, text(topic), id, properties.to_vec(), text(payload))
}

async fn message(raw: &mut Raw<TcpStream>) -> (u8, String, u16, Vec<u8>, String) {
    parse(&packet(raw).await)
}

#[tokio::test]
async fn an_empty_client_id_is_assigned_and_limits_are_said() {
    let gateway = gateway().await;
    let expiry = [0x11, 0xff, 0xff, 0xff, 0xff];
    let (_, connack) = Hello { client_id: "", properties: &expiry, ..Hello::default() }.greeted(&gateway).await;
    let assigned = [&[0x12, 0, 37][..], b"auto-"].concat();
    let day = [0x11, 0, 1, 0x51, 0x80];
    for part in [&assigned[..], &[0x22, 0, 16], &day] {
        assert!(connack.windows(part.len()).any(|window| window == part), "{part:02x?} in {connack:02x?}");
    }
}

#[tokio::test]
async fn what_a_client_may_not_do_has_a_reason() {
    let gateway = gateway().await;
    let cases: [(&str, Vec<u8>, &[u8]); 9] = [
        ("QoS 0 to a stream", publish_qos(0, "streams/a", "x"), &[0xe0, 2, 0x87, 0]),
        ("a malformed packet", vec![0x00, 0x00], &[0xe0, 2, 0x81, 0]),
        ("a second CONNECT", Hello::default().bytes(), &[0xe0, 2, 0x82, 0]),
        ("an acknowledgement of nothing", frame(0x40, &[&[0, 1]]), &[0xe0, 2, 0x82, 0]),
        ("too large a packet", vec![0x30, 0xff, 0xff, 0x7f], &[0xe0, 2, 0x95, 0]),
        ("topic with a wildcard", publish_qos(0, "clients/#", "x"), &[0xe0, 2, 0x90, 0]),
        ("alias beyond the maximum", frame(0x30, &[&string("clients/a"), &[3, 0x23, 0, 17]]), &[0xe0, 2, 0x94, 0]),
        ("alias that was never set", frame(0x30, &[&[0, 0, 3, 0x23, 0, 1]]), &[0xe0, 2, 0x82, 0]),
        (
            "no local on a shared subscription",
            frame(0x82, &[&[0, 9, 0], &string("$share/g/a"), &[4]]),
            &[0xe0, 2, 0x82, 0],
        ),
    ];
    for (name, bytes, answer) in cases {
        let mut raw = Hello::default().connect(&gateway).await;
        raw.send(&bytes).await;
        assert_eq!(raw.rest().await, answer, "{name}");
    }
    let mut raw = Hello::default().connect(&gateway).await;
    for (qos, answer) in [(1, 0x40), (2, 0x50)] {
        raw.send(&publish_qos(qos, "other", "x")).await;
        assert_eq!(raw.receive(6).await, [answer, 4, 0, 5, 0x87, 0]);
    }
    raw.ping().await;
}

#[tokio::test]
async fn filters_have_reasons_too() {
    let gateway = gateway().await;
    let mut raw = Hello::default().connect(&gateway).await;
    for (filter, code) in
        [("a/#/b", 0x8f), ("", 0x8f), ("$SYS/#", 0x87), ("$share/g", 0x8f), ("a", 1), ("$share/g/a", 1)]
    {
        assert_eq!(subscribe(&mut raw, filter, 2).await, code, "{filter}");
    }
    raw.send(&frame(0xa2, &[&[0, 6, 0], &string("a"), &string("never")])).await;
    assert_eq!(packet(&mut raw).await, [0xb0, 5, 0, 6, 0, 0, 0x11]);
}

#[tokio::test]
async fn retained_messages_come_as_the_subscription_wants_them() {
    let gateway = gateway().await;
    tell(gateway.edge(), "streams/a", "kept", true).await;
    let mut raw = Hello::default().connect(&gateway).await;
    // Retain handling 0: at every SUBSCRIBE; 1: at a new one; 2: never.
    for (options, comes) in [(0x10, true), (0x10, false), (0x20, false), (0x00, true)] {
        subscribe(&mut raw, "streams/#", options).await;
        if comes {
            let (flags, topic, _, _, payload) = message(&mut raw).await;
            assert_eq!((flags, &*topic, &*payload), (1, "streams/a", "kept"));
        }
        raw.ping().await;
    }
    // Retain as published.
    tell(gateway.edge(), "streams/a", "live", true).await;
    assert_eq!(message(&mut raw).await.0, 0);
    subscribe(&mut raw, "streams/#", 0x28).await;
    tell(gateway.edge(), "streams/a", "live", true).await;
    assert_eq!(message(&mut raw).await.0, 1);
    // An empty one clears the topic, and comes as a message.
    tell(gateway.edge(), "streams/a", "", true).await;
    message(&mut raw).await;
    subscribe(&mut raw, "streams/#", 0).await;
    raw.ping().await;
}

#[tokio::test]
async fn a_wildcard_brings_all_retained_messages_however_many() {
    let gateway = gateway().await;
    for number in 0..3_000 {
        tell(gateway.edge(), &format!("streams/{number:04}"), "kept", true).await;
    }
    for qos in [0, 1] {
        let mut raw = Hello::default().connect(&gateway).await;
        subscribe(&mut raw, "streams/+", qos).await;
        for number in 0..3_000 {
            let (_, topic, id, _, _) = message(&mut raw).await;
            assert_eq!(topic, format!("streams/{number:04}"));
            if qos == 1 {
                raw.send(&frame(0x40, &[&id.to_be_bytes()])).await;
            }
        }
        raw.ping().await;
    }
}

#[tokio::test]
async fn identifiers_and_properties_reach_the_subscriber_once() {
    let gateway = gateway().await;
    let mut raw = Hello::default().connect(&gateway).await;
    subscribe_with(&mut raw, &[0x0b, 7], "clients/#", 0).await;
    subscribe_with(&mut raw, &[0x0b, 9], "clients/a", 1).await;
    let mut other = Hello { client_id: "other", ..Hello::default() }.connect(&gateway).await;
    let user = [0x26, 0, 1, b'k', 0, 1, b'v'];
    other.send(&frame(0x32, &[&string("clients/a"), &[0, 5, 7], &user, b"x"])).await;
    assert_eq!(packet(&mut other).await, [0x40, 4, 0, 5, 0, 0]);
    let (flags, _, id, mut properties, _) = message(&mut raw).await;
    assert_eq!(flags, 0b10);
    assert_eq!(properties.drain(..7).collect::<Vec<_>>(), user);
    properties.sort_unstable();
    assert_eq!(properties, [7, 9, 0x0b, 0x0b]);
    raw.send(&frame(0x40, &[&id.to_be_bytes()])).await;
    raw.ping().await;
}

#[tokio::test]
async fn no_local_keeps_a_client_from_itself() {
    let gateway = gateway().await;
    let mut raw = Hello::default().connect(&gateway).await;
    let mut other = Hello { client_id: "other", ..Hello::default() }.connect(&gateway).await;
    subscribe(&mut raw, "clients/#", 4).await;
    subscribe(&mut other, "clients/#", 4).await;
    raw.send(&publish_qos(0, "clients/a", "raw")).await;
    assert_eq!(message(&mut other).await.4, "raw");
    other.send(&publish_qos(0, "clients/a", "other")).await;
    assert_eq!(message(&mut raw).await.4, "other");
}

#[tokio::test]
async fn a_shared_subscription_divides_the_messages() {
    let gateway = gateway().await;
    let mut members = Vec::new();
    for name in ["m1", "m2", "m3"] {
        let mut raw = Hello { client_id: name, ..Hello::default() }.connect(&gateway).await;
        assert_eq!(subscribe(&mut raw, "$share/g/streams/#", 0).await, 0);
        members.push(raw);
    }
    for number in 0..9 {
        tell(gateway.edge(), "streams/a", &number.to_string(), false).await;
    }
    let mut all = Vec::new();
    for member in &mut members {
        for _ in 0..3 {
            all.push(message(member).await.4);
        }
        member.ping().await;
    }
    all.sort();
    assert_eq!(all.concat(), "012345678");
    // Who leaves is passed over.
    let mut left = members.pop().unwrap();
    left.send(&[0xe0, 0]).await;
    left.rest().await;
    for number in 0..4 {
        tell(gateway.edge(), "streams/a", &number.to_string(), false).await;
    }
    for member in &mut members {
        for _ in 0..2 {
            message(member).await;
        }
        member.ping().await;
    }
}

#[tokio::test]
async fn topic_aliases_in_both_directions() {
    let gateway = gateway().await;
    let mut raw = Hello { properties: &[0x22, 0, 1], ..Hello::default() }.connect(&gateway).await;
    subscribe(&mut raw, "clients/#", 0).await;
    raw.send(&frame(0x30, &[&string("clients/a"), &[3, 0x23, 0, 16], b"1"])).await;
    raw.send(&frame(0x30, &[&[0, 0, 3, 0x23, 0, 16], b"2"])).await;
    raw.send(&publish_qos(0, "clients/b", "3")).await;
    let expected = [("clients/a", &[0x23, 0, 1][..], "1"), ("", &[0x23, 0, 1], "2"), ("clients/b", &[], "3")];
    for (topic, properties, payload) in expected {
        let got = message(&mut raw).await;
        assert_eq!((&*got.1, &*got.3, &*got.4), (topic, properties, payload));
    }
}

#[tokio::test]
async fn receive_maximum_holds_back_and_the_newest_of_a_topic_waits() {
    let gateway = gateway().await;
    let mut raw = Hello { properties: &[0x21, 0, 1], ..Hello::default() }.connect(&gateway).await;
    subscribe(&mut raw, "streams/#", 1).await;
    for (topic, payload) in [("streams/a", "1"), ("streams/a", "2"), ("streams/b", "3"), ("streams/a", "4")] {
        tell(gateway.edge(), topic, payload, false).await;
    }
    for expected in ["1", "4", "3"] {
        let (_, _, id, _, payload) = message(&mut raw).await;
        assert_eq!(payload, expected);
        raw.ping().await;
        raw.send(&frame(0x40, &[&id.to_be_bytes()])).await;
    }
    raw.ping().await;
}

#[tokio::test]
async fn what_is_too_large_for_a_client_is_not_sent() {
    let gateway = gateway().await;
    let mut raw = Hello { properties: &[0x27, 0, 0, 0, 20], ..Hello::default() }.connect(&gateway).await;
    for qos in [0, 1] {
        subscribe(&mut raw, "streams/#", qos).await;
        tell(gateway.edge(), "streams/a", "far too much of it", false).await;
        tell(gateway.edge(), "streams/a", "fits", false).await;
        assert_eq!(message(&mut raw).await.4, "fits");
    }
}

#[tokio::test]
async fn a_session_goes_on_with_what_was_not_acknowledged() {
    let gateway = gateway().await;
    let kept = Hello { clean_start: false, properties: &[0x11, 0, 0, 0, 60], ..Hello::default() };
    let mut raw = kept.connect(&gateway).await;
    subscribe(&mut raw, "streams/#", 1).await;
    tell(gateway.edge(), "streams/a", "1", false).await;
    let (flags, _, id, _, _) = message(&mut raw).await;
    assert_eq!(flags, 0b0010);
    drop(raw);
    let (mut raw, connack) = kept.greeted(&gateway).await;
    assert_eq!(connack[2], 1);
    let (flags, _, again, _, payload) = message(&mut raw).await;
    assert_eq!((flags, again, &*payload), (0b1010, id, "1"));
    raw.send(&frame(0x40, &[&id.to_be_bytes()])).await;
    raw.send(&[0xe0, 0]).await;
    raw.rest().await;
    tell(gateway.edge(), "streams/a", "2", false).await;
    tell(gateway.edge(), "streams/a", "3", false).await;
    let (mut raw, connack) = kept.greeted(&gateway).await;
    assert_eq!((connack[2], message(&mut raw).await.4), (1, "3".into()));
    // DISCONNECT may end the session with the connection; a fresh one knows nothing.
    raw.send(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]).await;
    raw.rest().await;
    assert_eq!(kept.greeted(&gateway).await.1[2], 0);
    let mut clean = Hello::default().connect(&gateway).await;
    clean.send(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 9]).await;
    assert_eq!(clean.rest().await, [0xe0, 2, 0x82, 0]);
}

#[tokio::test]
async fn who_takes_over_is_told_and_keep_alive_is_kept() {
    let gateway = gateway().await;
    let mut older = Hello::default().connect(&gateway).await;
    let mut newer = Hello { keep_alive_s: 1, ..Hello::default() }.connect(&gateway).await;
    assert_eq!(older.rest().await, [0xe0, 2, 0x8e, 0]);
    assert_eq!(newer.rest().await, [0xe0, 2, 0x8d, 0]);
}

#[tokio::test]
async fn a_will_waits_for_its_delay_or_the_end_of_the_session() {
    let gateway = gateway().await;
    let mut follower = Hello { client_id: "f", ..Hello::default() }.connect(&gateway).await;
    subscribe(&mut follower, "clients/#", 0).await;
    let rest = |payload: &str| [&[5, 0x18, 0, 0, 0, 60][..], &string("clients/will"), &string(payload)].concat();
    // Delay 60 s, session kept: back in time, no will.
    let hello = Hello {
        client_id: "w",
        clean_start: false,
        flags: 4,
        properties: &[0x11, 0, 0, 0, 90],
        rest: rest("late"),
        ..Hello::default()
    };
    drop(hello.connect(&gateway).await);
    let mut back = hello.connect(&gateway).await;
    back.send(&[0xe0, 0]).await;
    back.rest().await;
    // The session ends with the connection: at once. With goodbye 4 too.
    let mut short =
        Hello { client_id: "v", flags: 4, rest: rest("at once"), ..Hello::default() }.connect(&gateway).await;
    short.send(&[0xe0, 1, 4]).await;
    assert_eq!(message(&mut follower).await.4, "at once");
    follower.ping().await;
}

#[tokio::test]
async fn who_comes_back_with_a_smaller_window_gets_no_more_than_it_takes() {
    let gateway = gateway().await;
    let kept = Hello { clean_start: false, properties: &[0x11, 0, 0, 0, 60], ..Hello::default() };
    let mut raw = kept.connect(&gateway).await;
    subscribe(&mut raw, "streams/#", 1).await;
    for (topic, payload) in [("streams/a", "1"), ("streams/b", "2")] {
        tell(gateway.edge(), topic, payload, false).await;
        assert_eq!(message(&mut raw).await.4, payload);
    }
    drop(raw);
    let one = Hello { properties: &[0x11, 0, 0, 0, 60, 0x21, 0, 1], ..kept };
    let mut raw = one.connect(&gateway).await;
    tell(gateway.edge(), "streams/c", "3", false).await;
    for (repeated, expected) in [(0b1000, "1"), (0b1000, "2"), (0, "3")] {
        let (flags, _, id, _, payload) = message(&mut raw).await;
        assert_eq!((flags, &*payload), (0b0010 | repeated, expected));
        raw.ping().await;
        raw.send(&frame(0x40, &[&id.to_be_bytes()])).await;
    }
    raw.ping().await;
}

#[tokio::test]
async fn a_draining_node_tells_where_to_go() {
    let gateway = gateway().await;
    let mut five = Hello::default().connect(&gateway).await;
    let mut three = Raw::welcomed(&gateway, "three", true).await;
    gateway.edge().drain(Some("b:1883"));
    let rest = five.rest().await;
    assert_eq!(rest, [&[0xe0, 11, 0x9d, 9, 0x1c, 0, 6][..], b"b:1883"].concat());
    assert!(three.rest().await.is_empty());
    // The other workers' listeners follow.
    while TcpStream::connect(gateway.addr()).await.is_ok() {}
}

/// An ingest whose log never answers.
#[derive(Debug)]
struct Hanging;

#[async_trait]
impl Taps for Hanging {
    async fn take(&self, _: &str, _: Bytes, _: bool) -> Result<(), TapRefused> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn taps_that_wait_for_the_log_hold_back_nothing_else() {
    let gateway = gateway().await;
    gateway.take_taps(Arc::new(Hanging));
    let mut tapping = Vec::new();
    // More than are decided about at the same time.
    for number in 0..4 {
        let hello = Hello { client_id: &format!("tapper-{number}"), ..Hello::default() };
        let mut raw = hello.connect(&gateway).await;
        for _ in 0..40 {
            raw.send(&publish_qos(1, "taps/emoji", "{}")).await;
        }
        tapping.push(raw);
    }
    let mut other = Hello::default().connect(&gateway).await;
    other.send(&publish_qos(1, "clients/a", "x")).await;
    assert_eq!(packet(&mut other).await[0], 0x40);
    // On a connection that waits for taps too.
    tapping[0].send(&publish_qos(1, "clients/a", "x")).await;
    assert_eq!(packet(&mut tapping[0]).await[0], 0x40);
}

#[tokio::test]
async fn a_stalled_client_holds_back_nobody_and_sees_the_newest_in_the_end() {
    let gateway = gateway().await;
    let mut stalled = Hello { client_id: "stalled", ..Hello::default() }.connect(&gateway).await;
    let mut swift = Hello { client_id: "swift", ..Hello::default() }.connect(&gateway).await;
    subscribe(&mut stalled, "streams/#", 0).await;
    subscribe(&mut swift, "streams/#", 0).await;
    // Long enough for a remaining length of three bytes.
    let (rounds, padding) = (600, "x".repeat(17_000));
    for round in 0..rounds {
        for topic in ["streams/a", "streams/b"] {
            tell(gateway.edge(), topic, &format!("{round:06}{padding}"), true).await;
            let body = swift.receive(4).await;
            let length = usize::from(body[1] & 0x7f) | usize::from(body[2] & 0x7f) << 7 | usize::from(body[3]) << 14;
            swift.receive(length).await;
        }
    }
    let stats = gateway.edge().stats();
    assert!(stats.dropped > 0 && stats.queued_bytes < 64_000, "{stats:?}");
    let mut newest = [None, None];
    while newest != [Some(rounds - 1), Some(rounds - 1)] {
        let head = stalled.receive(4).await;
        let length = usize::from(head[1] & 0x7f) | usize::from(head[2] & 0x7f) << 7 | usize::from(head[3]) << 14;
        let body = stalled.receive(length).await;
        let topic = usize::from(body[10] == b'b');
        let round: usize = std::str::from_utf8(&body[12..18]).unwrap().parse().unwrap();
        // Never an older one; the first, which came while it subscribed, perhaps twice.
        assert!(newest[topic].is_none_or(|newest| newest <= round));
        newest[topic] = Some(round);
    }
}

#[tokio::test]
async fn who_takes_nothing_for_too_long_is_closed() {
    let log = Arc::new(MemoryLog::default());
    let limits = Limits { stall_timeout_ms: 100, ..Limits::default() };
    let gateway = start(MqttConfig { limits, ..config() }, &log).await;
    let mut stalled = Hello::default().connect(&gateway).await;
    subscribe(&mut stalled, "streams/#", 0).await;
    let payload = "x".repeat(100_000);
    while gateway.status().connected_clients > 0 {
        tell(gateway.edge(), "streams/a", &payload, true).await;
        tokio::task::yield_now().await;
    }
    // The worker says so at the end of its turn.
    let told = async {
        while gateway.edge().stats().queued_bytes > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("what waited for it is gone");
}

fn masked(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82, 0x80 | u8::try_from(payload.len()).unwrap(), 1, 2, 3, 4];
    frame.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[tokio::test]
async fn websockets_on_a_port_of_their_own() {
    let config = MqttConfig { websocket_listen: Some("127.0.0.1:0".into()), ..config() };
    let gateway = start(config, &Arc::new(MemoryLog::default())).await;
    let address = gateway.edge().websocket_addr().unwrap();
    let opening = "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    let mut raw = Raw(TcpStream::connect(address).await.unwrap());
    raw.send(opening.as_bytes()).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.extend(raw.receive(1).await);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    // CONNECT in two frames, SUBSCRIBE in one with its end.
    let (hello, ask) = (Hello::default().bytes(), frame(0x82, &[&[0, 9, 0], &string("streams/a"), &[0]]));
    raw.send(&masked(&hello[..5])).await;
    raw.send(&masked(&[&hello[5..], &ask].concat())).await;
    assert_eq!(packet(&mut raw).await[2..4], [0x20, 14]);
    assert_eq!(packet(&mut raw).await, [0x82, 6, 0x90, 4, 0, 9, 0, 0]);
    tell(gateway.edge(), "streams/a", "x", false).await;
    assert_eq!(packet(&mut raw).await[2..4], [0x30, 13]);
    // A frame whose MQTT length lies ends this connection only.
    raw.send(&masked(&[0x30, 0xff, 0xff, 0xff, 0x7f])).await;
    assert_eq!(raw.rest().await, [0x82, 4, 0xe0, 2, 0x95, 0]);
    let mut text = Raw(TcpStream::connect(address).await.unwrap());
    text.send(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(text.rest().await.starts_with(b"HTTP/1.1 426 "));
}
