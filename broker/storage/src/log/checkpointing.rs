//! Noting that all is good up to an offset, so that a start after a crash scans only what comes later.
//!
//! In three steps like a sync: what is to be noted is taken under the lock, written and synced without it, and taken
//! over under it. The checkpoint is written last, so what it says is true also after a power cut. A checkpoint that cannot be written
//! (no space) costs a longer start and nothing else.

use super::{BehindCheckpoint, Log, SyncWork, sync::SyncDone};
use crate::{
    StorageError,
    checkpoint::{self, Checkpoint},
    file_system::{FileSystem, OpenFile, io_error, remove_if_there, write_atomically, write_unsynced},
    index::AbortDigest,
    segment::{FileKind, IndexState, Segment},
};
use std::{path::PathBuf, sync::Arc};

/// What a checkpoint consists of, taken at one moment.
#[derive(Debug)]
pub struct CheckpointWork {
    file_system: Arc<dyn FileSystem>,
    data: SyncWork,
    /// Indexes of segments that were sealed since the last checkpoint.
    indexes: Vec<OpenFile>,
    snapshot: Option<(PathBuf, Vec<u8>)>,
    path: PathBuf,
    checkpoint: Checkpoint,
    /// What it covers.
    behind: Option<BehindCheckpoint>,
}

/// How it ended; to be told to the log.
#[derive(Debug)]
#[must_use = "the log does not know until finish_checkpoint"]
pub struct CheckpointDone {
    synced: SyncDone,
    checkpoint: Checkpoint,
    behind: Option<BehindCheckpoint>,
    result: Result<(), StorageError>,
}

impl Log {
    /// Whether there is anything behind the last checkpoint.
    pub fn wants_checkpoint(&self) -> bool {
        self.dirty
    }

    /// What a start after a crash would have to scan; None: no records.
    pub fn behind_checkpoint(&self) -> Option<BehindCheckpoint> {
        self.behind
    }

    /// Base offset of the segment in which the last checkpoint lies. What lies before it is durable and never scanned; only there may
    /// offsets be missing (compaction), and the segment itself must not be removed without a new checkpoint.
    pub fn checkpointed_segment(&self) -> Option<i64> {
        self.checkpointed_segment
    }

    /// None if nothing has changed since the last one, or one is being written.
    pub fn begin_checkpoint(&mut self) -> Result<Option<CheckpointWork>, StorageError> {
        self.check_online()?;
        if !self.dirty || self.checkpoint_under_way {
            return Ok(None);
        }
        self.write_first_leader_epochs()?;
        let indexes = self.active.persist_indexes()?;
        let producers = self.producers.len();
        let snapshot = (producers > 0).then(|| (self.snapshot_path(self.log_end_offset), self.producers.encode()));
        let (data, index_files) = (self.sync_work()?, self.indexes_to_sync()?);
        self.checkpoint_under_way = true;
        Ok(Some(CheckpointWork {
            file_system: self.file_system.clone(),
            data,
            indexes: index_files,
            snapshot,
            path: self.dir.join(checkpoint::FILE_NAME),
            checkpoint: Checkpoint {
                log_start_offset: self.log_start_offset,
                segment: self.active.base_offset(),
                position: self.active.size(),
                next_offset: self.log_end_offset,
                indexes,
                producers,
                aborted: self.aborted_digest(),
            },
            behind: self.behind.take(),
        }))
    }

    fn indexes_to_sync(&self) -> Result<Vec<OpenFile>, StorageError> {
        let since = self.checkpointed_segment.unwrap_or(i64::MIN);
        let sealed = self.sealed.iter().filter(|segment| segment.base_offset() >= since);
        sealed.map(|segment| segment.index_files()).collect::<Result<Vec<_>, _>>().map(|files| files.concat())
    }

    /// Takes note of a checkpoint. An error means that the last one still holds.
    pub fn finish_checkpoint(&mut self, done: CheckpointDone) -> Result<(), StorageError> {
        self.checkpoint_under_way = false;
        if let Err(error) = self.finish_sync(done.synced).and(done.result) {
            self.behind = done.behind.map(|behind| behind.and(self.behind)).or(self.behind);
            return Err(error);
        }
        let Checkpoint { log_start_offset, segment, next_offset, .. } = done.checkpoint;
        if self.checkpointed_segment.is_some_and(|last| last > segment) {
            return Ok(());
        }
        self.checkpointed_segment = Some(segment);
        let same_end = next_offset == self.log_end_offset && segment == self.active.base_offset();
        self.dirty = !same_end || log_start_offset != self.log_start_offset;
        self.drop_snapshot_before(next_offset)
    }

    /// All three steps at once.
    pub fn checkpoint(&mut self) -> Result<(), StorageError> {
        match self.begin_checkpoint()? {
            Some(work) => {
                let done = work.run();
                self.finish_checkpoint(done)
            }
            None => Ok(()),
        }
    }

    /// Before the first roll: a log of several segments has a checkpoint. Behind it each segment begins where the one before ends, so
    /// what a power cut takes out of the middle is missed.
    pub(super) fn ensure_checkpoint(&mut self) -> Result<(), StorageError> {
        if self.checkpointed_segment.is_some() {
            return Ok(());
        }
        self.write_first_leader_epochs()?;
        let segment = self.active.base_offset();
        let checkpoint = Checkpoint {
            log_start_offset: self.log_start_offset,
            segment,
            position: 0,
            next_offset: segment,
            indexes: IndexState { max_timestamp: -1, max_timestamp_offset: -1, ..IndexState::default() },
            producers: if self.sealed.is_empty() { 0 } else { self.producers.len() },
            aborted: self.sealed.iter().map(Segment::abort_digest).fold(AbortDigest::default(), AbortDigest::plus),
        };
        write_atomically(&*self.file_system, &self.dir.join(checkpoint::FILE_NAME), checkpoint.encode().as_bytes())?;
        self.file_system.sync_dir(&self.dir).map_err(io_error("sync", &self.dir))?;
        self.checkpointed_segment = Some(segment);
        Ok(())
    }

    /// What lies before a checkpoint is not read again at a start, so the file says which epochs there are.
    fn write_first_leader_epochs(&mut self) -> Result<(), StorageError> {
        if self.leader_epochs_unwritten { self.write_leader_epochs() } else { Ok(()) }
    }

    fn aborted_digest(&self) -> AbortDigest {
        self.segments().map(Segment::abort_digest).fold(AbortDigest::default(), AbortDigest::plus)
    }

    /// The producers known where a segment begins, as Kafka has it. A lost one is made anew from the batch headers.
    pub(super) fn write_snapshot(&self) {
        if self.producers.len() == 0 {
            return;
        }
        let path = self.snapshot_path(self.log_end_offset);
        if let Err(error) = write_unsynced(&*self.file_system, &path, &self.producers.encode()) {
            tracing::warn!(%error, "a producer snapshot was not written");
        }
    }

    /// The one snapshot that counts is the last checkpoint's; those of the segments' beginnings stay, as Kafka has it.
    fn drop_snapshot_before(&mut self, next_offset: i64) -> Result<(), StorageError> {
        let earlier = self.snapshot_offset.replace(next_offset).filter(|offset| *offset != next_offset);
        let begins = |offset: &i64| self.sealed.iter().any(|segment| segment.base_offset() == *offset);
        match earlier.filter(|offset| *offset != self.active.base_offset() && !begins(offset)) {
            Some(offset) => remove_if_there(&*self.file_system, &self.snapshot_path(offset)),
            None => Ok(()),
        }
    }

    fn snapshot_path(&self, offset: i64) -> PathBuf {
        self.dir.join(FileKind::Snapshot.name(offset))
    }
}

impl CheckpointWork {
    /// Blocks as long as the disk takes; to be called without the log's lock.
    pub fn run(self) -> CheckpointDone {
        let Self { file_system, data, indexes, snapshot, path, checkpoint, behind } = self;
        let synced = data.run();
        let result = match &synced.result {
            Ok(()) => write(&*file_system, &indexes, snapshot, &path, &checkpoint),
            // Told by the sync itself.
            Err(_) => Ok(()),
        };
        CheckpointDone { synced, checkpoint, behind, result }
    }
}

/// A checkpoint that waits for its data to be synced by somebody else; holds no file open.
#[derive(Debug)]
pub(super) struct CheckpointNote {
    file_system: Arc<dyn FileSystem>,
    snapshot: Option<(PathBuf, Vec<u8>)>,
    path: PathBuf,
    checkpoint: Checkpoint,
}

impl CheckpointWork {
    pub(super) fn note(self) -> CheckpointNote {
        let Self { file_system, snapshot, path, checkpoint, .. } = self;
        CheckpointNote { file_system, snapshot, path, checkpoint }
    }
}

impl CheckpointNote {
    /// All data is on stable storage; the caller syncs what is written here.
    pub fn write(self) -> Result<(), StorageError> {
        if let Some((path, content)) = &self.snapshot {
            write_unsynced(&*self.file_system, path, content)?;
        }
        write_unsynced(&*self.file_system, &self.path, self.checkpoint.encode().as_bytes())
    }
}

fn write(
    file_system: &dyn FileSystem,
    indexes: &[OpenFile],
    snapshot: Option<(PathBuf, Vec<u8>)>,
    path: &std::path::Path,
    checkpoint: &Checkpoint,
) -> Result<(), StorageError> {
    for index in indexes {
        file_system.sync_data(index).map_err(io_error("sync", &index.path))?;
    }
    if let Some((path, content)) = snapshot {
        write_atomically(file_system, &path, &content)?;
    }
    write_atomically(file_system, path, checkpoint.encode().as_bytes())
}
