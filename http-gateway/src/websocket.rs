//! `/mqtt`: MQTT over WebSocket (section 6 of MQTT 3.1.1 and 5, RFC 6455). Only the opening request is answered here; then
//! the socket itself goes to the MQTT gateway, which holds it like one of its own.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use metrics::counter;
use sha1::{Digest, Sha1};
use std::{io, os::fd::OwnedFd, sync::Arc};

use crate::{connection::Lingering, gateway::Shared, problem::Problem};

/// Names of the subprotocol: today's, and that of MQTT 3.1.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// The one version of WebSocket that there is (4.1 of RFC 6455).
const VERSION: &[u8] = b"13";
/// Appended to the key (1.3 of RFC 6455).
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Who holds the viewers; given by the binary.
pub trait MqttEdge: Send + Sync + 'static {
    /// One more viewer may come.
    fn has_room(&self) -> bool;

    /// Takes over a WebSocket; `read`: what came behind its opening request.
    fn adopt(&self, socket: OwnedFd, read: Vec<u8>) -> io::Result<()>;
}

pub async fn open(State(shared): State<Arc<Shared>>, mut request: Request) -> Result<Response, Problem> {
    let answer = answer(&request)?;
    let Some(edge) = shared.mqtt_edge.clone() else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "no-mqtt", "MQTT does not run in this process"));
    };
    if !edge.has_room() {
        let detail = "there are too many MQTT connections (mqtt.limits.max_connections)";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "mqtt-unavailable", detail).retry_after(1));
    }
    counter!("tifo_http_websockets_total").increment(1);
    shared.handovers.spawn(hand_over(hyper::upgrade::on(&mut request), edge));
    Ok(answer)
}

/// 4.2 of RFC 6455.
fn answer(request: &Request) -> Result<Response, Problem> {
    let headers = request.headers();
    let is_websocket = *request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && lists(headers, &header::CONNECTION, "upgrade")
        && lists(headers, &header::UPGRADE, "websocket")
        && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version.as_bytes() == VERSION);
    let (true, Some(key)) = (is_websocket, headers.get(header::SEC_WEBSOCKET_KEY)) else {
        let detail = "MQTT over WebSocket is here: the request must open a WebSocket of version 13 by HTTP/1.1";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "not-a-websocket", detail));
    };
    let spoken = |name: &&str| lists(headers, &header::SEC_WEBSOCKET_PROTOCOL, name);
    let Some(subprotocol) = SUBPROTOCOLS.into_iter().find(spoken) else {
        let detail = "the WebSocket subprotocol must be `mqtt`";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "wrong-subprotocol", detail));
    };
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let named = response.headers_mut();
    named.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    named.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    named.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    // Base64 is always a header's value.
    if let Ok(accept) = HeaderValue::try_from(accept_key(key.as_bytes())) {
        named.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(response)
}

/// The header is a list, over one or several lines, with the word in it.
fn lists(headers: &HeaderMap, name: &header::HeaderName, word: &str) -> bool {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
}

fn accept_key(key: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_SUFFIX).finalize())
}

/// Once the answer is on its way.
async fn hand_over(upgrade: OnUpgrade, edge: Arc<dyn MqttEdge>) {
    let handed_over = async {
        let upgraded = upgrade.await.map_err(io::Error::other)?;
        let parts = upgraded.downcast::<TokioIo<Lingering>>().map_err(|_| io::ErrorKind::Unsupported)?;
        let socket = parts.io.into_inner().into_socket().ok_or(io::ErrorKind::NotConnected)??;
        edge.adopt(socket, parts.read_buf.into())
    };
    if let Err(error) = handed_over.await {
        tracing::debug!(%error, "a WebSocket ended before MQTT had it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_answered_as_in_the_example_of_the_specification() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
