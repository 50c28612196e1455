//! Share groups (KIP-932): members, the records that they hold of partitions, and what of it is durable.
//!
//! Three state machines that know nothing of each other, put together by the server:
//! - [`ShareGroups`]: who is a member and which partitions each reads; records of `__consumer_offsets`.
//! - [`SharePartition`]: which records of one partition are available, held by a member, or done with. In memory; what must
//!   survive leaves it as [`Change`], is written, and only then applied.
//! - [`ShareStates`]: the share coordinator of one partition of `__share_group_state`: what survives of each share partition.
//!
//! Nothing in here reads a log or a clock.

mod acknowledge;
mod acquire;
mod assignor;
mod group;
mod heartbeat;
mod membership;
mod partition;
mod query;
mod runs;
mod states;

pub use acknowledge::{Acknowledge, AcknowledgementBatch};
pub use acquire::{Acquire, AcquiredRecords, LogBatch};
pub use assignor::{Subscriptions, TopicImage, assign};
pub use group::{Assignment, ShareGroupRecord, StatePartitions, StateTopic};
pub use heartbeat::{HeartbeatReply, HeartbeatRequest};
pub use membership::{Decision, ShareGroups};
pub use partition::{Change, Limits, RecordState, SharePartition};
pub use query::{DescribedShareGroup, DescribedShareMember};
pub use states::{Latest, ShareKey, ShareState, ShareStateRecord, ShareStates, StateBatch, Update};
