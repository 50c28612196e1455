//! What can go wrong with the gateway as a whole; a client's mistakes are `Problem`s.

use std::{io, net::SocketAddr};

/// One clear line each.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error(
        "cannot listen for HTTP on {addr}: {source} (choose another address with --http HOST:PORT; port 0 takes any free one)"
    )]
    Listen { addr: SocketAddr, source: io::Error },
    #[error("setting of http: {0}")]
    Config(String),
    /// At shutdown: the log could not be reached any more.
    #[error("{0} events that were answered 202 did not reach the log before the shutdown time-out")]
    Lost(u64),
}
