//! Aggregate topic to MQTT: normalise, top-N, hub, edge; and taps by MQTT to the ingest.
//!
//! The last hop of an event: [`delivery`] reads the rows of closed windows as an ordinary consumer group and makes one message
//! per channel and window; [`hub`] holds the retained state and fans out (rumqttd, embedded, without a port of its own);
//! [`edge`] is what clients touch, over TCP and WebSocket. [`node`] makes it one of a tree: by the [`bridge`] it follows another
//! one, [`cluster`] knows who follows it. docs/mqtt.md has topics, payloads and nodes.
//!
//! Never: let an unchecked byte of a client reach the hub, hold back the log for a slow client, or commit an offset before the
//! hub has accepted what lies below it.

mod bridge;
mod cluster;
mod config;
mod delivery;
mod edge;
mod error;
mod feed;
mod gateway;
mod hub;
mod message;
mod node;
mod reception;

pub use cluster::{Fleet, NodeReport};
pub use config::{Autoscale, Limits, MqttConfig, MqttRole, StreamConfig};
#[cfg(feature = "fuzzing")]
pub use edge::fuzzing;
pub use edge::{Edge, EdgeStats, Inbound, Local, Publication, Reason, Verdict};
pub use error::MqttError;
pub use gateway::{MqttGateway, MqttStatus};
pub use hub::{HubError, Publisher};
pub use message::{Message, NodePath, Origin, is_node_name};
pub use reception::{TapRefused, Taps};
