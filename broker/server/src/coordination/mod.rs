//! What the hosts of all coordinators share: an internal topic whose partitions are shards, the records that a shard writes, and
//! the clock that it is woken by.
//!
//! A shard is a state machine of `tifo_coordinator` and the partition that keeps its records. Nothing in here decides about
//! groups or transactions.

mod internal_topic;
pub mod loading;
mod records;
mod timer;

pub use internal_topic::{Hosted, InternalTopic};
pub use records::encode;

/// No deadline.
pub const NEVER_MS: i64 = i64::MAX;

/// What an internal topic needs to know of its shards.
pub trait Shard: Send + Sync + 'static {
    /// When [`Self::expire`] is due.
    fn deadline_ms(&self) -> i64;
    /// Lets time pass.
    fn expire(&self);
    /// The topic is gone: who waits is told.
    fn close(&self);
}

/// The shard that holds an id, as Kafka finds it: `String.hashCode` of Java, made positive.
pub fn slot(id: &str, shards: usize) -> usize {
    let hash = id.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = hash.checked_abs().unwrap_or(0);
    usize::try_from(positive).unwrap_or(0).checked_rem(shards).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `Utils.abs("…".hashCode()) % 50` in Java.
    #[test]
    fn ids_lie_where_kafka_puts_them() {
        for (id, partition) in [("", 0), ("g", 3), ("console-consumer-1", 24), ("größe", 7)] {
            assert_eq!(slot(id, 50), partition, "{id}");
        }
    }
}
