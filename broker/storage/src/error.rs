//! What can go wrong with files.

use std::path::PathBuf;

/// A fault of the disk or of what lies on it; takes one partition offline, never the process.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("{operation} {path}: {source}", path = path.display())]
    Io { operation: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} is damaged at byte {position}: {reason}", path = path.display())]
    Corrupt { path: PathBuf, position: u64, reason: String },
    /// An earlier fault (failed fsync, a write that could not be undone) closed this log for writing until it is reopened.
    #[error("{path} is offline since: {reason}", path = path.display())]
    Offline { path: PathBuf, reason: String },
}
