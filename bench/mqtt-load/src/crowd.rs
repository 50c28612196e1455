//! All subscribers on one epoll loop, and what they have seen.
//!
//! It must never have more than [`GREETING`] greetings under way: the backlog of some servers is a hundred.

use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};

use crate::Result;
use crate::connection::{Connection, Stage};
use crate::figures::Deliveries;
use crate::options::Options;
use crate::packet;
use crate::publisher::now_ns;

const GREETING: usize = 64;
const EVENTS: usize = 512;
const READ_BYTES: usize = 1 << 16;
const ARRIVALS: usize = 100_000;
/// Standard input's mark among the events.
const COMMANDS: u64 = u64::MAX;

pub struct Crowd {
    options: Options,
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    events: Vec<Event>,
    buffer: Vec<u8>,
    pub subscribed: usize,
    pub closed: usize,
    pub deliveries: Deliveries,
    /// A mark of each payload and when it came, in nanoseconds of the machine's clock; at most [`ARRIVALS`].
    pub arrivals: Vec<(u64, u64)>,
}

impl Crowd {
    pub fn new(options: Options, commands: impl AsFd) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, commands, EventData::new_u64(COMMANDS), EventFlags::IN)?;
        Ok(Self {
            connections: Vec::with_capacity(options.connections),
            options,
            epoll,
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; READ_BYTES],
            subscribed: 0,
            closed: 0,
            deliveries: Deliveries::default(),
            arrivals: Vec::new(),
        })
    }

    /// Connects and subscribes everybody.
    pub fn gather(&mut self, deadline_ns: u64) -> Result<()> {
        while self.subscribed < self.options.connections {
            while self.connections.len() < self.options.connections
                && self.connections.len() - self.subscribed < GREETING
            {
                self.open()?;
            }
            self.turn(Duration::from_millis(100))?;
            if self.closed > 0 || now_ns() > deadline_ns {
                return Err(format!(
                    "{} of {} subscribed, {} closed by the server",
                    self.subscribed, self.options.connections, self.closed
                )
                .into());
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        let index = self.connections.len();
        let connection = Connection::open(&self.options, index)?;
        epoll::add(&self.epoll, &connection.socket, EventData::new_u64(index as u64), EventFlags::IN)?;
        self.connections.push(Some(connection));
        Ok(())
    }

    /// The first `--stalled` connections are not read any more.
    pub fn stall(&mut self) -> Result<()> {
        for connection in self.connections.iter().take(self.options.stalled).flatten() {
            epoll::delete(&self.epoll, &connection.socket)?;
        }
        Ok(())
    }

    /// Waits once and reads from who has something. True when a command is there.
    pub fn turn(&mut self, wait: Duration) -> Result<bool> {
        let wait = Timespec { tv_sec: wait.as_secs().try_into()?, tv_nsec: wait.subsec_nanos().into() };
        let mut events = std::mem::take(&mut self.events);
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait))?;
        let mut command = false;
        for event in events.drain(..) {
            match event.data.u64() {
                COMMANDS => command = true,
                index => self.read(usize::try_from(index)?)?,
            }
        }
        self.events = events;
        Ok(command)
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return Ok(());
        };
        let before = connection.stage;
        let (deliveries, arrivals, keep) = (&mut self.deliveries, &mut self.arrivals, self.options.keep);
        let open = connection.receive(&self.options, index, &mut self.buffer, &mut |body| {
            let Some(payload) = packet::payload(body) else {
                return;
            };
            let now = now_ns();
            if let Some(due) = packet::due_ns(payload) {
                deliveries.push(due, now);
            }
            if keep && arrivals.len() < ARRIVALS {
                arrivals.push((mark(payload), now));
            }
        })?;
        if before != Stage::Subscribed && connection.stage == Stage::Subscribed {
            self.subscribed += 1;
        }
        if !open {
            self.closed += 1;
            self.connections[index] = None;
        }
        Ok(())
    }
}

/// FNV-1a: the same payload has the same mark in every process.
fn mark(payload: &[u8]) -> u64 {
    payload.iter().fold(0xcbf2_9ce4_8422_2325, |mark, byte| (mark ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
