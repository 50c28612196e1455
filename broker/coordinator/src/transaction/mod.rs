//! The transaction coordinator of one partition of `__transaction_state` (KIP-98, KIP-360, KIP-890).
//!
//! ```text
//! Empty --partition added--> Ongoing --EndTxn--> PrepareCommit --all markers written--> CompleteCommit
//!                             ^  |  +--abort, time-out, fencing--> PrepareAbort ------> CompleteAbort
//!                             +--+ further partitions; the Complete states begin anew like Empty
//! ```
//!
//! Requests decide and change nothing: `(state, request, now) -> (record, reply)`. The caller appends the record and gives it to
//! [`TransactionCoordinator::replay`], which alone changes state. What is in a Prepare state is decided for good: whoever
//! hosts the coordinator takes it by [`TransactionCoordinator::take_prepared`], writes the markers, and says so by `complete`.
//! Nothing in here knows partitions' logs.

mod coordinator;
mod end;
mod init_producer_id;
mod metadata;
mod partitions;
mod query;

pub use coordinator::{Decision, Ending, TransactionCoordinator};
pub use end::EndRequest;
pub use init_producer_id::InitProducerIdRequest;
pub use metadata::{ClientVersion, Outcome, Producer, TransactionMetadata, TransactionRecord, TransactionState};
pub use partitions::AddPartitionsRequest;
pub use query::{DescribedTransaction, ListFilter, ListedTransaction};

use std::sync::Arc;

pub type TransactionalId = Arc<str>;
/// A partition that takes part in a transaction.
pub type TopicPartition = (Arc<str>, i32);
