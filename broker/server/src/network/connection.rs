//! One connection: requests are dispatched in order, complete in any order, and are answered in request order.
//!
//! One task does all of it. The queue of requests in flight is bounded; while it is full nothing more is read, so a client
//! that never reads its answers is held back by TCP. The connection knows frames, not what is in them.

use super::{
    response::Response,
    transport::{FrameError, Transport},
};
use crate::{
    api::{self, Answer, ApiMetrics, Closed, Pending},
    durability::patience,
    services::Services,
};
use futures::{StreamExt, stream::FuturesOrdered};
use parking_lot::Mutex;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// Most requests of one connection that wait for their answer.
pub const MAX_REQUESTS_IN_FLIGHT: usize = 64;

/// How long answers may take to drain when the broker stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    pub services: Arc<Services>,
    pub metrics: ApiMetrics,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// The address that it dialled.
    pub local: SocketAddr,
    pub software: Arc<Software>,
}

/// What the client at the other end is, once it has told (KIP-511).
#[derive(Debug, Default)]
pub struct Software(Mutex<(String, String)>);

impl Software {
    pub fn tell(&self, name: &str, version: &str) {
        *self.0.lock() = (name.to_owned(), version.to_owned());
    }

    /// Name and version; empty until it has told.
    pub fn told(&self) -> (String, String) {
        self.0.lock().clone()
    }
}

/// Why a connection ended otherwise than by the client's leaving.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Request(#[from] Closed),
    #[error("no progress in writing an answer within connections.max.idle.ms")]
    Stalled,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves the connection until either side leaves.
pub async fn run(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) -> Result<(), ConnectionError> {
    let local = stream.local_addr()?;
    let config = shared.services.config.now();
    let transport = Transport::new(stream, config.connections.socket_request_max_bytes)?;
    let max_idle = config.connections.max_idle;
    let address = peer;
    let peer = Peer { address, local, software: Arc::default() };
    let mut connection = Connection { transport, peer, shared, max_idle, in_flight: FuturesOrdered::new() };
    let served = connection.serve().await;
    shared.services.shares.disconnected(address);
    served
}

/// One line for a connection that was closed for cause; a peer that merely vanished is no news.
pub fn report(peer: SocketAddr, error: &ConnectionError) {
    let vanished = matches!(error, ConnectionError::Io(_) | ConnectionError::Frame(FrameError::Io(_)));
    if vanished {
        tracing::debug!(%peer, %error, "connection lost");
    } else {
        tracing::warn!(%peer, %error, "connection closed");
    }
}

struct Connection<'a> {
    transport: Transport,
    peer: Peer,
    shared: &'a Arc<Shared>,
    max_idle: Duration,
    in_flight: FuturesOrdered<Pending>,
}

impl Connection<'_> {
    async fn serve(&mut self) -> Result<(), ConnectionError> {
        let stop = self.shared.services.shutdown.clone();
        loop {
            let may_read = self.in_flight.len() < MAX_REQUESTS_IN_FLIGHT;
            let idle = self.in_flight.is_empty();
            tokio::select! {
                biased;
                Some(answer) = self.in_flight.next(), if !idle => self.finish(answer).await?,
                frame = self.transport.read_frame(), if may_read => match frame? {
                    Some(frame) => {
                        self.dispatch(frame).await?;
                        self.let_others_in().await;
                    }
                    None => return Ok(()),
                },
                () = tokio::time::sleep(self.max_idle), if idle => return Ok(()),
                () = stop.cancelled() => return self.drain().await,
            }
        }
    }

    /// Polls the request once at once: its synchronous part (the append of a produce) happens in request order.
    async fn dispatch(&mut self, frame: bytes::Bytes) -> Result<(), ConnectionError> {
        let mut pending = api::dispatch(self.shared, &self.peer, frame)?;
        match futures::poll!(&mut pending) {
            std::task::Poll::Ready(answer) if self.in_flight.is_empty() => self.finish(answer).await?,
            std::task::Poll::Ready(answer) => self.in_flight.push_back(Box::pin(std::future::ready(answer))),
            std::task::Poll::Pending => self.in_flight.push_back(pending),
        }
        Ok(())
    }

    /// Before the next of several requests that have come together: who was woken by this one is in a place of this worker from
    /// which no other worker takes it, and the next request may wait for a disk.
    async fn let_others_in(&mut self) {
        if patience::has_woken() && self.transport.has_received_more() {
            tokio::task::yield_now().await;
        }
    }

    async fn finish(&mut self, answer: Answer) -> Result<(), ConnectionError> {
        match answer {
            Answer::Response(response) => self.write(response).await,
            Answer::Nothing => Ok(()),
            Answer::Close(closed) => Err(closed.into()),
        }
    }

    async fn write(&mut self, response: Response) -> Result<(), ConnectionError> {
        match tokio::time::timeout(self.max_idle, self.transport.write(response)).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(ConnectionError::Stalled),
        }
    }

    /// Answers what was accepted, then closes.
    async fn drain(&mut self) -> Result<(), ConnectionError> {
        let answers = async {
            while let Some(answer) = self.in_flight.next().await {
                self.finish(answer).await?;
            }
            Ok(())
        };
        tokio::time::timeout(DRAIN_TIMEOUT, answers).await.unwrap_or(Ok(()))
    }
}
