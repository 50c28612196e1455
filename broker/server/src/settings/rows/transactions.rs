//! Transactions.

use super::{TRANSACTIONS, idle, works};
use crate::settings::{
    Legal::{Any, AtLeast},
    Setting,
    SettingType::{Boolean, Int, Short},
    Update::{ClusterWide, ReadOnly},
};

#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    idle("add.partitions.to.txn.retry.backoff.max.ms", Int, Some("100"), AtLeast(0), ReadOnly, TRANSACTIONS),
    idle("add.partitions.to.txn.retry.backoff.ms", Int, Some("20"), AtLeast(1), ReadOnly, TRANSACTIONS),
    idle("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Some("10000"), AtLeast(1), ReadOnly, TRANSACTIONS),
    works("transaction.max.timeout.ms", Int, Some("900000"), AtLeast(1), ReadOnly, "Longest time-out that a transactional producer may ask for."),
    idle("transaction.partition.verification.enable", Boolean, Some("true"), Any, ClusterWide, TRANSACTIONS),
    idle("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Some("3600000"), AtLeast(1), ReadOnly, TRANSACTIONS),
    idle("transaction.state.log.load.buffer.size", Int, Some("5242880"), AtLeast(1), ReadOnly, TRANSACTIONS),
    idle("transaction.state.log.min.isr", Int, Some("1"), AtLeast(1), ReadOnly, TRANSACTIONS),
    works("transaction.state.log.num.partitions", Int, Some("50"), AtLeast(1), ReadOnly, "Partitions of __transaction_state; to be set before the first transaction."),
    idle("transaction.state.log.replication.factor", Short, Some("1"), AtLeast(1), ReadOnly, TRANSACTIONS),
    works("transaction.state.log.segment.bytes", Int, Some("104857600"), AtLeast(1), ReadOnly, "Segment size of __transaction_state."),
    idle("transaction.two.phase.commit.enable", Boolean, Some("false"), Any, ReadOnly, TRANSACTIONS),
    works("transactional.id.expiration.ms", Int, Some("604800000"), AtLeast(1), ReadOnly, "How long an unused transactional id is remembered."),
];
