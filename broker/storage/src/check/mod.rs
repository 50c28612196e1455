//! Checking and repairing the files of partitions, with no broker running: `tifo log check` and `tifo log repair`.
//!
//! Check reads every file of every kind and changes nothing. Repair changes only what check complains of; bytes that it takes out of a
//! `.log` are kept aside in a `.damaged` file, and offsets stay what they were. Whoever calls has made sure that no broker uses the
//! directory.

mod batches;
mod indexes;
mod partition;
mod repair;
mod side_files;
#[cfg(test)]
mod tests;

pub use partition::check_partition;
pub use repair::{Repaired, repair_partition};

use crate::{
    StorageError, checkpoint,
    file_system::{FileSystem, io_error},
    segment::FileKind,
};
use std::path::{Path, PathBuf};

/// What bytes that repair took out of a file are kept in.
pub(crate) const KEPT_ASIDE_SUFFIX: &str = ".damaged";

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong; said for completeness.
    Note,
    /// The broker mends it by itself, at its next start or when it first uses the file. No record that was there is lost by it.
    Harmless,
    /// Records are lost, or the partition is or goes offline, or answers could be wrong: until repair.
    Damage,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Harmless => "harmless",
            Self::Damage => "damage",
        }
    }
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub file: PathBuf,
    /// Byte in the file, where one can be named.
    pub position: Option<u64>,
    pub problem: String,
    /// What it means for readers and writers.
    pub meaning: String,
    /// What repair does about it.
    pub repair: String,
}

/// What check found in one partition's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionReport {
    pub dir: PathBuf,
    pub segments: usize,
    /// Records in whole, right batches.
    pub records: u64,
    /// First offset, and the one that comes next.
    pub offsets: (i64, i64),
    pub findings: Vec<Finding>,
}

impl PartitionReport {
    /// The worst of the findings; None if there is nothing to tell.
    pub fn severity(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    pub fn is_wrong(&self) -> bool {
        self.severity() > Some(Severity::Note)
    }
}

/// The partition directories in `dir`, sorted: `dir` itself if it is one, else those below it.
pub fn partition_dirs(file_system: &dyn FileSystem, dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let names = file_system.list_dir(dir).map_err(io_error("list", dir))?;
    if is_partition(&names) {
        return Ok(vec![dir.into()]);
    }
    let mut found = Vec::new();
    for name in names.iter().filter(|name| may_be_partition(name)) {
        let below = dir.join(name);
        if file_system.list_dir(&below).is_ok_and(|names| is_partition(&names)) {
            found.push(below);
        }
    }
    found.sort();
    Ok(found)
}

fn is_partition(names: &[String]) -> bool {
    names.iter().any(|name| {
        FileKind::of(name).is_some() || [checkpoint::FILE_NAME, crate::partition_metadata::FILE_NAME].contains(&&**name)
    })
}

/// Directories of deleted and set-aside partitions are nobody's any more.
fn may_be_partition(name: &str) -> bool {
    !name.starts_with('.') && !name.ends_with("-delete") && !name.ends_with("-stray")
}
