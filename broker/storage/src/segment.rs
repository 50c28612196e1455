//! One segment: a `.log` file of whole batches, and its two indexes.
//!
//! Positions are u32, as the index holds them. The indexes are loaded when first needed and checked against the log
//! wherever they are used; damaged or missing ones are made anew. A segment never decides to roll: the log does.

use crate::{
    StorageError,
    file_system::{FileSystem, OpenFile, bytes, io_error},
    header_walk::HeaderWalk,
    offset_index::{self, OffsetEntry, OffsetIndex},
    record_batch::BatchHeader,
    time_index::{self, TimeEntry, TimeIndex},
};
use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Kafka's `segment.index.bytes`: a segment is rolled before one of its indexes grows beyond.
const MAX_INDEX_BYTES: usize = 10 * 1024 * 1024;
/// What the operating system takes in one vectored write (IOV_MAX).
const MAX_SLICES_A_WRITE: usize = 1024;

/// The highest timestamp of a segment, and the last offset of the first batch that bears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaxTimestamp {
    pub timestamp_ms: i64,
    pub last_offset: i64,
}

/// A batch in the segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub position: u64,
    pub header: BatchHeader,
}

/// What a checkpoint remembers of the segment it was taken in, beside its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct IndexState {
    pub offset_entries: usize,
    pub time_entries: usize,
    pub bytes_since_entry: u64,
    /// -1: none.
    pub max_timestamp: i64,
    pub max_timestamp_offset: i64,
}

/// A write that failed. `undone`: the file ends where it did before.
#[derive(Debug)]
pub(crate) struct FailedWrite {
    pub error: StorageError,
    pub undone: bool,
}

#[derive(Debug)]
struct Indexes {
    offset: OffsetIndex,
    time: TimeIndex,
    max_timestamp: Option<MaxTimestamp>,
    bytes_since_entry: u64,
}

#[derive(Debug)]
pub(crate) struct Segment {
    file_system: Arc<dyn FileSystem>,
    dir: PathBuf,
    base_offset: i64,
    index_interval_bytes: u64,
    size: u64,
    opened: Mutex<Option<OpenFile>>,
    /// None: not loaded yet (sealed segments only).
    indexes: Mutex<Option<Indexes>>,
    /// Highest timestamp of the first batch, by which `segment.ms` counts; -1 while unknown.
    first_timestamp: i64,
}

impl Segment {
    /// A new segment; a file that is there already keeps its bytes, to be scanned.
    pub fn create(
        file_system: Arc<dyn FileSystem>,
        dir: &Path,
        base_offset: i64,
        index_interval_bytes: u32,
    ) -> Result<Self, StorageError> {
        let segment = Self::on(file_system, dir, base_offset, index_interval_bytes);
        *lock(&segment.indexes) = Some(segment.empty_indexes());
        let file = segment.open_log(true)?;
        *lock(&segment.opened) = Some(file);
        Ok(segment)
    }

    /// A segment that is trusted as it lies there, indexes loaded when needed.
    pub fn sealed(
        file_system: Arc<dyn FileSystem>,
        dir: &Path,
        base_offset: i64,
        index_interval_bytes: u32,
    ) -> Result<Self, StorageError> {
        let mut segment = Self::on(file_system, dir, base_offset, index_interval_bytes);
        segment.size = segment.file_length()?;
        segment.release();
        Ok(segment)
    }

    /// The segment a checkpoint was taken in, up to the checkpoint. What follows is to be scanned.
    pub fn resumed(
        file_system: Arc<dyn FileSystem>,
        dir: &Path,
        base_offset: i64,
        index_interval_bytes: u32,
        size: u64,
        state: IndexState,
    ) -> Result<Self, StorageError> {
        let mut segment = Self::on(file_system, dir, base_offset, index_interval_bytes);
        segment.size = size;
        let indexes = match segment.load_indexes(Some(state))? {
            Some(indexes) => indexes,
            None => segment.rebuilt_indexes()?,
        };
        *lock(&segment.indexes) = Some(indexes);
        Ok(segment)
    }

    fn on(file_system: Arc<dyn FileSystem>, dir: &Path, base_offset: i64, index_interval_bytes: u32) -> Self {
        Self {
            file_system,
            dir: dir.into(),
            base_offset,
            index_interval_bytes: u64::from(index_interval_bytes),
            size: 0,
            opened: Mutex::new(None),
            indexes: Mutex::new(None),
            first_timestamp: -1,
        }
    }

    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes in the file, which may be more than the segment holds while it is being recovered.
    pub fn file_length(&self) -> Result<u64, StorageError> {
        let file = self.file()?;
        self.file_system.length(&file).map_err(io_error("stat", &file.path))
    }

    pub fn file_system(&self) -> &dyn FileSystem {
        &*self.file_system
    }

    pub fn file(&self) -> Result<OpenFile, StorageError> {
        let mut opened = lock(&self.opened);
        if let Some(file) = &*opened {
            return Ok(file.clone());
        }
        let file = self.open_log(false)?;
        *opened = Some(file.clone());
        Ok(file)
    }

    fn open_log(&self, create: bool) -> Result<OpenFile, StorageError> {
        let path = self.path("log");
        self.file_system.open(&path, create).map_err(io_error("open", &path))
    }

    /// Closes the files until they are needed again.
    pub fn release(&self) {
        *lock(&self.opened) = None;
        if let Some(indexes) = &mut *lock(&self.indexes) {
            indexes.offset.entries().release();
            indexes.time.entries().release();
        }
    }

    #[cfg(test)]
    pub fn is_open(&self) -> bool {
        lock(&self.opened).is_some()
    }

    fn path(&self, extension: &str) -> PathBuf {
        self.dir.join(file_name(self.base_offset, extension))
    }

    /// Whether `last_offset` can be expressed in the indexes, and they have room for one more entry.
    pub fn has_room(&mut self, last_offset: i64) -> bool {
        let indexes = get(&mut self.indexes);
        let entries = indexes.as_ref().map_or((0, 0), |indexes| (indexes.offset.len(), indexes.time.len()));
        last_offset - self.base_offset <= i64::from(i32::MAX)
            && entries.0 < MAX_INDEX_BYTES / offset_index::ENTRY_BYTES
            && entries.1 < MAX_INDEX_BYTES / time_index::ENTRY_BYTES - 1
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
        if let Err(source) = write_fully(&*self.file_system, &file, slices) {
            let undone = self.file_system.truncate(&file, self.size).is_ok();
            return Err(FailedWrite { error: io_error("append to", &file.path)(source), undone });
        }
        for header in headers {
            self.note(header).map_err(|error| FailedWrite { error, undone: false })?;
        }
        Ok(())
    }

    /// Takes the batch that follows in the file into the segment: size and indexes.
    pub fn note(&mut self, header: &BatchHeader) -> Result<(), StorageError> {
        let (base_offset, interval, position) = (self.base_offset, self.index_interval_bytes, self.size);
        if position == 0 {
            self.first_timestamp = header.max_timestamp;
        }
        if let Some(indexes) = get(&mut self.indexes) {
            indexes.note(base_offset, interval, position, header)?;
        }
        self.size += bytes(header.size());
        Ok(())
    }

    /// Cuts the file behind what the segment holds.
    pub fn cut_file(&self) -> Result<(), StorageError> {
        let file = self.file()?;
        self.file_system.truncate(&file, self.size).map_err(io_error("truncate", &file.path))
    }

    pub fn sync(&self) -> Result<(), StorageError> {
        let file = self.file()?;
        self.file_system.sync_data(&file).map_err(io_error("sync", &file.path))
    }

    /// Writes the indexes out, the highest timestamp included, and returns what a checkpoint needs of them.
    pub fn persist_indexes(&mut self) -> Result<IndexState, StorageError> {
        let (base_offset, size) = (self.base_offset, self.size);
        let Some(indexes) = get(&mut self.indexes) else { return Ok(IndexState::default()) };
        if let Some(max) = indexes.max_timestamp {
            indexes.time.push_if_newer(time_entry(base_offset, max))?;
        }
        if size > 0 {
            indexes.offset.entries().persist()?;
            indexes.time.entries().persist()?;
        }
        Ok(IndexState {
            offset_entries: indexes.offset.len(),
            time_entries: indexes.time.len(),
            bytes_since_entry: indexes.bytes_since_entry,
            max_timestamp: indexes.max_timestamp.map_or(-1, |max| max.timestamp_ms),
            max_timestamp_offset: indexes.max_timestamp.map_or(-1, |max| max.last_offset),
        })
    }

    /// Nothing is appended any more: indexes to disk, out of memory and closed.
    pub fn seal(&mut self) -> Result<(), StorageError> {
        self.persist_indexes()?;
        if let Some(indexes) = get(&mut self.indexes) {
            indexes.offset.entries().sync()?;
            indexes.time.entries().sync()?;
        }
        self.release();
        Ok(())
    }

    /// Headers from `position` on, which must be where a batch begins.
    pub fn walk(&self, position: u64) -> HeaderWalk<'_> {
        HeaderWalk::new(self, position)
    }

    /// The first batch whose last offset is at least `offset`.
    pub fn find(&self, offset: i64) -> Result<Option<Located>, StorageError> {
        let relative = self.relative(offset);
        let mut walk = self.walk_from(|indexes| indexes.offset.floor(relative))?;
        walk.find_map(|step| match step {
            Ok(located) if located.header.last_offset() < offset => None,
            found => Some(found),
        })
        .transpose()
    }

    /// The last place at or before `limit` where a batch begins (or the segment ends), and what begins there;
    /// None if that is not behind `start`.
    pub fn boundary_before(&self, start: u64, limit: u64) -> Result<Option<Located>, StorageError> {
        let position = u32::try_from(limit).unwrap_or(u32::MAX);
        let mut walk = self.walk_from(|indexes| indexes.offset.floor_by_position(position))?;
        if walk.position() < start {
            walk = self.walk(start);
        }
        let mut last = None;
        for step in walk {
            let located = step?;
            if located.position > limit {
                break;
            }
            last = Some(located);
        }
        Ok(last.filter(|located| located.position > start))
    }

    /// The first batch whose header claims a timestamp of at least `timestamp_ms`, and the walk behind it.
    pub fn walk_from_timestamp(&self, timestamp_ms: i64) -> Result<HeaderWalk<'_>, StorageError> {
        let floor = self.with_indexes(|indexes| indexes.time.floor(timestamp_ms))?;
        let Some(entry) = floor else { return Ok(self.walk(0)) };
        let offset = self.base_offset + i64::from(entry.relative_last_offset);
        if let Some(batch) = self.find(offset)?
            && batch.header.last_offset() == offset
            && batch.header.max_timestamp == entry.timestamp_ms
        {
            return Ok(self.walk(batch.position));
        }
        self.rebuild("a time index entry names no batch")?;
        Ok(self.walk(0))
    }

    /// The highest timestamp; None if no record bears one.
    pub fn max_timestamp(&self) -> Result<Option<MaxTimestamp>, StorageError> {
        self.with_indexes(|indexes| Ok(indexes.max_timestamp))
    }

    fn relative(&self, offset: i64) -> u32 {
        u32::try_from(offset - self.base_offset).unwrap_or(if offset < self.base_offset { 0 } else { u32::MAX })
    }

    /// A walk from the entry that `look_up` finds, once the batch there has proved the entry right.
    fn walk_from(
        &self,
        look_up: impl Fn(&mut Indexes) -> Result<Option<OffsetEntry>, StorageError>,
    ) -> Result<HeaderWalk<'_>, StorageError> {
        for _attempt in 0..2 {
            let Some(entry) = self.with_indexes(&look_up)? else { return Ok(self.walk(0)) };
            let mut walk = self.walk(u64::from(entry.position));
            let last_offset = self.base_offset + i64::from(entry.relative_last_offset);
            if walk.peek().is_ok_and(|batch| batch.is_some_and(|batch| batch.header.last_offset() == last_offset)) {
                return Ok(walk);
            }
            self.rebuild("an index entry names no batch")?;
        }
        Ok(self.walk(0))
    }

    fn with_indexes<T>(&self, act: impl FnOnce(&mut Indexes) -> Result<T, StorageError>) -> Result<T, StorageError> {
        if lock(&self.indexes).is_none() {
            match self.load_trusted_indexes()? {
                Some(indexes) => *lock(&self.indexes) = Some(indexes),
                None => self.rebuild("an index is missing or damaged")?,
            }
        }
        match &mut *lock(&self.indexes) {
            Some(indexes) => act(indexes),
            None => act(&mut self.empty_indexes()),
        }
    }

    fn empty_indexes(&self) -> Indexes {
        Indexes {
            offset: OffsetIndex::empty(self.file_system.clone(), self.path("index")),
            time: TimeIndex::empty(self.file_system.clone(), self.path("timeindex")),
            max_timestamp: None,
            bytes_since_entry: 0,
        }
    }

    /// From the files; None if they do not hold what `state` says or cannot be indexes.
    fn load_indexes(&self, state: Option<IndexState>) -> Result<Option<Indexes>, StorageError> {
        let counts = state.map(|state| (state.offset_entries, state.time_entries)).unzip();
        let offset = OffsetIndex::load(self.file_system.clone(), self.path("index"), counts.0)?;
        let time = TimeIndex::load(self.file_system.clone(), self.path("timeindex"), counts.1)?;
        let (Some(offset), Some(mut time)) = (offset, time) else { return Ok(None) };
        let max_timestamp = match state {
            Some(state) if state.max_timestamp < 0 => None,
            Some(state) => {
                Some(MaxTimestamp { timestamp_ms: state.max_timestamp, last_offset: state.max_timestamp_offset })
            }
            None => time.last()?.map(|entry| MaxTimestamp {
                timestamp_ms: entry.timestamp_ms,
                last_offset: self.base_offset + i64::from(entry.relative_last_offset),
            }),
        };
        let bytes_since_entry = state.map_or(0, |state| state.bytes_since_entry);
        Ok(Some(Indexes { offset, time, max_timestamp, bytes_since_entry }))
    }

    /// From the files, once the highest timestamp has proved right.
    fn load_trusted_indexes(&self) -> Result<Option<Indexes>, StorageError> {
        let Some(mut indexes) = self.load_indexes(None)? else { return Ok(None) };
        Ok(if self.max_timestamp_holds(&mut indexes)? { Some(indexes) } else { None })
    }

    /// Whether the batch that is said to bear the highest timestamp is there and does.
    fn max_timestamp_holds(&self, indexes: &mut Indexes) -> Result<bool, StorageError> {
        let Some(max) = indexes.max_timestamp else {
            let first = self.walk(0).next().transpose()?;
            return Ok(first.is_none_or(|first| first.header.max_timestamp < 0));
        };
        let floor = indexes.offset.floor(self.relative(max.last_offset))?;
        let mut walk = self.walk(floor.map_or(0, |entry| u64::from(entry.position)));
        Ok(walk
            .find_map(|step| match step {
                Ok(located) if located.header.last_offset() < max.last_offset => None,
                Ok(located) => Some(
                    located.header.last_offset() == max.last_offset && located.header.max_timestamp == max.timestamp_ms,
                ),
                Err(_) => Some(false),
            })
            .unwrap_or(false))
    }

    fn rebuild(&self, why: &'static str) -> Result<(), StorageError> {
        tracing::warn!(segment = %self.path("log").display(), why, "indexes are made anew from the log");
        let indexes = self.rebuilt_indexes()?;
        *lock(&self.indexes) = Some(indexes);
        Ok(())
    }

    fn rebuilt_indexes(&self) -> Result<Indexes, StorageError> {
        let mut indexes = self.empty_indexes();
        for step in self.walk(0) {
            let located = step?;
            indexes.note(self.base_offset, self.index_interval_bytes, located.position, &located.header)?;
        }
        if let Some(max) = indexes.max_timestamp {
            indexes.time.push_if_newer(time_entry(self.base_offset, max))?;
        }
        indexes.offset.entries().persist()?;
        indexes.time.entries().persist()?;
        Ok(indexes)
    }
}

impl Indexes {
    /// Kafka's rule: an entry for the batch that comes when more than the interval has passed since the last entry.
    fn note(
        &mut self,
        base_offset: i64,
        interval: u64,
        position: u64,
        header: &BatchHeader,
    ) -> Result<(), StorageError> {
        if self.max_timestamp.is_none_or(|max| header.max_timestamp > max.timestamp_ms) && header.max_timestamp >= 0 {
            let last_offset = header.last_offset();
            self.max_timestamp = Some(MaxTimestamp { timestamp_ms: header.max_timestamp, last_offset });
        }
        if self.bytes_since_entry > interval {
            let relative_last_offset = relative_to(base_offset, header.last_offset());
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            self.offset.push(OffsetEntry { relative_last_offset, position })?;
            if let Some(max) = self.max_timestamp {
                self.time.push_if_newer(time_entry(base_offset, max))?;
            }
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += bytes(header.size());
        Ok(())
    }
}

fn time_entry(base_offset: i64, max: MaxTimestamp) -> TimeEntry {
    TimeEntry { timestamp_ms: max.timestamp_ms, relative_last_offset: relative_to(base_offset, max.last_offset) }
}

/// The log rolls before an offset is out of an index's reach.
fn relative_to(base_offset: i64, offset: i64) -> u32 {
    u32::try_from(offset - base_offset).unwrap_or(u32::MAX)
}

/// `00000000000000000042.log`
pub(crate) fn file_name(base_offset: i64, extension: &str) -> String {
    format!("{base_offset:020}.{extension}")
}

/// The base offset, if `name` is that of a file with this extension.
pub(crate) fn parse_file_name(name: &str, extension: &str) -> Option<i64> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
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
