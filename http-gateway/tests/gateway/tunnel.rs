//! MQTT over WebSocket: bytes both ways, and how each side ends.

use crate::{Rig, config, problem, rig, rig_with};
use async_trait::async_trait;
use futures::{SinkExt, StreamExt};
use std::{io, sync::Arc};
use tifo_http_gateway::{Duplex, Hooks, HttpConfig, MqttTunnel};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::TcpStream,
    sync::mpsc,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

/// Hands the other end of each tunnel to the test.
struct Node(mpsc::UnboundedSender<DuplexStream>);

#[async_trait]
impl MqttTunnel for Node {
    async fn open(&self) -> io::Result<Box<dyn Duplex>> {
        let (here, there) = tokio::io::duplex(64);
        self.0.send(there).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(Box::new(here))
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn rig_and_node(config: HttpConfig) -> (Rig, mpsc::UnboundedReceiver<DuplexStream>) {
    let (to, tunnels) = mpsc::unbounded_channel();
    (rig_with(config, Some(Arc::new(Node(to))), Hooks::default()).await, tunnels)
}

async fn connect(rig: &Rig, subprotocol: &str) -> Result<Socket, Error> {
    let mut request = format!("ws://{}/mqtt", rig.gateway.addr()).into_client_request().unwrap();
    if !subprotocol.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
    }
    let (socket, answer) = connect_async(request).await?;
    assert_eq!(answer.headers()["sec-websocket-protocol"], "mqtt");
    Ok(socket)
}

async fn closed_with(socket: &mut Socket) -> CloseCode {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Close(frame) => return frame.unwrap().code,
            other => assert!(!other.is_text()),
        }
    }
}

#[tokio::test]
async fn bytes_travel_both_ways_and_viewers_are_counted() {
    let (rig, mut tunnels) = rig_and_node(config()).await;
    let mut socket = connect(&rig, "mqttv3.1, mqtt").await.unwrap();
    let node = tunnels.recv().await.unwrap();
    let (mut from_client, mut to_client) = tokio::io::split(node);
    let echo = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_client).await });
    // Much more than the node's 64 bytes: each side waits for the other.
    let sent: Vec<u8> = (0..100_000u32).map(|n| n.to_le_bytes()[0]).collect();
    for part in sent.chunks(7001) {
        socket.send(Message::binary(part.to_vec())).await.unwrap();
        let mut back = Vec::new();
        while back.len() < part.len() {
            back.extend_from_slice(&socket.next().await.unwrap().unwrap().into_data());
        }
        assert_eq!(back, part);
    }
    assert_eq!(rig.gateway.viewers(), 1);
    socket.close(None).await.unwrap();
    assert_eq!(echo.await.unwrap().unwrap(), 100_000);
    while rig.gateway.viewers() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn when_the_node_ends_the_viewer_gets_its_last_words() {
    let (rig, mut tunnels) = rig_and_node(config()).await;
    let mut socket = connect(&rig, "mqtt").await.unwrap();
    let mut node = tunnels.recv().await.unwrap();
    node.write_all(b"bye").await.unwrap();
    drop(node);
    assert_eq!(socket.next().await.unwrap().unwrap().into_data().as_ref(), b"bye");
    assert_eq!(closed_with(&mut socket).await, CloseCode::Normal);
}

#[tokio::test]
async fn when_the_viewer_breaks_off_the_node_sees_the_end() {
    let (rig, mut tunnels) = rig_and_node(config()).await;
    let socket = connect(&rig, "mqtt").await.unwrap();
    let mut node = tunnels.recv().await.unwrap();
    drop(socket);
    assert_eq!(node.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn text_and_huge_messages_end_the_tunnel() {
    let (rig, mut tunnels) = rig_and_node(HttpConfig { max_websocket_message_bytes: 1000, ..config() }).await;
    let mut socket = connect(&rig, "mqtt").await.unwrap();
    let mut node = tunnels.recv().await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(closed_with(&mut socket).await, CloseCode::Unsupported);
    assert_eq!(node.read(&mut [0; 8]).await.unwrap(), 0);
    let mut socket = connect(&rig, "mqtt").await.unwrap();
    let mut node = tunnels.recv().await.unwrap();
    socket.send(Message::binary(vec![0; 2000])).await.unwrap();
    assert_eq!(node.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn shutdown_ends_tunnels() {
    let (rig, mut tunnels) = rig_and_node(config()).await;
    let mut socket = connect(&rig, "mqtt").await.unwrap();
    let _node = tunnels.recv().await.unwrap();
    let shutdown = tokio::spawn(rig.gateway.shutdown());
    assert_eq!(closed_with(&mut socket).await, CloseCode::Away);
    drop(socket);
    shutdown.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_no_tunnel_is_refused() {
    let (with_mqtt, tunnels) = rig_and_node(config()).await;
    problem(with_mqtt.get("/mqtt").await, 400).await;
    for subprotocol in ["", "chat"] {
        let Err(Error::Http(answer)) = connect(&with_mqtt, subprotocol).await else { panic!() };
        assert_eq!(answer.status(), 400);
    }
    drop(tunnels);
    let Err(Error::Http(answer)) = connect(&with_mqtt, "mqtt").await else { panic!() };
    assert_eq!(answer.status(), 503);
    let without = rig().await;
    let Err(Error::Http(answer)) = connect(&without, "mqtt").await else { panic!() };
    assert_eq!(answer.status(), 404);
}
