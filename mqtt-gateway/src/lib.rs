//! Aggregate topic to MQTT: normalise, top-N, hub, edge.
//!
//! The last hop of an event: [`delivery`] reads the rows of closed windows as an ordinary consumer group and makes one message
//! per channel and window; [`hub`] holds the retained state and fans out (rumqttd, embedded, without a port of its own);
//! [`edge`] is what clients touch, over TCP and WebSocket. docs/mqtt.md has topics and payloads.
//!
//! Never: let an unchecked byte of a client reach the hub, hold back the log for a slow client, or commit an offset before the
//! hub has accepted what lies below it.

mod config;
mod delivery;
mod edge;
mod error;
mod feed;
mod gateway;
mod hub;
mod message;

pub use config::{Limits, MqttConfig, StreamConfig};
pub use edge::{Edge, EdgeStats, Inbound, Local, Publication, Reason, Verdict};
pub use error::MqttError;
pub use gateway::{MqttGateway, MqttStatus};
pub use hub::{HubError, Publisher};
pub use message::{Message, NodePath, Origin, is_node_name};
