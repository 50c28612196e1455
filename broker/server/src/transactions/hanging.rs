//! Transactions that are open on a partition while no coordinator knows them, and so would hold readers back for ever.
//!
//! A broker that was killed leaves none: the coordinator has a partition in its log before the partition has the batch. A power
//! cut may, for the two are not synced together. So they are looked for once at every start, and aborted.

use super::{Marker, Transactions, markers::COORDINATOR_EPOCH};
use crate::{errors::RequestError, groups::OFFSETS_TOPIC, partition::Partition};
use std::sync::Arc;
use tifo_storage::{ActiveProducer, record_batch::TransactionResult};

impl Transactions {
    /// Aborts what was open before any producer of this run began. All shards are loaded.
    pub(super) async fn abort_hanging(&self) {
        for (partition, producer) in self.open_at_start() {
            if self.is_coordinated(&partition, producer.producer_id) {
                continue;
            }
            let (topic, index, producer_id) = (&partition.topic, partition.index, producer.producer_id);
            match self.abort(&partition, &producer).await {
                Ok(true) => {
                    tracing::warn!(%topic, partition = index, producer_id, "a transaction that nobody coordinates was aborted")
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%topic, partition = index, producer_id, %error, "a transaction that nobody coordinates stays open");
                }
            }
        }
    }

    fn open_at_start(&self) -> Vec<(Arc<Partition>, ActiveProducer)> {
        let mut partitions = Vec::new();
        self.markers.catalog.for_each_partition(|partition| partitions.push(partition.clone()));
        let open = |partition: Arc<Partition>| {
            let producers = partition.active_producers().unwrap_or_default();
            let open = producers.into_iter().filter(|producer| producer.transaction_first_offset.is_some());
            open.map(|producer| (partition.clone(), producer)).collect::<Vec<_>>()
        };
        partitions.into_iter().flat_map(open).collect()
    }

    /// Some transactional id has the partition in a transaction of this producer. What began after we looked has, for it is added before
    /// the batch is appended.
    fn is_coordinated(&self, partition: &Arc<Partition>, producer_id: i64) -> bool {
        let key = (partition.topic.clone(), partition.index);
        let hosted = self.topic.known();
        let mut shards = hosted.iter().flat_map(|hosted| &hosted.shards);
        // One that cannot be asked may know it.
        shards.any(|shard| shard.read(|coordinator| coordinator.coordinates(producer_id, &key)).unwrap_or(true))
    }

    async fn abort(&self, partition: &Arc<Partition>, producer: &ActiveProducer) -> Result<bool, RequestError> {
        let now_ms = self.markers.clock.now_ms();
        let marker = Marker {
            producer_id: producer.producer_id,
            producer_epoch: producer.epoch,
            result: TransactionResult::Abort,
            coordinator_epoch: COORDINATOR_EPOCH.max(producer.coordinator_epoch),
        };
        let batch = marker.batch(now_ms);
        let aborted = if &*partition.topic == OFFSETS_TOPIC {
            self.markers.groups.abort_hanging(partition.index, &batch, producer).await?
        } else {
            partition.append_if_hanging(&batch, producer, now_ms)?
        };
        Ok(aborted.is_some())
    }
}
