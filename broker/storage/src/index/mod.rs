//! Indexes of a segment: files of fixed-size sorted entries, one generic file under all of them.
//!
//! An index is only a help. Whoever looks up verifies in the log what it says (the transaction index: by a digest); a damaged one
//! costs a rebuild, never a wrong answer.

mod index_file;
#[cfg(test)]
mod look_up_tests;
mod offset_index;
mod time_index;
mod transaction_index;

pub(crate) use index_file::{IndexEntry, IndexFile};
pub(crate) use offset_index::{OffsetEntry, OffsetIndex};
pub(crate) use time_index::{TimeEntry, TimeIndex};
pub use transaction_index::AbortedTransaction;
pub(crate) use transaction_index::{AbortDigest, TransactionIndex};
