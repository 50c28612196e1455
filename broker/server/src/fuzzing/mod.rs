//! Doors for the fuzz targets in `fuzz/` and for `tests/fuzz.rs`: the way of a frame in two steps, without a socket. Built for tests and with
//! the feature `fuzzing` alone.

mod generate;

pub(crate) use generate::generate;

use crate::{
    Broker,
    api::{self, Answer, ApiMetrics, TABLE, bounds},
    network::connection::{Peer, Shared},
};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::RequestKind;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Key, version, correlation id: what every frame begins with.
const FRAME_START: usize = 8;

/// Name and key of each API that is served.
pub fn apis() -> impl Iterator<Item = (&'static str, i16)> {
    TABLE.iter().map(|api| (api.name, api.key as i16))
}

/// Each API that is served, and each of its versions.
pub fn every_version() -> impl Iterator<Item = (i16, i16)> {
    TABLE.iter().flat_map(|api| (api.served.min..=api.served.max).map(|version| (api.key as i16, version)))
}

/// A frame of that API and version whose lengths are right and whose values are anything.
pub fn well_formed(key: i16, version: i16, random: &mut dyn FnMut() -> u32) -> Vec<u8> {
    let Some((_, api)) = api::find(key) else { return Vec::new() };
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(1);
    frame.put_i16(-1); // no client id
    if api.request.is_flexible(version) {
        frame.put_u8(0); // no tags
    }
    frame.extend_from_slice(&generate(&api.request, version, random));
    frame.to_vec()
}

/// Points a frame's key at an API that is served (at `only`, if given) and its version at a served one.
pub fn aim(frame: &mut [u8], only: Option<i16>) {
    let Some(&[k0, k1, v0, v1, ..]) = frame.first_chunk::<FRAME_START>() else { return };
    let wanted = only.unwrap_or_else(|| i16::from_be_bytes([k0, k1]));
    let chosen = api::find(wanted).map_or_else(|| &TABLE[usize::from(k1) % TABLE.len()], |(_, api)| api);
    let span = chosen.served.max - chosen.served.min + 1;
    let version = chosen.served.min + i16::from_be_bytes([v0, v1]).saturating_sub(chosen.served.min).rem_euclid(span);
    frame[..2].copy_from_slice(&(chosen.key as i16).to_be_bytes());
    frame[2..4].copy_from_slice(&version.to_be_bytes());
}

/// Walks and decodes the body of an aimed frame; the most memory that decoding may have taken.
pub fn decode(frame: &Bytes) -> usize {
    let Some(&[k0, k1, v0, v1, ..]) = frame.first_chunk::<FRAME_START>() else { return 0 };
    let version = i16::from_be_bytes([v0, v1]);
    let Some((_, api)) = api::find(i16::from_be_bytes([k0, k1])) else { return 0 };
    let rest = &frame[FRAME_START..];
    let Ok(behind) = bounds::walk_header(api.request.is_flexible(version), rest) else { return 0 };
    let mut body = frame.slice(frame.len() - behind..);
    if bounds::walk(&api.request, version, &body).is_ok() {
        let _ = RequestKind::decode(api.key, &mut body, version);
    }
    bounds::decoded_limit(behind)
}

/// A running broker, asked past its sockets.
#[derive(Debug)]
pub struct Door {
    shared: Arc<Shared>,
}

impl Door {
    pub fn new(broker: &Broker) -> Self {
        Self { shared: Arc::new(Shared { services: broker.services(), metrics: ApiMetrics::register() }) }
    }

    /// Lets the broker handle a frame; whether it answered. Whoever waits longer than `patience` is dropped, as when its client hangs up.
    pub async fn knock(&self, frame: Bytes, patience: Duration) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9092));
        let peer = Peer { address, local: address, software: Arc::default() };
        let Ok(pending) = api::dispatch(&self.shared, &peer, frame) else { return false };
        matches!(tokio::time::timeout(patience, pending).await, Ok(Answer::Response(_)))
    }
}
