//! Filled in with the gateway's test log.
