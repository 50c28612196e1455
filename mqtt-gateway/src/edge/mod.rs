//! The edge: the node that a crowd subscribes to. MQTT 3.1.1 and 5, over TCP and WebSocket.
//!
//! One [`worker`] thread per core with its own listeners and connections; a message comes by [`Edge::publish`] through the
//! [`spine`], is encoded once per wire variant ([`wire`]) and sent by each worker to the subscribers that its [`index`] finds.
//! Clients' own messages go to [`Inbound`], which decides. [`session`] is what outlives a connection, [`away`] where it waits,
//! [`retained`] what a newcomer sees at once.
//!
//! Never: wait for a slow client (the newest message of each topic waits for him), trust a length, or touch the log.

mod away;
mod filter;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod inbound;
mod index;
mod retained;
mod session;
mod shares;
mod socket;
mod spine;
mod stats;
mod timers;
mod websocket;
mod wire;
mod worker;

pub use inbound::{Inbound, Local, Verdict};
pub use stats::EdgeStats;
pub use wire::{Reason, publish::Publication};

use crate::{
    MqttConfig, MqttError,
    hub::{HubError, Publisher},
    message::Message,
};
use async_trait::async_trait;
use bytes::BytesMut;
use parking_lot::Mutex;
use spine::{Command, Spine};
use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};
use tokio_util::task::TaskTracker;
use worker::{Worker, WorkerListener};

/// A running edge.
#[derive(Debug)]
pub struct Edge {
    spine: Arc<Spine>,
    addr: SocketAddr,
    websocket_addr: Option<SocketAddr>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    tasks: TaskTracker,
    /// The worker that adopts the next connection.
    turn: AtomicUsize,
}

impl Edge {
    /// Listens when this returns.
    pub fn start(config: &MqttConfig, inbound: Arc<dyn Inbound>) -> Result<Arc<Self>, MqttError> {
        let workers = config.edge_workers();
        let listen = |address: &str| {
            socket::listen(address, workers).map_err(|source| MqttError::Listen { listen: address.to_owned(), source })
        };
        let (tcp, addr) = listen(&config.listen)?;
        let (websocket, websocket_addr) = match &config.websocket_listen {
            Some(address) => listen(address).map(|(sockets, addr)| (sockets, Some(addr)))?,
            None => (Vec::new(), None),
        };
        let (lanes, ends) = inbound::Lanes::new(inbound.clone());
        let failed = |source| MqttError::Edge { source };
        let spine =
            Spine::new(config.limits.clone(), config.publish_prefixes.clone(), workers, lanes).map_err(failed)?;
        let edge = Self {
            spine: Arc::new(spine),
            addr,
            websocket_addr,
            threads: Mutex::default(),
            tasks: TaskTracker::new(),
            turn: AtomicUsize::new(0),
        };
        edge.start_workers(tcp, websocket).map_err(failed)?;
        for lane in ends {
            edge.tasks.spawn(inbound::run(edge.spine.clone(), inbound.clone(), lane));
        }
        edge.tasks.spawn(keep_time(edge.spine.clone()));
        Ok(Arc::new(edge))
    }

    fn start_workers(&self, tcp: Vec<OwnedFd>, websocket: Vec<OwnedFd>) -> io::Result<()> {
        let mut websocket = websocket.into_iter();
        for (number, socket) in (0..).zip(tcp) {
            let websocket = websocket.next().map(|socket| WorkerListener::new(socket, true));
            let listeners = [WorkerListener::new(socket, false)].into_iter().chain(websocket).collect();
            let worker = Worker::new(number, self.spine.clone(), listeners)?;
            let thread = std::thread::Builder::new().name(format!("mqtt-edge-{number}")).spawn(|| worker.run())?;
            self.threads.lock().push(thread);
        }
        Ok(())
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn websocket_addr(&self) -> Option<SocketAddr> {
        self.websocket_addr
    }

    pub fn stats(&self) -> EdgeStats {
        let state = self.spine.state();
        EdgeStats { retained: state.retained.len(), away: state.away.len(), ..self.spine.counters.read() }
    }

    /// Gives messages to all subscribers; waits only while a worker is far behind.
    pub async fn fan_out(&self, publications: &[Arc<Publication>]) {
        self.spine.publish(publications).await;
    }

    pub fn has_room(&self) -> bool {
        self.spine.counters.sockets.load(Ordering::Relaxed) < self.spine.limits.max_connections
    }

    /// Takes over a WebSocket whose opening request has been answered elsewhere; `read`: what came behind it.
    pub fn adopt(&self, socket: OwnedFd, read: Vec<u8>) -> io::Result<()> {
        socket::adopt(&socket)?;
        let sockets = &self.spine.counters.sockets;
        if sockets.fetch_add(1, Ordering::Relaxed) >= self.spine.limits.max_connections {
            sockets.fetch_sub(1, Ordering::Relaxed);
            count_rejection("too_many_connections");
            return Err(io::Error::other("too many MQTT connections"));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % usize::from(self.spine.workers()).max(1);
        self.spine.command(u16::try_from(turn).unwrap_or(0), Command::Adopt { socket, read });
        Ok(())
    }

    /// Lets all clients go: those of MQTT 5 at once, with the address of another node; the others within seconds, one by one.
    pub fn drain(&self, server_reference: Option<&str>) {
        let reference: Option<Arc<str>> = server_reference.map(Into::into);
        self.spine.command_all(|| Command::Drain(reference.clone()));
    }

    /// Ends every connection; returns when the workers have ended.
    pub async fn shutdown(&self) {
        self.stop();
        self.tasks.close();
        self.tasks.wait().await;
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("an MQTT worker had died");
                }
            }
        });
        let _ = joined.await;
    }

    /// Ends every connection soon.
    pub fn stop(&self) {
        self.spine.shutdown.cancel();
        self.spine.command_all(|| Command::Stop);
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop();
    }
}

#[async_trait]
impl Publisher for Edge {
    async fn publish(&self, messages: &[Message]) -> Result<(), HubError> {
        let publications: Vec<Arc<Publication>> = messages.iter().filter_map(publication).map(Arc::new).collect();
        self.fan_out(&publications).await;
        Ok(())
    }
}

/// `None` for what MQTT cannot say.
fn publication(message: &Message) -> Option<Publication> {
    let topic = std::str::from_utf8(&message.topic).ok()?;
    let user_properties = message.origin.properties().into_iter().map(|(name, value)| (name.into(), value.into()));
    let properties = wire::Properties { user_properties: user_properties.collect(), ..wire::Properties::default() };
    Publication::new(topic, message.payload.clone(), 1, message.retain, &properties)
}

/// Sessions expire, wills fall due.
async fn keep_time(spine: Arc<Spine>) {
    loop {
        let next = spine.look_at_time(Instant::now());
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = spine.shutdown.cancelled() => return,
            () = due => {}
            () = spine.due.notified() => {}
        }
    }
}

/// Packets as one WebSocket message.
fn frame_bytes(packets: &[u8]) -> Vec<u8> {
    let mut frame = BytesMut::with_capacity(packets.len() + 10);
    wire::publish::websocket_header(packets.len(), &mut frame);
    frame.extend_from_slice(packets);
    frame.into()
}

fn count_rejection(reason: &'static str) {
    metrics::counter!("tifo_mqtt_rejections_total", "reason" => reason).increment(1);
}
