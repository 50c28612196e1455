//! Transactions as one partition sees them: which producers have one open here, and what may join it.

use super::{Accepted, Partition};
use crate::errors::RequestError;
use bytes::Bytes;
use std::sync::Arc;
use tifo_storage::{ActiveProducer, Origin};

impl Partition {
    /// Appends a client's batch if its producer has a transaction open here already, which the coordinator knows then. None: it
    /// has none, and nothing was appended.
    pub fn append_to_open_transaction(
        self: &Arc<Self>,
        batch: &Bytes,
        producer_id: i64,
        epoch: i16,
        now_ms: i64,
    ) -> Result<Option<Accepted>, RequestError> {
        self.append_if(|log| log.has_open_transaction(producer_id, epoch), batch, Origin::Client, now_ms)
    }

    /// Appends the marker that aborts a transaction that nobody coordinates, if it is still the one that began at this offset.
    pub fn append_if_hanging(
        self: &Arc<Self>,
        marker: &Bytes,
        hanging: &ActiveProducer,
        now_ms: i64,
    ) -> Result<Option<Accepted>, RequestError> {
        let still_is = |log: &tifo_storage::Log| log.active_producers().contains(hanging);
        self.append_if(still_is, marker, Origin::Coordinator, now_ms)
    }

    /// The producers that are known here.
    pub fn active_producers(&self) -> Result<Vec<ActiveProducer>, RequestError> {
        self.with_log(|log| Ok(log.active_producers()))
    }
}
