//! The door: how the aggregator and the gateways reach the log.
//!
//! One trait with two sides, so that the same gateways run without a socket (`local_client`) and against a remote Apache
//! Kafka (the room `remote`). It speaks record batches
//! (`tifo_storage::record_batch`): what is fetched is what lies on disk, what is appended is stored as it comes.

mod groups;
mod member;

pub use groups::{
    AssignedTopic, Group, GroupCondition, GroupListing, GroupMember, GroupOffset, GroupWait, WantedState,
};
pub use member::{Member, MemberSpec, Membership, Output, Position, Step};

use async_trait::async_trait;
use bytes::Bytes;
use std::{collections::BTreeMap, time::Duration};
use tifo_storage::record_batch;

/// Why the log did not do it. `Unavailable` may pass by itself: try again; the others will not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    #[error("topic {0} does not exist")]
    UnknownTopic(String),
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition { topic: String, partition: i32 },
    #[error("offset {offset} of {topic}-{partition} is out of range {start}..={end}")]
    OffsetOutOfRange { topic: String, partition: i32, offset: i64, start: i64, end: i64 },
    #[error("refused: {0}")]
    Refused(String),
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
}

/// What to create a topic with. Settings carry Kafka's names.
#[derive(Debug, Clone, Default)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    pub settings: BTreeMap<String, String>,
}

/// Batches as they lie in the log; the first may begin below the offset asked for.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Whole batches, to be walked with `tifo_storage::record_batch::batches`. Empty: nothing came in time.
    pub batches: Bytes,
    pub log_start_offset: i64,
    pub high_watermark: i64,
}

/// The log as the aggregator and the gateways see it.
#[async_trait]
pub trait LogClient: Send + Sync + std::fmt::Debug + 'static {
    /// Creates the topic if it is missing; an existing one is left as it is. Usable when this returns.
    async fn ensure_topic(&self, topic: &TopicSpec) -> Result<(), ClientError>;

    /// The topics there are, where a missing one is not created on demand (`auto.create.topics.enable=false`); else nothing.
    fn only_topics(&self) -> Option<Vec<String>> {
        None
    }

    /// Number of partitions.
    async fn partitions(&self, topic: &str) -> Result<i32, ClientError>;

    /// Appends whole v2 batches (base offset 0) built by `BatchBuilder`; returns the first record's offset once the log has
    /// them (the topic's durability applies).
    async fn append(&self, topic: &str, partition: i32, batches: Bytes) -> Result<i64, ClientError>;

    /// The same, with the offset of every record: where others write too, they need not follow one another.
    async fn append_each(&self, topic: &str, partition: i32, batches: Bytes) -> Result<Vec<i64>, ClientError> {
        let records: i64 = record_batch::batches(batches.clone())
            .filter_map(Result::ok)
            .map(|batch| i64::from(batch.header.record_count))
            .sum();
        let first = self.append(topic, partition, batches).await?;
        Ok((first..first + records).collect())
    }

    /// Batches from `offset` on, at most `max_bytes` but at least one batch; waits up to `max_wait` for the first.
    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: usize,
        max_wait: Duration,
    ) -> Result<Fetched, ClientError>;

    /// (log start offset, high watermark).
    async fn offsets(&self, topic: &str, partition: i32) -> Result<(i64, i64), ClientError>;

    /// Commits offsets of an ordinary group without members, so that stock tools show its lag.
    async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), ClientError>;

    /// Committed offsets of a group for a topic; partitions without one are absent.
    async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, ClientError>;

    /// A fresh (producer id, producer epoch), for batches built with `BatchBuilder::idempotent`: one that was appended
    /// before is answered by `append` with the offset of the first time. The log remembers this across a kill.
    async fn init_producer_id(&self) -> Result<(i64, i16), ClientError> {
        Err(ClientError::Refused("this log gives out no producer ids".to_owned()))
    }

    /// All groups there are.
    async fn groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        Err(no_groups())
    }

    /// A group as it is now; `None`: it does not exist.
    async fn group(&self, _group: &str) -> Result<Option<Group>, ClientError> {
        Err(no_groups())
    }

    /// Returns as soon as the condition holds of the group, which need not exist yet, or when the time is over.
    async fn wait_for_group(
        &self,
        _group: &str,
        _condition: &GroupCondition,
        _max_wait: Duration,
    ) -> Result<GroupWait, ClientError> {
        Err(no_groups())
    }
}

fn no_groups() -> ClientError {
    ClientError::Refused("this log does not show its groups".to_owned())
}
