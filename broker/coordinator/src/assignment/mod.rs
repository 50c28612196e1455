//! What the group protocols with server-side assignment have in common (KIP-848, KIP-932): the topics as a group sees them,
//! the partitions that a member is to have, and the assignors that share them out.
//!
//! Pure: an assignor is a function of its [`GroupSpec`]. Nothing in here knows members' epochs, records or requests.

mod assignor;
mod metadata_hash;
mod mixed;
mod range;
mod topics;
mod uniform;

pub use assignor::{Assignor, GroupSpec, MemberSpec};
pub use topics::{TopicMetadata, TopicsImage};

use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Partitions by topic id.
pub type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

/// The number of partitions in an assignment.
pub fn size(assignment: &Assignment) -> usize {
    assignment.values().map(BTreeSet::len).sum()
}
