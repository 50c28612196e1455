//! Accepts connections, as many at a time as `max.connections` allows, until the broker stops.

use super::connection::{self, Shared};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::task::TaskTracker;

/// Pause after a failed accept (no file descriptor left): trying again at once would only burn a core.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts until the broker stops; each connection is a task of `connections`.
pub async fn run(listener: TcpListener, shared: Arc<Shared>, connections: TaskTracker) {
    let limit = shared.services.config.max_connections.min(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(limit));
    let stop = shared.services.shutdown.clone();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    serve(stream, peer, &shared).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) {
    metrics::gauge!("tifo_broker_connections").increment(1.0);
    if let Err(error) = connection::run(stream, peer, shared).await {
        connection::report(peer, &error);
    }
    metrics::gauge!("tifo_broker_connections").decrement(1.0);
}
