//! Plain rumqttd: `bench-rumqttd TCP_PORT WEBSOCKET_PORT CONNECTIONS`, with the settings of its own sample file and no console.

use std::collections::HashMap;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// rumqttd's own connections (console, bridges) beside those of clients.
const SPARE: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = || args.next().ok_or("usage: bench-rumqttd TCP_PORT WEBSOCKET_PORT CONNECTIONS");
    let (tcp, websocket, connections): (u16, u16, usize) = (number()?.parse()?, number()?.parse()?, number()?.parse()?);
    let mut broker = Broker::new(Config {
        router: RouterConfig {
            max_connections: connections + SPARE,
            max_outgoing_packet_count: 200,
            max_segment_size: 104_857_600,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(listener("v4-1", tcp)),
        ws: Some(listener("ws-1", websocket)),
        ..Config::default()
    });
    broker.start()?;
    Ok(())
}

fn listener(name: &str, port: u16) -> HashMap<String, ServerSettings> {
    let settings = ServerSettings {
        name: name.into(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 60_000,
            max_payload_size: 20_480,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    HashMap::from([(name.into(), settings)])
}
