//! Where the log starts, as it was written down, and what lies below.
//!
//! Retention writes the new start before it renames a file. So a segment that lies wholly below the start was being removed when the
//! broker died, and goes now, whichever of its neighbours have gone.

use super::Recovery;
use crate::{
    StorageError,
    file_system::read_small,
    leader_epochs::LeaderEpochs,
    producer_state::ProducerStates,
    segment::{FileKind, Segment},
    start_offset,
};

impl Recovery<'_> {
    /// What the file says; 0 without one.
    pub(super) fn read_written_start(&self) -> Result<i64, StorageError> {
        if !self.has(start_offset::FILE_NAME) {
            return Ok(0);
        }
        let path = self.dir.join(start_offset::FILE_NAME);
        let content = match read_small(&*self.file_system, &path, start_offset::MAX_BYTES) {
            Err(StorageError::Corrupt { .. }) => None,
            content => content?,
        };
        let found = content.as_deref().and_then(start_offset::decode);
        if found.is_none() {
            tracing::warn!(path = %path.display(), "the log start offset is damaged: the log starts at its first segment");
        }
        Ok(found.unwrap_or(0))
    }

    /// Removes the segments all of whose records are below the written start.
    pub(super) fn drop_below_start(&mut self) -> Result<(), StorageError> {
        let kept_from = self.bases.partition_point(|base| *base <= self.written_start).saturating_sub(1);
        let gone: Vec<i64> = self.bases.drain(..kept_from).collect();
        gone.iter().try_for_each(|base| self.files(*base).remove_all(""))?;
        self.names.retain(|name| FileKind::of(name).is_none_or(|(_, base)| !gone.contains(&base)));
        Ok(())
    }

    pub(super) fn log_start_offset(&self) -> i64 {
        let first = self.segments.first().map_or(0, Segment::base_offset);
        let noted = self.checkpoint.map_or(0, |checkpoint| checkpoint.log_start_offset);
        first.max(noted).max(self.written_start)
    }

    /// The records up to the start were lost in a power cut, the start itself was not: an empty log begins there. The new segment
    /// comes before the old ones go, which are below the start then.
    pub(super) fn restart_at(&mut self, log_start_offset: i64) -> Result<(), StorageError> {
        tracing::warn!(dir = %self.dir.display(), end = self.next_offset, log_start_offset,
            "the log ended before its start: it begins anew there");
        let fresh = self.fresh(log_start_offset)?;
        for segment in std::mem::replace(&mut self.segments, vec![fresh]) {
            segment.files().remove_all("")?;
        }
        self.checkpoint = None;
        self.next_offset = log_start_offset;
        self.leader_epochs = LeaderEpochs::default();
        self.producers = ProducerStates::default();
        Ok(())
    }
}
