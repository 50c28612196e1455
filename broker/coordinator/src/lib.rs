//! State machines of the coordinators: `(state, request, now) -> (records, replies)`.
//!
//! The server appends the records, gives each to `replay` and then sends the replies; `replay(record)` alone changes
//! durable state, live and at recovery. No I/O, no clock and no randomness in here: time (ms since the epoch) and
//! unique ids are inputs. A request bears a [`Ticket`], because a JoinGroup or SyncGroup may be answered much later, by
//! another member's request or by the passing of time.

pub mod assignment;
mod config;
mod error;
pub mod group;
pub mod limits;
pub mod record;
pub mod share;
mod timers;
pub mod transaction;

pub use config::{ConsumerGroupConfig, ConsumerGroupSettings, GroupConfig, MigrationPolicy, TransactionConfig};
pub use error::{GroupError, ShareError, TransactionError};
pub use group::{GroupCoordinator, Output, Reply, Request, Ticket};
pub use record::{DecodeError, Record};
pub use transaction::{TransactionCoordinator, TransactionRecord};
