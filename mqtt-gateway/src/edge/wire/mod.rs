//! MQTT on the wire: 3.1.1 and 5 side by side.
//!
//! [`frame`] finds whole packets in a stream, [`check`] holds each against the shape of its type, then rmqtt-codec decodes it
//! ([`decode`]); [`answer`] encodes what the server says, [`publish`] what it passes on. Pure: no socket, no session.
//!
//! Only this folder names the codec. Never: let it see a packet whose lengths have not been checked.

pub mod answer;
pub mod check;
pub mod decode;
pub mod frame;
pub mod publish;
mod reason;

pub use reason::{Reason, Refusal};

use bytes::Bytes;
pub use rmqtt_codec::v5::PublishProperties as Properties;

/// MQTT's two living versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1
    V3,
    V5,
}

/// A packet from a client.
#[derive(Debug, Clone, PartialEq)]
pub enum Packet {
    Publish(Box<Publish>),
    PubAck(u16),
    PubRel(u16),
    Subscribe { packet_id: u16, id: u32, filters: Vec<(String, Options)> },
    Unsubscribe { packet_id: u16, filters: Vec<String> },
    PingReq,
    Disconnect(Goodbye),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Connect {
    pub version: Version,
    pub client_id: String,
    pub clean_start: bool,
    pub keep_alive_s: u16,
    /// How long the session outlives the connection; [`NEVER_EXPIRES`] for 3.1.1 with clean session 0.
    pub session_expiry_s: u32,
    /// QoS 1 messages that the client takes at once.
    pub receive_maximum: u16,
    /// Largest packet that the client takes.
    pub max_packet_bytes: u32,
    pub topic_alias_maximum: u16,
    /// The client takes words beside reason codes (3.1.2.11.7).
    pub problem_information: bool,
    /// Enhanced authentication is asked for, which we do not have.
    pub authentication: bool,
    pub will: Option<Box<Will>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Will {
    pub topic: String,
    pub payload: Bytes,
    pub qos: u8,
    pub retain: bool,
    pub delay_s: u32,
    pub properties: Box<Properties>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// Empty when `alias` stands for it.
    pub topic: String,
    pub payload: Bytes,
    pub retain: bool,
    pub qos: u8,
    /// 0 for QoS 0.
    pub packet_id: u16,
    /// 0: none.
    pub alias: u16,
    pub properties: Option<Box<Properties>>,
}

/// DISCONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goodbye {
    pub publish_will: bool,
    pub session_expiry_s: Option<u32>,
}

/// A session expiry that never comes (3.1.2.11.2 of MQTT 5).
pub const NEVER_EXPIRES: u32 = u32::MAX;

/// Subscription options as MQTT 5 writes them (3.8.3.1); 3.1.1 has the QoS only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options(pub u8);

impl Options {
    const NO_LOCAL: u8 = 0b0000_0100;
    const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;

    pub fn qos(self) -> u8 {
        self.0 & 0b11
    }

    pub fn no_local(self) -> bool {
        self.0 & Self::NO_LOCAL != 0
    }

    pub fn retain_as_published(self) -> bool {
        self.0 & Self::RETAIN_AS_PUBLISHED != 0
    }

    /// Retained messages at this SUBSCRIBE? `is_new`: the session did not have the filter.
    pub fn wants_retained(self, is_new: bool) -> bool {
        match self.0 >> 4 & 0b11 {
            0 => true,
            1 => is_new,
            _ => false,
        }
    }

    /// QoS 2 is granted as 1.
    pub fn granted(self) -> Self {
        Self(self.0 & !0b11 | self.qos().min(1))
    }
}

#[cfg(test)]
mod tests;
