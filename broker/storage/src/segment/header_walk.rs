//! Walking the batch headers of a segment, without reading the records more than the read-ahead brings along.

use super::{Located, Segment};
use crate::{
    StorageError,
    file_system::{OpenFile, bytes, read_exact_at},
    record_batch::{BatchHeader, HEADER_LENGTH},
};

/// One read brings the headers of many small batches; of big ones a page.
const READ_AHEAD_BYTES: usize = 4096;

/// After an error nothing follows.
#[derive(Debug)]
pub(crate) struct HeaderWalk<'a> {
    segment: &'a Segment,
    file: Option<OpenFile>,
    position: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> HeaderWalk<'a> {
    pub fn new(segment: &'a Segment, position: u64) -> Self {
        Self { segment, file: None, position, window: Vec::new(), window_start: 0 }
    }

    /// Where the next header begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next batch, without passing it.
    pub fn peek(&mut self) -> Result<Option<Located>, StorageError> {
        if self.position >= self.segment.size() {
            return Ok(None);
        }
        let header = BatchHeader::decode(self.bytes_here()?).map_err(|error| self.corrupt(error.0))?;
        if header.base_offset < self.segment.base_offset() {
            return Err(self.corrupt(format!("offset {} is below the segment's", header.base_offset)));
        }
        if self.position + bytes(header.size()) > self.segment.size() {
            return Err(self.corrupt(format!("a batch of {} bytes passes the segment's end", header.size())));
        }
        Ok(Some(Located { position: self.position, header }))
    }

    fn bytes_here(&mut self) -> Result<&[u8], StorageError> {
        let within = usize::try_from(self.position.wrapping_sub(self.window_start)).unwrap_or(usize::MAX);
        let hit = within.checked_add(HEADER_LENGTH).is_some_and(|end| end <= self.window.len());
        if hit {
            return Ok(self.window.get(within..).unwrap_or_default());
        }
        self.fill_window()?;
        Ok(&self.window)
    }

    fn fill_window(&mut self) -> Result<(), StorageError> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.segment.file()?,
        };
        let left = usize::try_from(self.segment.size() - self.position).unwrap_or(usize::MAX);
        self.window.resize(left.min(READ_AHEAD_BYTES), 0);
        self.window_start = self.position;
        read_exact_at(self.segment.file_system(), &file, &mut self.window, self.position)?;
        self.file = Some(file);
        Ok(())
    }

    fn corrupt(&self, reason: String) -> StorageError {
        let path = self.file.as_ref().map(|file| file.path.to_path_buf()).unwrap_or_default();
        StorageError::Corrupt { path, position: self.position, reason }
    }
}

impl Iterator for HeaderWalk<'_> {
    type Item = Result<Located, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.peek() {
            Ok(located) => {
                let located = located?;
                self.position += bytes(located.header.size());
                Some(Ok(located))
            }
            Err(error) => {
                self.position = self.segment.size();
                Some(Err(error))
            }
        }
    }
}
