//! A worker: one thread, one epoll instance, its connections, its listeners.
//!
//! [`accept`] takes connections in, [`read`] makes packets of their bytes, [`client`] welcomes and sees off, [`packets`] answers,
//! [`outlet`] delivers. Workers share nothing but the spine.
//!
//! Never: wait for anything but epoll, or keep a buffer for a connection that is idle.

mod accept;
mod client;
mod connection;
mod ending;
mod outlet;
mod packets;
mod read;

pub use ending::Ending;

use super::{
    index::{Index, Merger, Slot},
    socket::{self, Event, MAX_EVENTS, Poll},
    spine::{Command, Mail, Spine, State},
    timers::{TICK, Tick, Wheel},
};
use accept::Listener;
use bytes::BytesMut;
use connection::{Connection, Phase};
use outlet::{Message, Outlet};
use parking_lot::MutexGuard;
use slab::Slab;
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// Bytes read from a connection at once; one buffer for all.
const READ_BYTES: usize = 64 * 1024;
/// Over this time a draining node lets its 3.1.1 clients go, so that they do not come to the next one all at once.
const DRAIN_SPREAD: Duration = Duration::from_secs(5);
/// How often the worker's processor time is read.
const CPU_INTERVAL: Duration = Duration::from_secs(1);
/// How often lists are cleaned of those who left.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);
/// epoll's names for what is no connection.
const WAKER: u64 = u64::MAX;
const FIRST_LISTENER: u64 = u64::MAX - 16;

pub struct Worker {
    number: u16,
    spine: Arc<Spine>,
    poll: Poll,
    listeners: Vec<Listener>,
    connections: Slab<Connection>,
    /// Next generation; steps by the number of workers, so that no two connections of the process share one.
    generation: u32,
    index: Index,
    merger: Merger,
    wheel: Wheel,
    outlet: Outlet,
    mail: VecDeque<Mail>,
    read_buffer: Vec<u8>,
    answers: BytesMut,
    /// Connections with more to read than one turn allows, or open again.
    unread: Vec<Slot>,
    tidied: Instant,
    cpu_read: Instant,
    cpu_ns: u64,
    draining: bool,
    stopped: bool,
    server_reference: Option<Arc<str>>,
}

impl Worker {
    pub fn new(number: u16, spine: Arc<Spine>, listeners: Vec<Listener>) -> io::Result<Self> {
        let (poll, now) = (Poll::new()?, Instant::now());
        if let Some(waker) = spine.waker(number) {
            waker.register(&poll, WAKER)?;
        }
        for (listener, data) in listeners.iter().zip(FIRST_LISTENER..) {
            poll.watch(&listener.socket, data)?;
        }
        Ok(Self {
            number,
            spine,
            poll,
            listeners,
            connections: Slab::new(),
            generation: u32::from(number) + 1,
            index: Index::default(),
            merger: Merger::default(),
            wheel: Wheel::new(now),
            outlet: Outlet::new(now),
            mail: VecDeque::new(),
            read_buffer: vec![0; READ_BYTES],
            answers: BytesMut::new(),
            unread: Vec::new(),
            tidied: now,
            cpu_read: now,
            cpu_ns: 0,
            draining: false,
            stopped: false,
            server_reference: None,
        })
    }

    /// Works until it is told to stop.
    pub fn run(mut self) {
        let mut raw = Vec::with_capacity(MAX_EVENTS);
        while !self.stopped {
            let timeout = if self.unread.is_empty() { self.quiet() } else { Some(Duration::ZERO) };
            if let Err(error) = self.poll.wait(timeout, &mut raw) {
                tracing::error!(%error, "epoll failed: an MQTT worker ends");
                return;
            }
            self.set_time();
            for event in raw.drain(..) {
                self.event(event.into());
            }
            for slot in std::mem::take(&mut self.unread) {
                self.readable(slot, false);
            }
            self.take_commands();
            self.take_mail();
            self.look_at_time();
            self.clean_up();
        }
    }

    /// How long epoll may wait.
    fn quiet(&self) -> Option<Duration> {
        let accepting = self.listeners.iter().any(Listener::is_paused).then_some(accept::BACKOFF);
        let timer = self.wheel.quiet(Instant::now()).map(|quiet| quiet.max(TICK / 4));
        [accepting, timer].into_iter().flatten().min()
    }

    fn set_time(&mut self) {
        self.outlet.now = Instant::now();
        self.outlet.tick = self.wheel.tick(self.outlet.now);
    }

    fn event(&mut self, event: Event) {
        match event.data {
            WAKER => {
                if let Some(waker) = self.spine.waker(self.number) {
                    waker.clear();
                }
            }
            listener if listener >= FIRST_LISTENER => self.accept(listener - FIRST_LISTENER),
            data => {
                let slot = unpack(data);
                if event.writable {
                    self.writable(slot);
                }
                if event.readable {
                    self.readable(slot, event.ended);
                }
            }
        }
    }

    /// The socket takes bytes again.
    fn writable(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(key(slot)).filter(|known| known.generation == slot.generation)
        else {
            return;
        };
        if connection.outbox.is_none() {
            return;
        }
        let (was_open, before) = (connection.is_open(), connection.queued_bytes());
        let flushed = connection.flush(self.outlet.tick);
        self.outlet.requeued(before, connection.queued_bytes());
        let reopens = connection.is_open() && !was_open;
        match flushed {
            Ok(done) => {
                if done {
                    self.pump(slot);
                }
                if reopens {
                    self.reopen(slot);
                }
            }
            Err(ending) => self.close(slot, ending),
        }
    }

    /// Lets what waits for the connection go, then retained messages that it has yet to get.
    fn pump(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(key(slot)).filter(|known| known.generation == slot.generation)
        else {
            return;
        };
        if self.outlet.pump(connection, slot) {
            self.catch_up(slot);
        }
        if let Some(session) = self.get_mut(slot).and_then(|connection| connection.session.as_deref_mut()) {
            session.tidy();
        }
        self.clean_up();
    }

    fn take_mail(&mut self) {
        self.spine.take_mail(self.number, &mut self.mail);
        self.deliver_mail();
    }

    fn deliver_mail(&mut self) {
        while let Some(mail) = self.mail.pop_front() {
            match mail {
                Mail::All(publication) => self.fan_out(&publication),
                Mail::One { slot, shared, pending } => {
                    let connection =
                        self.connections.get_mut(key(slot)).filter(|known| known.generation == slot.generation);
                    match connection {
                        Some(connection) => {
                            let options = super::wire::Options(pending.qos | if pending.retain { 0b1000 } else { 0 });
                            let message = Message {
                                publication: &pending.publication,
                                options,
                                id: pending.id,
                                more_ids: &[],
                                retained: false,
                            };
                            self.outlet.deliver(connection, slot, message);
                        }
                        None => self.spine.share_again(shared, &pending.publication),
                    }
                }
            }
        }
    }

    fn fan_out(&mut self, publication: &Arc<super::wire::publish::Publication>) {
        let mut lists = Vec::new();
        self.index.matching(publication.topic(), &mut lists);
        let (connections, outlet) = (&mut self.connections, &mut self.outlet);
        let mut deliver = |entry: &super::index::Entry, more_ids: &[u32]| {
            let slot = entry.slot;
            if let Some(connection) = connections.get_mut(key(slot)).filter(|known| known.generation == slot.generation)
            {
                let message = Message { publication, options: entry.options, id: entry.id, more_ids, retained: false };
                outlet.deliver(connection, slot, message);
            }
        };
        match lists.as_slice() {
            [] => {}
            [only] => only.iter().for_each(|entry| deliver(entry, &[])),
            several => {
                self.merger.merge(several);
                self.merger.merged.iter().for_each(|(entry, more_ids)| deliver(entry, more_ids));
            }
        }
    }

    /// The shared state at a moment when this worker has delivered everything that was published before.
    fn settle<'a>(&mut self, spine: &'a Spine) -> MutexGuard<'a, State> {
        loop {
            self.deliver_mail();
            if let Some(state) = spine.settled(self.number, &mut self.mail) {
                return state;
            }
        }
    }

    fn take_commands(&mut self) {
        for command in self.spine.take_commands(self.number) {
            match command {
                Command::TakeOver { slot, waiting } => {
                    self.close(slot, Ending::TakenOver);
                    self.spine.command(waiting.worker, Command::Retry(waiting.slot));
                }
                Command::Retry(slot) => self.retry(slot),
                Command::Answer(answer, reason, why) => self.answered(answer, reason, why.as_deref()),
                Command::Adopt { socket, read } => self.adopt(socket, read),
                Command::Drain(server_reference) => self.drain(server_reference),
                Command::Stop => self.stop(),
            }
        }
    }

    /// MQTT 5 clients are told where to go; the others go one by one.
    fn drain(&mut self, server_reference: Option<Arc<str>>) {
        self.draining = true;
        self.server_reference = server_reference;
        self.close_listeners();
        for slot in self.slots() {
            let Some(connection) = self.get_mut(slot) else { continue };
            if connection.version == super::wire::Version::V5 && connection.phase == Phase::Live {
                self.close(slot, Ending::Moved);
            } else {
                // The generation spreads them: no two neighbours at once.
                let spread = u32::try_from(DRAIN_SPREAD.as_millis() / TICK.as_millis()).unwrap_or(1);
                let later = connection.generation.wrapping_mul(0x9e37_79b9) % spread;
                let close_at = self.outlet.tick + 1 + later;
                if let Some(connection) = self.get_mut(slot) {
                    connection.extras().close_at = close_at;
                }
                self.schedule(slot);
            }
        }
    }

    fn stop(&mut self) {
        self.close_listeners();
        for slot in self.slots() {
            self.close(slot, Ending::Shutdown);
        }
        self.stopped = true;
    }

    fn slots(&self) -> Vec<Slot> {
        let slot = |(index, connection): (usize, &Connection)| Slot {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            generation: connection.generation,
        };
        self.connections.iter().map(slot).collect()
    }

    /// Closes what has failed, watches what has stalled, and hands the counts on.
    fn clean_up(&mut self) {
        for slot in std::mem::take(&mut self.outlet.stalled) {
            self.schedule(slot);
        }
        while let Some((slot, ending)) = self.outlet.failed.pop() {
            self.close(slot, ending);
        }
        let counters = &self.spine.counters;
        match std::mem::take(&mut self.outlet.queued) {
            more @ 1.. => _ = counters.queued_bytes.fetch_add(more.unsigned_abs(), Ordering::Relaxed),
            less @ ..0 => _ = counters.queued_bytes.fetch_sub(less.unsigned_abs(), Ordering::Relaxed),
            0 => {}
        }
        let (sent, dropped) = (std::mem::take(&mut self.outlet.sent), std::mem::take(&mut self.outlet.dropped));
        if sent + dropped > 0 {
            counters.sent.fetch_add(sent, Ordering::Relaxed);
            counters.dropped.fetch_add(dropped, Ordering::Relaxed);
            metrics::counter!("tifo_mqtt_deliveries_total").increment(sent);
            metrics::counter!("tifo_mqtt_superseded_total").increment(dropped);
        }
    }

    fn look_at_time(&mut self) {
        let mut due = Vec::new();
        self.wheel.due(self.outlet.tick.saturating_sub(1), &mut due);
        for (at, slot) in due {
            let Some(connection) = self.get_mut(slot).filter(|connection| connection.look_at == at) else { continue };
            connection.look_at = 0;
            match self.deadline(slot) {
                Some((deadline, ending)) if deadline < self.outlet.tick => self.close(slot, ending),
                Some(_) => self.schedule(slot),
                None => {}
            }
        }
        if self.outlet.now.duration_since(self.cpu_read) >= CPU_INTERVAL {
            self.cpu_read = self.outlet.now;
            let before = std::mem::replace(&mut self.cpu_ns, socket::thread_cpu_ns());
            self.spine.counters.cpu_ns.fetch_add(self.cpu_ns.saturating_sub(before), Ordering::Relaxed);
        }
        if self.outlet.now.duration_since(self.tidied) >= TIDY_INTERVAL {
            self.tidied = self.outlet.now;
            let connections = &self.connections;
            self.index.tidy(&|slot| is_alive(connections, slot));
        }
    }

    /// Puts the connection's next deadline on the wheel, unless it is looked at before.
    fn schedule(&mut self, slot: Slot) {
        let Some((deadline, _)) = self.deadline(slot) else { return };
        let Some(connection) = self.connections.get_mut(key(slot)) else { return };
        if connection.look_at == 0 || deadline < connection.look_at {
            connection.look_at = deadline.max(self.outlet.tick);
            self.wheel.put(connection.look_at, slot);
        }
    }

    /// What ends the connection if nothing happens before.
    fn deadline(&mut self, slot: Slot) -> Option<(Tick, Ending)> {
        let limits = &self.spine.limits;
        let (connect, stall) = (ticks(limits.connect_timeout()), ticks(limits.stall_timeout()));
        let now = self.outlet.tick;
        let connection = self.get_mut(slot)?;
        let mut first: Option<(Tick, Ending)> = None;
        let mut consider = |at: Tick, ending: Ending| {
            if first.is_none_or(|(earliest, _)| at < earliest) {
                first = Some((at, ending));
            }
        };
        match connection.phase {
            Phase::Opening | Phase::Connecting | Phase::Waiting => {
                consider(connection.heard + connect, Ending::ConnectTimeout)
            }
            Phase::Live if connection.keep_alive_s > 0 => {
                // Whom we do not read we cannot hear.
                let heard = if connection.is_open() { connection.heard } else { now };
                consider(heard + keep_alive(connection.keep_alive_s), Ending::KeepAlive);
            }
            Phase::Live | Phase::Closing => {}
        }
        if let Some(outbox) = &connection.outbox {
            consider(outbox.progress + stall, Ending::Stalled);
        }
        if connection.partial_since > 0 && connection.is_open() {
            consider(connection.partial_since + stall, Ending::Stalled);
        }
        if let Some(close_at) = connection.extras.as_ref().map(|extras| extras.close_at).filter(|at| *at > 0) {
            consider(close_at, Ending::Moved);
        }
        first
    }

    fn get_mut(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.connections.get_mut(key(slot)).filter(|connection| connection.generation == slot.generation)
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("number", &self.number).finish_non_exhaustive()
    }
}

pub use accept::Listener as WorkerListener;

/// One and a half times the keep-alive (3.1.2.10).
fn keep_alive(seconds: u16) -> Tick {
    ticks(Duration::from_millis(u64::from(seconds) * 1_500))
}

fn ticks(duration: Duration) -> Tick {
    Tick::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(Tick::MAX / 2)
}

fn key(slot: Slot) -> usize {
    usize::try_from(slot.index).unwrap_or(usize::MAX)
}

fn is_alive(connections: &Slab<Connection>, slot: Slot) -> bool {
    connections.get(key(slot)).is_some_and(|connection| connection.generation == slot.generation)
}

/// A slot as epoll keeps it.
fn pack(slot: Slot) -> u64 {
    u64::from(slot.generation) << 32 | u64::from(slot.index)
}

fn unpack(data: u64) -> Slot {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    Slot { index: half(data), generation: half(data >> 32) }
}
