//! A file of fixed-size sorted entries, written at the end only: what every index of a segment is.
//!
//! New entries stay in memory until [`IndexFile::persist`]; a crash loses them, and recovery makes them anew from the
//! log. So an append costs no system call here. Look-ups search the memory first, then the file by blocks, of which the last one is
//! kept: a reader that goes on where it stopped finds its next place in it. The file is open only while it is used: thousands of
//! partitions do not hold thousands of descriptors for it.

use crate::{
    StorageError,
    file_system::{OpenFile, append_all, bytes, io_error, read_exact_at},
    segment::{FileKind, SegmentFiles},
};
use std::{cell::RefCell, io, marker::PhantomData, sync::Arc};

/// Entries in memory beyond which they are written out.
const MAX_UNWRITTEN: usize = 8192;
/// Once the search range is this small, it is read at once.
const BLOCK_ENTRIES: usize = 512;

/// What an index holds, `N` bytes each.
pub(crate) trait IndexEntry<const N: usize>: Copy {
    /// The segment's file that it is kept in.
    const FILE: FileKind;
    fn encode(self) -> [u8; N];
    fn decode(bytes: [u8; N]) -> Self;
}

#[derive(Debug)]
pub(crate) struct IndexFile<E, const N: usize> {
    files: Arc<SegmentFiles>,
    written: usize,
    unwritten: Vec<[u8; N]>,
    /// The last one written: asked for at every entry of the time index, so kept.
    last_written: Option<[u8; N]>,
    last_block: RefCell<Block<N>>,
    entry: PhantomData<E>,
}

/// Neighbouring entries that were read from the file, where they never change; at most [`BLOCK_ENTRIES`].
#[derive(Debug, Default)]
struct Block<const N: usize> {
    entries: Vec<[u8; N]>,
    /// How many entries the file holds up to the last of these.
    end: usize,
}

impl<E: IndexEntry<N>, const N: usize> IndexFile<E, N> {
    pub const ENTRY_BYTES: usize = N;

    /// An index with no entries; what the file holds, if it exists, is overwritten by the first `persist`.
    pub fn empty(files: Arc<SegmentFiles>) -> Self {
        let (unwritten, last_block) = (Vec::new(), RefCell::default());
        Self { files, written: 0, unwritten, last_written: None, last_block, entry: PhantomData }
    }

    /// The entries in the file, of which the first `expected` (if given) are taken. None: the file is not as it should be.
    pub fn load(files: Arc<SegmentFiles>, expected: Option<usize>) -> Result<Option<Self>, StorageError> {
        if expected == Some(0) {
            return Ok(Some(Self::empty(files)));
        }
        let Some(file) = files.open_if_there(E::FILE)? else { return Ok(None) };
        let length = files.file_system.length(&file).map_err(io_error("stat", &file.path))?;
        let there = usize::try_from(length).unwrap_or(usize::MAX);
        let written = expected.unwrap_or(there / N);
        if there < written.saturating_mul(N) || (expected.is_none() && there % N != 0) {
            return Ok(None);
        }
        let mut index = Self { written, ..Self::empty(files) };
        if let Some(last) = written.checked_sub(1) {
            index.last_written = Some(index.read(&file, last)?);
        }
        Ok(Some(index))
    }

    pub fn len(&self) -> usize {
        self.written + self.unwritten.len()
    }

    pub fn last(&self) -> Option<E> {
        self.unwritten.last().or(self.last_written.as_ref()).map(|entry| E::decode(*entry))
    }

    /// Entries that cannot be written out for now (no space) stay in memory: the log they belong to cannot grow then either.
    pub fn push(&mut self, entry: E) {
        self.unwritten.push(entry.encode());
        if self.unwritten.len().is_multiple_of(MAX_UNWRITTEN)
            && let Err(error) = self.persist()
        {
            tracing::warn!(%error, "index entries are kept in memory");
        }
    }

    /// The last entry for which `before` holds; it must hold for a prefix of the entries. A file that is gone or shorter than
    /// it was is an error of the kind `Corrupt`: the caller makes the index anew.
    pub fn last_where(&self, before: impl Fn(&E) -> bool) -> Result<Option<E>, StorageError> {
        let before = |entry: &[u8; N]| before(&E::decode(*entry));
        if self.unwritten.first().is_some_and(before) {
            return Ok(last_of_prefix(&self.unwritten, before).map(E::decode));
        }
        if self.written == 0 {
            return Ok(None);
        }
        if let Some(found) = self.last_block.borrow().last_where(self.written, before) {
            return Ok(Some(E::decode(found)));
        }
        let Some(file) = self.files.open_if_there(E::FILE)? else { return Err(self.corrupt("it is gone")) };
        let (mut low, mut high) = (0, self.written);
        while high - low > BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            if before(&self.read(&file, middle)?) { low = middle } else { high = middle }
        }
        let block = Block { entries: self.read_block(&file, low, high)?, end: high };
        let found = last_of_prefix(&block.entries, before).map(E::decode);
        *self.last_block.borrow_mut() = block;
        Ok(found)
    }

    /// Shows every entry to `visit`, in order, until it says no; by blocks.
    pub fn visit(&self, mut visit: impl FnMut(E) -> bool) -> Result<(), StorageError> {
        if self.written > 0 {
            let Some(file) = self.files.open_if_there(E::FILE)? else { return Err(self.corrupt("it is gone")) };
            let mut low = 0;
            while low < self.written {
                let high = self.written.min(low + BLOCK_ENTRIES);
                if !self.read_block(&file, low, high)?.into_iter().all(|entry| visit(E::decode(entry))) {
                    return Ok(());
                }
                low = high;
            }
        }
        self.unwritten.iter().all(|entry| visit(E::decode(*entry)));
        Ok(())
    }

    /// Writes what is in memory only. An empty index gets its (empty) file too.
    pub fn persist(&mut self) -> Result<(), StorageError> {
        let (file, file_system) = (self.file()?, &*self.files.file_system);
        let good = bytes(self.written * N);
        let length = file_system.length(&file).map_err(io_error("stat", &file.path))?;
        if length != good {
            file_system.truncate(&file, good).map_err(io_error("truncate", &file.path))?;
        }
        append_all(file_system, &file, self.unwritten.as_flattened())?;
        self.written += self.unwritten.len();
        self.last_written = self.unwritten.last().copied().or(self.last_written);
        self.unwritten = Vec::new();
        Ok(())
    }

    fn file(&self) -> Result<OpenFile, StorageError> {
        self.files.open(E::FILE, true)
    }

    fn read(&self, file: &OpenFile, at: usize) -> Result<[u8; N], StorageError> {
        let mut entry = [0; N];
        self.fill(file, &mut entry, at)?;
        Ok(entry)
    }

    fn read_block(&self, file: &OpenFile, low: usize, high: usize) -> Result<Vec<[u8; N]>, StorageError> {
        let mut block = vec![[0; N]; high - low];
        self.fill(file, block.as_flattened_mut(), low)?;
        Ok(block)
    }

    fn fill(&self, file: &OpenFile, buffer: &mut [u8], at: usize) -> Result<(), StorageError> {
        match read_exact_at(&*self.files.file_system, file, buffer, bytes(at * N)) {
            Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.corrupt("it is shorter than it was"))
            }
            filled => filled,
        }
    }

    fn corrupt(&self, reason: &str) -> StorageError {
        StorageError::Corrupt { path: self.files.path(E::FILE), position: 0, reason: reason.into() }
    }
}

impl<const N: usize> Block<N> {
    /// The last entry for which `before` holds, if it is certain that it is one of these. The file holds `written` entries.
    fn last_where(&self, written: usize, before: impl Fn(&[u8; N]) -> bool) -> Option<[u8; N]> {
        let begins_here = before(self.entries.first()?);
        let ends_here = self.end == written || !before(self.entries.last()?);
        if begins_here && ends_here { last_of_prefix(&self.entries, before) } else { None }
    }
}

fn last_of_prefix<const N: usize>(entries: &[[u8; N]], before: impl Fn(&[u8; N]) -> bool) -> Option<[u8; N]> {
    let end = entries.partition_point(before);
    entries.get(end.checked_sub(1)?).copied()
}
