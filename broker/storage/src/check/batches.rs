//! Walking one `.log` with every CRC: what is right, what is not, and where it goes on being right.

use crate::{
    StorageError,
    file_system::bytes,
    record_batch::{BatchHeader, HEADER_LENGTH},
    recovery::scan::Window,
    segment::Segment,
};

/// A stretch of a `.log`, in order; together they cover the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Span {
    /// A whole, right batch.
    Good { position: u64, header: BatchHeader },
    /// A whole, right batch that says another base offset than its neighbours leave room for. No CRC covers that field.
    Misplaced { position: u64, header: BatchHeader, due: i64 },
    /// No batch, or a damaged one. `next_offset`: of the right batch behind it, if there is one.
    Bad { position: u64, end: u64, next_offset: Option<i64>, reason: String },
}

/// What the segment's surroundings say about its batches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// The offset that is due first.
    pub due: i64,
    /// Offsets are below this: the next segment's base.
    pub limit: Option<i64>,
    /// From here on, a block of zeros is what a power cut left: nothing behind it counts.
    pub trusted_until: u64,
}

/// Shows every span to `visit`; returns the offset that comes next.
pub(super) fn walk(
    segment: &Segment,
    expected: Expected,
    mut visit: impl FnMut(&Span) -> Result<(), StorageError>,
) -> Result<i64, StorageError> {
    let mut walk = Walk { segment, window: Window::open(segment)?, expected, due: expected.due };
    let mut position = 0;
    while position < walk.window.length {
        let span = walk.span(position)?;
        visit(&span)?;
        position = match &span {
            Span::Good { header, .. } => {
                walk.due = header.last_offset() + 1;
                position + bytes(header.size())
            }
            Span::Misplaced { header, due, .. } => {
                walk.due = due + i64::from(header.last_offset_delta) + 1;
                position + bytes(header.size())
            }
            Span::Bad { end, next_offset, .. } => {
                walk.due = next_offset.unwrap_or(walk.due);
                *end
            }
        };
    }
    Ok(walk.due)
}

struct Walk<'a> {
    segment: &'a Segment,
    window: Window,
    expected: Expected,
    due: i64,
}

impl Walk<'_> {
    fn span(&mut self, position: u64) -> Result<Span, StorageError> {
        let reason = match self.window.batch(self.segment, position)? {
            Err(reason) => reason,
            Ok(header) => match self.judge(position, &header)? {
                Ok(span) => return Ok(span),
                Err(reason) => reason,
            },
        };
        let (end, next_offset) = match self.next_right_batch(position)? {
            Some((end, next_offset)) => (end, Some(next_offset)),
            None => (self.window.length, None),
        };
        Ok(Span::Bad { position, end, next_offset, reason })
    }

    /// A batch with a right CRC: is its place right too?
    fn judge(&mut self, position: u64, header: &BatchHeader) -> Result<Result<Span, String>, StorageError> {
        let (base, due) = (header.base_offset, self.due);
        let due_end = due + i64::from(header.last_offset_delta) + 1;
        if base == due && self.within_limit(header.last_offset()) {
            return Ok(Ok(Span::Good { position, header: *header }));
        }
        let behind = position + bytes(header.size());
        let following = match behind < self.window.length {
            true => self.window.batch(self.segment, behind)?.ok().map(|next| next.base_offset),
            false => self.expected.limit,
        };
        // What follows leaves exactly the room that this batch needs from the offset that is due.
        if following == Some(due_end) || (behind == self.window.length && following.is_none()) {
            return Ok(Ok(Span::Misplaced { position, header: *header, due }));
        }
        // Compaction leaves gaps in sealed segments.
        let fits = base > due && self.expected.limit.is_some() && self.within_limit(header.last_offset());
        if fits && following.is_none_or(|next| next > header.last_offset()) {
            return Ok(Ok(Span::Good { position, header: *header }));
        }
        Ok(Err(format!("offset {base} where {due} is due")))
    }

    fn within_limit(&self, offset: i64) -> bool {
        self.expected.limit.is_none_or(|limit| offset < limit)
    }

    /// The next whole, right batch of a later offset. Where the damaged header says, if that is one; else byte by byte.
    fn next_right_batch(&mut self, position: u64) -> Result<Option<(u64, i64)>, StorageError> {
        let here = self.window.at(self.segment, position, HEADER_LENGTH)?;
        let claimed = BatchHeader::decode(here).ok().map(|header| position + bytes(header.size()));
        let mut next = position + 1;
        if let Some(claimed) = claimed
            && let Some(offset) = self.right_batch_at(claimed)?
        {
            return self.unless_never_written(position, claimed, offset);
        }
        while next + bytes(HEADER_LENGTH) <= self.window.length {
            if let Some(offset) = self.right_batch_at(next)? {
                return self.unless_never_written(position, next, offset);
            }
            next += 1;
        }
        Ok(None)
    }

    fn right_batch_at(&mut self, position: u64) -> Result<Option<i64>, StorageError> {
        if position >= self.window.length || !self.window.may_be_batch(self.segment, position, self.due)? {
            return Ok(None);
        }
        let header = self.window.batch(self.segment, position)?.ok();
        Ok(header.filter(|header| self.within_limit(header.last_offset())).map(|header| header.base_offset))
    }

    fn unless_never_written(
        &mut self,
        position: u64,
        next: u64,
        offset: i64,
    ) -> Result<Option<(u64, i64)>, StorageError> {
        let last = self.expected.limit.is_none();
        let void = last
            && position >= self.expected.trusted_until
            && self.window.has_unwritten_block(self.segment, position, next)?;
        Ok((!void).then_some((next, offset)))
    }
}
