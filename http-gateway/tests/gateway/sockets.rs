//! What strangers send to the port: floods, dribbles and noise. The others notice nothing.

use crate::{JSON, NDJSON, Rig, config, event, problem, rig, rig_with};
use std::time::Duration;
use tifo_http_gateway::{Hooks, HttpConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const MB: usize = 1_000_000;

async fn connect(rig: &Rig) -> TcpStream {
    TcpStream::connect(rig.gateway.addr()).await.unwrap()
}

/// Everything until the other side closes.
async fn read_all(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn head(more: &str) -> Vec<u8> {
    format!("POST /v1/streams/emoji/events HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\n{more}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_body_of_100_mb_is_413_even_to_who_sends_it_all_first() {
    let rig = rig().await;
    let found = problem(rig.post("", NDJSON, vec![b'['; 100 * MB]).await, 413).await;
    assert_eq!(found["max_body_bytes"], 1 << 20);
    let mut socket = connect(&rig).await;
    socket.write_all(&head(&format!("content-length: {}", 100 * MB))).await.unwrap();
    let chunk = vec![b' '; MB];
    for _ in 0..100 {
        socket.write_all(&chunk).await.unwrap();
    }
    assert!(read_all(&mut socket).await.starts_with("HTTP/1.1 413 "));
    assert_eq!(rig.post("", JSON, event("u")).await.status(), 202);
}

#[tokio::test]
async fn a_body_without_announced_length_is_cut_off_too() {
    let rig = rig().await;
    let mut socket = connect(&rig).await;
    socket.write_all(&head("transfer-encoding: chunked")).await.unwrap();
    let mut chunk = format!("{:x}\r\n", MB).into_bytes();
    chunk.resize(chunk.len() + MB, b' ');
    chunk.extend_from_slice(b"\r\n");
    for _ in 0..4 {
        socket.write_all(&chunk).await.unwrap();
    }
    socket.shutdown().await.unwrap();
    assert!(read_all(&mut socket).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn who_asks_before_sending_is_told_at_once() {
    let rig = rig().await;
    let mut socket = connect(&rig).await;
    socket.write_all(&head("content-length: 100000000\r\nexpect: 100-continue")).await.unwrap();
    let mut first = [0; 12];
    socket.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 413");
}

#[tokio::test]
async fn heads_and_bodies_that_dribble_are_cut_off() {
    let config = HttpConfig { header_timeout_ms: 50, request_timeout_ms: 50, ..config() };
    let rig = rig_with(config, None, Hooks::default()).await;
    let mut slow_head = connect(&rig).await;
    slow_head.write_all(b"GET / HTTP/1.1\r\nhos").await.unwrap();
    let mut slow_body = connect(&rig).await;
    slow_body.write_all(&head("content-length: 500")).await.unwrap();
    slow_body.write_all(b"{").await.unwrap();
    assert!(!read_all(&mut slow_head).await.contains(" 200 "));
    let said = read_all(&mut slow_body).await;
    assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("urn:tifo:problem:body-timeout"), "{said}");
}

#[tokio::test]
async fn too_many_connections_are_told_to_come_back() {
    let rig = rig_with(HttpConfig { max_connections: 2, ..config() }, None, Hooks::default()).await;
    let held = [connect(&rig).await, connect(&rig).await];
    let mut third = connect(&rig).await;
    assert!(read_all(&mut third).await.starts_with("HTTP/1.1 503 "));
    drop(held);
    while rig.client.get(format!("{}/healthz", rig.base)).send().await.is_err() {}
}

#[tokio::test]
async fn noise_harms_nobody() {
    let rig = rig().await;
    let mut state: u64 = 20_261_122;
    for length in [1, 4, 64, 1000, 20_000] {
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .take(length)
        .collect();
        let mut socket = connect(&rig).await;
        let _ = socket.write_all(&noise).await;
        let _ = socket.shutdown().await;
        assert!(!read_all(&mut socket).await.contains(" 200 "));
    }
    let mut socket = connect(&rig).await;
    let _ = socket.write_all(format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(50_000)).as_bytes()).await;
    assert!(!read_all(&mut socket).await.contains(" 200 "));
    assert_eq!(rig.post("?ack=committed", JSON, event("u")).await.status(), 200);
}
