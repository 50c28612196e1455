//! Windows over a raw topic, exactly once, inside the broker.
//!
//! The way of an event: `reader` (fetch) -> `event` (JSON to time, group and inputs) -> `engine` (windows, pure;
//! each partition's part in `source`, `slice`, `votes`, `sessions`, `measure`) -> `rows` (one
//! batch with the `decision`) -> aggregate topic; what is not counted goes through `side_topics`. `recovery` reads
//! the last decision after any stop. It reaches the log only through `tifo_broker::LogClient`.
//!
//! State is a function of (definition, raw topic): nothing is kept anywhere else. docs/aggregates.md describes the
//! records.

mod aggregator;
mod committer;
mod decision;
mod definition;
mod duration_text;
mod engine;
mod error;
mod event;
mod event_time;
mod extract;
mod first_look;
mod group;
mod hint;
mod late_marks;
mod measure;
mod meters;
mod offset_ranges;
mod outside;
mod pump;
mod reader;
mod recovery;
mod registry;
mod rows;
mod rules;
mod sessions;
mod side_topics;
mod slice;
mod snapshot;
mod source;
mod status;
mod voter_table;
mod votes;

#[cfg(test)]
mod complaint_tests;
#[cfg(test)]
mod correction_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod engine_tests;
#[cfg(test)]
mod registry_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod task_tests;
#[cfg(test)]
mod test_events;
#[cfg(test)]
mod test_log;
#[cfg(test)]
mod window_tests;

pub use aggregator::Aggregator;
pub use decision::{DECISION_HEADER, Decision, PartitionDecision, Totals};
pub use definition::{
    Condition, Dedup, Definition, DefinitionError, Function, Keep, Limit, Literal, Measure, Moment, Paths, Shape,
    SideTopic, TimeSource, Top, Window,
};
pub use error::AggregatorError;
pub use outside::Outside;
pub use registry::{DEFINITIONS_TOPIC, DeclareError, MAX_AGGREGATES, Registry, Shown};
pub use status::{PartitionStatus, State, Status, StatusHandle, WindowStatus};
