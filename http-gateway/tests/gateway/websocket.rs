//! MQTT over WebSocket: what is answered here, and that the socket goes on elsewhere with every byte.

use crate::{Rig, config, problem, rig_with};
use futures::{SinkExt, StreamExt};
use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tifo_http_gateway::{Hooks, MqttEdge};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, protocol::Role},
};

const BY_HAND: &str = "GET /mqtt HTTP/1.1\r\nHost: here\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat, mqtt\r\n\r\n";

/// Hands each socket to the test, with what was read of it.
struct Edge {
    adopted: mpsc::UnboundedSender<(TcpStream, Vec<u8>)>,
    is_full: AtomicBool,
}

impl MqttEdge for Edge {
    fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    fn adopt(&self, socket: OwnedFd, read: Vec<u8>) -> io::Result<()> {
        let stream = TcpStream::from_std(socket.into())?;
        self.adopted.send((stream, read)).map_err(|_| io::ErrorKind::ConnectionRefused.into())
    }
}

type Adopted = mpsc::UnboundedReceiver<(TcpStream, Vec<u8>)>;
type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn rig_and_edge() -> (Rig, Arc<Edge>, Adopted) {
    let (to, adopted) = mpsc::unbounded_channel();
    let edge = Arc::new(Edge { adopted: to, is_full: AtomicBool::new(false) });
    (rig_with(config(), Some(edge.clone()), Hooks::default()).await, edge, adopted)
}

async fn connect(rig: &Rig, subprotocol: &str) -> Result<Client, Error> {
    let mut request = format!("ws://{}/mqtt", rig.gateway.addr()).into_client_request().unwrap();
    if !subprotocol.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
    }
    let (client, answer) = connect_async(request).await?;
    assert_eq!(answer.headers()["sec-websocket-protocol"], "mqtt");
    Ok(client)
}

async fn server_side(adopted: &mut Adopted) -> WebSocketStream<TcpStream> {
    let (stream, read) = adopted.recv().await.unwrap();
    WebSocketStream::from_partially_read(stream, read, Role::Server, None).await
}

#[tokio::test]
async fn the_socket_goes_on_elsewhere() {
    let (rig, _edge, mut adopted) = rig_and_edge().await;
    let mut client = connect(&rig, "mqttv3.1, mqtt").await.unwrap();
    let mut server = server_side(&mut adopted).await;
    client.send(Message::binary(&b"up"[..])).await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap().into_data().as_ref(), b"up");
    server.send(Message::binary(&b"down"[..])).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap().into_data().as_ref(), b"down");
    drop(client);
    assert!(server.next().await.unwrap().is_err());
}

#[tokio::test]
async fn what_came_with_the_opening_request_goes_along() {
    let (rig, _edge, mut adopted) = rig_and_edge().await;
    let mut client = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    let frame = [&[0x82, 0x83, 0, 0, 0, 0][..], b"abc"].concat();
    client.write_all(&[BY_HAND.as_bytes(), &frame].concat()).await.unwrap();
    let mut server = server_side(&mut adopted).await;
    assert_eq!(server.next().await.unwrap().unwrap().into_data().as_ref(), b"abc");
    let mut answer = [0; 512];
    let length = client.read(&mut answer).await.unwrap();
    let answer = std::str::from_utf8(&answer[..length]).unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 101 ") && answer.contains("sec-websocket-protocol: mqtt\r\n"), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{answer}");
}

#[tokio::test]
async fn a_gateway_that_ends_leaves_what_it_has_handed_over() {
    let (rig, _edge, mut adopted) = rig_and_edge().await;
    let mut client = connect(&rig, "mqtt").await.unwrap();
    let mut server = server_side(&mut adopted).await;
    rig.gateway.shutdown().await.unwrap();
    server.send(Message::binary(&b"still here"[..])).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap().into_data().as_ref(), b"still here");
}

#[tokio::test]
async fn viewers_take_no_place_among_the_connections() {
    let (to, mut adopted) = mpsc::unbounded_channel();
    let edge = Arc::new(Edge { adopted: to, is_full: AtomicBool::new(false) });
    let config = tifo_http_gateway::HttpConfig { max_connections: 1, ..config() };
    let rig = rig_with(config, Some(edge), Hooks::default()).await;
    let mut viewers = Vec::new();
    while viewers.len() < 3 {
        // The place is given back a moment after the answer.
        if let Ok(client) = connect(&rig, "mqtt").await {
            viewers.push((client, server_side(&mut adopted).await));
        }
    }
}

#[tokio::test]
async fn what_opens_no_websocket_is_refused() {
    let (rig, edge, _adopted) = rig_and_edge().await;
    problem(rig.get("/mqtt").await, 400).await;
    for subprotocol in ["", "chat"] {
        let Err(Error::Http(answer)) = connect(&rig, subprotocol).await else { panic!() };
        assert_eq!(answer.status(), 400);
    }
    for (right, wrong) in
        [("Version: 13", "Version: 12"), ("GET", "HEAD"), ("Upgrade: WebSocket", "Upgrade: h2c"), ("1.1", "1.0")]
    {
        let mut client = TcpStream::connect(rig.gateway.addr()).await.unwrap();
        client.write_all(BY_HAND.replacen(right, wrong, 1).as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer[8..], b" 400", "{wrong}");
    }
    edge.is_full.store(true, Ordering::Relaxed);
    let Err(Error::Http(answer)) = connect(&rig, "mqtt").await else { panic!() };
    assert_eq!(answer.status(), 503);
    let without = crate::rig().await;
    let Err(Error::Http(answer)) = connect(&without, "mqtt").await else { panic!() };
    assert_eq!(answer.status(), 404);
}
