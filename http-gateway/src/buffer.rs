//! The bounded queue between a stream's requests and its batcher.
//!
//! What was taken in counts against the limits until the log has it, so that a slow log shows as a full buffer and not
//! as growing memory. Nothing that was taken in leaves except through the batcher.

use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::VecDeque, time::Duration};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use crate::{event::EventSpan, producer::Producer};

/// Kept for each event beside its bytes.
const EVENT_OVERHEAD_BYTES: usize = size_of::<EventSpan>();

/// The events of one request, on their way to the log.
#[derive(Debug)]
pub struct Entry {
    pub body: Bytes,
    pub keys: Vec<u8>,
    pub events: Vec<EventSpan>,
    pub received_ms: i64,
    pub waiter: Waiter,
    /// Sequences given by the client, so that a repetition is recognised by the log.
    pub producer: Option<Producer>,
}

/// Who waits for the log.
#[derive(Debug)]
pub enum Waiter {
    /// Nobody: 202 was answered.
    Nobody,
    Committed(oneshot::Sender<Result<Vec<Placed>, NotStored>>),
}

/// Where an event went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    pub partition: i32,
    pub offset: i64,
}

/// Why a committed request has no offsets.
#[derive(Debug, Clone)]
pub struct NotStored(pub String);

/// Why an entry was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Later there may be room.
    Full,
    /// It would not fit into the empty buffer.
    TooLarge,
    /// The gateway stops.
    Closed,
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub events: usize,
    pub bytes: usize,
    pub flush_events: usize,
    pub flush_interval: Duration,
}

/// How full the buffer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fill {
    pub events: usize,
    pub bytes: usize,
}

#[derive(Debug)]
pub struct Buffer {
    limits: Limits,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Entry>,
    /// In `queue`.
    queued_events: usize,
    /// Entries in `queue` whose caller waits.
    urgent: usize,
    /// When the oldest of `queue` came.
    since: Option<Instant>,
    /// In `queue` and with the batcher.
    held: Fill,
    closed: bool,
}

/// What the batcher should do now.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Now,
    At(Instant),
    WhenWoken,
    Never,
}

impl Entry {
    pub fn fill(&self) -> Fill {
        let events = self.events.len();
        Fill { events, bytes: self.body.len() + self.keys.len() + events * EVENT_OVERHEAD_BYTES }
    }

    /// Nobody was promised anything, and the caller has gone.
    pub fn is_abandoned(&self) -> bool {
        matches!(&self.waiter, Waiter::Committed(caller) if caller.is_closed())
    }

    fn is_urgent(&self) -> bool {
        matches!(self.waiter, Waiter::Committed(_))
    }
}

impl Buffer {
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default(), wake: Notify::new() }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    pub fn fill(&self) -> Fill {
        self.state.lock().held
    }

    /// Takes the whole entry or nothing.
    pub fn push(&self, entry: Entry) -> Result<(), Refusal> {
        let more = entry.fill();
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refusal::Closed);
        }
        if !self.fits(more) {
            return Err(Refusal::TooLarge);
        }
        let held = Fill { events: state.held.events + more.events, bytes: state.held.bytes + more.bytes };
        if !self.fits(held) {
            return Err(Refusal::Full);
        }
        let was_empty = state.queue.is_empty();
        state.held = held;
        state.queued_events += more.events;
        state.urgent += usize::from(entry.is_urgent());
        state.queue.push_back(entry);
        if was_empty {
            state.since = Some(Instant::now());
        }
        if was_empty || state.due(&self.limits, Instant::now()) == Due::Now {
            self.wake.notify_one();
        }
        Ok(())
    }

    fn fits(&self, fill: Fill) -> bool {
        fill.events <= self.limits.events && fill.bytes <= self.limits.bytes
    }

    /// The next flush: waits until one is due. None: closed, and everything was given out.
    pub async fn next(&self) -> Option<Vec<Entry>> {
        loop {
            let due = {
                let mut state = self.state.lock();
                match state.due(&self.limits, Instant::now()) {
                    Due::Now => return Some(state.take(self.limits.flush_events)),
                    due => due,
                }
            };
            match due {
                Due::Never => return None,
                Due::At(at) => {
                    let _ = tokio::time::timeout_at(at, self.wake.notified()).await;
                }
                Due::Now | Due::WhenWoken => self.wake.notified().await,
            }
        }
    }

    /// The log has these, or they were given up: there is room again.
    pub fn release(&self, done: Fill) {
        let mut state = self.state.lock();
        state.held.events -= done.events;
        state.held.bytes -= done.bytes;
    }

    /// Takes nothing more; what is queued is due at once.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }
}

impl State {
    fn due(&self, limits: &Limits, now: Instant) -> Due {
        match self.since {
            None if self.closed => Due::Never,
            None => Due::WhenWoken,
            Some(since) => {
                let at = since + limits.flush_interval;
                let due = self.closed || self.urgent > 0 || self.queued_events >= limits.flush_events || at <= now;
                if due { Due::Now } else { Due::At(at) }
            }
        }
    }

    /// Entries from the front, up to `most` events but at least one entry.
    fn take(&mut self, most: usize) -> Vec<Entry> {
        let mut taken = Vec::new();
        let mut events = 0;
        while let Some(entry) = self.queue.pop_front_if(|entry| taken.is_empty() || events + entry.events.len() <= most)
        {
            events += entry.events.len();
            self.urgent -= usize::from(entry.is_urgent());
            taken.push(entry);
        }
        self.queued_events -= events;
        if self.queue.is_empty() {
            self.since = None;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn buffer(events: usize, flush_events: usize) -> Buffer {
        Buffer::new(Limits { events, bytes: 1 << 20, flush_events, flush_interval: Duration::from_millis(500) })
    }

    fn entry(events: usize, waiter: Waiter) -> Entry {
        let spans = vec![EventSpan { value: 0..1, key: 0..0, hash: 0 }; events];
        Entry { body: Bytes::from_static(b"x"), keys: vec![], events: spans, received_ms: 0, waiter, producer: None }
    }

    fn due(buffer: &Buffer, after: Duration) -> Due {
        let state = buffer.state.lock();
        state.due(&buffer.limits, state.since.unwrap_or_else(Instant::now) + after)
    }

    #[tokio::test]
    async fn buffered_entries_wait_for_the_interval() {
        let buffer = buffer(100, 50);
        assert_eq!(due(&buffer, Duration::from_secs(9)), Due::WhenWoken);
        buffer.push(entry(2, Waiter::Nobody)).unwrap();
        let since = buffer.state.lock().since.unwrap();
        buffer.push(entry(3, Waiter::Nobody)).unwrap();
        assert_eq!(due(&buffer, Duration::from_millis(499)), Due::At(since + Duration::from_millis(500)));
        assert_eq!(due(&buffer, Duration::from_millis(500)), Due::Now);
        assert_eq!(buffer.next().await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_committed_entry_or_enough_events_flush_at_once() {
        let buffer = buffer(100, 50);
        let (caller, _answer) = oneshot::channel();
        buffer.push(entry(2, Waiter::Nobody)).unwrap();
        buffer.push(entry(1, Waiter::Committed(caller))).unwrap();
        assert_eq!(due(&buffer, Duration::ZERO), Due::Now);
        assert_eq!(buffer.next().await.unwrap().len(), 2);
        assert_eq!(due(&buffer, Duration::ZERO), Due::WhenWoken);
        buffer.push(entry(30, Waiter::Nobody)).unwrap();
        buffer.push(entry(30, Waiter::Nobody)).unwrap();
        assert_eq!(buffer.next().await.unwrap().len(), 1, "no more than flush_events at a time");
    }

    #[tokio::test]
    async fn what_the_batcher_holds_still_counts() {
        let buffer = buffer(10, 5);
        buffer.push(entry(6, Waiter::Nobody)).unwrap();
        let taken = buffer.next().await.unwrap();
        assert_eq!(buffer.push(entry(6, Waiter::Nobody)), Err(Refusal::Full));
        buffer.release(taken.first().unwrap().fill());
        buffer.push(entry(6, Waiter::Nobody)).unwrap();
        assert_eq!(buffer.push(entry(11, Waiter::Nobody)), Err(Refusal::TooLarge));
    }

    #[tokio::test]
    async fn closing_gives_out_the_rest_and_ends() {
        let buffer = buffer(10, 5);
        buffer.push(entry(1, Waiter::Nobody)).unwrap();
        buffer.close();
        assert_eq!(buffer.push(entry(1, Waiter::Nobody)), Err(Refusal::Closed));
        assert_eq!(buffer.next().await.unwrap().len(), 1);
        assert!(buffer.next().await.is_none());
    }
}
