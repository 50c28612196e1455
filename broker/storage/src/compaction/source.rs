//! The batches of one sealed segment, read whole and in order through a window of bounded size.
//!
//! The file is opened here and closed with the value: the cleaner keeps no more files open than it works on, and takes
//! none from the readers.

use crate::{
    StorageError,
    file_system::{FileSystem, OpenFile, bytes, read_exact_at},
    record_batch::{BatchHeader, HEADER_LENGTH, RecordBatch},
    segment::{FileKind, SegmentFiles},
};
use bytes::Bytes;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Source {
    file_system: Arc<dyn FileSystem>,
    file: OpenFile,
    position: u64,
    /// Where the segment ends.
    size: u64,
    window: Bytes,
    /// What is read at a time, unless one batch is larger.
    window_bytes: usize,
}

impl Source {
    pub fn open(files: &SegmentFiles, size: u64, window_bytes: usize) -> Result<Self, StorageError> {
        let (file_system, file) = (files.file_system.clone(), files.open(FileKind::Log, false)?);
        let window_bytes = window_bytes.max(HEADER_LENGTH);
        Ok(Self { file_system, file, position: 0, size, window: Bytes::new(), window_bytes })
    }

    pub fn is_at_end(&self) -> bool {
        self.position >= self.size
    }

    /// The next batch, its CRC checked; None at the end.
    pub fn next(&mut self) -> Result<Option<RecordBatch>, StorageError> {
        if self.is_at_end() {
            return Ok(None);
        }
        self.fill(HEADER_LENGTH)?;
        let header = BatchHeader::decode(&self.window).map_err(|error| self.corrupt(error.0))?;
        let size = header.size();
        self.fill(size)?;
        let batch = RecordBatch { header, bytes: self.window.split_to(size) };
        batch.check_crc().map_err(|error| self.corrupt(error.0))?;
        self.position += bytes(size);
        Ok(Some(batch))
    }

    /// At least `least` bytes from the position on into the window.
    fn fill(&mut self, least: usize) -> Result<(), StorageError> {
        if self.window.len() >= least {
            return Ok(());
        }
        let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        if least > left {
            return Err(self.corrupt(format!("a batch of at least {least} bytes, {left} are left")));
        }
        let mut content = vec![0; self.window_bytes.max(least).min(left)];
        read_exact_at(&*self.file_system, &self.file, &mut content, self.position)?;
        self.window = content.into();
        Ok(())
    }

    /// For what is wrong with the batch that comes next.
    pub fn corrupt(&self, reason: String) -> StorageError {
        StorageError::Corrupt { path: self.file.path.to_path_buf(), position: self.position, reason }
    }
}
