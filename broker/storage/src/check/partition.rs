//! Check of one partition: every segment with its side files, then what the partition has once.

use super::{
    Finding, KEPT_ASIDE_SUFFIX, PartitionReport, Severity,
    batches::{Expected, Span, walk},
    indexes::IndexCheck,
    side_files,
};
use crate::{
    StorageError,
    checkpoint::{self, Checkpoint},
    compaction::CleanerCheckpoint,
    file_system::{FileSystem, TEMPORARY_SUFFIX, io_error, read_small},
    leader_epochs::{self, LeaderEpochs},
    partition_metadata,
    record_batch::BatchHeader,
    segment::{DELETED_FILE_SUFFIX, FileKind, Segment, SegmentFiles},
    start_offset,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Index entries are as far apart as this when repair makes them; check does not depend on it.
pub(super) const INDEX_INTERVAL_BYTES: u32 = 4096;

/// Reads every file of the partition in `dir` and says what is wrong. Changes nothing.
pub fn check_partition(file_system: &Arc<dyn FileSystem>, dir: &Path) -> Result<PartitionReport, StorageError> {
    Ok(examine(file_system, dir)?.report)
}

/// A report, and what repair needs besides.
pub(super) struct Examined {
    pub report: PartitionReport,
    pub checkpoint: Option<Checkpoint>,
    /// Base offsets of the segments, rising.
    pub bases: Vec<i64>,
    /// Those whose `.log` has to be written anew.
    pub damaged_logs: Vec<i64>,
}

pub(super) fn examine(file_system: &Arc<dyn FileSystem>, dir: &Path) -> Result<Examined, StorageError> {
    let names = file_system.list_dir(dir).map_err(io_error("list", dir))?;
    let mut bases: Vec<i64> = names.iter().filter_map(|name| FileKind::Log.parse(name)).collect();
    bases.sort_unstable();
    let mut check = Check {
        file_system,
        dir: dir.into(),
        names,
        bases,
        checkpoint: None,
        checkpoint_is_on_a_batch: false,
        written_start: 0,
        leader_epochs: LeaderEpochs::default(),
        records: 0,
        next_offset: 0,
        findings: Vec::new(),
        damaged_logs: Vec::new(),
    };
    check.checkpoint = check.read_checkpoint()?;
    check.segments()?;
    check.finish()
}

pub(super) struct Check<'a> {
    pub file_system: &'a Arc<dyn FileSystem>,
    pub dir: Arc<Path>,
    pub names: Vec<String>,
    pub bases: Vec<i64>,
    pub checkpoint: Option<Checkpoint>,
    checkpoint_is_on_a_batch: bool,
    /// What `log-start-offset` says.
    pub written_start: i64,
    pub leader_epochs: LeaderEpochs,
    records: u64,
    pub next_offset: i64,
    findings: Vec<Finding>,
    damaged_logs: Vec<i64>,
}

impl Check<'_> {
    fn read_checkpoint(&mut self) -> Result<Option<Checkpoint>, StorageError> {
        let Some(content) = self.read(checkpoint::FILE_NAME, checkpoint::MAX_BYTES)? else { return Ok(None) };
        let decoded = Checkpoint::decode(&content);
        if decoded.is_none() {
            self.harmless(
                checkpoint::FILE_NAME,
                "it is no checkpoint, or its CRC does not fit",
                "the next start scans every segment",
                "written anew",
            );
        }
        Ok(decoded)
    }

    fn segments(&mut self) -> Result<(), StorageError> {
        self.next_offset = self.bases.first().copied().unwrap_or(0);
        for (at, base) in self.bases.clone().into_iter().enumerate() {
            let limit = self.bases.get(at + 1).copied();
            if base > self.next_offset {
                let (from, to) = (self.next_offset, base - 1);
                let file = FileKind::Log.name(base);
                self.note(&file, format!("offsets {from} to {to} before it have no records: compacted away, or lost"));
            }
            self.segment(base, limit)?;
        }
        Ok(())
    }

    fn segment(&mut self, base: i64, limit: Option<i64>) -> Result<(), StorageError> {
        let segment = Segment::sealed(self.files(base), INDEX_INTERVAL_BYTES)?;
        let mut indexes = IndexCheck::open(self, base, limit.is_some())?;
        let trusted_until = self.trusted_until(base);
        let expected = Expected { due: base, limit, trusted_until };
        let mut previous_end = None;
        self.next_offset = walk(&segment, expected, |span| {
            if let Span::Good { position, header } = span {
                previous_end = Some(position + crate::file_system::bytes(header.size()));
                self.take(base, *position, header);
                indexes.batch(*position, header);
            } else {
                self.bad_span(base, limit, trusted_until, span);
            }
            Ok(())
        })?
        .max(base);
        self.note_boundary(base, previous_end.unwrap_or(0), self.next_offset);
        self.note_lost_end(base, segment.size(), limit);
        indexes.finish(self);
        segment.release();
        Ok(())
    }

    /// Bytes of this segment that the broker takes without a look at the next start.
    fn trusted_until(&self, base: i64) -> u64 {
        match self.checkpoint {
            Some(checkpoint) if checkpoint.segment == base => checkpoint.position,
            Some(checkpoint) if base < checkpoint.segment => u64::MAX,
            _ => 0,
        }
    }

    fn take(&mut self, base: i64, position: u64, header: &BatchHeader) {
        self.records += u64::try_from(header.record_count).unwrap_or(0);
        self.leader_epochs.assign(header.partition_leader_epoch, header.base_offset);
        self.note_boundary(base, position, header.base_offset);
    }

    fn note_boundary(&mut self, base: i64, position: u64, offset: i64) {
        if self.checkpoint.is_some_and(|checkpoint| {
            (checkpoint.segment, checkpoint.position, checkpoint.next_offset) == (base, position, offset)
        }) {
            self.checkpoint_is_on_a_batch = true;
        }
    }

    /// The last segment is shorter than it was when the checkpoint was written.
    fn note_lost_end(&mut self, base: i64, length: u64, limit: Option<i64>) {
        let Some(checkpoint) = self.checkpoint.filter(|checkpoint| checkpoint.segment == base) else { return };
        if limit.is_some() || length >= checkpoint.position {
            return;
        }
        self.damaged_logs.retain(|known| *known != base);
        self.damaged_logs.push(base);
        let problem = format!(
            "it ends at byte {length}; the checkpoint saw {} bytes, up to offset {}",
            checkpoint.position, checkpoint.next_offset
        );
        let meaning = "the records behind are lost, and the next start would give their offsets out again";
        self.damage(&FileKind::Log.name(base), &problem, meaning, "an empty batch stands for the lost offsets");
    }

    fn bad_span(&mut self, base: i64, limit: Option<i64>, trusted_until: u64, span: &Span) {
        if self.damaged_logs.last() != Some(&base) {
            self.damaged_logs.push(base);
        }
        let finding = match span {
            Span::Good { .. } => return,
            Span::Misplaced { position, header, due } => {
                self.records += u64::try_from(header.record_count).unwrap_or(0);
                Finding {
                    severity: Severity::Damage,
                    file: self.path(&FileKind::Log.name(base)),
                    position: Some(*position),
                    problem: format!("the batch says base offset {}, its neighbours say {due}", header.base_offset),
                    meaning: "its records are right, their offsets are not; the broker takes the partition offline or cuts it here".into(),
                    repair: format!("base offset set to {due}; no record is lost"),
                }
            }
            Span::Bad { position, end, next_offset, reason } => {
                let torn = limit.is_none() && next_offset.is_none() && *position >= trusted_until;
                let lost = next_offset.or(limit);
                Finding {
                    severity: if torn { Severity::Harmless } else { Severity::Damage },
                    file: self.path(&FileKind::Log.name(base)),
                    position: Some(*position),
                    problem: reason.clone(),
                    meaning: meaning(torn, end - position, lost),
                    repair: format!(
                        "the {} bytes are kept in a {KEPT_ASIDE_SUFFIX} file and taken out; offsets stay",
                        end - position
                    ),
                }
            }
        };
        self.findings.push(finding);
    }

    fn finish(mut self) -> Result<Examined, StorageError> {
        side_files::check(&mut self)?;
        if let Some(checkpoint) = self.checkpoint.filter(|_| !self.checkpoint_is_on_a_batch) {
            self.misplaced_checkpoint(checkpoint);
        }
        for name in self.names.clone() {
            self.other_file(&name);
        }
        let first = self.bases.first().copied().unwrap_or(0);
        let noted = self.checkpoint.map_or(first, |checkpoint| checkpoint.log_start_offset);
        let start = first.max(noted).max(self.written_start);
        let report = PartitionReport {
            dir: self.dir.to_path_buf(),
            segments: self.bases.len(),
            records: self.records,
            offsets: (start, self.next_offset.max(start)),
            findings: self.findings,
        };
        Ok(Examined { report, checkpoint: self.checkpoint, bases: self.bases, damaged_logs: self.damaged_logs })
    }

    fn misplaced_checkpoint(&mut self, checkpoint: Checkpoint) {
        let (segment, position) = (FileKind::Log.name(checkpoint.segment), checkpoint.position);
        let problem = format!("it says that all is good up to byte {position} of {segment}, where no batch ends");
        self.harmless(
            checkpoint::FILE_NAME,
            &problem,
            "what it says is not used, or the damage there is told above",
            "written anew",
        );
    }

    fn other_file(&mut self, name: &str) {
        let once = [
            checkpoint::FILE_NAME,
            leader_epochs::FILE_NAME,
            partition_metadata::FILE_NAME,
            start_offset::FILE_NAME,
            CleanerCheckpoint::FILE_NAME,
        ];
        if once.contains(&name) || FileKind::Log.parse(name).is_some() || FileKind::Snapshot.parse(name).is_some() {
            return;
        }
        if let Some((kind, base)) = FileKind::of(name) {
            if self.bases.binary_search(&base).is_err() {
                self.harmless(
                    name,
                    &format!("there is no {} for it", FileKind::Log.name(base)),
                    "it is not used; the next start removes it",
                    "removed",
                );
            }
            debug_assert!(FileKind::SIDE.contains(&kind));
        } else if name.ends_with(KEPT_ASIDE_SUFFIX) {
            self.note(name, "bytes that an earlier repair kept aside".into());
        } else if [TEMPORARY_SUFFIX, DELETED_FILE_SUFFIX, ".cleaned", ".swap"].iter().any(|end| name.ends_with(end)) {
            self.note(
                name,
                "left over from a stop in the middle; the next start removes it or ends what was begun".into(),
            );
        } else {
            self.note(name, "not a file of Tifo's".into());
        }
    }

    pub fn files(&self, base_offset: i64) -> SegmentFiles {
        SegmentFiles { file_system: self.file_system.clone(), dir: self.dir.clone(), base_offset, suffix: "" }
    }

    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A small file, whole; one that is too long is reported, and empty.
    pub fn read(&mut self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StorageError> {
        if !self.has(name) {
            return Ok(None);
        }
        match read_small(&**self.file_system, &self.path(name), limit) {
            Err(StorageError::Corrupt { .. }) => Ok(Some(Vec::new())),
            content => content,
        }
    }

    fn note(&mut self, name: &str, problem: String) {
        self.find(Severity::Note, name, &problem, "", "left as it is");
    }

    pub fn harmless(&mut self, name: &str, problem: &str, meaning: &str, repair: &str) {
        self.find(Severity::Harmless, name, problem, meaning, repair);
    }

    pub fn damage(&mut self, name: &str, problem: &str, meaning: &str, repair: &str) {
        self.find(Severity::Damage, name, problem, meaning, repair);
    }

    fn find(&mut self, severity: Severity, name: &str, problem: &str, meaning: &str, repair: &str) {
        self.findings.push(Finding {
            severity,
            file: self.path(name),
            position: None,
            problem: problem.into(),
            meaning: meaning.into(),
            repair: repair.into(),
        });
    }
}

fn meaning(torn: bool, bytes: u64, next: Option<i64>) -> String {
    match (torn, next) {
        (true, _) => format!("the last {bytes} bytes are a write that a crash tore; the next start cuts them off"),
        (false, Some(next)) => {
            format!("records below offset {next} cannot be read, and the partition goes offline when they are")
        }
        (false, None) => format!("the last {bytes} bytes cannot be read, and the partition goes offline when they are"),
    }
}
