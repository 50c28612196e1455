//! One segment: a `.log` file of whole batches, and its indexes.
//!
//! Positions are u32, as the index holds them. The indexes are loaded when first needed and checked against the log
//! wherever they are used; damaged or missing ones are made anew. A segment never decides to roll: the log does.

mod aborted;
mod files;
mod header_walk;
mod indexes;
#[cfg(test)]
mod look_up_tests;
mod search;

pub(crate) use files::{DELETED_FILE_SUFFIX, FileKind, SegmentFiles};
pub(crate) use indexes::{IndexState, MaxTimestamp};

use crate::{
    StorageError,
    file_system::{FileSystem, OpenFile, bytes, io_error},
    index::{OffsetIndex, TimeIndex, TransactionIndex},
    open_files::CachedFile,
    record_batch::BatchHeader,
};
use header_walk::HeaderWalk;
use indexes::Indexes;
use std::{
    io::{self, IoSlice},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What the operating system takes in one vectored write (IOV_MAX).
const MAX_SLICES_A_WRITE: usize = 1024;

/// A batch in the segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub position: u64,
    pub header: BatchHeader,
}

/// A write that failed. `undone`: the file ends where it did before.
#[derive(Debug)]
pub(crate) struct FailedWrite {
    pub error: StorageError,
    pub undone: bool,
}

#[derive(Debug)]
pub(crate) struct Segment {
    files: Arc<SegmentFiles>,
    index_interval_bytes: u64,
    size: u64,
    log: CachedFile,
    /// None: not loaded yet (sealed segments only).
    indexes: Mutex<Option<Indexes>>,
    /// Highest timestamp of the first batch, by which `segment.ms` counts; -1 while unknown.
    first_timestamp: i64,
    appended_ms: i64,
    /// None: no transaction was aborted here.
    aborted: Option<Box<TransactionIndex>>,
}

impl Segment {
    /// A new segment; a file that is there already keeps its bytes, to be scanned.
    pub fn create(files: SegmentFiles, index_interval_bytes: u32) -> Result<Self, StorageError> {
        let segment = Self::on(files, index_interval_bytes, 0);
        *lock(&segment.indexes) = Some(Indexes::empty(&segment.files));
        segment.log.get(|| segment.files.open(FileKind::Log, true))?;
        Ok(segment)
    }

    /// A segment that is trusted as it lies there, indexes loaded when needed.
    pub fn sealed(files: SegmentFiles, index_interval_bytes: u32) -> Result<Self, StorageError> {
        let mut segment = Self::on(files, index_interval_bytes, 0);
        segment.size = segment.file_length()?;
        segment.release();
        Ok(segment)
    }

    /// The segment a checkpoint was taken in, up to the checkpoint. What follows is to be scanned.
    pub fn resumed(
        files: SegmentFiles,
        index_interval_bytes: u32,
        size: u64,
        state: IndexState,
    ) -> Result<Self, StorageError> {
        let mut segment = Self::on(files, index_interval_bytes, size);
        segment.load_aborted(Some(state.aborted_entries))?;
        let indexes = match Indexes::load(&segment.files, Some(state))? {
            Some(indexes) => indexes,
            None => segment.rebuilt_indexes()?,
        };
        *lock(&segment.indexes) = Some(indexes);
        Ok(segment)
    }

    fn on(files: SegmentFiles, index_interval_bytes: u32, size: u64) -> Self {
        Self {
            files: Arc::new(files),
            index_interval_bytes: u64::from(index_interval_bytes),
            size,
            log: CachedFile::default(),
            indexes: Mutex::new(None),
            first_timestamp: -1,
            appended_ms: 0,
            aborted: None,
        }
    }

    /// The files bear another suffix now. They are opened, and the indexes loaded, when they are needed.
    pub fn renamed(&mut self, suffix: &'static str) {
        self.files = Arc::new(self.files.with_suffix(suffix));
        self.release();
        *get(&mut self.indexes) = None;
    }

    pub fn base_offset(&self) -> i64 {
        self.files.base_offset
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn files(&self) -> &SegmentFiles {
        &self.files
    }

    /// Bytes in the file, which may be more than the segment holds while it is being recovered.
    pub fn file_length(&self) -> Result<u64, StorageError> {
        let file = self.file()?;
        self.file_system().length(&file).map_err(io_error("stat", &file.path))
    }

    pub fn file_system(&self) -> &dyn FileSystem {
        &*self.files.file_system
    }

    /// The `.log`.
    pub fn file(&self) -> Result<OpenFile, StorageError> {
        self.log.get(|| self.files.open(FileKind::Log, false))
    }

    /// Closes the file until it is needed again.
    pub fn release(&self) {
        self.log.release();
    }

    /// Whether `last_offset` can be expressed in the indexes, and they have room for one more entry.
    pub fn has_room(&mut self, last_offset: i64, max_index_bytes: u32) -> bool {
        let base_offset = self.base_offset();
        let entries = get(&mut self.indexes).as_ref().map_or((0, 0), Indexes::entries);
        let most = usize::try_from(max_index_bytes).unwrap_or(usize::MAX);
        last_offset - base_offset <= i64::from(i32::MAX)
            && entries.0 < most / OffsetIndex::ENTRY_BYTES
            && entries.1 + 1 < most / TimeIndex::ENTRY_BYTES
    }

    pub fn note_appended(&mut self, now_ms: i64) {
        self.appended_ms = now_ms;
    }

    /// By the broker's clock; 0: not since the log was opened.
    pub fn appended_ms(&self) -> i64 {
        self.appended_ms
    }

    /// Highest timestamp of the first batch; None in an empty segment.
    pub fn first_timestamp(&mut self) -> Result<Option<i64>, StorageError> {
        if self.first_timestamp < 0 && self.size > 0 {
            let first = self.walk(0).next().transpose()?;
            self.first_timestamp = first.map_or(-1, |first| first.header.max_timestamp);
        }
        Ok((self.size > 0).then_some(self.first_timestamp))
    }

    /// Appends batches: `slices` are their bytes, `headers` what they say, offsets placed.
    pub fn append(&mut self, slices: &mut [IoSlice<'_>], headers: &[BatchHeader]) -> Result<(), FailedWrite> {
        let file = self.file().map_err(|error| FailedWrite { error, undone: true })?;
        if let Err(source) = write_fully(self.file_system(), &file, slices) {
            let undone = self.file_system().truncate(&file, self.size).is_ok();
            return Err(FailedWrite { error: io_error("append to", &file.path)(source), undone });
        }
        headers.iter().for_each(|header| self.note(header));
        Ok(())
    }

    /// Takes the batch that follows in the file into the segment: size and indexes.
    pub fn note(&mut self, header: &BatchHeader) {
        let (interval, position) = (self.index_interval_bytes, self.size);
        if position == 0 {
            self.first_timestamp = header.max_timestamp;
        }
        if let Some(indexes) = get(&mut self.indexes) {
            indexes.note(interval, position, header);
        }
        self.size += bytes(header.size());
    }

    /// Cuts the file behind what the segment holds.
    pub fn cut_file(&self) -> Result<(), StorageError> {
        let file = self.file()?;
        self.file_system().truncate(&file, self.size).map_err(io_error("truncate", &file.path))
    }

    /// The files of the indexes, to be synced.
    pub fn index_files(&self) -> Result<Vec<OpenFile>, StorageError> {
        let aborted = self.aborted.as_ref().map(|_| FileKind::TransactionIndex);
        let kinds = [FileKind::OffsetIndex, FileKind::TimeIndex].into_iter().chain(aborted);
        kinds.map(|kind| self.files.open(kind, true)).collect()
    }

    /// Writes the indexes out, the highest timestamp included, and returns what a checkpoint needs of them.
    pub fn persist_indexes(&mut self) -> Result<IndexState, StorageError> {
        let holds_something = self.size > 0;
        let aborted_entries = self.persist_aborted()?;
        let Some(indexes) = get(&mut self.indexes) else { return Ok(IndexState::default()) };
        if holds_something {
            indexes.persist()?;
        }
        Ok(IndexState { aborted_entries, ..indexes.state() })
    }

    /// Nothing is appended any more: indexes written out, the file closed.
    pub fn seal(&mut self) -> Result<(), StorageError> {
        self.persist_indexes()?;
        self.release();
        Ok(())
    }

    /// Headers from `position` on, which must be where a batch begins.
    pub fn walk(&self, position: u64) -> HeaderWalk<'_> {
        HeaderWalk::new(self, position)
    }
}

fn write_fully(file_system: &dyn FileSystem, file: &OpenFile, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    let mut rest = slices;
    while !rest.is_empty() {
        let now = rest.get(..MAX_SLICES_A_WRITE).unwrap_or(rest);
        match file_system.append(file, now) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut rest, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A panic elsewhere does not make an index wrong: every use of it is verified.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn get<T>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
}
