//! Accepts connections, as many at a time as `max.connections` and `max.connections.per.ip` allow, until the broker stops.
//!
//! While all places are taken, who comes waits: one per listener, the others in the kernel's queue. One connection too many from one
//! address is closed at once. Both as Kafka has it; the limits are those in force at that moment.

use super::connection::{self, Shared};
use crate::settings::Live;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_util::task::TaskTracker;

/// Pause after a failed accept (no file descriptor left): trying again at once would only burn a core.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How often those who wait for a place look whether the limit has been altered.
const LIMIT_RECHECK: Duration = Duration::from_secs(1);

/// Who is connected, over all listeners.
#[derive(Debug)]
pub struct Places {
    config: Arc<Live>,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// No address without a connection stays in here.
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place; given back when it is dropped.
struct Place {
    places: Arc<Places>,
    /// None until the connection has been accepted.
    address: Option<IpAddr>,
}

impl Places {
    pub fn new(config: Arc<Live>) -> Self {
        Self { config, taken: Mutex::default(), freed: Notify::new() }
    }

    /// Waits for a place.
    async fn take(self: &Arc<Self>) -> Place {
        loop {
            let limit = self.config.now().connections.max_connections;
            {
                let mut taken = self.taken.lock();
                if taken.all < limit {
                    taken.all += 1;
                    return Place { places: self.clone(), address: None };
                }
            }
            // A wake-up that nobody waited for is kept, so none is lost between the look and the wait.
            let _ = tokio::time::timeout(LIMIT_RECHECK, self.freed.notified()).await;
        }
    }
}

impl Place {
    /// Says who sits there; false if too many of that address do already.
    fn seat(&mut self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let limit = self.places.config.now().connections.of_address(address);
        let mut taken = self.places.taken.lock();
        let count = taken.by_address.get(&address).copied().unwrap_or(0);
        if count >= limit {
            return false;
        }
        taken.by_address.insert(address, count + 1);
        self.address = Some(address);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(address) = self.address {
            let left = taken.by_address.get(&address).map_or(0, |count| count.saturating_sub(1));
            match left {
                0 => taken.by_address.remove(&address),
                left => taken.by_address.insert(address, left),
            };
        }
        drop(taken);
        self.places.freed.notify_one();
    }
}

/// Accepts until the broker stops; each connection is a task of `connections`.
pub async fn run(listener: TcpListener, shared: Arc<Shared>, places: Arc<Places>, connections: TaskTracker) {
    let stop = shared.services.shutdown.clone();
    loop {
        let next = async {
            let accepted = listener.accept().await;
            (accepted, places.take().await)
        };
        let (accepted, mut place) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((_, peer)) if !place.seat(peer.ip()) => {
                tracing::info!(%peer, "connection closed: max.connections.per.ip are there from this address");
                metrics::counter!("tifo_broker_connections_refused_total").increment(1);
            }
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
