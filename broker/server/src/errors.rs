//! Why a request is refused, and the one place that maps it to Kafka's error codes.

use kafka_protocol::{ResponseError, protocol::StrBytes};
use tifo_storage::{AppendError, StorageError};

/// A refusal, worded for the client. Kafka's own wording where there is one.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("This server does not host this topic-partition.")]
    UnknownTopicOrPartition,
    #[error("The topic '{0}' does not exist.")]
    NoSuchTopic(String),
    #[error("This server does not host this topic ID.")]
    UnknownTopicId,
    #[error("The requested offset is not within the range of offsets maintained by the server.")]
    OffsetOutOfRange { start: i64, end: i64 },
    #[error("{0}")]
    InvalidTopic(String),
    #[error("Topic '{0}' already exists.")]
    TopicAlreadyExists(String),
    #[error("{0}")]
    InvalidPartitions(String),
    #[error("{0}")]
    InvalidReplicationFactor(String),
    #[error("{0}")]
    InvalidReplicaAssignment(String),
    #[error("{0}")]
    InvalidConfig(String),
    #[error("{0}")]
    InvalidRequest(String),
    #[error("{0}")]
    PolicyViolation(String),
    #[error("Topic deletion is disabled.")]
    TopicDeletionDisabled,
    #[error("The version of API is not supported.")]
    UnsupportedVersion,
    #[error("The leader epoch in the request is older than the epoch on the broker.")]
    FencedLeaderEpoch,
    #[error("The leader epoch in the request is newer than the epoch on the broker.")]
    UnknownLeaderEpoch,
    #[error("Produce request specified an invalid value for required acks.")]
    InvalidRequiredAcks,
    #[error("Produce requests hold exactly one whole record batch per partition.")]
    NotOneBatch,
    #[error("The requesting client does not support the compression type of given partition.")]
    UnsupportedCompressionType,
    /// The transaction's coordinator did not let it in.
    #[error("The transaction's coordinator did not let the batch in: {0}")]
    Transaction(ResponseError),
    #[error("A transactional batch needs a transactional id.")]
    TransactionalIdAuthorizationFailed,
    #[error("{0}")]
    Append(#[from] AppendError),
    #[error("Disk error when trying to access log file on the disk.")]
    Storage(#[from] StorageError),
    /// The partition was taken offline before, the reason is in the log.
    #[error("Disk error when trying to access log file on the disk.")]
    Offline,
    /// What Kafka answers without words.
    #[error("Unknown operation {0}")]
    UnknownOperation(i8),
    /// So many wait for the partition's disk already that no more can. Clients try again, as after a fault of the disk.
    #[error("The disk of this partition does not answer.")]
    Stalled,
    /// A mistake of ours, or a task that did not come back.
    #[error("{0}")]
    Unexpected(String),
}

impl RequestError {
    /// Kafka's error code.
    pub fn kind(&self) -> ResponseError {
        match self {
            Self::UnknownTopicOrPartition | Self::NoSuchTopic(_) => ResponseError::UnknownTopicOrPartition,
            Self::UnknownTopicId => ResponseError::UnknownTopicId,
            Self::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
            Self::InvalidTopic(_) => ResponseError::InvalidTopicException,
            Self::TopicAlreadyExists(_) => ResponseError::TopicAlreadyExists,
            Self::InvalidPartitions(_) => ResponseError::InvalidPartitions,
            Self::InvalidReplicationFactor(_) => ResponseError::InvalidReplicationFactor,
            Self::InvalidReplicaAssignment(_) => ResponseError::InvalidReplicaAssignment,
            Self::InvalidConfig(_) => ResponseError::InvalidConfig,
            Self::InvalidRequest(_) => ResponseError::InvalidRequest,
            Self::PolicyViolation(_) => ResponseError::PolicyViolation,
            Self::TopicDeletionDisabled => ResponseError::TopicDeletionDisabled,
            Self::UnsupportedVersion => ResponseError::UnsupportedVersion,
            Self::FencedLeaderEpoch => ResponseError::FencedLeaderEpoch,
            Self::UnknownLeaderEpoch => ResponseError::UnknownLeaderEpoch,
            Self::InvalidRequiredAcks => ResponseError::InvalidRequiredAcks,
            Self::NotOneBatch => ResponseError::InvalidRecord,
            Self::UnsupportedCompressionType => ResponseError::UnsupportedCompressionType,
            Self::Transaction(kind) => *kind,
            Self::TransactionalIdAuthorizationFailed => ResponseError::TransactionalIdAuthorizationFailed,
            Self::Append(error) => append_kind(error),
            Self::Storage(_) | Self::Offline | Self::Stalled => ResponseError::KafkaStorageError,
            Self::Unexpected(_) | Self::UnknownOperation(_) => ResponseError::UnknownServerError,
        }
    }

    pub fn code(&self) -> i16 {
        self.kind().code()
    }

    pub fn message(&self) -> StrBytes {
        StrBytes::from_string(self.to_string())
    }
}

fn append_kind(error: &AppendError) -> ResponseError {
    match error {
        AppendError::Corrupt(_) => ResponseError::CorruptMessage,
        AppendError::TooLarge { .. } => ResponseError::MessageTooLarge,
        // Kafka 4 knows formats 0 and 1 well enough to refuse them.
        AppendError::UnsupportedMagic(0 | 1) => ResponseError::InvalidRecord,
        AppendError::UnsupportedMagic(_) => ResponseError::CorruptMessage,
        AppendError::InvalidRecord(_) => ResponseError::InvalidRecord,
        AppendError::InvalidRecords { is_about_time: true, .. } => ResponseError::InvalidTimestamp,
        AppendError::InvalidRecords { .. } => ResponseError::InvalidRecord,
        AppendError::OverSegment { .. } => ResponseError::RecordListTooLarge,
        AppendError::OutOfOrderSequence { .. } => ResponseError::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch { .. } => ResponseError::InvalidProducerEpoch,
        AppendError::InvalidTransactionState { .. } => ResponseError::InvalidTxnState,
        AppendError::CoordinatorFenced { .. } => ResponseError::TransactionCoordinatorFenced,
        AppendError::UnknownProducerId(_) => ResponseError::UnknownProducerId,
        AppendError::Storage(_) => ResponseError::KafkaStorageError,
    }
}
