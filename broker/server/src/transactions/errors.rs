//! The one place that maps the transaction coordinator's errors to Kafka's.

use kafka_protocol::ResponseError;
use tifo_coordinator::TransactionError;

pub fn kind(error: TransactionError) -> ResponseError {
    match error {
        TransactionError::CoordinatorNotAvailable => ResponseError::CoordinatorNotAvailable,
        TransactionError::NotCoordinator => ResponseError::NotCoordinator,
        TransactionError::InvalidRequest => ResponseError::InvalidRequest,
        TransactionError::InvalidTransactionTimeout => ResponseError::InvalidTransactionTimeout,
        TransactionError::InvalidProducerIdMapping => ResponseError::InvalidProducerIdMapping,
        TransactionError::ProducerFenced => ResponseError::ProducerFenced,
        TransactionError::ConcurrentTransactions => ResponseError::ConcurrentTransactions,
        TransactionError::InvalidTransactionState => ResponseError::InvalidTxnState,
        TransactionError::TransactionAbortable => ResponseError::TransactionAbortable,
        TransactionError::TransactionalIdNotFound => ResponseError::TransactionalIdNotFound,
    }
}

pub fn code(error: TransactionError) -> i16 {
    kind(error).code()
}

/// For clients that do not know PRODUCER_FENCED (KIP-588).
pub fn code_before_fenced(error: TransactionError) -> i16 {
    match error {
        TransactionError::ProducerFenced => ResponseError::InvalidProducerEpoch.code(),
        error => code(error),
    }
}
