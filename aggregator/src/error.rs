//! What can stop an aggregator.

use crate::{decision::UnreadableDecision, definition::DefinitionError, outside::UnreadablePartial};
use tifo_broker::ClientError;
use tifo_storage::record_batch::BatchError;

#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error(
        "topic {topic} holds output of another definition: it was [{written}], it is [{now}]; name another `into`, or delete the topic"
    )]
    Changed { topic: String, written: String, now: String },
    #[error("topic {0}: {1}")]
    Decision(String, #[source] UnreadableDecision),
    #[error("topic {topic} cannot be read: {source}")]
    Batch { topic: String, source: BatchError },
    #[error("topic {0}: {1}")]
    Partial(String, #[source] UnreadablePartial),
    #[error("a thread of an aggregate does not start: {0}")]
    Thread(#[source] std::io::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl AggregatorError {
    /// May pass by itself soon.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Client(ClientError::Unavailable(_)))
    }
}
