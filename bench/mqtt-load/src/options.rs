//! Command line of mqtt-load.

use std::net::SocketAddrV4;

use crate::Result;

#[derive(Debug, Clone)]
pub struct Options {
    pub server: SocketAddrV4,
    pub connections: usize,
    pub websocket: bool,
    pub topic: String,
    /// Where the publisher connects; the server itself when not given.
    pub publish_to: SocketAddrV4,
    /// The first n connections have a small receive buffer and stop reading when told to.
    pub stalled: usize,
    /// Keeps what arrived when, for a comparison with another process's arrivals.
    pub keep: bool,
    /// Tells the processes of one run apart: client ids and source addresses begin with it.
    pub number: u8,
}

const USAGE: &str = "usage: mqtt-load --server HOST:PORT --connections N [--websocket yes] [--topic TOPIC] [--publish-to HOST:PORT] [--stalled N] [--keep yes] [--number 0..99]";
const MAX_NUMBER: u8 = 99;

impl Options {
    pub fn from_args() -> Result<Self> {
        let (mut server, mut publish_to) = (None, None);
        let (mut connections, mut stalled, mut number, mut websocket) = (0, 0, 0, false);
        let mut keep = false;
        let mut topic = "clients/bench".to_owned();
        let mut args = std::env::args().skip(1);
        while let Some(flag) = args.next() {
            let value = args.next().ok_or(USAGE)?;
            match flag.as_str() {
                "--server" => server = Some(value.parse()?),
                "--publish-to" => publish_to = Some(value.parse()?),
                "--connections" => connections = value.parse()?,
                "--websocket" => websocket = value == "yes",
                "--topic" => topic = value,
                "--stalled" => stalled = value.parse()?,
                "--keep" => keep = value == "yes",
                "--number" => number = value.parse()?,
                _ => return Err(USAGE.into()),
            }
        }
        let server = server.ok_or(USAGE)?;
        if connections == 0 || stalled > connections || number > MAX_NUMBER {
            return Err(USAGE.into());
        }
        Ok(Self {
            server,
            connections,
            websocket,
            topic,
            keep,
            publish_to: publish_to.unwrap_or(server),
            stalled,
            number,
        })
    }
}
