//! Repair of one partition. Each step leaves files that the next repair, or the broker, understands if it is cut off in between.
//!
//! A damaged `.log` is written anew beside the old one and put in its place by a rename. Before that, the bytes that will be missing are kept aside,
//! and the checkpoint is set back to the beginning of the last segment, so that nothing trusts a position of the old file. Lost offsets stay lost: an
//! empty batch, as Kafka's cleaner leaves them, stands where records were, so no offset is given out twice and readers pass over it.

use super::{
    KEPT_ASIDE_SUFFIX, PartitionReport,
    batches::{Expected, Span, walk},
    partition::{Examined, INDEX_INTERVAL_BYTES, examine},
};
use crate::{
    Log, LogConfig, StorageError,
    checkpoint::{self, Checkpoint},
    compaction::CleanerCheckpoint,
    file_system::{
        FileSystem, OpenFile, TEMPORARY_SUFFIX, append_all, bytes, io_error, open, read_exact_at, remove_if_there,
        suffixed, write_atomically,
    },
    index::AbortDigest,
    leader_epochs,
    record_batch::BatchHeader,
    segment::{FileKind, IndexState, Segment, SegmentFiles},
    start_offset,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// More producers than a snapshot may hold, so none is believed, and all are read from the headers.
const NO_SNAPSHOT_HOLDS: usize = u32::MAX as usize;
/// What is copied at a time.
const COPY_BYTES: u64 = 1 << 20;

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    pub before: PartitionReport,
    /// What a check says afterwards.
    pub after: PartitionReport,
    /// Offsets that have no record any more; in a compacted topic some of them may have had none before.
    pub lost_offsets: u64,
    /// Where the bytes are that were taken out.
    pub kept_aside: Vec<PathBuf>,
}

/// Mends what [`super::check_partition`] complains of. A partition that nothing is wrong with is not touched.
pub fn repair_partition(file_system: &Arc<dyn FileSystem>, dir: &Path, now_ms: i64) -> Result<Repaired, StorageError> {
    let found = examine(file_system, dir)?;
    let before = found.report.clone();
    if !before.is_wrong() {
        return Ok(Repaired { after: before.clone(), before, lost_offsets: 0, kept_aside: Vec::new() });
    }
    let mut repair = Repair { file_system, dir: dir.into(), found, lost_offsets: 0, kept_aside: Vec::new() };
    repair.set_checkpoint_back()?;
    repair.remove_what_is_made_anew()?;
    for base in repair.found.damaged_logs.clone() {
        repair.rewrite(base)?;
    }
    repair.rebuild_indexes()?;
    // Opening makes the other side files.
    let (log, _) = Log::open(file_system.clone(), dir, LogConfig::default(), now_ms)?;
    log.close()?;
    let (lost_offsets, kept_aside) = (repair.lost_offsets, repair.kept_aside);
    Ok(Repaired { before, after: examine(file_system, dir)?.report, lost_offsets, kept_aside })
}

struct Repair<'a> {
    file_system: &'a Arc<dyn FileSystem>,
    dir: Arc<Path>,
    found: Examined,
    lost_offsets: u64,
    kept_aside: Vec<PathBuf>,
}

impl Repair<'_> {
    /// The next start reads the last segment from its beginning, and producers, aborted transactions and leader epochs from all others. The sealed segments stay
    /// before the checkpoint: compaction leaves gaps there, which behind it would be taken for what a crash lost.
    fn set_checkpoint_back(&self) -> Result<(), StorageError> {
        let Some(last) = self.found.bases.last().copied() else {
            return remove_if_there(&**self.file_system, &self.dir.join(checkpoint::FILE_NAME));
        };
        let checkpoint = Checkpoint {
            log_start_offset: self.found.report.offsets.0,
            segment: last,
            position: 0,
            next_offset: last,
            indexes: IndexState { max_timestamp: -1, max_timestamp_offset: -1, ..IndexState::default() },
            producers: NO_SNAPSHOT_HOLDS,
            aborted: AbortDigest { count: u64::MAX, sum: 0 },
        };
        write_atomically(&**self.file_system, &self.dir.join(checkpoint::FILE_NAME), checkpoint.encode().as_bytes())
    }

    fn rebuild_indexes(&self) -> Result<(), StorageError> {
        let names = self.file_system.list_dir(&self.dir).map_err(io_error("list", &self.dir))?;
        let Some((_, sealed)) = self.found.bases.split_last() else { return Ok(()) };
        for base in sealed {
            let is_there = |kind: FileKind| names.iter().any(|name| *name == kind.name(*base));
            if !is_there(FileKind::OffsetIndex) || !is_there(FileKind::TimeIndex) {
                Segment::sealed(self.files(*base), INDEX_INTERVAL_BYTES)?.rebuild_indexes()?;
            }
        }
        Ok(())
    }

    fn files(&self, base_offset: i64) -> SegmentFiles {
        SegmentFiles { file_system: self.file_system.clone(), dir: self.dir.clone(), base_offset, suffix: "" }
    }

    fn remove_what_is_made_anew(&self) -> Result<(), StorageError> {
        remove_if_there(&**self.file_system, &self.dir.join(leader_epochs::FILE_NAME))?;
        for finding in &self.found.report.findings {
            let name = finding.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let made_anew = FileKind::of(name).is_some_and(|(kind, _)| kind != FileKind::Log)
                || [start_offset::FILE_NAME, CleanerCheckpoint::FILE_NAME].contains(&name);
            if made_anew && finding.severity > super::Severity::Note {
                remove_if_there(&**self.file_system, &finding.file)?;
            }
        }
        Ok(())
    }

    fn rewrite(&mut self, base: i64) -> Result<(), StorageError> {
        let files = SegmentFiles {
            file_system: self.file_system.clone(),
            dir: self.dir.clone(),
            base_offset: base,
            suffix: "",
        };
        let limit = self.found.bases.iter().copied().find(|other| *other > base);
        let trusted = self.found.checkpoint.filter(|checkpoint| checkpoint.segment >= base);
        let trusted_until = trusted.map_or(0, |at| if at.segment > base { u64::MAX } else { at.position });
        let segment = Segment::sealed(files.clone(), INDEX_INTERVAL_BYTES)?;
        let (path, old) = (files.path(FileKind::Log), segment.file()?);
        let temporary = suffixed(&path, TEMPORARY_SUFFIX);
        let file = open(&**self.file_system, &temporary, true).map_err(io_error("create", &temporary))?;
        self.file_system.truncate(&file, 0).map_err(io_error("truncate", &temporary))?;
        let mut copy = Copy { repair: self, old, new: file, due: base, leader_epoch: 0, ends_badly: false };
        walk(&segment, Expected { due: base, limit, trusted_until }, |span| copy.take(span))?;
        // Offsets that were given out are not given out again. Compaction may have taken the last ones of a sealed segment.
        match limit {
            Some(limit) if copy.ends_badly => copy.fill(limit)?,
            Some(_) => {}
            None => copy.fill(trusted.map_or(0, |at| at.next_offset))?,
        }
        let new = copy.new;
        self.file_system.sync_data(&new).map_err(io_error("sync", &temporary))?;
        for kind in FileKind::SIDE {
            remove_if_there(&**self.file_system, &files.path(kind))?;
        }
        segment.release();
        self.file_system.rename(&temporary, &path).map_err(io_error("rename", &temporary))?;
        self.file_system.sync_dir(&self.dir).map_err(io_error("sync", &self.dir))
    }

    /// Keeps a stretch of the old file in a file of its own, whose name says where it was.
    fn keep_aside(&mut self, old: &OpenFile, position: u64, end: u64) -> Result<(), StorageError> {
        let mut kept = suffixed(&old.path, &format!(".{position}{KEPT_ASIDE_SUFFIX}"));
        let names = self.file_system.list_dir(&self.dir).map_err(io_error("list", &self.dir))?;
        let taken = |path: &Path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| names.iter().any(|known| known == name))
        };
        let mut number = 2;
        while taken(&kept) {
            kept = suffixed(&old.path, &format!(".{position}.{number}{KEPT_ASIDE_SUFFIX}"));
            number += 1;
        }
        let file = open(&**self.file_system, &kept, true).map_err(io_error("create", &kept))?;
        copy(&**self.file_system, old, &file, position, end)?;
        self.file_system.sync_data(&file).map_err(io_error("sync", &kept))?;
        self.kept_aside.push(kept);
        Ok(())
    }
}

/// The old `.log` becomes the new one.
struct Copy<'a, 'b> {
    repair: &'a mut Repair<'b>,
    old: OpenFile,
    new: OpenFile,
    due: i64,
    leader_epoch: i32,
    /// The last stretch was taken out.
    ends_badly: bool,
}

impl Copy<'_, '_> {
    fn take(&mut self, span: &Span) -> Result<(), StorageError> {
        self.ends_badly = matches!(span, Span::Bad { .. });
        match span {
            Span::Good { position, header } => {
                self.copy(*position, position + bytes(header.size()))?;
                self.pass(header.last_offset() + 1, header);
            }
            Span::Misplaced { position, header, due } => {
                let placed = BatchHeader { base_offset: *due, ..*header };
                append_all(&**self.repair.file_system, &self.new, &placed.encode())?;
                let records = position + bytes(placed.encode().len());
                self.copy(records, position + bytes(header.size()))?;
                self.pass(placed.last_offset() + 1, header);
            }
            Span::Bad { position, end, next_offset, .. } => {
                self.repair.keep_aside(&self.old, *position, *end)?;
                self.fill(next_offset.unwrap_or(self.due))?;
            }
        }
        Ok(())
    }

    fn pass(&mut self, due: i64, header: &BatchHeader) {
        self.due = due;
        self.leader_epoch = header.partition_leader_epoch;
    }

    fn copy(&self, start: u64, end: u64) -> Result<(), StorageError> {
        copy(&**self.repair.file_system, &self.old, &self.new, start, end)
    }

    /// Empty batches for the lost offsets up to `next_offset`.
    fn fill(&mut self, next_offset: i64) -> Result<(), StorageError> {
        while self.due < next_offset {
            let delta = i32::try_from(next_offset - self.due - 1).unwrap_or(i32::MAX - 1);
            let empty = BatchHeader::empty(self.due, delta, self.leader_epoch);
            append_all(&**self.repair.file_system, &self.new, &empty.encode())?;
            self.repair.lost_offsets += u64::try_from(delta).unwrap_or(0) + 1;
            self.due = empty.last_offset() + 1;
        }
        Ok(())
    }
}

fn copy(
    file_system: &dyn FileSystem,
    from: &OpenFile,
    to: &OpenFile,
    start: u64,
    end: u64,
) -> Result<(), StorageError> {
    let mut position = start;
    let mut buffer = Vec::new();
    while position < end {
        buffer.resize(usize::try_from((end - position).min(COPY_BYTES)).unwrap_or(0), 0);
        read_exact_at(file_system, from, &mut buffer, position)?;
        append_all(file_system, to, &buffer)?;
        position += bytes(buffer.len());
    }
    Ok(())
}
