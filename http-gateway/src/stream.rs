//! One stream as requests and batcher share it.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use crate::{
    buffer::{Buffer, Limits},
    config::{HttpConfig, StreamIngest},
    event::Schema,
};

#[derive(Debug)]
pub struct Stream {
    pub ingest: StreamIngest,
    pub schema: Schema,
    pub buffer: Buffer,
    /// Events accepted, 202 and 200 together.
    pub accepted: AtomicU64,
    /// As the log says; the configured number until it has answered.
    partitions: AtomicI32,
    ready: AtomicBool,
    /// Why the log does not take events at the moment.
    trouble: Mutex<Option<String>>,
}

impl Stream {
    pub fn new(ingest: StreamIngest, config: &HttpConfig) -> Self {
        let limits = Limits {
            events: config.buffer_events,
            bytes: config.buffer_bytes,
            flush_events: config.flush_events,
            flush_interval: config.flush_interval(),
        };
        Self {
            schema: Schema::new(&ingest, config.max_event_bytes),
            buffer: Buffer::new(limits),
            accepted: AtomicU64::new(0),
            partitions: AtomicI32::new(ingest.partitions),
            ready: AtomicBool::new(false),
            trouble: Mutex::new(None),
            ingest,
        }
    }

    pub fn partitions(&self) -> i32 {
        self.partitions.load(Ordering::Relaxed)
    }

    /// The topic exists and has so many partitions.
    pub fn topic_is_there(&self, partitions: i32) {
        self.partitions.store(partitions.max(1), Ordering::Relaxed);
        self.ready.store(true, Ordering::Relaxed);
    }

    pub fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock() = trouble;
    }

    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Whether the raw topic was seen.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}
