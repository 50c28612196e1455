//! The sockets: accepting within a limit, heads within a time, and an end that lets the last answer arrive.
//!
//! Whatever bytes come in, only their own connection ends. One task per connection.

use axum::{Router, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use metrics::{counter, gauge};
use std::{
    io,
    os::fd::OwnedFd,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Head of a request, and what is read ahead of a body.
const MAX_BUFFERED_BYTES: usize = 64 << 10;
/// After a failed accept (no file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long, and how much, the rest of a refused body is read and thrown away, so that closing does not wipe out the
/// answer on its way (a close with unread bytes resets the connection).
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 256 << 20;
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
connection: close\r\ncontent-length: 121\r\n\r\n\
{\"type\":\"urn:tifo:problem:busy\",\"title\":\"busy\",\"status\":503,\"detail\":\"there are too many connections; try again later.\"}\n";

#[derive(Clone)]
pub struct Server {
    pub router: Router,
    pub permits: Arc<Semaphore>,
    pub header_timeout: Duration,
    /// Accept no more; end each connection after its request.
    pub stop: CancellationToken,
    pub connections: TaskTracker,
}

impl Server {
    /// Accepts until stopped.
    pub async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            counter!("tifo_http_connections_refused_total").increment(1);
            // Whoever cannot read it at once sees a closed connection.
            let _ = stream.try_write(FULL);
            return;
        };
        counter!("tifo_http_connections_total").increment(1);
        let _ = stream.set_nodelay(true);
        self.connections.spawn(self.clone().serve(stream, permit));
    }

    async fn serve(self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        gauge!("tifo_http_connections").increment(1.0);
        let unread = Arc::new(AtomicBool::new(false));
        let io = TokioIo::new(Lingering { stream: Some(stream), unread: unread.clone(), permit: Some(permit) });
        let service = Entrance { router: TowerToHyperService::new(self.router), unread };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(MAX_BUFFERED_BYTES)
            .serve_connection(io, service)
            .with_upgrades();
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
        gauge!("tifo_http_connections").decrement(1.0);
    }
}

/// Told to requests: call `whole` once the body was read to its end.
#[derive(Clone)]
pub struct BodyWatch(Arc<AtomicBool>);

impl BodyWatch {
    pub fn whole(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

struct Entrance {
    router: TowerToHyperService<Router>,
    unread: Arc<AtomicBool>,
}

impl Service<Request<Incoming>> for Entrance {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let has_body = !hyper::body::Body::is_end_stream(request.body());
        self.unread.store(has_body, Ordering::Relaxed);
        request.extensions_mut().insert(BodyWatch(self.unread.clone()));
        self.router.call(request)
    }
}

/// A connection that, if a body was refused half-way, stays to swallow the rest for a while.
pub struct Lingering {
    stream: Option<TcpStream>,
    unread: Arc<AtomicBool>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if !self.unread.load(Ordering::Relaxed) {
            return;
        }
        if let (Some(stream), Some(permit), Ok(runtime)) =
            (self.stream.take(), self.permit.take(), Handle::try_current())
        {
            runtime.spawn(async move {
                let _ = tokio::time::timeout(LINGER, swallow(stream)).await;
                drop(permit);
            });
        }
    }
}

async fn swallow(mut stream: TcpStream) {
    let mut waste = vec![0; 16 << 10];
    let mut swallowed = 0;
    while let Ok(read @ 1..) = stream.read(&mut waste).await {
        swallowed += read;
        if swallowed > LINGER_BYTES {
            return;
        }
    }
}

impl Lingering {
    /// The socket alone; the place among the connections is free again.
    pub fn into_socket(mut self) -> Option<io::Result<OwnedFd>> {
        let stream = self.stream.take()?;
        Some(stream.into_std().map(OwnedFd::from))
    }

    fn inner(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        self.get_mut().stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Lingering {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.inner()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner()?.poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner()?.poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_answer_to_too_many_connections_has_the_length_it_says() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
