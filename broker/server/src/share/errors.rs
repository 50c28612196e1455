//! The one place that maps the errors of share groups to Kafka's codes.

use super::Refused;
use kafka_protocol::ResponseError;
use tifo_coordinator::ShareError;

pub fn kind(error: ShareError) -> ResponseError {
    match error {
        ShareError::CoordinatorNotAvailable => ResponseError::CoordinatorNotAvailable,
        ShareError::NotCoordinator => ResponseError::NotCoordinator,
        ShareError::InvalidRequest => ResponseError::InvalidRequest,
        ShareError::InvalidGroupId => ResponseError::InvalidGroupId,
        ShareError::GroupIdNotFound => ResponseError::GroupIdNotFound,
        ShareError::UnknownMemberId => ResponseError::UnknownMemberId,
        ShareError::FencedMemberEpoch => ResponseError::FencedMemberEpoch,
        ShareError::GroupMaxSizeReached => ResponseError::GroupMaxSizeReached,
        ShareError::NonEmptyGroup => ResponseError::NonEmptyGroup,
        ShareError::InvalidRecordState => ResponseError::InvalidRecordState,
        ShareError::ShareSessionNotFound => ResponseError::ShareSessionNotFound,
        ShareError::InvalidShareSessionEpoch => ResponseError::InvalidShareSessionEpoch,
        ShareError::UnknownTopicOrPartition => ResponseError::UnknownTopicOrPartition,
        ShareError::UnknownTopicId => ResponseError::UnknownTopicId,
        ShareError::StorageError => ResponseError::KafkaStorageError,
    }
}

/// 0 for none.
pub fn code(error: Option<ShareError>) -> i16 {
    error.map_or(0, |error| kind(error).code())
}

impl Refused {
    pub fn kind(self) -> ResponseError {
        match self {
            Self::Because(error) => kind(error),
            Self::LimitReached => ResponseError::ShareSessionLimitReached,
        }
    }
}
