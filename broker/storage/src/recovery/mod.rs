//! Opening a log: what lies in the directory becomes segments, offsets and producer state.
//!
//! The checkpoint says up to where everything is good. Only what lies behind it is scanned, every batch with its CRC. Behind it the log
//! ends at the first place that a crash tore, be it in the middle of the segments (they are synced in the background): the rest
//! was never durable and is dropped. Damage that no crash leaves (the bytes were once written) is never cut: it takes the
//! partition offline with the file and the position. Missing or damaged side files are made anew.

pub(crate) mod scan;
mod start;

use crate::{
    LogConfig, Recovered, StorageError,
    checkpoint::{self, Checkpoint},
    compaction::{self, CleanerCheckpoint},
    file_system::{FileSystem, TEMPORARY_SUFFIX, io_error, read_small, remove_if_there, write_unsynced},
    index::AbortDigest,
    leader_epochs::{self, LeaderEpochs},
    producer_state::{MAX_SNAPSHOT_BYTES, ProducerStates},
    record_batch::{BatchHeader, EndTransactionMarker},
    segment::{DELETED_FILE_SUFFIX, FileKind, Segment, SegmentFiles},
};
use scan::{Damage, scan};
use std::{path::Path, sync::Arc};

/// A log as it was found, or mended.
pub(crate) struct Opened {
    pub sealed: Vec<Segment>,
    pub active: Segment,
    pub log_start_offset: i64,
    pub log_end_offset: i64,
    pub leader_epochs: LeaderEpochs,
    /// Their file is not there, and need not be before the first checkpoint.
    pub leader_epochs_unwritten: bool,
    pub producers: ProducerStates,
    /// Up to here the checkpoint says that all is on stable storage.
    pub durable_offset: i64,
    pub snapshot_offset: Option<i64>,
    /// Base offset of the segment in which the checkpoint lies.
    pub checkpointed_segment: Option<i64>,
    /// Where the cleaner goes on.
    pub first_dirty_offset: Option<i64>,
    pub recovered: Recovered,
}

impl Opened {
    /// Whether a new checkpoint would say more than the one that was found.
    pub fn is_dirty(&self) -> bool {
        let Recovered { scanned_bytes, truncated_bytes, .. } = self.recovered;
        scanned_bytes > 0 || truncated_bytes > 0 || (self.checkpointed_segment.is_none() && self.log_end_offset > 0)
    }
}

struct Recovery<'a> {
    file_system: Arc<dyn FileSystem>,
    dir: &'a Arc<Path>,
    config: &'a LogConfig,
    now_ms: i64,
    names: Vec<String>,
    bases: Vec<i64>,
    written_start: i64,
    checkpoint: Option<Checkpoint>,
    segments: Vec<Segment>,
    next_offset: i64,
    leader_epochs: LeaderEpochs,
    producers: ProducerStates,
    recovered: Recovered,
}

pub(crate) fn open(
    file_system: Arc<dyn FileSystem>,
    dir: &Arc<Path>,
    config: &LogConfig,
    now_ms: i64,
) -> Result<Opened, StorageError> {
    let mut names = match file_system.list_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            file_system.create_dir_all(dir).map_err(io_error("create", dir))?;
            Vec::new()
        }
        listed => listed.map_err(io_error("list", dir))?,
    };
    if compaction::settle_leftovers(&file_system, dir, &names)? {
        names = file_system.list_dir(dir).map_err(io_error("list", dir))?;
    }
    let mut bases: Vec<i64> = names.iter().filter_map(|name| FileKind::Log.parse(name)).collect();
    bases.sort_unstable();
    let mut recovery = Recovery {
        file_system,
        dir,
        config,
        now_ms,
        names,
        bases,
        written_start: 0,
        checkpoint: None,
        segments: Vec::new(),
        next_offset: 0,
        leader_epochs: LeaderEpochs::default(),
        producers: ProducerStates::default(),
        recovered: Recovered::default(),
    };
    recovery.sweep()?;
    recovery.written_start = recovery.read_written_start()?;
    recovery.drop_below_start()?;
    recovery.checkpoint = recovery.usable_checkpoint()?;
    recovery.trust_up_to_checkpoint()?;
    recovery.scan_the_rest()?;
    recovery.finish()
}

impl Recovery<'_> {
    /// Removes half-written replacements, and files of segments that are gone or were about to go.
    fn sweep(&self) -> Result<(), StorageError> {
        for name in &self.names {
            let half = name.ends_with(TEMPORARY_SUFFIX) || name.ends_with(DELETED_FILE_SUFFIX);
            let side = FileKind::SIDE.iter().find_map(|kind| kind.parse(name));
            if half || side.is_some_and(|base| self.bases.binary_search(&base).is_err()) {
                remove_if_there(&*self.file_system, &self.dir.join(name))?;
            }
        }
        Ok(())
    }

    /// The checkpoint, if it is whole and the files hold at least what it says.
    fn usable_checkpoint(&self) -> Result<Option<Checkpoint>, StorageError> {
        if !self.has(checkpoint::FILE_NAME) {
            return Ok(None);
        }
        let path = self.dir.join(checkpoint::FILE_NAME);
        let content = read_small(&*self.file_system, &path, checkpoint::MAX_BYTES);
        let decoded = match content {
            Ok(content) => content.as_deref().and_then(Checkpoint::decode),
            Err(StorageError::Corrupt { .. }) => None,
            Err(error) => return Err(error),
        };
        let Some(checkpoint) = decoded.filter(|checkpoint| self.bases.contains(&checkpoint.segment)) else {
            tracing::warn!(path = %path.display(), "the checkpoint is damaged or names no segment: scanning everything");
            return Ok(None);
        };
        let length = self.trusted(checkpoint.segment)?.size();
        if length < checkpoint.position {
            tracing::warn!(path = %path.display(), length, position = checkpoint.position,
                "the segment ends before the checkpoint: scanning everything");
            return Ok(None);
        }
        Ok(Some(checkpoint))
    }

    /// Segments before the checkpoint are taken as they are, and so is the checkpoint's own up to there.
    fn trust_up_to_checkpoint(&mut self) -> Result<(), StorageError> {
        let Some(checkpoint) = self.checkpoint else {
            self.next_offset = self.bases.first().copied().unwrap_or(self.written_start);
            return Ok(());
        };
        for base in self.bases.iter().copied().take_while(|base| *base < checkpoint.segment).collect::<Vec<_>>() {
            let segment = self.trusted(base)?;
            self.segments.push(segment);
        }
        let mut resumed = Segment::resumed(
            self.files(checkpoint.segment),
            self.config.index_interval_bytes,
            checkpoint.position,
            checkpoint.indexes,
        )?;
        // Entries behind the checkpoint are made anew by the scan.
        if checkpoint.indexes.aborted_entries == 0 && self.has(&FileKind::TransactionIndex.name(checkpoint.segment)) {
            resumed.clear_aborted()?;
        }
        self.segments.push(resumed);
        self.next_offset = checkpoint.next_offset;
        self.load_leader_epochs()?;
        self.load_producers(&checkpoint)?;
        self.check_transaction_indexes(checkpoint.aborted)
    }

    fn load_leader_epochs(&mut self) -> Result<(), StorageError> {
        let path = self.dir.join(leader_epochs::FILE_NAME);
        let content = match self.has(leader_epochs::FILE_NAME) {
            true => read_small(&*self.file_system, &path, leader_epochs::MAX_BYTES),
            false => Ok(None),
        };
        let decoded = match content {
            Ok(content) => content.as_deref().and_then(LeaderEpochs::decode),
            Err(StorageError::Corrupt { .. }) => None,
            Err(error) => return Err(error),
        };
        match decoded {
            Some(leader_epochs) => self.leader_epochs = leader_epochs,
            None => self.replay(|recovery, header, _| {
                recovery.leader_epochs.assign(header.partition_leader_epoch, header.base_offset);
            })?,
        }
        Ok(())
    }

    fn load_producers(&mut self, checkpoint: &Checkpoint) -> Result<(), StorageError> {
        if checkpoint.producers == 0 {
            return Ok(());
        }
        let path = self.dir.join(FileKind::Snapshot.name(checkpoint.next_offset));
        let content = match read_small(&*self.file_system, &path, MAX_SNAPSHOT_BYTES) {
            Err(StorageError::Corrupt { .. }) => None,
            content => content?,
        };
        let decoded = content.and_then(|content| ProducerStates::decode(&content, self.now_ms).ok());
        match decoded.filter(|producers| producers.len() == checkpoint.producers) {
            Some(producers) => self.producers = producers,
            None => {
                tracing::warn!(path = %path.display(), "the producer snapshot is missing or damaged: read from the log");
                self.replay(|recovery, header, marker| {
                    recovery.producers.record(header, marker, recovery.now_ms);
                })?;
            }
        }
        Ok(())
    }

    /// The transaction indexes of the trusted segments hold what the checkpoint says, or are made anew.
    fn check_transaction_indexes(&mut self, expected: AbortDigest) -> Result<(), StorageError> {
        let found = self.segments.iter().map(Segment::abort_digest).fold(AbortDigest::default(), AbortDigest::plus);
        if found == expected {
            return Ok(());
        }
        tracing::warn!(dir = %self.dir.display(), "a transaction index is missing or damaged: made anew from the log");
        let mut producers = ProducerStates::default();
        for segment in &mut self.segments {
            segment.clear_aborted()?;
            let mut aborted = Vec::new();
            for step in segment.walk(0) {
                let batch = step?;
                let marker = segment.marker(&batch)?;
                aborted.extend(producers.record(&batch.header, marker, self.now_ms));
            }
            aborted.into_iter().for_each(|transaction| segment.note_aborted(transaction));
            segment.persist_indexes()?;
        }
        Ok(())
    }

    /// Shows every trusted batch to `take`.
    fn replay(
        &mut self,
        mut take: impl FnMut(&mut Self, &BatchHeader, Option<EndTransactionMarker>),
    ) -> Result<(), StorageError> {
        let segments = std::mem::take(&mut self.segments);
        for segment in &segments {
            for step in segment.walk(0) {
                let batch = step?;
                take(self, &batch.header, segment.marker(&batch)?);
            }
        }
        self.segments = segments;
        Ok(())
    }

    fn scan_the_rest(&mut self) -> Result<(), StorageError> {
        let mut ended = false;
        if let Some(segment) = self.segments.pop() {
            ended = self.scan_segment(segment)?;
        }
        for base in self.bases.clone().split_off(self.segments.len()) {
            if ended || self.is_gap_before(base) {
                self.drop_from(base)?;
                break;
            }
            let segment = self.fresh(base)?;
            ended = self.scan_segment(segment)?;
        }
        if self.segments.is_empty() {
            let segment = self.fresh(self.next_offset)?;
            self.segments.push(segment);
        }
        Ok(())
    }

    /// Behind a checkpoint each segment begins where the one before ends, else the end of that one was lost. Without a checkpoint
    /// offsets may be missing: the files may be Kafka's, and compacted.
    fn is_gap_before(&self, base: i64) -> bool {
        self.checkpoint.is_some() && base > self.next_offset
    }

    /// Removes the segments from `base` on, the last first: what a crash leaves of them is found and dropped again.
    fn drop_from(&mut self, base: i64) -> Result<(), StorageError> {
        let first = self.bases.partition_point(|known| *known < base);
        let dropped = self.bases.split_off(first);
        tracing::warn!(dir = %self.dir.display(), from = base, segments = dropped.len(), end = self.next_offset,
            "segments behind the torn end were never durable and are removed");
        for base in dropped.into_iter().rev() {
            self.recovered.truncated_bytes += self.trusted(base)?.size();
            self.files(base).remove_all("")?;
        }
        Ok(())
    }

    /// Takes the segment in up to its end, or to where it is torn: then true, the log ends here.
    fn scan_segment(&mut self, mut segment: Segment) -> Result<bool, StorageError> {
        let base_offset = segment.base_offset();
        let last = self.bases.last() == Some(&base_offset);
        if base_offset < self.next_offset && segment.size() == 0 {
            return Err(corrupt(
                &segment,
                format!("it begins below offset {}, where the one before ends", self.next_offset),
            )?);
        }
        self.next_offset = self.next_offset.max(base_offset);
        let (from, length) = (segment.size(), segment.file_length()?);
        let damage = self.scan_batches(&mut segment, last)?;
        self.recovered.scanned_bytes += segment.size() - from;
        if let Some(damage) = &damage {
            self.cut(&segment, damage, last, length)?;
        } else if !last {
            self.seal(&mut segment)?;
        }
        self.segments.push(segment);
        Ok(damage.is_some())
    }

    /// Without a checkpoint nothing will say that this one is durable.
    fn seal(&self, segment: &mut Segment) -> Result<(), StorageError> {
        if self.checkpoint.is_none() {
            let file = segment.file()?;
            self.file_system.sync_data(&file).map_err(io_error("sync", &file.path))?;
        }
        segment.seal()
    }

    fn scan_batches(&mut self, segment: &mut Segment, last: bool) -> Result<Option<Damage>, StorageError> {
        let Self { leader_epochs, producers, next_offset, now_ms, .. } = self;

        let contiguous = last;
        scan(segment, *next_offset, contiguous, |header, marker| {
            leader_epochs.assign(header.partition_leader_epoch, header.base_offset);
            *next_offset = header.last_offset() + 1;
            producers.record(header, marker, *now_ms)
        })
    }

    /// Cuts off what is torn; any other damage is an error.
    fn cut(&mut self, segment: &Segment, damage: &Damage, last: bool, length: u64) -> Result<(), StorageError> {
        // Without a checkpoint nobody knows whether later segments were durable.
        let may_cut = last || self.checkpoint.is_some();
        if !may_cut || !scan::is_torn(segment, damage, self.next_offset, last)? {
            return Err(corrupt(segment, damage.reason.clone())?);
        }
        let lost = length - segment.size();
        tracing::warn!(dir = %self.dir.display(), segment = segment.base_offset(), position = segment.size(), bytes = lost,
            reason = damage.reason, "cutting a torn end");
        self.recovered.truncated_bytes += lost;
        segment.cut_file()
    }

    fn finish(mut self) -> Result<Opened, StorageError> {
        let log_start_offset = self.log_start_offset();
        if log_start_offset > self.next_offset {
            self.restart_at(log_start_offset)?;
        }
        self.recovered.segments = self.segments.len();
        let missing = !self.has(leader_epochs::FILE_NAME);
        let leader_epochs_unwritten = missing && self.checkpoint.is_none();
        let cut = self.leader_epochs.truncate(self.next_offset);
        let changed = self.leader_epochs.truncate_from_start(log_start_offset) || cut || missing;
        if changed && !leader_epochs_unwritten {
            let path = self.dir.join(leader_epochs::FILE_NAME);
            write_unsynced(&*self.file_system, &path, self.leader_epochs.encode().as_bytes())?;
        }
        self.drop_snapshots_beyond()?;
        let first_dirty_offset = self.first_dirty_offset()?;
        let first = self.segments.first().map_or(0, Segment::base_offset);
        let nothing_new = self.recovered.scanned_bytes == 0 && self.recovered.truncated_bytes == 0;
        let durable_offset = match self.checkpoint {
            Some(checkpoint) if !nothing_new => checkpoint.next_offset,
            Some(_) => self.next_offset,
            None => first,
        };
        let active = match self.segments.pop() {
            Some(active) => active,
            None => self.fresh(self.next_offset)?,
        };
        Ok(Opened {
            sealed: self.segments,
            active,
            log_start_offset,
            log_end_offset: self.next_offset,
            leader_epochs: self.leader_epochs,
            leader_epochs_unwritten,
            producers: self.producers,
            durable_offset,
            snapshot_offset: self.checkpoint.map(|checkpoint| checkpoint.next_offset),
            checkpointed_segment: self.checkpoint.map(|checkpoint| checkpoint.segment),
            first_dirty_offset,
            recovered: self.recovered,
        })
    }

    /// Snapshots of offsets that do not exist (any more).
    fn drop_snapshots_beyond(&self) -> Result<(), StorageError> {
        let first = self.segments.first().map_or(0, Segment::base_offset);
        for name in &self.names {
            if FileKind::Snapshot.parse(name).is_some_and(|offset| offset > self.next_offset || offset < first) {
                remove_if_there(&*self.file_system, &self.dir.join(name))?;
            }
        }
        Ok(())
    }

    fn first_dirty_offset(&self) -> Result<Option<i64>, StorageError> {
        if !self.has(CleanerCheckpoint::FILE_NAME) {
            return Ok(None);
        }
        let checkpoint = CleanerCheckpoint::read(&*self.file_system, self.dir, self.next_offset)?;
        Ok(checkpoint.map(|checkpoint| checkpoint.first_dirty_offset))
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    fn trusted(&self, base: i64) -> Result<Segment, StorageError> {
        let mut segment = Segment::sealed(self.files(base), self.config.index_interval_bytes)?;
        if self.has(&FileKind::TransactionIndex.name(base)) {
            segment.load_aborted(None)?;
        }
        Ok(segment)
    }

    fn fresh(&self, base: i64) -> Result<Segment, StorageError> {
        let mut segment = Segment::create(self.files(base), self.config.index_interval_bytes)?;
        if self.has(&FileKind::TransactionIndex.name(base)) {
            segment.clear_aborted()?;
        }
        Ok(segment)
    }

    fn files(&self, base_offset: i64) -> SegmentFiles {
        SegmentFiles { file_system: self.file_system.clone(), dir: self.dir.clone(), base_offset, suffix: "" }
    }
}

fn corrupt(segment: &Segment, reason: String) -> Result<StorageError, StorageError> {
    Ok(StorageError::Corrupt { path: segment.file()?.path.to_path_buf(), position: segment.size(), reason })
}
