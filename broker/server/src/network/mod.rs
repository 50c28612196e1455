//! Sockets: accepting, framing, the ordered pipeline of a connection. Knows nothing of what requests mean.

pub mod connection;
pub mod listener;
pub mod response;
mod transport;
