//! Waiting for the disk without holding up those who do not: sync threads, and the care for workers that a disk stalls.
//!
//! A partition that wants to be durable asks [`sync`] for a round; one round covers everything that was appended before it began, so all
//! producers that wait share it. Rounds of several partitions run in a few threads of their own. [`patience`] keeps
//! a disk that stalls under one partition from taking the async workers away from the others.

pub mod patience;
pub mod sync;
