//! Writes the markers that end a transaction on each of its partitions.

use crate::{
    catalog::Catalog,
    clock::Clock,
    cluster::LEADER_EPOCH,
    errors::RequestError,
    groups::{Groups, OFFSETS_TOPIC},
    partition::UntilDurable,
};
use bytes::Bytes;
use std::{future::Future, sync::Arc, time::Duration};
use tifo_coordinator::transaction::{Ending, Outcome, TopicPartition};
use tifo_storage::{
    AppendError, Origin,
    record_batch::{EndTransactionMarker, TransactionResult},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The coordinator of a partition's transactions is its leader: it bears that epoch.
pub const COORDINATOR_EPOCH: i32 = LEADER_EPOCH;

#[derive(Debug)]
pub struct Markers {
    pub catalog: Arc<Catalog>,
    pub groups: Arc<Groups>,
    pub clock: Clock,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
}

/// One marker, for one partition.
#[derive(Debug, Clone, Copy)]
pub struct Marker {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub result: TransactionResult,
    pub coordinator_epoch: i32,
}

impl Marker {
    pub fn batch(&self, now_ms: i64) -> Bytes {
        let marker = EndTransactionMarker { result: self.result, coordinator_epoch: self.coordinator_epoch };
        marker.batch(self.producer_id, self.producer_epoch, now_ms)
    }
}

impl From<&Ending> for Marker {
    fn from(ending: &Ending) -> Self {
        let result = match ending.outcome {
            Outcome::Commit => TransactionResult::Commit,
            Outcome::Abort => TransactionResult::Abort,
        };
        let (producer_id, producer_epoch) = (ending.producer.id, ending.producer.epoch);
        Self { producer_id, producer_epoch, result, coordinator_epoch: COORDINATOR_EPOCH }
    }
}

impl Markers {
    /// Tries each of these partitions once; those that have no marker yet come back.
    pub async fn write(&self, ending: &Ending, partitions: Vec<TopicPartition>) -> Vec<TopicPartition> {
        let marker = Marker::from(ending);
        let mut appended = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            let outcome = self.append(&marker, &topic, partition).await;
            appended.push(((topic, partition), outcome));
        }
        let mut left = Vec::new();
        for (partition, outcome) in appended {
            if let Err(error) = durable(outcome).await
                && !self.is_over(&error)
            {
                tracing::warn!(topic = %partition.0, partition = partition.1, transactional_id = %ending.transactional_id, %error, "a marker was not taken; it comes again");
                left.push(partition);
            }
        }
        left
    }

    /// Appends one marker. What it waits for comes later.
    pub async fn append(
        &self,
        marker: &Marker,
        topic: &str,
        partition: i32,
    ) -> Result<Option<UntilDurable>, RequestError> {
        let now_ms = self.clock.now_ms();
        let batch = marker.batch(now_ms);
        let hosted = self.catalog.partition(topic, partition)?;
        if topic == OFFSETS_TOPIC {
            return self.groups.write_marker(partition, &batch, marker.producer_id, marker.result).await;
        }
        hosted.append(&batch, Origin::Coordinator, now_ms).map(|accepted| accepted.until_durable)
    }

    /// No marker is wanted there any more: the partition was deleted, or its producer is further on.
    fn is_over(&self, error: &RequestError) -> bool {
        match error {
            // A broker that stops closes its partitions; they come back.
            RequestError::UnknownTopicOrPartition => !self.shutdown.is_cancelled(),
            RequestError::Append(AppendError::InvalidProducerEpoch { .. } | AppendError::CoordinatorFenced { .. }) => {
                true
            }
            _ => false,
        }
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// False: the broker stops.
    pub async fn pause(&self, wait: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = self.shutdown.cancelled() => false,
        }
    }
}

async fn durable(appended: Result<Option<UntilDurable>, RequestError>) -> Result<(), RequestError> {
    match appended? {
        Some(until_durable) => until_durable.reached().await,
        None => Ok(()),
    }
}
