//! Check of a segment's indexes against its batches, as they pass by.

use super::partition::Check;
use crate::{
    StorageError,
    file_system::{io_error, read_exact_at},
    index::{IndexEntry, OffsetEntry, TimeEntry},
    record_batch::BatchHeader,
    segment::{FileKind, SegmentFiles},
};
use std::iter::Peekable;

/// What the transaction index holds: version, producer id, first and last offset, last stable offset.
const TRANSACTION_ENTRY_BYTES: u64 = 34;
/// Indexes are at most 10 MiB; of a longer file only that is read.
const MAX_READ_BYTES: u64 = 11 << 20;

/// The entries of both indexes that no batch has answered for yet.
pub(super) struct IndexCheck {
    base: i64,
    sealed: bool,
    offsets: Peekable<std::vec::IntoIter<OffsetEntry>>,
    times: Peekable<std::vec::IntoIter<TimeEntry>>,
    last_time: Option<i64>,
    max_timestamp: Option<i64>,
    wrong: Vec<(FileKind, String)>,
}

impl IndexCheck {
    pub fn open(check: &Check<'_>, base: i64, sealed: bool) -> Result<Self, StorageError> {
        let files = check.files(base);
        let state = check.checkpoint.filter(|checkpoint| checkpoint.segment == base && !sealed).map(|at| at.indexes);
        // Of the active segment, the entries that the checkpoint counts; what is behind them is overwritten.
        let counted = |entries: Option<usize>| if sealed { None } else { Some(entries.unwrap_or(0)) };
        let mut wrong = Vec::new();
        let offsets = entries::<OffsetEntry, 8>(&files, counted(state.map(|state| state.offset_entries)), &mut wrong)?;
        let times = entries::<TimeEntry, 12>(&files, counted(state.map(|state| state.time_entries)), &mut wrong)?;
        transaction_index(&files, &mut wrong)?;
        Ok(Self {
            base,
            sealed,
            last_time: times.last().map(|entry| entry.timestamp_ms),
            offsets: offsets.into_iter().peekable(),
            times: times.into_iter().peekable(),
            max_timestamp: None,
            wrong,
        })
    }

    pub fn batch(&mut self, position: u64, header: &BatchHeader) {
        let relative = u32::try_from(header.last_offset() - self.base).unwrap_or(u32::MAX);
        if header.max_timestamp >= 0 {
            self.max_timestamp = self.max_timestamp.max(Some(header.max_timestamp));
        }
        while let Some(entry) = self.offsets.next_if(|entry| u64::from(entry.position) <= position) {
            if (u64::from(entry.position), entry.relative_last_offset) != (position, relative) {
                self.complain(
                    FileKind::OffsetIndex,
                    format!("an entry names byte {}, where no such batch begins", entry.position),
                );
            }
        }
        while let Some(entry) = self.times.next_if(|entry| entry.relative_last_offset <= relative) {
            if (entry.relative_last_offset, entry.timestamp_ms) != (relative, header.max_timestamp) {
                let offset = self.base + i64::from(entry.relative_last_offset);
                self.complain(
                    FileKind::TimeIndex,
                    format!("an entry names timestamp {} at offset {offset}, where it is not", entry.timestamp_ms),
                );
            }
        }
    }

    pub fn finish(mut self, check: &mut Check<'_>) {
        if self.offsets.next().is_some() {
            self.complain(FileKind::OffsetIndex, "an entry names a place behind the last batch".into());
        }
        if self.times.next().is_some() {
            self.complain(FileKind::TimeIndex, "an entry names an offset behind the last".into());
        }
        for (kind, problem) in std::mem::take(&mut self.wrong) {
            check.harmless(
                &kind.name(self.base),
                &problem,
                "made anew when it is first used; no answer depends on it",
                "made anew from the log",
            );
        }
        if self.sealed && self.max_timestamp > self.last_time && check.has(&FileKind::TimeIndex.name(self.base)) {
            let problem =
                format!("its last entry is not the segment's highest timestamp ({})", self.max_timestamp.unwrap_or(-1));
            check.damage(
                &FileKind::TimeIndex.name(self.base),
                &problem,
                "a search by time may pass over this segment",
                "made anew from the log",
            );
        }
    }

    fn complain(&mut self, kind: FileKind, problem: String) {
        // One of a kind is enough: the whole index is made anew.
        if self.wrong.iter().all(|(known, _)| *known != kind) {
            self.wrong.push((kind, problem));
        }
    }
}

/// The first `counted` entries (all, if not given); what is wrong with the file itself goes to `wrong`.
fn entries<E: IndexEntry<N>, const N: usize>(
    files: &SegmentFiles,
    counted: Option<usize>,
    wrong: &mut Vec<(FileKind, String)>,
) -> Result<Vec<E>, StorageError> {
    if counted == Some(0) {
        return Ok(Vec::new());
    }
    let Some(content) = read(files, E::FILE)? else {
        wrong.push((E::FILE, "it is missing".into()));
        return Ok(Vec::new());
    };
    let (entries, rest) = content.as_chunks::<N>();
    if counted.is_none() && !rest.is_empty() {
        wrong.push((E::FILE, format!("{} bytes are no whole number of entries", content.len())));
    }
    if counted.is_some_and(|counted| counted > entries.len()) {
        wrong.push((E::FILE, format!("it holds {} entries of {}", entries.len(), counted.unwrap_or(0))));
    }
    Ok(entries.iter().take(counted.unwrap_or(usize::MAX)).map(|entry| E::decode(*entry)).collect())
}

fn read(files: &SegmentFiles, kind: FileKind) -> Result<Option<Vec<u8>>, StorageError> {
    let Some(file) = files.open_if_there(kind)? else { return Ok(None) };
    let length = files.file_system.length(&file).map_err(io_error("stat", &file.path))?.min(MAX_READ_BYTES);
    let mut content = vec![0; usize::try_from(length).unwrap_or(0)];
    read_exact_at(&*files.file_system, &file, &mut content, 0)?;
    Ok(Some(content))
}

/// Its layout: whole entries of version 0 whose offsets are in order.
fn transaction_index(files: &SegmentFiles, wrong: &mut Vec<(FileKind, String)>) -> Result<(), StorageError> {
    let Some(content) = read(files, FileKind::TransactionIndex)? else { return Ok(()) };
    let (entries, rest) = content.as_chunks::<{ TRANSACTION_ENTRY_BYTES as usize }>();
    let mut complaint = (!rest.is_empty()).then(|| format!("{} bytes are no whole number of entries", content.len()));
    let mut before = -1;
    for entry in entries {
        let number = |at: usize| {
            entry.get(at..).and_then(|rest| rest.first_chunk()).map_or(-1, |bytes| i64::from_be_bytes(*bytes))
        };
        let (first, last) = (number(10), number(18));
        let right = entry.starts_with(&[0, 0]) && 0 <= first && first <= last && last > before;
        if !right && complaint.is_none() {
            complaint = Some(format!("an aborted transaction from offset {first} to {last} behind one to {before}"));
        }
        before = last;
    }
    wrong.extend(complaint.map(|complaint| (FileKind::TransactionIndex, complaint)));
    Ok(())
}
