//! Closing many logs at once.
//!
//! Each log alone takes some four syncs; ten thousand of them would take a minute. So their data is synced by one call for the whole
//! file system, then the checkpoints are written, then these are synced by another. The order is that of a single close: no checkpoint
//! is written before what it vouches for is on stable storage.

use super::{Log, checkpointing::CheckpointNote};
use crate::{StorageError, file_system::FileSystem};
use std::{io, path::Path};

/// Fewer logs than this are synced one by one: a call for the whole file system also waits for what others have written to it.
const MANY: usize = 64;

/// Closes all of them cleanly, so that the next start scans nothing; says of each, in order, whether it was.
pub fn close_all(file_system: &dyn FileSystem, data_dir: &Path, logs: Vec<Log>) -> Vec<Result<(), StorageError>> {
    if logs.iter().filter(|log| log.wants_checkpoint()).count() < MANY {
        close_each(logs)
    } else {
        close_together(file_system, data_dir, logs)
    }
}

pub(super) fn close_together(
    file_system: &dyn FileSystem,
    data_dir: &Path,
    mut logs: Vec<Log>,
) -> Vec<Result<(), StorageError>> {
    let begun = logs.iter_mut().map(|log| Ok(log.begin_checkpoint()?.map(|work| work.note())));
    let notes: Vec<Result<Option<CheckpointNote>, StorageError>> = begun.collect();
    match file_system.sync_everything(data_dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return close_each(logs),
        // What could not be written is gone from memory too: nothing is vouched for, and the next start scans.
        Err(error) => return logs.iter().map(|_| Err(failed(data_dir, error.kind()))).collect(),
    }
    let written = notes.into_iter().map(|note| note?.map_or(Ok(()), CheckpointNote::write)).collect();
    match file_system.sync_everything(data_dir) {
        Ok(()) => written,
        Err(error) => logs.iter().map(|_| Err(failed(data_dir, error.kind()))).collect(),
    }
}

fn failed(data_dir: &Path, kind: io::ErrorKind) -> StorageError {
    StorageError::Io { operation: "sync", path: data_dir.into(), source: kind.into() }
}

fn close_each(logs: Vec<Log>) -> Vec<Result<(), StorageError>> {
    logs.into_iter().map(Log::close).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::{file_system::RealFileSystem, log::closing::*, testing::*};

    #[test]
    fn many_logs_are_closed_cleanly() {
        let data = temporary_dir();
        let dirs: Vec<_> = (0..MANY + 5).map(|number| data.path().join(format!("t-{number}"))).collect();
        let logs = dirs.iter().enumerate().map(|(number, dir)| {
            let (mut log, _) = open(dir, small_segments());
            for round in 0..number {
                append(&mut log, &producer_batch((1, 0, i32::try_from(round).unwrap() * 5), 5));
            }
            log
        });
        assert!(close_all(&RealFileSystem, data.path(), logs.collect()).iter().all(Result::is_ok));
        for (number, dir) in dirs.iter().enumerate() {
            let (log, recovered) = open(dir, small_segments());
            assert_eq!((recovered.scanned_bytes, all_records(&log).len()), (0, number * 5));
        }
    }
}
