//! What the tests share: the file system that fails and crashes (also for the tests of the crates below, by the feature
//! `testing`), batches, logs in temporary directories, everything a log holds.

mod file_system;
#[cfg(test)]
mod logs;

pub use file_system::{EDQUOT, EIO, EMFILE, ENOSPC, Fault, IMAGES, Image, TestFileSystem};
#[cfg(test)]
pub(crate) use logs::*;
