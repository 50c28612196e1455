//! The front: what MQTT clients touch. MQTT 3.1.1 over TCP, and over any other byte stream through a tunnel.
//!
//! A connection costs a place, a deadline and bounded buffers; [`handshake`] takes its first packet, [`connection`] lives with
//! it, [`packet`] and [`filter`] say what is well-formed, [`sessions`] who is who. Only checked requests go on to the hub.
//!
//! Never: trust a length, wait for a client without a deadline, or answer before the hub has done it.

mod connection;
mod filter;
mod handshake;
mod packet;
mod sessions;
mod stream;

use crate::{MqttConfig, MqttError, config::Limits, hub::Hub};
use sessions::Sessions;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpSocket, lookup_host},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const LISTEN_BACKLOG: u32 = 1_024;
/// What the kernel keeps for a client that does not read.
const SEND_BUFFER_BYTES: u32 = 64 * 1024;
/// What a tunnel keeps in each direction.
const TUNNEL_BUFFER_BYTES: usize = 64 * 1024;
/// After accept has failed (no file descriptors left, usually).
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    pub hub: Arc<Hub>,
    pub sessions: Arc<Sessions>,
    pub limits: Limits,
    pub publish_prefixes: Vec<String>,
    pub shutdown: CancellationToken,
}

#[derive(Debug)]
pub struct Front {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Front {
    pub fn new(hub: Arc<Hub>, config: &MqttConfig, shutdown: CancellationToken) -> Self {
        let shared = Shared {
            hub,
            sessions: Sessions::new(&config.limits),
            limits: config.limits.clone(),
            publish_prefixes: config.publish_prefixes.clone(),
            shutdown,
        };
        let places = Arc::new(Semaphore::new(config.limits.max_connections.min(Semaphore::MAX_PERMITS)));
        Self { shared: Arc::new(shared), places, tasks: TaskTracker::new() }
    }

    /// Listens on `address` and serves it until shutdown; returns the address in force.
    pub async fn listen(self: &Arc<Self>, address: &str) -> Result<SocketAddr, MqttError> {
        let failed = |source| MqttError::Listen { listen: address.to_owned(), source };
        let listener = bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        self.tasks.spawn(self.clone().accept(listener));
        Ok(bound)
    }

    pub fn open_tunnel(&self) -> io::Result<DuplexStream> {
        let place = self.place().ok_or_else(|| io::Error::other("too many MQTT connections"))?;
        let (near, far) = tokio::io::duplex(TUNNEL_BUFFER_BYTES);
        self.serve(far, place);
        Ok(near)
    }

    pub fn tasks(&self) -> TaskTracker {
        self.tasks.clone()
    }

    pub fn connected_clients(&self) -> usize {
        self.shared.sessions.connected()
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.shared.shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, _)) => {
                    // Small messages, each wanted now.
                    let _ = socket.set_nodelay(true);
                    if let Some(place) = self.place() {
                        self.serve(socket, place);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accept on the MQTT port failed");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().inspect_err(|_| count_rejection("too_many_connections")).ok()
    }

    fn serve<S>(&self, stream: S, place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            connection::serve(stream, shared).await;
            drop(place);
        });
    }
}

async fn bind(address: &str) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no such address");
    for candidate in lookup_host(address).await? {
        match bind_one(candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)
}

fn count_rejection(reason: &'static str) {
    metrics::counter!("tifo_mqtt_rejections_total", "reason" => reason).increment(1);
}
