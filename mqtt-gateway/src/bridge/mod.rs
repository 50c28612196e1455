//! The reverse bridge: state flows from the main node outwards, each node follows the one before it.
//!
//! ```text
//! main (delivery) <- bridge <- publish <- subscribe, subscribe, ...      (<-: is followed by)
//! ```
//!
//! [`uplink`] follows the node upstream as an MQTT 5 client, [`newest`] keeps back what is older or has been here, [`lane`] takes
//! up what the far side cannot take yet, [`forward`] brings it to this process's subscribers or to a broker elsewhere.
//!
//! Never: an older state of a topic after a newer one, or a message around in a circle.

mod backoff;
mod client;
mod forward;
mod lane;
mod newest;
mod uplink;

pub use client::Account;
pub use forward::{Elsewhere, run as forward};
pub use lane::Lane;
pub use uplink::{Report, Uplink};
