//! Limits that keep one client from growing the coordinator without bound. Where Kafka has a setting, that one applies
//! first ([`crate::GroupConfig`]); these hold where Kafka trusts the request.

/// Strings in records of the coordinators bear a 16-bit length.
pub const MAX_STRING_BYTES: usize = 32_767;
/// Groups in one shard, that is, in one partition of `__consumer_offsets`.
pub const MAX_GROUPS: usize = 200_000;
/// Members of one group that were given an id (KIP-394) and have not come back with it yet.
pub const MAX_PENDING_MEMBERS: usize = 10_000;
/// Assignors that one member may offer.
pub const MAX_PROTOCOLS: usize = 100;
/// Subscriptions of one member, all its assignors together.
pub const MAX_MEMBER_METADATA_BYTES: usize = 4 << 20;
/// Assignments of one generation, all members together.
pub const MAX_ASSIGNMENT_BYTES: usize = 64 << 20;
/// Partitions with a committed offset in one group.
pub const MAX_OFFSETS_PER_GROUP: usize = 1_000_000;
/// Transactional ids in one shard, that is, in one partition of `__transaction_state`.
pub const MAX_TRANSACTIONAL_IDS: usize = 200_000;
/// Partitions that one transaction may take part in; each of its records names them all.
pub const MAX_PARTITIONS_OF_TRANSACTION: usize = 20_000;
/// Topics that one member of a share or consumer group may subscribe to by name.
pub const MAX_SUBSCRIBED_TOPICS: usize = 10_000;
