//! `.kafka_cleanshutdown`: Kafka's word that all logs of a data directory were closed cleanly (its `CleanShutdownFileHandler`, version 0).
//!
//! It is there for whoever looks at the directory from outside, between a clean stop and the next start. Recovery never asks
//! it: each log's own checkpoint says more, and says it of one log.

use crate::{
    StorageError,
    file_system::{FileSystem, io_error, write_atomically},
};
use std::{io, path::Path};

const FILE_NAME: &str = ".kafka_cleanshutdown";
/// A broker's epoch counts its registrations with the controller; here there is none.
const CONTENT: &[u8] = br#"{"version":0,"brokerEpoch":-1}"#;

/// Writes the marker, once every log in `data_dir` is closed.
pub fn mark_clean_shutdown(file_system: &dyn FileSystem, data_dir: &Path) -> Result<(), StorageError> {
    write_atomically(file_system, &data_dir.join(FILE_NAME), CONTENT)
}

/// Takes the marker away for good, before any log is opened.
pub fn withdraw_clean_shutdown(file_system: &dyn FileSystem, data_dir: &Path) -> Result<(), StorageError> {
    let path = data_dir.join(FILE_NAME);
    match file_system.remove_file(&path) {
        Ok(()) => file_system.sync_dir(data_dir).map_err(io_error("sync", data_dir)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("remove", &path)(error)),
    }
}
