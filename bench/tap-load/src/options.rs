//! Command line of tap-load.

use std::time::Duration;

use crate::Result;

#[derive(Debug)]
pub struct Options {
    pub http: String,
    pub mqtt: String,
    /// Subscribes here over WebSocket instead.
    pub websocket: String,
    pub rate: u32,
    pub seconds: Duration,
    pub batch: u32,
    pub connections: u32,
    pub channels: u32,
    pub reactions: u32,
    pub probe_rate: u32,
    pub ack: String,
    pub server_pid: u32,
}

const USAGE: &str = "usage: tap-load --http HOST:PORT (--mqtt | --websocket) HOST:PORT [--rate EVENTS_PER_S] [--seconds N] [--batch EVENTS] [--connections N] \
[--channels N] [--reactions N] [--probe-rate PER_S] [--ack buffered|committed] [--server-pid PID]";

impl Options {
    pub fn from_args() -> Result<Self> {
        let mut options = Self {
            http: String::new(),
            mqtt: String::new(),
            websocket: String::new(),
            rate: 10_000,
            seconds: Duration::from_secs(30),
            batch: 100,
            connections: 4,
            channels: 50,
            reactions: 10,
            probe_rate: 20,
            ack: "buffered".into(),
            server_pid: 0,
        };
        let mut args = std::env::args().skip(1);
        while let Some(flag) = args.next() {
            let value = args.next().ok_or(USAGE)?;
            match flag.as_str() {
                "--http" => options.http = value,
                "--mqtt" => options.mqtt = value,
                "--websocket" => options.websocket = value,
                "--rate" => options.rate = value.parse()?,
                "--seconds" => options.seconds = Duration::from_secs(value.parse()?),
                "--batch" => options.batch = value.parse()?,
                "--connections" => options.connections = value.parse()?,
                "--channels" => options.channels = value.parse()?,
                "--reactions" => options.reactions = value.parse()?,
                "--probe-rate" => options.probe_rate = value.parse()?,
                "--ack" => options.ack = value,
                "--server-pid" => options.server_pid = value.parse()?,
                _ => return Err(USAGE.into()),
            }
        }
        let counts =
            [options.rate, options.batch, options.connections, options.channels, options.reactions, options.probe_rate];
        if options.http.is_empty() || (options.mqtt.is_empty() == options.websocket.is_empty()) || counts.contains(&0) {
            return Err(USAGE.into());
        }
        Ok(options)
    }
}
