//! One subscriber: a socket, how far its greeting is, and the bytes of a packet that is not whole yet.

use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::fd::OwnedFd;
use rustix::io::{Errno, read, write};
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::Result;
use crate::options::Options;
use crate::packet;

/// Below the 28,000 ephemeral ports of one address.
const CONNECTIONS_PER_ADDRESS: usize = 5_000;
/// Of a subscriber that will stop reading: the kernel doubles it.
const STALLED_RECEIVE_BYTES: usize = 4_096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Upgrading,
    Connecting,
    Subscribing,
    Subscribed,
}

pub struct Connection {
    pub socket: OwnedFd,
    pub stage: Stage,
    /// Empty as long as packets come whole: no memory, no copy.
    partial: Vec<u8>,
}

impl Connection {
    /// Connects, blocking (the kernel completes that by itself), and sends the first bytes of the greeting.
    pub fn open(options: &Options, index: usize) -> Result<Self> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if index < options.stalled {
            sockopt::set_socket_recv_buffer_size(&socket, STALLED_RECEIVE_BYTES)?;
        }
        rustix::net::bind(&socket, &source(options, index))?;
        rustix::net::connect(&socket, &options.server)?;
        // Gone at once when the load ends: no port waits for a minute.
        sockopt::set_socket_linger(&socket, Some(std::time::Duration::ZERO))?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        let stage = if options.websocket { Stage::Upgrading } else { Stage::Connecting };
        let connection = Self { socket, stage, partial: Vec::new() };
        if options.websocket {
            connection.send(&packet::upgrade(&options.server.to_string()))?;
        } else {
            connection.say(options, &packet::connect(&client_id(options, index)))?;
        }
        Ok(connection)
    }

    /// Reads once and hands every whole packet to `see`. False when the server has closed.
    pub fn receive(
        &mut self,
        options: &Options,
        index: usize,
        buffer: &mut [u8],
        see: &mut impl FnMut(&[u8]),
    ) -> Result<bool> {
        let got = match read(&self.socket, &mut *buffer) {
            Ok(0) | Err(Errno::CONNRESET | Errno::PIPE) => return Ok(false),
            Ok(got) => got,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let fresh = &buffer[..got];
        if self.partial.is_empty() {
            let taken = self.take_all(options, index, fresh, see)?;
            self.partial.extend_from_slice(&fresh[taken..]);
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(fresh);
            let taken = self.take_all(options, index, &whole, see)?;
            if taken < whole.len() {
                self.partial = whole.split_off(taken);
            }
        }
        Ok(true)
    }

    /// How many bytes were whole packets (or, over WebSocket, whole frames of whole packets).
    fn take_all(
        &mut self,
        options: &Options,
        index: usize,
        bytes: &[u8],
        see: &mut impl FnMut(&[u8]),
    ) -> Result<usize> {
        let mut taken = 0;
        if self.stage == Stage::Upgrading {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Ok(0);
            };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                return Err(String::from_utf8_lossy(&bytes[..end]).into_owned().into());
            }
            taken = end + 4;
            self.stage = Stage::Connecting;
            self.say(options, &packet::connect(&client_id(options, index)))?;
        }
        if !options.websocket {
            return Ok(taken + self.take_packets(options, &bytes[taken..], see)?);
        }
        while let Some((payload, length)) = packet::first_frame(&bytes[taken..])? {
            if self.take_packets(options, payload, see)? < payload.len() {
                return Err("a WebSocket frame ends within a packet".into());
            }
            taken += length;
        }
        Ok(taken)
    }

    fn take_packets(&mut self, options: &Options, bytes: &[u8], see: &mut impl FnMut(&[u8])) -> Result<usize> {
        let mut taken = 0;
        while let Some((kind, body, length)) = packet::first(&bytes[taken..])? {
            taken += length;
            match (kind, self.stage) {
                (packet::PUBLISH, _) => see(body),
                (packet::CONNACK, Stage::Connecting) if body.get(1) == Some(&0) => {
                    self.stage = Stage::Subscribing;
                    self.say(options, &packet::subscribe(&options.topic))?;
                }
                (packet::SUBACK, Stage::Subscribing) if body.get(2).is_some_and(|code| *code < 3) => {
                    self.stage = Stage::Subscribed;
                }
                _ => return Err(format!("packet {kind} {body:?} while {:?}", self.stage).into()),
            }
        }
        Ok(taken)
    }

    fn say(&self, options: &Options, packet: &[u8]) -> Result<()> {
        if options.websocket { self.send(&packet::masked(packet)) } else { self.send(packet) }
    }

    /// A greeting always fits into an empty socket.
    fn send(&self, bytes: &[u8]) -> Result<()> {
        if write(&self.socket, bytes)? == bytes.len() { Ok(()) } else { Err("a short write".into()) }
    }
}

fn client_id(options: &Options, index: usize) -> String {
    format!("load-{}-{index}", options.number)
}

/// 127.0.0.1 is the server's.
fn source(options: &Options, index: usize) -> SocketAddrV4 {
    let block = u8::try_from(index / CONNECTIONS_PER_ADDRESS).unwrap_or(u8::MAX);
    SocketAddrV4::new(Ipv4Addr::new(127, 0, options.number + 1, block.saturating_add(1)), 0)
}
