//! What can be asked of the coordinator without changing it: DescribeTransactions, ListTransactions.

use super::{TopicPartition, TransactionCoordinator, TransactionMetadata, TransactionState, TransactionalId};
use crate::TransactionError;

pub type DescribedTransaction = TransactionMetadata;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTransaction {
    pub transactional_id: TransactionalId,
    pub producer_id: i64,
    pub state: TransactionState,
}

/// Which transactions are asked for; what is `None` does not restrict.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListFilter {
    pub states: Option<Vec<TransactionState>>,
    pub producer_ids: Option<Vec<i64>>,
    /// Only those that began longer ago than this.
    pub longer_than_ms: Option<i64>,
}

impl ListFilter {
    fn takes(&self, metadata: &TransactionMetadata, now_ms: i64) -> bool {
        self.states.as_ref().is_none_or(|states| states.contains(&metadata.state))
            && self.producer_ids.as_ref().is_none_or(|ids| ids.contains(&metadata.producer.id))
            && self
                .longer_than_ms
                .is_none_or(|longer_than_ms| now_ms.saturating_sub(metadata.start_timestamp_ms) > longer_than_ms)
    }
}

impl TransactionState {
    /// The state of Kafka's name.
    pub fn from_name(name: &str) -> Option<Self> {
        (0..=5).filter_map(Self::from_id).find(|state| state.name() == name)
    }
}

impl TransactionCoordinator {
    pub fn describe(&self, id: &str) -> Result<DescribedTransaction, TransactionError> {
        if id.is_empty() {
            return Err(TransactionError::InvalidRequest);
        }
        self.get(id).cloned().ok_or(TransactionError::TransactionalIdNotFound)
    }

    /// Whether the partition is part of an open transaction of this producer.
    pub fn coordinates(&self, producer_id: i64, partition: &TopicPartition) -> bool {
        self.iter().any(|(_, metadata)| metadata.producer.id == producer_id && metadata.contains(partition))
    }

    pub fn list(&self, filter: &ListFilter, now_ms: i64) -> Vec<ListedTransaction> {
        let taken = self.iter().filter(|(_, metadata)| filter.takes(metadata, now_ms));
        let listed = |(id, metadata): (&TransactionalId, &TransactionMetadata)| ListedTransaction {
            transactional_id: id.clone(),
            producer_id: metadata.producer.id,
            state: metadata.state,
        };
        taken.map(listed).collect()
    }
}
