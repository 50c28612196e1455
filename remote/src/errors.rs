//! What librdkafka says, as the door words it.

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};
use tifo_broker::ClientError;

/// An error of a question about one topic's partition.
pub fn about(topic: &str, partition: i32, error: &KafkaError) -> ClientError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            ClientError::UnknownTopic(topic.to_owned())
        }
        Some(RDKafkaErrorCode::UnknownPartition) => {
            ClientError::UnknownPartition { topic: topic.to_owned(), partition }
        }
        _ => general(error),
    }
}

/// What the cluster refuses for good stays refused; all else may pass.
pub fn general(error: &KafkaError) -> ClientError {
    let text = error.to_string();
    match error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_) => ClientError::Refused(text),
        _ if error.rdkafka_error_code().is_some_and(is_refusal) => ClientError::Refused(text),
        _ => ClientError::Unavailable(text),
    }
}

/// The client is broken for good: another one must be made.
pub fn is_fatal(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_fatal(),
        KafkaError::MessageConsumptionFatal(_) => true,
        _ => error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal),
    }
}

fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::MessageBatchTooLarge
            | Code::InvalidTopic
            | Code::InvalidConfig
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::PolicyViolation
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::UnsupportedVersion
            | Code::InvalidGroupId
    )
}
