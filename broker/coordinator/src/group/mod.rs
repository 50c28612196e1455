//! The group coordinator of one partition of `__consumer_offsets`.
//!
//! [`GroupCoordinator`] keeps the groups; `classic/` is the protocol of Join, Sync, Heartbeat and LeaveGroup, which is
//! soft state but for what a generation leaves behind as [`crate::record::GroupMetadata`]; `consumer/` is that of KIP-848; `offsets.rs` is the durable
//! offsets, which every group protocol shares; `pending.rs` those that open transactions will commit. Further protocols get a folder beside `classic/`.

mod classic;
mod consumer;
mod consumer_protocol;
mod coordinator;
mod offsets;
mod overview;
mod pending;
mod query;
mod request;
mod transactions;

pub use consumer::{DescribedConsumerGroup, DescribedConsumerMember, JOIN_EPOCH, LEAVE_EPOCH, STATIC_LEAVE_EPOCH};
pub use coordinator::GroupCoordinator;
pub use overview::{AssignedPartitions, GroupOverview, MemberOverview};
pub use query::{DescribedGroup, DescribedMember, FetchedOffsets, ListedGroup, PartitionOffset};
pub use request::{
    ConsumerHeartbeatReply, ConsumerHeartbeatRequest, HeartbeatRequest, JoinReply, JoinRequest, JoinedMember,
    LeaveReply, LeaveRequest, LeavingMember, OffsetCommitRequest, OffsetDeleteRequest, OffsetToCommit, Output,
    PartitionResult, Protocol, Reply, Request, SyncReply, SyncRequest, Ticket, TransactionalCommit,
};

use std::sync::Arc;

pub type GroupId = Arc<str>;
pub type MemberId = Arc<str>;
