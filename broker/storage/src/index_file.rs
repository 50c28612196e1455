//! A file of fixed-size sorted entries, written at the end only: what offset and time index have in common.
//!
//! New entries stay in memory until [`IndexFile::persist`]; a crash loses them, and recovery makes them anew from the
//! log. So an append costs no system call here. Look-ups search the memory first, then the file by blocks.

use crate::{
    StorageError,
    file_system::{FileSystem, OpenFile, append_all, bytes, io_error, read_exact_at},
};
use std::{path::PathBuf, sync::Arc};

/// Entries in memory beyond which they are written out.
const MAX_UNWRITTEN: usize = 8192;
/// Once the search range is this small, it is read at once.
const BLOCK_ENTRIES: usize = 512;

#[derive(Debug)]
pub(crate) struct IndexFile<const N: usize> {
    file_system: Arc<dyn FileSystem>,
    path: PathBuf,
    opened: Option<OpenFile>,
    written: usize,
    unwritten: Vec<[u8; N]>,
}

impl<const N: usize> IndexFile<N> {
    /// An index with no entries; what the file holds, if it exists, is overwritten by the first `persist`.
    pub fn empty(file_system: Arc<dyn FileSystem>, path: PathBuf) -> Self {
        Self { file_system, path, opened: None, written: 0, unwritten: Vec::new() }
    }

    /// The entries in the file, of which the first `expected` (if given) are taken. None: the file is not as it should be.
    pub fn load(
        file_system: Arc<dyn FileSystem>,
        path: PathBuf,
        expected: Option<usize>,
    ) -> Result<Option<Self>, StorageError> {
        if expected == Some(0) {
            return Ok(Some(Self::empty(file_system, path)));
        }
        let file = match file_system.open(&path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        let length = file_system.length(&file).map_err(io_error("stat", &path))?;
        let there = usize::try_from(length).unwrap_or(usize::MAX);
        let written = expected.unwrap_or(there / N);
        if there < written.saturating_mul(N) || (expected.is_none() && there % N != 0) {
            return Ok(None);
        }
        Ok(Some(Self { file_system, path, opened: Some(file), written, unwritten: Vec::new() }))
    }

    pub fn len(&self) -> usize {
        self.written + self.unwritten.len()
    }

    pub fn get(&mut self, at: usize) -> Result<Option<[u8; N]>, StorageError> {
        match at.checked_sub(self.written) {
            Some(at) => Ok(self.unwritten.get(at).copied()),
            None => self.read(at).map(Some),
        }
    }

    pub fn last(&mut self) -> Result<Option<[u8; N]>, StorageError> {
        match self.len().checked_sub(1) {
            Some(at) => self.get(at),
            None => Ok(None),
        }
    }

    pub fn push(&mut self, entry: [u8; N]) -> Result<(), StorageError> {
        self.unwritten.push(entry);
        if self.unwritten.len() >= MAX_UNWRITTEN { self.persist() } else { Ok(()) }
    }

    /// The last entry for which `before` holds; it must hold for a prefix of the entries.
    pub fn last_where(&mut self, before: impl Fn(&[u8; N]) -> bool) -> Result<Option<[u8; N]>, StorageError> {
        if self.unwritten.first().is_some_and(&before) {
            let at = self.unwritten.partition_point(&before);
            return Ok(at.checked_sub(1).and_then(|at| self.unwritten.get(at).copied()));
        }
        let (mut low, mut high) = (0, self.written);
        while high - low > BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            if before(&self.read(middle)?) { low = middle } else { high = middle }
        }
        let block = self.read_block(low, high)?;
        let at = block.partition_point(&before);
        Ok(at.checked_sub(1).and_then(|at| block.get(at).copied()))
    }

    /// Writes what is in memory only. An empty index gets its (empty) file too.
    pub fn persist(&mut self) -> Result<(), StorageError> {
        let file = self.file()?;
        let good = bytes(self.written * N);
        let length = self.file_system.length(&file).map_err(io_error("stat", &self.path))?;
        if length != good {
            self.file_system.truncate(&file, good).map_err(io_error("truncate", &self.path))?;
        }
        append_all(&*self.file_system, &file, self.unwritten.as_flattened())?;
        self.written += self.unwritten.len();
        self.unwritten = Vec::new();
        Ok(())
    }

    /// What was persisted, to stable storage.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        let file = self.file()?;
        self.file_system.sync_data(&file).map_err(io_error("sync", &self.path))
    }

    /// Closes the file until it is needed again.
    pub fn release(&mut self) {
        self.opened = None;
    }

    fn file(&mut self) -> Result<OpenFile, StorageError> {
        if let Some(file) = &self.opened {
            return Ok(file.clone());
        }
        let file = self.file_system.open(&self.path, true).map_err(io_error("open", &self.path))?;
        self.opened = Some(file.clone());
        Ok(file)
    }

    fn read(&mut self, at: usize) -> Result<[u8; N], StorageError> {
        let mut entry = [0; N];
        let file = self.file()?;
        read_exact_at(&*self.file_system, &file, &mut entry, bytes(at * N))?;
        Ok(entry)
    }

    fn read_block(&mut self, low: usize, high: usize) -> Result<Vec<[u8; N]>, StorageError> {
        let mut block = vec![[0; N]; high - low];
        if !block.is_empty() {
            let file = self.file()?;
            read_exact_at(&*self.file_system, &file, block.as_flattened_mut(), bytes(low * N))?;
        }
        Ok(block)
    }
}
