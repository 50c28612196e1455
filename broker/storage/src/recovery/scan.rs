//! Reading a segment batch by batch, with every CRC, in bounded memory.

use crate::{
    StorageError,
    file_system::{OpenFile, bytes, read_exact_at},
    index::AbortedTransaction,
    record_batch::{BatchHeader, CRC_START, EndTransactionMarker, HEADER_LENGTH, MAGIC_POSITION},
    segment::{Located, Segment},
};

/// What is read at a time.
const WINDOW_BYTES: usize = 256 * 1024;
/// What a disk writes or loses at a time: a block of zeros this long, so aligned, was never written.
const BLOCK_BYTES: u64 = 512;

/// The first place that is not a whole, right batch.
#[derive(Debug)]
pub(super) struct Damage {
    pub position: u64,
    pub reason: String,
}

/// Takes the batches from the segment's end on into it, as long as they are right, and shows each to `take`.
pub(super) fn scan(
    segment: &mut Segment,
    next_offset: i64,
    contiguous: bool,
    mut take: impl FnMut(&BatchHeader, Option<EndTransactionMarker>) -> Option<AbortedTransaction>,
) -> Result<Option<Damage>, StorageError> {
    let mut window = Window::open(segment)?;
    let mut next_offset = next_offset;
    while segment.size() < window.length {
        let position = segment.size();
        let header = match window.batch(segment, position)? {
            Ok(header) if header.base_offset == next_offset || (header.base_offset > next_offset && !contiguous) => {
                header
            }
            Ok(header) => {
                let reason = format!("offset {} where {next_offset} is due", header.base_offset);
                return Ok(Some(Damage { position, reason }));
            }
            Err(reason) => return Ok(Some(Damage { position, reason })),
        };
        next_offset = header.last_offset() + 1;
        let marker = segment.marker(&Located { position, header })?;
        segment.note(&header);
        if let Some(aborted) = take(&header, marker) {
            segment.note_aborted(aborted);
        }
    }
    Ok(None)
}

/// Whether the damage is what a crash leaves: bytes that were never written, or an end that is missing. All that lies behind was
/// never durable then. Otherwise it was whole once and was damaged later. `last`: no segment follows.
pub(super) fn is_torn(segment: &Segment, damage: &Damage, next_offset: i64, last: bool) -> Result<bool, StorageError> {
    let mut window = Window::open(segment)?;
    if let Some(behind) = window.whole_batch_behind(segment, damage.position + 1, next_offset)? {
        return window.has_unwritten_block(segment, damage.position, behind);
    }
    // At the log's end nothing tells a torn batch from a damaged one.
    Ok(last || window.is_cut_short(segment, damage.position)?)
}

/// A part of the file in memory.
pub(crate) struct Window {
    file: OpenFile,
    pub length: u64,
    start: u64,
    content: Vec<u8>,
}

impl Window {
    pub fn open(segment: &Segment) -> Result<Self, StorageError> {
        Ok(Self { file: segment.file()?, length: segment.file_length()?, start: 0, content: Vec::new() })
    }

    /// At least `least` bytes from `position` on (fewer only at the file's end), as many as are in memory.
    pub fn at(&mut self, segment: &Segment, position: u64, least: usize) -> Result<&[u8], StorageError> {
        let left = usize::try_from(self.length.saturating_sub(position)).unwrap_or(usize::MAX);
        let within = usize::try_from(position.wrapping_sub(self.start)).unwrap_or(usize::MAX);
        let hit = within.checked_add(least.min(left)).is_some_and(|end| end <= self.content.len());
        if hit {
            return Ok(self.content.get(within..).unwrap_or_default());
        }
        self.content.resize(left.min(WINDOW_BYTES), 0);
        self.start = position;
        read_exact_at(segment.file_system(), &self.file, &mut self.content, position)?;
        Ok(&self.content)
    }

    /// The batch at `position`, if it is whole and its CRC fits; else what is wrong.
    pub fn batch(&mut self, segment: &Segment, position: u64) -> Result<Result<BatchHeader, String>, StorageError> {
        let header = match BatchHeader::decode(self.at(segment, position, HEADER_LENGTH)?) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error.0)),
        };
        let end = position + bytes(header.size());
        if end > self.length {
            return Ok(Err(format!("a batch of {} bytes passes the file's end", header.size())));
        }
        let computed = self.crc(segment, position + bytes(CRC_START), end)?;
        if computed != header.crc {
            return Ok(Err(format!("CRC-32C is {computed:08x}, the header says {:08x}", header.crc)));
        }
        Ok(Ok(header))
    }

    fn crc(&mut self, segment: &Segment, start: u64, end: u64) -> Result<u32, StorageError> {
        let (mut crc, mut position) = (0, start);
        while position < end {
            let wanted = usize::try_from(end - position).unwrap_or(usize::MAX);
            let here = self.at(segment, position, 1)?;
            let part = here.get(..wanted).unwrap_or(here);
            crc = crc32c::crc32c_append(crc, part);
            position += bytes(part.len());
        }
        Ok(crc)
    }

    /// A cheap look before the CRC: a header of format 2 with an offset that can come.
    pub fn may_be_batch(&mut self, segment: &Segment, position: u64, next_offset: i64) -> Result<bool, StorageError> {
        let here = self.at(segment, position, HEADER_LENGTH)?;
        if here.get(MAGIC_POSITION) != Some(&2) {
            return Ok(false);
        }
        let reach = next_offset.saturating_add(i64::from(i32::MAX));
        Ok(BatchHeader::decode(here).is_ok_and(|header| (next_offset..reach).contains(&header.base_offset)))
    }

    /// The first whole batch of a later offset from `position` on.
    fn whole_batch_behind(
        &mut self,
        segment: &Segment,
        mut position: u64,
        next_offset: i64,
    ) -> Result<Option<u64>, StorageError> {
        while position + bytes(HEADER_LENGTH) <= self.length {
            if self.may_be_batch(segment, position, next_offset)? && self.batch(segment, position)?.is_ok() {
                return Ok(Some(position));
            }
            position += 1;
        }
        Ok(None)
    }

    /// Whether the file ends within the batch at `position`, or blocks from there on were never written. A batch that is there to
    /// its last byte, but for a wrong length in its header, is not cut short.
    fn is_cut_short(&mut self, segment: &Segment, position: u64) -> Result<bool, StorageError> {
        if position + bytes(HEADER_LENGTH) > self.length || self.has_unwritten_block(segment, position, self.length)? {
            return Ok(true);
        }
        let Ok(header) = BatchHeader::decode(self.at(segment, position, HEADER_LENGTH)?) else { return Ok(false) };
        Ok(position + bytes(header.size()) > self.length
            && self.crc(segment, position + bytes(CRC_START), self.length)? != header.crc)
    }

    /// Whether a block between `start` and `end` is all zeros: it was never written. At the start it may be the rest of a block that
    /// was written before, at the end that of the file; these must be longer than the zeros a right header can begin with.
    pub fn has_unwritten_block(&mut self, segment: &Segment, start: u64, end: u64) -> Result<bool, StorageError> {
        let mut position = start;
        while position < end {
            let block_end = (position + 1).next_multiple_of(BLOCK_BYTES);
            let is_part_of_next = block_end > end && end < self.length;
            let length = usize::try_from(block_end.min(end) - position).unwrap_or(usize::MAX);
            let block = self.at(segment, position, length)?;
            let zeros = block.iter().take(length).all(|byte| *byte == 0);
            if zeros && length > MAGIC_POSITION && !is_part_of_next {
                return Ok(true);
            }
            position = block_end;
        }
        Ok(false)
    }
}
