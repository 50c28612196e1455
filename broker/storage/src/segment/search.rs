//! Looking up in a segment: by offset, by position, by time.
//!
//! An index entry is believed only after the batch that it names has been read and found to be the one. So whatever an index
//! holds, an answer comes from the log; a wrong index costs one walk over the headers, which makes it anew.

use super::{FileKind, HeaderWalk, Indexes, Located, MaxTimestamp, Segment, lock};
use crate::{StorageError, file_system::io_error, index::OffsetEntry};

impl Segment {
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
        // What lies behind the limit is not read: its header would cost one more system call a fetch.
        while walk.position() <= limit
            && let Some(located) = walk.next().transpose()?
        {
            last = Some(located);
        }
        Ok(last.filter(|located| located.position > start))
    }

    /// The first batch whose header claims a timestamp of at least `timestamp_ms`, and the walk behind it.
    pub fn walk_from_timestamp(&self, timestamp_ms: i64) -> Result<HeaderWalk<'_>, StorageError> {
        let floor = self.with_indexes(|indexes| indexes.time.floor(timestamp_ms))?;
        let Some(entry) = floor else { return Ok(self.walk(0)) };
        let offset = self.base_offset() + i64::from(entry.relative_last_offset);
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
        let (max, is_proven) = self.with_indexes(|indexes| Ok((indexes.max_timestamp, indexes.is_max_proven)))?;
        if is_proven {
            return Ok(max);
        }
        if self.has_younger_behind(max)? {
            self.rebuild("the time index has lost its last entries")?;
        }
        let mut indexes = lock(&self.indexes);
        Ok(indexes.as_mut().and_then(|indexes| {
            indexes.is_max_proven = true;
            indexes.max_timestamp
        }))
    }

    /// Whether a batch behind the one that is said to bear the highest timestamp bears a higher one. Where time goes forward that is the
    /// last one, and nothing is behind.
    fn has_younger_behind(&self, max: Option<MaxTimestamp>) -> Result<bool, StorageError> {
        let from = max.map(|max| self.find(max.last_offset)).transpose()?.flatten();
        for step in self.walk(from.map_or(0, |batch| batch.position)) {
            let header = step?.header;
            if header.record_count > 0 && header.max_timestamp > max.map_or(-1, |max| max.timestamp_ms) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// By which age counts: the highest timestamp; if no record bears one, or none can be read, when the file was last written.
    pub fn largest_timestamp(&self) -> Result<i64, StorageError> {
        match self.max_timestamp() {
            Ok(Some(max)) => return Ok(max.timestamp_ms),
            Ok(None) => {}
            Err(StorageError::Corrupt { path, position, reason }) => {
                tracing::warn!(path = %path.display(), position, reason, "a damaged segment ages by its file's time");
            }
            Err(error) => return Err(error),
        }
        let file = self.file()?;
        self.file_system().modified_ms(&file).map_err(io_error("stat", &file.path))
    }

    fn relative(&self, offset: i64) -> u32 {
        u32::try_from(offset - self.base_offset()).unwrap_or(if offset < self.base_offset() { 0 } else { u32::MAX })
    }

    /// A walk from the entry that `look_up` finds, once the batch there has proved the entry right.
    fn walk_from(
        &self,
        look_up: impl Fn(&Indexes) -> Result<Option<OffsetEntry>, StorageError>,
    ) -> Result<HeaderWalk<'_>, StorageError> {
        for _attempt in 0..2 {
            let Some(entry) = self.with_indexes(&look_up)? else { return Ok(self.walk(0)) };
            let mut walk = self.walk(u64::from(entry.position));
            let last_offset = self.base_offset() + i64::from(entry.relative_last_offset);
            if walk.peek().is_ok_and(|batch| batch.is_some_and(|batch| batch.header.last_offset() == last_offset)) {
                return Ok(walk);
            }
            self.rebuild("an index entry names no batch")?;
        }
        Ok(self.walk(0))
    }

    /// What `look_up` finds; a file that turns out to be gone or cut is made anew, once.
    fn with_indexes<T>(&self, look_up: impl Fn(&Indexes) -> Result<T, StorageError>) -> Result<T, StorageError> {
        self.load()?;
        match self.with_loaded(&look_up) {
            Err(StorageError::Corrupt { .. }) => {
                self.rebuild("an index is missing or damaged")?;
                self.with_loaded(look_up)
            }
            found => found,
        }
    }

    fn with_loaded<T>(&self, look_up: impl FnOnce(&Indexes) -> Result<T, StorageError>) -> Result<T, StorageError> {
        match &*lock(&self.indexes) {
            Some(indexes) => look_up(indexes),
            None => look_up(&Indexes::empty(&self.files)),
        }
    }

    fn load(&self) -> Result<(), StorageError> {
        if lock(&self.indexes).is_some() {
            return Ok(());
        }
        match self.load_trusted_indexes()? {
            Some(indexes) => *lock(&self.indexes) = Some(indexes),
            None => self.rebuild("an index is missing or damaged")?,
        }
        Ok(())
    }

    /// From the files, once the highest timestamp has proved right.
    fn load_trusted_indexes(&self) -> Result<Option<Indexes>, StorageError> {
        let Some(indexes) = Indexes::load(&self.files, None)? else { return Ok(None) };
        Ok(if self.max_timestamp_holds(&indexes)? { Some(indexes) } else { None })
    }

    /// Whether the batch that is said to bear the highest timestamp is there and does.
    fn max_timestamp_holds(&self, indexes: &Indexes) -> Result<bool, StorageError> {
        let Some(max) = indexes.max_timestamp else {
            let first = self.walk(0).next().transpose()?;
            return Ok(first.is_none_or(|first| first.header.max_timestamp < 0 || first.header.record_count == 0));
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
        tracing::warn!(segment = %self.files.path(FileKind::Log).display(), why, "indexes are made anew from the log");
        let indexes = self.rebuilt_indexes()?;
        *lock(&self.indexes) = Some(indexes);
        Ok(())
    }

    /// Makes the indexes anew, and writes them.
    pub fn rebuild_indexes(&self) -> Result<(), StorageError> {
        self.rebuilt_indexes().map(|_| ())
    }

    /// Made from the headers of all batches, and written.
    pub(super) fn rebuilt_indexes(&self) -> Result<Indexes, StorageError> {
        let mut indexes = Indexes::empty(&self.files);
        for step in self.walk(0) {
            let located = step?;
            indexes.note(self.index_interval_bytes, located.position, &located.header);
        }
        indexes.persist()?;
        Ok(indexes)
    }
}
