//! Why a request to a coordinator was refused. The server maps each to Kafka's error code of the same name.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GroupError {
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    #[error("this is not the right coordinator")]
    NotCoordinator,
    #[error("the group id is not valid")]
    InvalidGroupId,
    #[error("the coordinator does not know this member")]
    UnknownMemberId,
    #[error("the generation is not the current one")]
    IllegalGeneration,
    #[error("the protocols do not fit those of the group")]
    InconsistentGroupProtocol,
    #[error("the session timeout is outside the allowed range")]
    InvalidSessionTimeout,
    #[error("the group is rebalancing, a rejoin is needed")]
    RebalanceInProgress,
    #[error("join again with the member id given")]
    MemberIdRequired,
    #[error("another member has taken over this group instance id")]
    FencedInstanceId,
    #[error("the group has reached its maximum size")]
    GroupMaxSizeReached,
    #[error("the group does not exist")]
    GroupIdNotFound,
    #[error("the group is not empty")]
    NonEmptyGroup,
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    #[error("the metadata of the offset is too large")]
    OffsetMetadataTooLarge,
    #[error("the group holds too many offsets")]
    InvalidCommitOffsetSize,
    #[error("the request is not valid")]
    InvalidRequest,
    #[error("the member epoch is not the current one: the member must give up all its partitions and join again")]
    FencedMemberEpoch,
    #[error("the member epoch is older than the current one")]
    StaleMemberEpoch,
    #[error("another member uses this group instance id and has not left")]
    UnreleasedInstanceId,
    #[error("OffsetCommit before version 9 does not know member epochs")]
    UnsupportedVersion,
    #[error("there is no such server-side assignor")]
    UnsupportedAssignor,
    #[error("the regular expression is not valid")]
    InvalidRegularExpression,
}

/// Why a request about a transaction was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TransactionError {
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    #[error("this is not the right coordinator")]
    NotCoordinator,
    #[error("the request is not valid")]
    InvalidRequest,
    #[error("the transaction timeout is not within transaction.max.timeout.ms")]
    InvalidTransactionTimeout,
    #[error("the producer id is not the one of its transactional id")]
    InvalidProducerIdMapping,
    #[error("a newer producer with this transactional id has taken over")]
    ProducerFenced,
    #[error("another operation on this transaction is under way")]
    ConcurrentTransactions,
    #[error("the transaction is in another state")]
    InvalidTransactionState,
    #[error("the partition is not part of the transaction")]
    TransactionAbortable,
    #[error("the transactional id is not known")]
    TransactionalIdNotFound,
}

/// Why a request of or about a share group was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ShareError {
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    #[error("this is not the right coordinator")]
    NotCoordinator,
    #[error("the request is not valid")]
    InvalidRequest,
    #[error("the group id is not valid")]
    InvalidGroupId,
    #[error("there is no share group of this id")]
    GroupIdNotFound,
    #[error("the coordinator does not know this member")]
    UnknownMemberId,
    #[error("the member has another epoch, it must join again")]
    FencedMemberEpoch,
    #[error("the share group has reached its maximum size")]
    GroupMaxSizeReached,
    #[error("the share group has members")]
    NonEmptyGroup,
    #[error("a record is not held by this member")]
    InvalidRecordState,
    #[error("there is no such share session")]
    ShareSessionNotFound,
    #[error("the epoch of the share session is another")]
    InvalidShareSessionEpoch,
    #[error("this server does not host this topic-partition")]
    UnknownTopicOrPartition,
    #[error("this server does not host this topic id")]
    UnknownTopicId,
    #[error("the disk does not take the state of the share partition")]
    StorageError,
}
