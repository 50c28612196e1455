//! System calls of the edge: listeners that the workers share, connections, epoll.

use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    io::Errno,
    net::{self, AddressFamily, SendFlags, SocketFlags, SocketType, sockopt},
};
use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

const LISTEN_BACKLOG: i32 = 4_096;
/// What the kernel keeps for a client that does not read; it books twice as much. Enough for dozens of messages, and a hundred
/// thousand stalled clients are still bounded.
const SEND_BUFFER_BYTES: usize = 16 * 1024;
/// Events taken from the kernel at once.
pub const MAX_EVENTS: usize = 1_024;

/// A listener for each worker, all on one address; the kernel spreads connections over them.
pub fn listen(address: &str, workers: usize) -> io::Result<(Vec<OwnedFd>, SocketAddr)> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no such address");
    for candidate in address.to_socket_addrs()? {
        match listen_on(candidate, workers) {
            Ok(listening) => return Ok(listening),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn listen_on(address: SocketAddr, workers: usize) -> io::Result<(Vec<OwnedFd>, SocketAddr)> {
    // Shared ports would let two processes listen on one by mistake: without sharing the port must be free.
    let probe = bind(address, false)?;
    let bound = SocketAddr::try_from(net::getsockname(&probe)?)?;
    drop(probe);
    let listeners = (0..workers).map(|_| {
        let listener = bind(bound, true)?;
        net::listen(&listener, LISTEN_BACKLOG)?;
        Ok(listener)
    });
    Ok((listeners.collect::<io::Result<_>>()?, bound))
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    // Accepted sockets inherit both: small messages go at once, and few of them wait in the kernel.
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES)?;
    net::bind(&socket, &address)?;
    Ok(socket)
}

/// The next connection that waits; `None`: there is none.
pub fn accept(listener: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    loop {
        match net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => return Ok(Some(socket)),
            Err(Errno::AGAIN) => return Ok(None),
            // It went before it was taken.
            Err(Errno::CONNABORTED | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes a socket from elsewhere one of ours.
pub fn adopt(socket: &OwnedFd) -> io::Result<()> {
    rustix::io::ioctl_fionbio(socket, true)?;
    // Sockets of another family have no such option.
    let _ = sockopt::set_tcp_nodelay(socket, true);
    Ok(sockopt::set_socket_send_buffer_size(socket, SEND_BUFFER_BYTES)?)
}

/// How many bytes the socket took; `None`: none now.
pub fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    loop {
        match net::send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How many bytes came, 0 at the end; `None`: none now.
pub fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match rustix::io::read(socket, &mut *buffer) {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Processor time of the calling thread.
pub fn thread_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(nanoseconds.unwrap_or(0))
}

/// An epoll instance.
#[derive(Debug)]
pub struct Poll(OwnedFd);

/// What happened to a registered descriptor.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    pub data: u64,
    pub readable: bool,
    pub writable: bool,
    /// The other side has ended: read to the end.
    pub ended: bool,
}

impl Poll {
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Reports as long as there is something to read.
    pub fn watch(&self, fd: impl AsFd, data: u64) -> io::Result<()> {
        Ok(epoll::add(&self.0, fd, epoll::EventData::new_u64(data), epoll::EventFlags::IN)?)
    }

    /// Reports each change once, in both directions: whoever could not write hears when it can, without another call.
    pub fn watch_changes(&self, fd: impl AsFd, data: u64) -> io::Result<()> {
        use epoll::EventFlags;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.0, fd, epoll::EventData::new_u64(data), flags)?)
    }

    pub fn forget(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.0, fd)?)
    }

    /// Waits for at most `timeout`; a signal ends it early.
    pub fn wait(&self, timeout: Option<Duration>, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        events.clear();
        let timeout = timeout.map(|timeout| rustix::event::Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match epoll::wait(&self.0, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<epoll::Event> for Event {
    fn from(event: epoll::Event) -> Self {
        use epoll::EventFlags;
        let flags = event.flags;
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        Self {
            data: event.data.u64(),
            readable: ended || flags.contains(EventFlags::IN),
            writable: flags.contains(EventFlags::OUT),
            ended,
        }
    }
}

/// Wakes a worker from its wait.
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
    }

    pub fn wake(&self) {
        // A full counter wakes as well.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    pub fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }

    pub fn register(&self, poll: &Poll, data: u64) -> io::Result<()> {
        poll.watch(&self.0, data)
    }
}
