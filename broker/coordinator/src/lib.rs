//! State machines of the coordinators: `(state, request, now) -> (records, response)`.
//!
//! The server appends the records; `replay(record)` alone changes durable state, live and at recovery.
//! No I/O and no clock in here: time is an input, in ms since the epoch.
