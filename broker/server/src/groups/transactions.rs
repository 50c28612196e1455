//! Transactions that commit offsets: their records and markers in `__consumer_offsets`.

use super::{Groups, Request, shard::Shard};
use crate::{
    coordination::slot,
    durability::patience,
    errors::RequestError,
    partition::{Accepted, UntilDurable},
};
use bytes::Bytes;
use std::sync::{Arc, atomic::Ordering};
use tifo_coordinator::{
    GroupError, Reply, Ticket,
    group::{PartitionResult, TransactionalCommit},
};
use tifo_storage::{ActiveProducer, Origin, record_batch::TransactionResult};
use tokio::sync::oneshot;

/// A commit of offsets that waits for its transaction's coordinator to let it in.
pub struct PreparedCommit<'a> {
    groups: &'a Groups,
    shard: Arc<Shard>,
    commit: TransactionalCommit,
}

/// One that was let in.
pub struct BegunCommit(Result<oneshot::Receiver<Reply>, GroupError>);

impl Groups {
    /// The partition of `__consumer_offsets` that holds the group.
    pub async fn partition_of(&self, group: &str) -> Result<i32, GroupError> {
        let shards = self.hosted().await?.shards.len();
        Ok(i32::try_from(slot(group, shards)).unwrap_or(0))
    }

    /// Loads what is needed: what comes then needs no waiting until it is in the log.
    pub async fn prepare_commit(&self, commit: TransactionalCommit) -> Result<PreparedCommit<'_>, GroupError> {
        let shard = self.shard(&commit.commit.group).await?;
        Ok(PreparedCommit { groups: self, shard, commit })
    }

    /// Ends the producer's transaction on a partition of `__consumer_offsets`.
    pub async fn write_marker(
        &self,
        partition: i32,
        batch: &Bytes,
        producer_id: i64,
        result: TransactionResult,
    ) -> Result<Option<UntilDurable>, RequestError> {
        let shard = self.shard_at(partition).await?;
        let appended = shard.end_transaction(producer_id, result, |shard, now_ms| {
            shard.partition.append(batch, Origin::Coordinator, now_ms).map(Some)
        })?;
        Ok(appended.and_then(|accepted| accepted.until_durable))
    }

    /// Aborts there a transaction that nobody coordinates.
    pub async fn abort_hanging(
        &self,
        partition: i32,
        batch: &Bytes,
        hanging: &ActiveProducer,
    ) -> Result<Option<Accepted>, RequestError> {
        let shard = self.shard_at(partition).await?;
        shard.end_transaction(hanging.producer_id, TransactionResult::Abort, |shard, now_ms| {
            shard.partition.append_if_hanging(batch, hanging, now_ms)
        })
    }

    async fn shard_at(&self, partition: i32) -> Result<Arc<Shard>, RequestError> {
        let gone = |_: GroupError| RequestError::Unexpected("the groups of this partition could not be loaded".into());
        let hosted = self.hosted().await.map_err(gone)?;
        let shard = usize::try_from(partition).ok().and_then(|partition| hosted.shards.get(partition));
        let shard = shard.ok_or(RequestError::UnknownTopicOrPartition)?;
        shard.loaded().await.map_err(gone)?;
        Ok(shard.clone())
    }
}

impl Shard {
    /// Appends the marker and makes its offsets count, or vanish; with nothing else of this shard in between.
    fn end_transaction(
        self: &Arc<Self>,
        producer_id: i64,
        result: TransactionResult,
        append: impl FnOnce(&Self, i64) -> Result<Option<Accepted>, RequestError>,
    ) -> Result<Option<Accepted>, RequestError> {
        let mut state = patience::lock(&self.state);
        let accepted = append(self, self.clock.now_ms())?;
        if accepted.is_some() {
            state.coordinator.replay_marker(producer_id, result == TransactionResult::Commit);
            self.note_change();
        }
        Ok(accepted)
    }
}

impl PreparedCommit<'_> {
    /// Puts the offsets into the log, as part of the transaction. Waits for nothing.
    pub fn begin(self) -> BegunCommit {
        let ticket = Ticket(self.groups.tickets.fetch_add(1, Ordering::Relaxed));
        BegunCommit(self.shard.begin(ticket, Request::TransactionalCommit(self.commit)))
    }
}

impl BegunCommit {
    /// The results in the order of the request.
    pub async fn results(self) -> Result<Vec<PartitionResult>, GroupError> {
        match self.0?.await {
            Ok(Reply::OffsetCommit(results)) => Ok(results),
            _ => Err(GroupError::CoordinatorNotAvailable),
        }
    }
}
