//! Good and bad packets, one row each, and random bytes.

#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn connect_with(flags: u8, rest: &str) -> Bytes {
    let rest = bytes(rest);
    let mut frame = BytesMut::new();
    frame.put_slice(&[0x10, u8::try_from(10 + rest.len()).unwrap(), 0, 4]);
    frame.put_slice(b"MQTT");
    frame.put_slice(&[4, flags, 0, 60]);
    frame.put_slice(&rest);
    frame.freeze()
}

#[test]
fn good_packets() {
    let connect = |client_id: &str, clean_session| Connect {
        client_id: client_id.into(),
        clean_session,
        keep_alive_s: 60,
        will: None,
    };
    let will = Will { topic: Bytes::from_static(b"t"), payload: Bytes::from_static(b"p"), retain: true };
    let publish = |qos, packet_id, retain| Publish {
        topic: Bytes::from_static(b"a/b"),
        payload: Bytes::from_static(b"x"),
        retain,
        qos,
        packet_id,
    };
    let cases = [
        (connect_with(0x02, "0003 612f62"), Packet::Connect(connect("a/b", true))),
        (connect_with(0x00, "0000"), Packet::Connect(connect("", false))),
        (connect_with(0xc2, "0001 61 0001 75 0001 70"), Packet::Connect(connect("a", true))),
        (
            connect_with(0x26, "0001 61 0001 74 0001 70"),
            Packet::Connect(Connect { will: Some(will), ..connect("a", true) }),
        ),
        (bytes("30 06 0003 612f62 78"), Packet::Publish(publish(0, 0, false))),
        (bytes("33 08 0003 612f62 0007 78"), Packet::Publish(publish(1, 7, true))),
        (bytes("3c 08 0003 612f62 0007 78"), Packet::Publish(publish(2, 7, false))),
        (bytes("40 02 0001"), Packet::PubAck(1)),
        (bytes("62 02 0001"), Packet::PubRel(1)),
        (
            bytes("82 0a 0001 0001 61 01 0001 23 00"),
            Packet::Subscribe { packet_id: 1, filters: vec![("a".into(), 1), ("#".into(), 0)] },
        ),
        (bytes("a2 05 0001 0001 61"), Packet::Unsubscribe { packet_id: 1, filters: vec!["a".into()] }),
        (bytes("c0 00"), Packet::PingReq),
        (bytes("e0 00"), Packet::Disconnect),
    ];
    for (frame, packet) in cases {
        assert_eq!(decode(&frame).as_ref(), Ok(&packet), "{frame:02x?}");
        assert_eq!(frame_length(&frame, 1024), Ok(Some(frame.len())));
    }
}

#[test]
fn bad_packets() {
    use Refusal::{Level, Malformed, Topic, Unexpected};
    let cases = [
        ("empty", Bytes::new(), Malformed),
        ("reserved type 0", bytes("00 00"), Malformed),
        ("reserved type 15", bytes("f0 00"), Malformed),
        ("a server's packet", bytes("20 02 0000"), Unexpected),
        ("PUBREC", bytes("50 02 0001"), Unexpected),
        ("MQTT 5", bytes("10 0d 0004 4d515454 05 02 003c 00 0000"), Level(5)),
        ("MQTT 3.1", bytes("10 0e 0006 4d5149736470 03 02 003c 0000"), Level(3)),
        ("another protocol", bytes("10 0c 0004 4d515455 04 02 003c 0000"), Malformed),
        ("lying name length", bytes("10 0c 00ff 4d515454 04 02 003c 0000"), Malformed),
        ("CONNECT without payload", bytes("10 0a 0004 4d515454 04 02 003c"), Malformed),
        ("reserved connect flag", connect_with(0x03, "0001 61"), Malformed),
        ("will QoS 3", connect_with(0x1e, "0001 61 0001 74 0001 70"), Malformed),
        ("will retain without will", connect_with(0x22, "0001 61"), Malformed),
        ("password without user", connect_with(0x42, "0001 61 0001 70"), Malformed),
        ("will topic empty", connect_with(0x06, "0001 61 0000 0001 70"), Topic),
        ("bytes after the end", connect_with(0x02, "0001 61 00"), Malformed),
        ("client id no UTF-8", connect_with(0x02, "0001 ff"), Malformed),
        ("client id with NUL", connect_with(0x02, "0001 00"), Malformed),
        ("connect header flags", bytes("11 0c 0004 4d515454 04 02 003c 0000"), Malformed),
        ("topic length 0", bytes("30 03 0000 78"), Topic),
        ("topic with wildcard", bytes("30 03 0001 23"), Topic),
        ("topic length lies", bytes("30 03 ffff 78"), Malformed),
        ("QoS 3", bytes("36 06 0001 61 0001 78"), Malformed),
        ("DUP at QoS 0", bytes("38 04 0001 61 78"), Malformed),
        ("packet id 0", bytes("32 05 0001 61 0000"), Malformed),
        ("SUBSCRIBE flags", bytes("80 06 0001 0001 61 00"), Malformed),
        ("SUBSCRIBE without filter", bytes("82 02 0001"), Malformed),
        ("SUBSCRIBE QoS 3", bytes("82 06 0001 0001 61 03"), Malformed),
        ("SUBSCRIBE without QoS", bytes("82 05 0001 0001 61"), Malformed),
        ("UNSUBSCRIBE without filter", bytes("a2 02 0001"), Malformed),
        ("PINGREQ with body", bytes("c0 01 00"), Malformed),
    ];
    for (name, frame, refusal) in cases {
        assert_eq!(decode(&frame), Err(refusal), "{name}");
    }
}

#[test]
fn frame_lengths() {
    let cases: [(&str, Result<Option<usize>, Refusal>); 8] = [
        ("", Ok(None)),
        ("10", Ok(None)),
        ("10 80", Ok(None)),
        ("10 7f", Ok(Some(129))),
        ("10 80 01", Ok(Some(131))),
        ("10 ff ff ff 7f", Err(Refusal::TooLong)),
        ("10 ff ff ff ff", Err(Refusal::Malformed)),
        ("10 80 80 80 80 01", Err(Refusal::Malformed)),
    ];
    for (frame, length) in cases {
        assert_eq!(frame_length(&bytes(frame), 1024), length, "{frame}");
    }
}

#[test]
fn a_long_suback_has_a_long_length() {
    let frame = suback(1, &[0; 200]);
    assert_eq!(frame_length(&frame, 1024), Ok(Some(frame.len())));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(frame in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = frame_length(&frame, 1024);
        let _ = decode(&frame.into());
    }

    #[test]
    fn random_bodies_of_every_type_never_panic(first in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..127)) {
        let mut frame = vec![first, u8::try_from(body.len()).unwrap()];
        frame.extend(body);
        let _ = decode(&frame.into());
    }
}
