//! New connections: from the worker's listeners, and from elsewhere in the process.

use super::{
    super::{index::Slot, socket},
    Worker,
    connection::Connection,
    key, pack,
};
use std::{os::fd::OwnedFd, sync::atomic::Ordering, time::Duration};

/// Connections taken in one turn, so that the others are not kept waiting.
const MAX_ACCEPTS: usize = 64;
/// After accept has failed (no file descriptors left, usually).
pub const BACKOFF: Duration = Duration::from_millis(100);

/// One of the sockets that share a port.
#[derive(Debug)]
pub struct Listener {
    pub socket: OwnedFd,
    pub websocket: bool,
    paused: bool,
}

impl Listener {
    pub fn new(socket: OwnedFd, websocket: bool) -> Self {
        Self { socket, websocket, paused: false }
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }
}

impl Worker {
    pub fn accept(&mut self, number: u64) {
        for _ in 0..MAX_ACCEPTS {
            let listener = usize::try_from(number).ok().and_then(|number| self.listeners.get_mut(number));
            let Some(listener) = listener else { return };
            match socket::accept(&listener.socket) {
                Ok(Some(socket)) => {
                    let websocket = listener.websocket;
                    self.take_in(socket, websocket, false);
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "accept on an MQTT port failed");
                    self.pause_listeners();
                    return;
                }
            }
        }
    }

    /// A socket from the HTTP gateway, its opening request done.
    pub fn adopt(&mut self, socket: OwnedFd, mut read: Vec<u8>) {
        let Some(slot) = self.take_in(socket, true, true) else { return };
        self.absorb(slot, &mut read);
        self.unread.push(slot);
    }

    /// Its place has been counted already when it comes from elsewhere.
    fn take_in(&mut self, socket: OwnedFd, websocket: bool, from_elsewhere: bool) -> Option<Slot> {
        let sockets = &self.spine.counters.sockets;
        let taken = if from_elsewhere { 0 } else { sockets.fetch_add(1, Ordering::Relaxed) };
        let generation = self.generation;
        let entry = self.connections.vacant_entry();
        let slot = Slot { index: u32::try_from(entry.key()).unwrap_or(u32::MAX), generation };
        let refusal = if taken >= self.spine.limits.max_connections {
            Some("too_many_connections")
        } else if self.poll.watch_changes(&socket, pack(slot)).is_err() {
            Some("no_memory")
        } else {
            None
        };
        if let Some(reason) = refusal {
            sockets.fetch_sub(1, Ordering::Relaxed);
            super::super::count_rejection(reason);
            return None;
        }
        entry.insert(Connection::new(socket, generation, websocket, from_elsewhere, self.outlet.tick));
        self.generation = self.generation.wrapping_add(u32::from(self.spine.workers()));
        self.schedule(slot);
        Some(slot)
    }

    /// Gives the place of a closed connection back.
    pub fn give_back(&mut self, slot: Slot) -> Option<Connection> {
        self.get_mut(slot)?;
        let connection = self.connections.try_remove(key(slot))?;
        self.spine.counters.sockets.fetch_sub(1, Ordering::Relaxed);
        self.outlet.requeued(connection.queued_bytes(), 0);
        self.resume_listeners();
        Some(connection)
    }

    pub fn close_listeners(&mut self) {
        for listener in self.listeners.drain(..) {
            let _ = self.poll.forget(&listener.socket);
        }
    }

    fn pause_listeners(&mut self) {
        for listener in &mut self.listeners {
            if !listener.paused {
                let _ = self.poll.forget(&listener.socket);
            }
            listener.paused = true;
        }
    }

    pub fn resume_listeners(&mut self) {
        for (listener, data) in self.listeners.iter_mut().zip(super::FIRST_LISTENER..) {
            if listener.paused && self.poll.watch(&listener.socket, data).is_ok() {
                listener.paused = false;
            }
        }
    }
}
