//! Members of consumer groups whose output and progress are committed as one (KIP-98, KIP-447).
//!
//! What the aggregator needs outside the broker: several instances share a topic's partitions, and one that dies leaves
//! nothing half done. Blocking: each member has a thread of its own. The room `remote` has the one implementation.

use super::ClientError;
use std::{fmt, time::Duration};
use tifo_storage::record_batch::{Record, RecordRef};

/// Who joins what.
#[derive(Debug, Clone)]
pub struct MemberSpec {
    pub group: String,
    pub topic: String,
}

/// How far a partition has been read, and a word about it that is kept with the offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    /// None: nothing was committed yet, reading begins at the log start.
    pub offset: Option<i64>,
    pub note: String,
}

/// What a member is given, in order.
#[derive(Debug)]
pub enum Step<'a> {
    /// These partitions, and no others, are the member's from now on.
    Assigned(Vec<Position>),
    /// The member has no partitions any more: what it has not committed, another does again.
    Revoked,
    Record {
        partition: i32,
        record: RecordRef<'a>,
    },
    /// All that was in the partition has been read.
    End {
        partition: i32,
    },
    /// Where the log's ends are, told now and then.
    HighWatermarks(Vec<(i32, i64)>),
}

/// A record to be written.
#[derive(Debug, Clone)]
pub struct Output {
    pub topic: String,
    pub partition: i32,
    pub record: Record,
}

pub trait Member: Send {
    /// Waits up to `max_wait` for something, then hands over what is there, `max_records` at most. Returns how many records
    /// these were. Records of aborted transactions are left out.
    fn next(
        &mut self,
        max_wait: Duration,
        max_records: usize,
        take: &mut dyn FnMut(Step<'_>),
    ) -> Result<usize, ClientError>;

    /// Writes the output and moves the group on, both or neither. After an error what became of it is not known: a
    /// member that joins anew is told where to go on.
    fn commit(&mut self, output: &[Output], progress: &[Position]) -> Result<(), ClientError>;
}

/// A log that has such groups.
pub trait Membership: fmt::Debug + Send + Sync {
    fn join(&self, spec: &MemberSpec) -> Result<Box<dyn Member>, ClientError>;
}
