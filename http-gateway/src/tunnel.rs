//! `/mqtt`: MQTT over WebSocket (section 6 of MQTT 3.1.1 and 5). The bytes of binary frames are piped to a byte stream
//! of the MQTT gateway and back; nothing is interpreted here.
//!
//! One direction never buffers more than one message or one read; who does not take what is sent stops the other side.

use async_trait::async_trait;
use axum::{
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code, rejection::WebSocketUpgradeRejection},
    },
    http::StatusCode,
    response::Response,
};
use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use metrics::{counter, gauge};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    time::timeout,
};

use crate::{gateway::Shared, problem::Problem};

/// Names of the subprotocol: today's, and that of MQTT 3.1.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
const READ_BYTES: usize = 8 << 10;
/// A viewer that takes nothing for so long is closed.
const STALLED: Duration = Duration::from_secs(30);
/// For the farewell.
const CLOSING: Duration = Duration::from_secs(2);

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Where the bytes of `/mqtt` go; given by the binary.
#[async_trait]
pub trait MqttTunnel: Send + Sync + 'static {
    /// A fresh connection to MQTT, as if by TCP.
    async fn open(&self) -> io::Result<Box<dyn Duplex>>;
}

/// Why a tunnel ends.
enum End {
    /// The client went, or the node did, or the gateway stops.
    Normal,
    Stopping,
    /// MQTT travels in binary frames only (MQTT-6.0.0-1).
    NotBinary,
}

pub async fn upgrade(
    State(shared): State<Arc<Shared>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| {
        Problem::new(StatusCode::BAD_REQUEST, "not-a-websocket", format!("MQTT over WebSocket is here: {rejection}"))
    })?;
    let Some(tunnel) = shared.tunnel.clone() else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "no-mqtt", "MQTT does not run in this process"));
    };
    let upgrade = upgrade.protocols(SUBPROTOCOLS);
    if upgrade.selected_protocol().is_none() {
        let detail = "the WebSocket subprotocol must be `mqtt`";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "wrong-subprotocol", detail));
    }
    let node = tunnel.open().await.map_err(|error| {
        let detail = format!("MQTT does not answer: {error}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "mqtt-unavailable", detail).retry_after(1)
    })?;
    let max_bytes = shared.config.max_websocket_message_bytes;
    Ok(upgrade
        .max_message_size(max_bytes)
        .max_frame_size(max_bytes)
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(max_bytes.max(2 * READ_BYTES))
        .on_upgrade(move |socket| {
            let tunnels = shared.tunnels.clone();
            tunnels.track_future(run(shared, socket, node))
        }))
}

async fn run(shared: Arc<Shared>, socket: WebSocket, node: Box<dyn Duplex>) {
    counter!("tifo_http_tunnels_total").increment(1);
    gauge!("tifo_http_tunnels").increment(1.0);
    shared.viewers.fetch_add(1, Ordering::Relaxed);
    let (mut to_client, mut from_client) = socket.split();
    let (mut from_node, mut to_node) = tokio::io::split(node);
    let end = tokio::select! {
        end = client_to_node(&mut from_client, &mut to_node) => end,
        () = node_to_client(&mut from_node, &mut to_client) => End::Normal,
        () = shared.stop.cancelled() => End::Stopping,
    };
    let _ = timeout(CLOSING, to_node.shutdown()).await;
    let _ = timeout(CLOSING, to_client.send(Message::Close(Some(farewell(&end))))).await;
    shared.viewers.fetch_sub(1, Ordering::Relaxed);
    gauge!("tifo_http_tunnels").decrement(1.0);
}

async fn client_to_node(from_client: &mut SplitStream<WebSocket>, to_node: &mut WriteHalf<Box<dyn Duplex>>) -> End {
    while let Some(Ok(message)) = from_client.next().await {
        match message {
            Message::Binary(bytes) => {
                if to_node.write_all(&bytes).await.is_err() || to_node.flush().await.is_err() {
                    return End::Normal;
                }
            }
            Message::Text(_) => return End::NotBinary,
            Message::Close(_) => return End::Normal,
            // The library answers pings by itself.
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
    End::Normal
}

async fn node_to_client(from_node: &mut ReadHalf<Box<dyn Duplex>>, to_client: &mut SplitSink<WebSocket, Message>) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(read @ 1..) = from_node.read(&mut buffer).await {
        let Some(bytes) = buffer.get(..read) else { return };
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        if !matches!(timeout(STALLED, to_client.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn farewell(end: &End) -> CloseFrame {
    let (code, reason) = match end {
        End::Normal => (close_code::NORMAL, ""),
        End::Stopping => (close_code::AWAY, "the gateway is stopping"),
        End::NotBinary => (close_code::UNSUPPORTED, "MQTT travels in binary frames"),
    };
    CloseFrame { code, reason: reason.into() }
}
