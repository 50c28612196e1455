//! Openings and frames, good and bad, and that chunks make no difference.

#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

const GOOD: &str = "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: other, mqtt\r\n\r\n";

#[derive(Debug, Default, PartialEq, Eq)]
struct Got {
    stream: Vec<u8>,
    pings: Vec<Vec<u8>>,
    closed: bool,
}

impl Receiver for Got {
    type Error = Violation;

    fn stream(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        self.stream.extend_from_slice(bytes);
        Ok(())
    }

    fn ping(&mut self, payload: &[u8]) -> Result<(), Violation> {
        self.pings.push(payload.to_vec());
        Ok(())
    }

    fn closed(&mut self) -> Result<(), Violation> {
        self.closed = true;
        Ok(())
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 0xf4];
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        medium @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend(u64::try_from(long).unwrap().to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn feed(bytes: &[u8]) -> Result<Got, Violation> {
    let mut got = Got::default();
    Decoder::default().feed(&mut bytes.to_vec(), &mut got).map(|()| got)
}

#[test]
fn the_example_of_the_rfc_is_accepted() {
    let Opening::Accepted { response, request_bytes } = opening(GOOD.as_bytes()) else { panic!() };
    assert!(response.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{response}");
    assert!(response.contains("Sec-WebSocket-Protocol: mqtt\r\n") && response.ends_with("\r\n\r\n"));
    assert_eq!(request_bytes, GOOD.len());
    assert_eq!(opening(&GOOD.as_bytes()[..GOOD.len() - 1]), Opening::Incomplete);
}

#[test]
fn openings_that_are_refused() {
    let cases = [
        (GOOD.replace("GET", "POST"), "400"),
        (GOOD.replace("/mqtt", "/other"), "404"),
        (GOOD.replace("Upgrade: WebSocket\r\n", ""), "426"),
        (GOOD.replace("Version: 13", "Version: 8"), "426"),
        (GOOD.replace("other, mqtt", "chat"), "400"),
        (GOOD.replace("HTTP/1.1", "MQTT"), "400"),
        (format!("GET /mqtt HTTP/1.1\r\nA: {}", "x".repeat(MAX_REQUEST_BYTES)), "431"),
    ];
    for (request, status) in cases {
        let Opening::Refused(response) = opening(request.as_bytes()) else { panic!("{request}") };
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
    }
}

#[test]
fn fragments_and_control_frames_between_them() {
    let bytes =
        [frame(0x02, b"ab"), frame(0x89, b"p"), frame(0x00, b""), frame(0x80, b"cd"), frame(0x88, &[3, 232])].concat();
    let got = feed(&bytes).unwrap();
    assert_eq!(got, Got { stream: b"abcd".to_vec(), pings: vec![b"p".to_vec()], closed: true });
}

#[test]
fn frames_that_are_refused() {
    let unmasked = vec![0x82, 1, 7];
    let endless = [&[0x82, 0xff][..], &[0xff; 8], &[0; 4]].concat();
    let cases = [
        ("text", frame(0x81, b"x"), 1003),
        ("extension", frame(0xc2, b"x"), 1002),
        ("continuation of nothing", frame(0x80, b"x"), 1002),
        ("a second beginning", [frame(0x02, b"x"), frame(0x82, b"x")].concat(), 1002),
        ("fragmented ping", frame(0x09, b"x"), 1002),
        ("long ping", frame(0x89, &[0; 126]), 1002),
        ("unknown control frame", frame(0x8b, b""), 1002),
        ("unmasked", unmasked, 1002),
        ("a length of 2^64 - 1", endless, 1002),
    ];
    for (name, bytes, code) in cases {
        assert_eq!(feed(&bytes), Err(Violation(code)), "{name}");
    }
}

proptest! {
    #[test]
    fn chunks_make_no_difference(
        payloads in proptest::collection::vec((0_u8..3, proptest::collection::vec(any::<u8>(), 0..300)), 1..6),
        cuts in proptest::collection::vec(1_usize..40, 1..40),
    ) {
        let mut bytes = Vec::new();
        for (kind, payload) in &payloads {
            match kind {
                0 => bytes.extend(frame(0x89, &payload[..payload.len().min(125)])),
                _ => bytes.extend(frame(0x82, payload)),
            }
        }
        let whole = feed(&bytes).unwrap();
        let (mut got, mut decoder, mut rest) = (Got::default(), Decoder::default(), bytes);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let after = rest.split_off((*cut).min(rest.len()));
            decoder.feed(&mut rest, &mut got).unwrap();
            rest = after;
        }
        prop_assert_eq!(whole, got);
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = opening(&bytes);
        let _ = Decoder::default().feed(&mut bytes, &mut Got::default());
    }
}
