//! Packets of both versions in hex, good and bad, one row each with its section of MQTT 5; answers in hex; and mutated packets,
//! which must be refused or decoded, never more.

#![allow(clippy::unwrap_used)]
use super::{
    answer::{self, Welcome},
    publish::{Alias, Publication, Variant},
    *,
};
use bytes::BytesMut;
use proptest::prelude::*;
use std::time::Instant;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// CONNECT with the flags and what follows the keep-alive.
fn connect(level: u8, flags: u8, rest: &str) -> Vec<u8> {
    let rest = hex(rest);
    let mut frame = vec![0x10, u8::try_from(10 + rest.len()).unwrap(), 0, 4];
    frame.extend(b"MQTT");
    frame.extend([level, flags, 0, 60]);
    frame.extend(rest);
    frame
}

#[test]
fn connects_that_are_taken() {
    let base = Connect {
        version: Version::V5,
        client_id: "a".into(),
        clean_start: true,
        keep_alive_s: 60,
        session_expiry_s: 0,
        receive_maximum: u16::MAX,
        max_packet_bytes: u32::MAX,
        topic_alias_maximum: 0,
        problem_information: true,
        authentication: false,
        will: None,
    };
    let will = |properties: Properties, delay_s| {
        let (topic, payload) = ("t".into(), Bytes::from_static(b"p"));
        Some(Box::new(Will { topic, payload, qos: 1, retain: true, delay_s, properties: Box::new(properties) }))
    };
    let three = Connect { version: Version::V3, problem_information: false, ..base.clone() };
    let kept = Connect { clean_start: false, session_expiry_s: NEVER_EXPIRES, ..three.clone() };
    let limits = Connect {
        session_expiry_s: 10,
        receive_maximum: 2,
        max_packet_bytes: 256,
        topic_alias_maximum: 3,
        ..base.clone()
    };
    let delayed = Connect {
        will: will(Properties { content_type: Some("x".into()), ..Properties::default() }, 5),
        ..base.clone()
    };
    let cases = [
        (connect(4, 0x02, "0001 61"), three.clone()),
        (connect(4, 0x00, "0001 61"), kept),
        (connect(4, 0x02, "0000"), Connect { client_id: String::new(), ..three.clone() }),
        (connect(4, 0xc2, "0001 61 0001 75 0001 70"), three.clone()),
        (connect(4, 0x2e, "0001 61 0001 74 0001 70"), Connect { will: will(Properties::default(), 0), ..three }),
        (connect(5, 0x02, "00 0001 61"), base.clone()),
        (connect(5, 0x42, "00 0001 61 0001 70"), base.clone()),
        (connect(5, 0x02, "10 11 0000000a 21 0002 27 00000100 22 0003 0001 61"), limits),
        (connect(5, 0x2e, "00 0001 61 09 18 00000005 03 0001 78 0001 74 0001 70"), delayed),
        (connect(5, 0x02, "02 17 00 0001 61"), Connect { problem_information: false, ..base.clone() }),
        (connect(5, 0x02, "05 15 0002 5343 0001 61"), Connect { authentication: true, ..base }),
    ];
    for (frame, expected) in cases {
        assert_eq!(decode::connect(&frame).as_deref(), Ok(&expected), "{frame:02x?}");
    }
}

#[test]
fn connects_that_are_refused() {
    use Refusal::{ClientId, Level, Malformed, NotConnect, Topic};
    let cases = [
        ("another protocol", hex("10 0d 0004 4d515458 04 02 003c 0001 61"), Malformed),
        ("3.1", hex("10 0f 0006 4d5149736470 03 02 003c 0001 61"), Level(3)),
        ("level 6", connect(6, 2, "00 0001 61"), Level(6)),
        ("reserved flag (3.1.2.3)", connect(4, 0x03, "0001 61"), Malformed),
        ("will QoS without will (3.1.2.6)", connect(4, 0x0a, "0001 61"), Malformed),
        ("will retain without will (3.1.2.7)", connect(5, 0x22, "00 0001 61"), Malformed),
        ("will QoS 3 (3.1.2.6)", connect(4, 0x1e, "0001 61 0001 74 0001 70"), Malformed),
        ("password without user in 3.1.1", connect(4, 0x42, "0001 61 0001 70"), Malformed),
        ("empty id to be kept in 3.1.1", connect(4, 0, "0000"), ClientId),
        ("will topic empty", connect(4, 0x06, "0001 61 0000 0001 70"), Topic),
        ("will topic with a wildcard", connect(5, 0x06, "00 0001 61 00 0001 23 0001 70"), Topic),
        ("bytes after the end", connect(4, 0x02, "0001 61 00"), Malformed),
        ("id no UTF-8 (1.5.4)", connect(4, 0x02, "0001 ff"), Malformed),
        ("id with NUL (1.5.4)", connect(4, 0x02, "0001 00"), Malformed),
        ("id's length lies", connect(4, 0x02, "00ff 61"), Malformed),
        ("header flags (2.1.3)", hex("11 0d 0004 4d515454 04 02 003c 0001 61"), Malformed),
        ("properties' length lies", connect(5, 0x02, "7f 0001 61"), Malformed),
        ("a property twice (3.1.2.11)", connect(5, 0x02, "06 21 0002 21 0002 0001 61"), Malformed),
        ("receive maximum 0", connect(5, 0x02, "03 21 0000 0001 61"), Malformed),
        ("maximum packet size 0", connect(5, 0x02, "05 27 00000000 0001 61"), Malformed),
        ("a property of no kind", connect(5, 0x02, "02 7f 00 0001 61"), Malformed),
        ("a property of PUBLISH", connect(5, 0x02, "03 23 0001 0001 61"), Malformed),
        ("a property cut off", connect(5, 0x02, "02 21 00 0001 61"), Malformed),
        ("PUBLISH first", hex("30 03 0001 61"), NotConnect),
    ];
    for (name, frame, refusal) in cases {
        assert_eq!(decode::connect(&frame), Err(refusal), "{name}");
    }
}

#[test]
fn packets_that_are_taken() {
    let publish = |qos, packet_id, retain| Publish {
        topic: "a/b".into(),
        payload: Bytes::from_static(b"x"),
        retain,
        qos,
        packet_id,
        alias: 0,
        properties: None,
    };
    let with = |alias, topic: &str, properties: Option<Properties>| {
        let properties = properties.map(Box::new);
        Packet::Publish(Box::new(Publish { alias, topic: topic.into(), properties, ..publish(0, 0, false) }))
    };
    let alias =
        |alias: u16| Some(Properties { topic_alias: std::num::NonZeroU16::new(alias), ..Properties::default() });
    let subscribe = |id, filters: &[(&str, u8)]| Packet::Subscribe {
        packet_id: 1,
        id,
        filters: filters.iter().map(|(filter, options)| ((*filter).to_owned(), Options(*options))).collect(),
    };
    let goodbye = |publish_will, session_expiry_s| Packet::Disconnect(Goodbye { publish_will, session_expiry_s });
    let unsubscribe = Packet::Unsubscribe { packet_id: 1, filters: vec!["a".into()] };
    use Version::{V3, V5};
    let cases = [
        (V3, "30 06 0003 612f62 78", Packet::Publish(Box::new(publish(0, 0, false)))),
        (V3, "33 08 0003 612f62 0007 78", Packet::Publish(Box::new(publish(1, 7, true)))),
        (V3, "3c 08 0003 612f62 0007 78", Packet::Publish(Box::new(publish(2, 7, false)))),
        (V5, "32 09 0003 612f62 0007 00 78", Packet::Publish(Box::new(publish(1, 7, false)))),
        (V5, "30 0a 0003 612f62 03 23 0002 78", with(2, "a/b", alias(2))),
        (V5, "30 07 0000 03 23 0002 78", with(2, "", alias(2))),
        (V3, "40 02 0001", Packet::PubAck(1)),
        (V5, "40 03 0001 10", Packet::PubAck(1)),
        (V5, "40 04 0001 10 00", Packet::PubAck(1)),
        (V3, "62 02 0001", Packet::PubRel(1)),
        (V3, "82 0a 0001 0001 61 01 0001 23 00", subscribe(0, &[("a", 1), ("#", 0)])),
        (V5, "82 07 0001 00 0001 61 2d", subscribe(0, &[("a", 0x2d)])),
        (V5, "82 0a 0001 03 0b c801 0001 61 00", subscribe(200, &[("a", 0)])),
        (V3, "a2 05 0001 0001 61", unsubscribe.clone()),
        (V5, "a2 06 0001 00 0001 61", unsubscribe),
        (V3, "c0 00", Packet::PingReq),
        (V3, "e0 00", goodbye(false, None)),
        (V5, "e0 00", goodbye(false, None)),
        (V5, "e0 01 04", goodbye(true, None)),
        (V5, "e0 07 00 05 11 00000009", goodbye(false, Some(9))),
    ];
    for (version, frame, packet) in cases {
        assert_eq!(decode::packet(&hex(frame), version).as_ref(), Ok(&packet), "{frame}");
    }
}

#[test]
fn packets_that_are_refused() {
    use Refusal::{Malformed, Topic, Unexpected};
    use Version::{V3, V5};
    let cases = [
        ("topic length 0", V3, "30 03 0000 78", Topic),
        ("empty topic without alias (3.3.2.1)", V5, "30 04 0000 00 78", Topic),
        ("alias 0 (3.3.2.3.4)", V5, "30 07 0000 03 23 0000 78", Malformed),
        ("topic with a wildcard", V5, "30 05 0001 23 00 78", Topic),
        ("topic length lies", V3, "30 03 ffff 78", Malformed),
        ("QoS 3", V3, "36 06 0001 61 0001 78", Malformed),
        ("DUP at QoS 0", V3, "38 04 0001 61 78", Malformed),
        ("packet id 0", V3, "32 05 0001 61 0000", Malformed),
        ("subscription id from a client (3.3.4)", V5, "30 06 0001 61 02 0b 01", Unexpected),
        ("response topic with a wildcard (3.3.2.3.5)", V5, "30 08 0001 61 04 08 0001 23", Topic),
        ("payload format 2", V5, "30 06 0001 61 02 01 02", Malformed),
        ("PUBACK with more", V3, "40 03 0001 00", Malformed),
        ("PUBACK with a reason of no kind", V5, "40 03 0001 7f", Malformed),
        ("PUBREL's flags (3.6.1)", V3, "60 02 0001", Malformed),
        ("PUBREC", V3, "50 02 0001", Unexpected),
        ("SUBSCRIBE's flags (3.8.1)", V3, "80 06 0001 0001 61 00", Malformed),
        ("SUBSCRIBE without filter (3.8.3)", V3, "82 02 0001", Malformed),
        ("SUBSCRIBE without filter (3.8.3)", V5, "82 03 0001 00", Malformed),
        ("SUBSCRIBE QoS 3", V3, "82 06 0001 0001 61 03", Malformed),
        ("SUBSCRIBE reserved bits in 3.1.1", V3, "82 06 0001 0001 61 04", Malformed),
        ("SUBSCRIBE reserved bits (3.8.3.1)", V5, "82 07 0001 00 0001 61 40", Malformed),
        ("retain handling 3 (3.8.3.1)", V5, "82 07 0001 00 0001 61 30", Malformed),
        ("subscription id 0 (3.8.2.1.2)", V5, "82 09 0001 02 0b 00 0001 61 00", Malformed),
        ("two subscription ids", V5, "82 0b 0001 04 0b 01 0b 02 0001 61 00", Malformed),
        ("SUBSCRIBE without options", V3, "82 05 0001 0001 61", Malformed),
        ("UNSUBSCRIBE without filter (3.10.3)", V3, "a2 02 0001", Malformed),
        ("PINGREQ with a body", V3, "c0 01 00", Malformed),
        ("DISCONNECT with a body in 3.1.1", V3, "e0 01 00", Malformed),
        ("DISCONNECT with more", V5, "e0 03 00 00 00", Malformed),
        ("a server's packet", V5, "20 03 00 00 00", Unexpected),
        ("AUTH that was not agreed", V5, "f0 00", Unexpected),
        ("type 0", V3, "00 00", Malformed),
        ("a second CONNECT", V3, "10 0d 0004 4d515454 04 02 003c 0001 61", Unexpected),
    ];
    for (name, version, frame, refusal) in cases {
        assert_eq!(decode::packet(&hex(frame), version), Err(refusal), "{name}: {frame}");
    }
}

fn said(encode: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.into()
}

#[test]
fn answers() {
    use Version::{V3, V5};
    let welcome = Welcome {
        session_present: true,
        assigned_client_id: Some("a"),
        session_expiry_s: Some(9),
        max_packet_bytes: 256,
    };
    let invalid = Reason::PAYLOAD_FORMAT_INVALID;
    let cases = [
        ("20 02 01 00", said(|out| answer::welcome(V3, welcome, out))),
        ("20 02 00 02", said(|out| answer::refused(V3, Reason::CLIENT_ID_NOT_VALID, out))),
        ("20 02 00 05", said(|out| answer::refused(V3, Reason::NOT_AUTHORIZED, out))),
        ("20 02 00 03", said(|out| answer::refused(V3, Reason::SERVER_UNAVAILABLE, out))),
        ("20 03 00 84 00", said(|out| answer::refused(V5, Reason::UNSUPPORTED_VERSION, out))),
        ("90 04 0007 01 80", said(|out| answer::suback(V3, 7, &[1, 0x8f], out))),
        ("90 05 0007 00 01 8f", said(|out| answer::suback(V5, 7, &[1, 0x8f], out))),
        ("b0 02 0007", said(|out| answer::unsuback(V3, 7, &[Reason::SUCCESS], out))),
        (
            "b0 05 0007 00 00 11",
            said(|out| answer::unsuback(V5, 7, &[Reason::SUCCESS, Reason::NO_SUBSCRIPTION_EXISTED], out)),
        ),
        ("40 02 0007", said(|out| answer::received(V3, (1, 7), (Reason::SUCCESS, Some("x")), 100, out))),
        ("40 04 0007 87 00", said(|out| answer::received(V5, (1, 7), (Reason::NOT_AUTHORIZED, None), 100, out))),
        // 3.4.2.2.2: words, unless the client takes no packet so long.
        ("40 09 0007 99 05 1f0002 6e6f", said(|out| answer::received(V5, (1, 7), (invalid, Some("no")), 18, out))),
        ("40 04 0007 99 00", said(|out| answer::received(V5, (1, 7), (invalid, Some("no")), 17, out))),
        ("50 02 0007", said(|out| answer::received(V3, (2, 7), (Reason::SUCCESS, None), 100, out))),
        ("70 02 0007", said(|out| answer::released(V3, 7, Reason::PACKET_ID_NOT_FOUND, out))),
        ("70 04 0007 92 00", said(|out| answer::released(V5, 7, Reason::PACKET_ID_NOT_FOUND, out))),
        ("d0 00", said(answer::pingresp)),
        ("", said(|out| answer::disconnect(V3, Reason::SERVER_MOVED, Some("b:1"), out))),
        ("e0 08 9d 06 1c 0003 623a31", said(|out| answer::disconnect(V5, Reason::SERVER_MOVED, Some("b:1"), out))),
    ];
    for (expected, frame) in cases {
        assert_eq!(frame, hex(expected), "{expected}");
    }
    let welcome = said(|out| answer::welcome(V5, welcome, out));
    let parts = [(0x21, "0040"), (0x22, "0010"), (0x27, "00000100"), (0x11, "00000009"), (0x12, "0001 61")];
    for (property, value) in parts {
        let wanted = [&[property][..], &hex(value)].concat();
        assert!(welcome.windows(wanted.len()).any(|part| part == wanted), "{property:#x} in {welcome:02x?}");
    }
}

fn encoded(properties: &Properties, variant: Variant, more_ids: &[u32]) -> Vec<u8> {
    let publication = Publication::new("a/b", Bytes::from_static(b"x"), 1, true, properties).unwrap();
    publication.encode(variant, more_ids, Instant::now()).bytes.into()
}

#[test]
fn messages_in_every_variant() {
    let three = Variant { version: Version::V3, websocket: false, qos: 0, retain: false, id: 0, alias: Alias::None };
    let five = Variant { version: Version::V5, ..three };
    let plain = Properties::default();
    let rich = Properties {
        is_utf8_payload: true,
        content_type: Some("t".into()),
        response_topic: Some("r".into()),
        correlation_data: Some(Bytes::from_static(b"c")),
        user_properties: vec![("k".into(), "v".into())],
        ..Properties::default()
    };
    let cases = [
        ("30 06 0003 612f62 78", encoded(&plain, three, &[])),
        ("30 06 0003 612f62 78", encoded(&rich, three, &[])),
        ("33 08 0003 612f62 0000 78", encoded(&plain, Variant { qos: 1, retain: true, ..three }, &[])),
        ("82 08 30 06 0003 612f62 78", encoded(&plain, Variant { websocket: true, ..three }, &[])),
        ("30 07 0003 612f62 00 78", encoded(&plain, five, &[])),
        ("30 0c 0003 612f62 05 0b c801 0b 01 78", encoded(&plain, Variant { id: 200, ..five }, &[1])),
        ("30 0a 0003 612f62 03 23 0001 78", encoded(&plain, Variant { alias: Alias::Set(1), ..five }, &[])),
        ("30 07 0000 03 23 0001 78", encoded(&plain, Variant { alias: Alias::Use(1), ..five }, &[])),
        (
            "30 1c 0003 612f62 15 01 01 03 0001 74 08 0001 72 09 0001 63 26 0001 6b 0001 76 78",
            encoded(&rich, five, &[]),
        ),
    ];
    for (expected, frame) in cases {
        assert_eq!(frame, hex(expected), "{expected}");
    }
}

#[test]
fn a_packet_id_goes_into_a_copy() {
    let publication = Publication::new("a", Bytes::from_static(b"x"), 1, false, &Properties::default()).unwrap();
    let variant = Variant { version: Version::V3, websocket: true, qos: 1, retain: false, id: 0, alias: Alias::None };
    let frame = publication.encode(variant, &[], Instant::now());
    let mut copy = Vec::new();
    frame.with_packet_id(0x1234, true, &mut copy);
    assert_eq!(copy, hex("82 08 3a 06 0001 61 1234 78"));
    assert_eq!(frame.packet_bytes(), 8);
}

#[test]
fn what_mqtt_cannot_say_is_no_publication() {
    let long = "x".repeat(65_536);
    let user = Properties { user_properties: vec![(long.as_str().into(), "v".into())], ..Properties::default() };
    assert!(Publication::new(&long, Bytes::new(), 0, false, &Properties::default()).is_none());
    assert!(Publication::new("a", Bytes::new(), 0, false, &user).is_none());
}

/// Good packets of every kind: the beginnings for mutations.
const SEEDS: [&str; 14] = [
    "10 0d 0004 4d515454 04 02 003c 0001 61",
    "10 28 0004 4d515454 05 2e 003c 10 11 0000000a 21 0002 27 00000100 22 0003 0001 61 00 0001 74 0001 70 00 00",
    "30 06 0003 612f62 78",
    "33 08 0003 612f62 0007 78",
    "32 0c 0003 612f62 0007 03 23 0002 78",
    "30 1c 0003 612f62 15 01 01 03 0001 74 08 0001 72 09 0001 63 26 0001 6b 0001 76 78",
    "40 04 0001 10 00",
    "62 02 0001",
    "82 0a 0001 03 0b c801 0001 61 00",
    "82 0a 0001 0001 61 01 0001 23 00",
    "a2 06 0001 00 0001 61",
    "c0 00",
    "e0 07 00 05 11 00000009",
    "f0 00",
];

/// The frame with its remaining length put right, so that mutations reach what lies behind it.
fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    let mut length = body.len();
    while length > 0x7f {
        frame.push(0x80 | u8::try_from(length & 0x7f).unwrap());
        length >>= 7;
    }
    frame.push(u8::try_from(length).unwrap());
    frame.extend(body);
    frame
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_packets_never_panic(
        seed in 0..SEEDS.len(),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        cut in any::<Option<u8>>(),
        more in proptest::collection::vec(any::<u8>(), 0..6),
    ) {
        let mut frame = hex(SEEDS[seed]);
        for (place, byte) in changes {
            let place = place % frame.len();
            frame[place] = byte;
        }
        frame.truncate(frame.len() - usize::from(cut.unwrap_or(0)) % (frame.len() - 1));
        frame.extend(more);
        let right = framed(frame[0], frame.get(2..).unwrap_or_default());
        for frame in [frame, right] {
            let _ = decode::connect(&frame);
            let _ = decode::packet(&frame, Version::V3);
            let _ = decode::packet(&frame, Version::V5);
        }
    }
}
