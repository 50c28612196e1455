//! What a read gives out: a place in a file, to be sent or copied after the log's lock is released.

use crate::{
    StorageError,
    file_system::{io_error, read_exact_from},
};
use bytes::Bytes;
use std::{path::Path, sync::Arc};

/// A contiguous run of whole record batches in one segment file.
#[derive(Debug, Clone)]
pub struct LogSlice {
    /// Open segment file; stays readable after the segment is deleted.
    pub file: Arc<std::fs::File>,
    /// Where that file was when it was opened; for messages only.
    pub path: Arc<Path>,
    pub position: u64,
    pub length: usize,
    /// Offset of the first batch in the slice (may be below the one asked for: batches are whole).
    pub base_offset: i64,
}

impl LogSlice {
    /// The bytes, through user space. `length` is at most what `max_bytes` allowed, or one batch.
    pub fn read(&self) -> Result<Bytes, StorageError> {
        let mut content = vec![0; self.length];
        read_exact_from(&self.file, &mut content, self.position).map_err(io_error("read", &self.path))?;
        Ok(Bytes::from(content))
    }
}
