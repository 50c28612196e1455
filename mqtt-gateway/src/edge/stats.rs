//! Numbers of the edge, kept by the workers, read by status, metrics and the cluster.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Written by workers in passing.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sockets, those before CONNECT included; bounded by `max_connections`.
    pub sockets: AtomicUsize,
    /// Clients with a session.
    pub clients: AtomicUsize,
    /// Bytes that wait for slow clients, outside the kernel.
    pub queued_bytes: AtomicUsize,
    pub sent: AtomicU64,
    /// Messages that a newer one replaced, or that had no room.
    pub dropped: AtomicU64,
    pub received: AtomicU64,
    pub cpu_ns: AtomicU64,
}

/// A moment's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct EdgeStats {
    pub clients: usize,
    pub queued_bytes: usize,
    /// Messages to subscribers.
    pub sent: u64,
    pub dropped: u64,
    /// Messages from clients.
    pub received: u64,
    /// Processor time of the workers.
    pub cpu_ms: u64,
    pub retained: usize,
    /// Sessions whose clients are away.
    pub away: usize,
}

impl Counters {
    pub fn read(&self) -> EdgeStats {
        EdgeStats {
            clients: self.clients.load(Ordering::Relaxed),
            queued_bytes: self.queued_bytes.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            cpu_ms: self.cpu_ns.load(Ordering::Relaxed) / 1_000_000,
            ..EdgeStats::default()
        }
    }
}
