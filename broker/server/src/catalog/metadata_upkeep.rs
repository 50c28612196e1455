//! What the maintenance does for the metadata log: checkpoints, and compaction when it has grown far beyond what it has to say.
//!
//! Compaction is made of what every log can do. What holds is written once more behind everything else, in a segment of its own;
//! a checkpoint brings it to stable storage; then the log's start moves there, and what is before goes. A crash before the start has
//! moved leaves both, and the later one repeats the former. Deleted topics are named as long as a directory of theirs bears its first
//! name, so these names are synced too before the start moves. Changes go on meanwhile: they wait only while what holds is read and written.

use super::{
    Catalog,
    records::{MetadataCompaction, MetadataError, MetadataLog},
    replayed::Replayed,
};
use crate::errors::RequestError;
use tifo_storage::{CheckpointWork, StorageError};

/// Why the metadata log was not compacted.
#[derive(Debug, thiserror::Error)]
enum CompactionError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Append(#[from] RequestError),
}

impl Catalog {
    /// True once after the metadata log has grown, unless somebody changes it right now.
    pub fn claim_metadata_checkpoint(&self) -> bool {
        self.writer.try_lock().is_some_and(|mut writer| writer.log.as_mut().is_some_and(MetadataLog::take_dirty))
    }

    /// Brings the metadata log to stable storage, compacted if it has grown too far; changes go on meanwhile.
    pub fn checkpoint_metadata(&self) {
        let _alone = self.metadata_upkeep.lock();
        if let Err(error) = self.compact_metadata() {
            tracing::error!(%error, "the metadata log could not be compacted; it is tried again when it has doubled");
        }
        let begun = self.with_metadata(MetadataLog::begin_checkpoint).map(Option::flatten);
        if let Err(error) = begun.and_then(|work| self.finish_checkpoint(work)) {
            tracing::error!(%error, "the metadata log could not be brought to stable storage");
        }
    }

    fn finish_checkpoint(&self, work: Option<CheckpointWork>) -> Result<(), StorageError> {
        let Some(done) = work.map(CheckpointWork::run) else { return Ok(()) };
        self.with_metadata(|log| log.finish_checkpoint(done)).map(|_| ())
    }

    fn compact_metadata(&self) -> Result<(), CompactionError> {
        let Some(MetadataCompaction { checkpoint, start }) = self.begin_compaction()? else { return Ok(()) };
        self.finish_checkpoint(Some(checkpoint))?;
        self.data.sync_names()?;
        start.persist(true)?;
        if let Some(doomed) = self.with_metadata(|log| log.finish_compaction(&start))? {
            doomed.remove()?;
            tracing::info!("the metadata log was compacted");
        }
        Ok(())
    }

    fn begin_compaction(&self) -> Result<Option<MetadataCompaction>, CompactionError> {
        let mut writer = self.writer.lock();
        let Some(log) = writer.log.as_mut().filter(|log| log.may_be_overgrown()) else { return Ok(None) };
        let mut live = Replayed::of(log.records()?);
        live.forget_deleted(&self.data)?;
        Ok(log.begin_compaction(&live.records(), self.clock.now_ms())?)
    }

    /// None: the broker has stopped.
    fn with_metadata<T>(
        &self,
        act: impl FnOnce(&mut MetadataLog) -> Result<T, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        self.writer.lock().log.as_mut().map(act).transpose()
    }
}
