//! AddPartitionsToTxn, AddOffsetsToTxn, and what is added without a request of its own (KIP-890): which partitions get a marker.

use super::{
    ClientVersion, Decision, Producer, TopicPartition, TransactionCoordinator, TransactionMetadata, TransactionState,
    TransactionalId, metadata::TransactionRecord,
};
use crate::{TransactionError, limits};

#[derive(Debug, Clone, PartialEq)]
pub struct AddPartitionsRequest {
    pub transactional_id: TransactionalId,
    pub producer: Producer,
    pub partitions: Vec<TopicPartition>,
    pub version: ClientVersion,
}

impl TransactionCoordinator {
    /// Adds all of them; what is there already is not written again.
    pub fn add_partitions(
        &self,
        request: &AddPartitionsRequest,
        now_ms: i64,
    ) -> Decision<Result<(), TransactionError>> {
        let metadata = match self.writable(&request.transactional_id, request.producer) {
            Ok(metadata) => metadata,
            Err(error) => return Decision::reply(Err(error)),
        };
        let is_known = |partition| metadata.contains(partition);
        if metadata.state == TransactionState::Ongoing && request.partitions.iter().all(is_known) {
            return Decision::reply(Ok(()));
        }
        let next = metadata.with_partitions(&request.partitions, request.version, now_ms);
        if next.partition_count() > limits::MAX_PARTITIONS_OF_TRANSACTION {
            return Decision::reply(Err(TransactionError::InvalidRequest));
        }
        let transactional_id = request.transactional_id.clone();
        Decision { record: Some(TransactionRecord { transactional_id, value: Some(next) }), reply: Ok(()) }
    }

    /// Whether the partition is part of the transaction that the producer has open (KIP-890, for clients that add them).
    pub fn verify_partition(
        &self,
        id: &str,
        producer: Producer,
        partition: &TopicPartition,
    ) -> Result<(), TransactionError> {
        let metadata = self.known(id)?;
        check_producer(metadata, producer)?;
        if metadata.state.prepared().is_some() {
            return Err(TransactionError::ConcurrentTransactions);
        }
        if metadata.contains(partition) { Ok(()) } else { Err(TransactionError::TransactionAbortable) }
    }

    /// The producer is the present one and nothing is being completed. That comes first: the producer may know
    /// its next id already, which counts only then.
    fn writable(&self, id: &str, producer: Producer) -> Result<&TransactionMetadata, TransactionError> {
        let metadata = self.known(id)?;
        if metadata.state.prepared().is_some() {
            return Err(TransactionError::ConcurrentTransactions);
        }
        check_producer(metadata, producer)?;
        Ok(metadata)
    }
}

fn check_producer(metadata: &TransactionMetadata, producer: Producer) -> Result<(), TransactionError> {
    if metadata.producer.id != producer.id {
        return Err(TransactionError::InvalidProducerIdMapping);
    }
    if metadata.producer.epoch != producer.epoch {
        return Err(TransactionError::ProducerFenced);
    }
    Ok(())
}
