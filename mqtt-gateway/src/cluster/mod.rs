//! The tree of nodes as it sees itself: who follows whom, how much each bears, and whether there should be more or fewer.
//!
//! Each node reports to the one before it ([`report`]), with the reports of those that follow it, so that the main node knows
//! the whole tree. [`registry`] keeps what was heard lately, [`decide`] says when a cluster should grow or shrink, [`scaling`]
//! starts and drains processes on this machine by it; elsewhere the same numbers are metrics for whoever does.

mod decide;
mod registry;
mod report;
mod scaling;

pub use decide::Policy;
pub use registry::Registry;
pub use report::{NodeReport, ORDERS, Order, REPORTS, Sealed, orders_topic, report_topic};
pub use scaling::{Fleet, Scaling};
