//! Finding whole batches for a reader.
//!
//! A reader that goes on where it stopped costs no look-up: the log remembers where the last reads ended.

use super::{Log, LogSlice};
use crate::{
    StorageError,
    file_system::bytes,
    segment::{Located, Segment},
};
use std::sync::{Mutex, PoisonError};

/// Ends of reads that are remembered; more concurrent readers than that look up in the index.
const CURSORS: usize = 16;

/// A batch with this base offset begins at this position of this segment, or will.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    offset: i64,
    segment: i64,
    position: u64,
}

/// Where the last reads ended.
#[derive(Debug, Default)]
pub(super) struct ReadCursors {
    ring: Mutex<(usize, [Option<Cursor>; CURSORS])>,
}

/// What a slice covers, within one segment.
struct Range {
    start: u64,
    end: u64,
    base_offset: i64,
    next_offset: Option<i64>,
}

impl Log {
    /// Whole batches from the one that holds `offset` on, below `end` (high watermark or last stable offset), at most
    /// `max_bytes` except that with `min_one` the first batch comes whole whatever its size. None: nothing there.
    /// The caller has checked that `log_start_offset <= offset <= log_end_offset`.
    pub fn read(
        &self,
        offset: i64,
        end: i64,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<Option<LogSlice>, StorageError> {
        if offset >= end.min(self.log_end_offset) {
            return Ok(None);
        }
        let Some((segment, start, base_offset)) = self.start(offset)? else { return Ok(None) };
        let range = self.range(segment, start, base_offset, end, max_bytes, min_one)?;
        let Some(range) = range else { return Ok(None) };
        if let Some(next_offset) = range.next_offset {
            self.cursors.remember(Cursor { offset: next_offset, segment: segment.base_offset(), position: range.end });
        }
        let file = segment.file()?;
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        Ok(Some(LogSlice::new(file, range.start, length, (range.base_offset, range.next_offset))))
    }

    /// All segments, oldest first.
    pub(super) fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.sealed.iter().chain(std::iter::once(&self.active))
    }

    /// The segments from the one that may hold `offset` on.
    pub(super) fn segments_from(&self, offset: i64) -> impl Iterator<Item = &Segment> {
        let first = self.sealed.partition_point(|segment| segment.base_offset() <= offset).saturating_sub(1);
        let skip_sealed = self.active.base_offset() <= offset;
        self.segments().skip(if skip_sealed { self.sealed.len() } else { first })
    }

    /// The batch that holds `offset`, or the first behind it: its segment, position and base offset.
    fn start(&self, offset: i64) -> Result<Option<(&Segment, u64, i64)>, StorageError> {
        let cursor = self.cursors.find(offset);
        for segment in self.segments_from(offset) {
            if let Some(cursor) = cursor
                && cursor.segment == segment.base_offset()
                && cursor.position < segment.size()
            {
                return Ok(Some((segment, cursor.position, offset)));
            }
            if let Some(batch) = segment.find(offset)? {
                return Ok(Some((segment, batch.position, batch.header.base_offset)));
            }
        }
        Ok(None)
    }

    /// The offset behind the segment's last.
    pub(super) fn end_of(&self, segment: &Segment) -> i64 {
        let next = self.sealed.partition_point(|sealed| sealed.base_offset() <= segment.base_offset());
        match self.sealed.get(next) {
            Some(next) => next.base_offset(),
            None if segment.base_offset() < self.active.base_offset() => self.active.base_offset(),
            None => self.log_end_offset,
        }
    }

    fn range(
        &self,
        segment: &Segment,
        start: u64,
        base_offset: i64,
        end: i64,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<Option<Range>, StorageError> {
        let whole = self.range_below(segment, start, end)?;
        let Some((limit, next_offset)) = whole.filter(|(limit, _)| *limit > start) else { return Ok(None) };
        if limit - start <= bytes(max_bytes) {
            return Ok(Some(Range { start, end: limit, base_offset, next_offset }));
        }
        let cut = segment.boundary_before(start, start + bytes(max_bytes))?;
        if let Some(Located { position, header }) = cut {
            return Ok(Some(Range { start, end: position, base_offset, next_offset: Some(header.base_offset) }));
        }
        let first = segment.walk(start).next().transpose()?.filter(|_| min_one);
        Ok(first.map(|first| {
            let next_offset = Some(first.header.last_offset() + 1);
            Range { start, end: start + bytes(first.header.size()), base_offset, next_offset }
        }))
    }

    /// Where the batches below offset `end` stop in this segment, and which offset comes there, if known.
    fn range_below(&self, segment: &Segment, start: u64, end: i64) -> Result<Option<(u64, Option<i64>)>, StorageError> {
        let segment_end = self.end_of(segment);
        if end >= segment_end {
            return Ok(Some((segment.size(), Some(segment_end))));
        }
        let beyond = segment.find(end)?;
        Ok(match beyond {
            Some(batch) if batch.position >= start => Some((batch.position, Some(batch.header.base_offset))),
            Some(_) => None,
            None => Some((segment.size(), None)),
        })
    }
}

impl ReadCursors {
    /// Positions mean something else from now on.
    pub fn clear(&self) {
        *self.ring.lock().unwrap_or_else(PoisonError::into_inner) = Default::default();
    }

    fn remember(&self, cursor: Cursor) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, cursors) = &mut *ring;
        if cursors.iter().flatten().any(|known| known.offset == cursor.offset && known.segment == cursor.segment) {
            return;
        }
        if let Some(place) = cursors.get_mut(*next % CURSORS) {
            *place = Some(cursor);
        }
        *next = next.wrapping_add(1);
    }

    fn find(&self, offset: i64) -> Option<Cursor> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.1.iter().flatten().find(|cursor| cursor.offset == offset).copied()
    }
}
