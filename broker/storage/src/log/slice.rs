//! What a read gives out: a place in a file, to be sent or copied after the log's lock is released.

use crate::{
    StorageError,
    file_system::{OpenFile, io_error, read_exact_from},
};
use bytes::Bytes;
use std::{fs::File, path::Path, sync::Arc};

/// A contiguous run of whole record batches in one segment file.
#[derive(Debug, Clone)]
pub struct LogSlice {
    source: Source,
    /// Where that file was when it was opened; for messages only.
    pub path: Arc<Path>,
    pub position: u64,
    pub length: usize,
    /// Offset of the first batch in the slice (may be below the one asked for: batches are whole).
    pub base_offset: i64,
    /// Offset of the batch behind the slice, if it is known.
    pub next_offset: Option<i64>,
}

#[derive(Debug, Clone)]
enum Source {
    /// Open segment file; stays readable after the segment is deleted.
    File(Arc<File>),
    /// The bytes, taken out of it.
    Memory(Bytes),
}

impl LogSlice {
    pub(super) fn new(file: OpenFile, position: u64, length: usize, offsets: (i64, Option<i64>)) -> Self {
        let (base_offset, next_offset) = offsets;
        Self { source: Source::File(file.file), path: file.path, position, length, base_offset, next_offset }
    }

    /// The open file to send from; None once the bytes are in memory.
    pub fn file(&self) -> Option<&File> {
        match &self.source {
            Source::File(file) => Some(file),
            Source::Memory(_) => None,
        }
    }

    /// The bytes, through user space. `length` is at most what `max_bytes` allowed, or one batch.
    pub fn read(&self) -> Result<Bytes, StorageError> {
        let file = match &self.source {
            Source::File(file) => file,
            Source::Memory(content) => return Ok(content.clone()),
        };
        let mut content = vec![0; self.length];
        read_exact_from(file, &mut content, self.position).map_err(io_error("read", &self.path))?;
        Ok(Bytes::from(content))
    }

    /// Takes the bytes into memory and lets go of the file, which an answer with thousands of slices must not keep open.
    pub fn load(&mut self) -> Result<(), StorageError> {
        self.source = Source::Memory(self.read()?);
        Ok(())
    }
}
