//! The metadata log: one log of ours with a JSON object per record, replayed at start.
//!
//! A log that has grown to a multiple of what it takes to say all that holds begins anew (metadata_upkeep.rs).
//!
//! It is written before an effect is told to anyone, and it alone decides what exists. Unknown record types end the start
//! with an error: an older binary must not drop what a newer one wrote.

use crate::{errors::RequestError, settings::resources::ResourceKind};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path, sync::Arc};
use tifo_storage::{
    CheckpointDone, CheckpointWork, Doomed, Durability, Log, LogConfig, Origin, StartChange, StorageError,
    file_system::FileSystem,
    record_batch::{BatchBuilder, Compression, batches},
};
use uuid::Uuid;

/// Most bytes of the metadata log that are read at a time during replay.
const REPLAY_CHUNK_BYTES: usize = 1 << 20;
const MAX_DECOMPRESSED_BYTES: usize = 64 << 20;
/// A metadata log smaller than this is not compacted.
const LEAST_COMPACTED_BYTES: u64 = 1 << 20;
/// How many times what it takes to say all that holds the log may grow to before it is compacted.
const MAX_GROWTH: u64 = 4;
/// Most records of a compacted log in one batch.
const RECORDS_A_BATCH: usize = 1000;

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum MetadataRecord {
    /// Who we are; the first record of the log.
    Cluster {
        id: String,
    },
    /// A topic was created, settings as the client gave them.
    Topic {
        id: Uuid,
        name: String,
        partitions: i32,
        settings: BTreeMap<String, String>,
    },
    /// A topic has so many partitions now.
    Partitions {
        id: Uuid,
        count: i32,
    },
    /// All settings of a topic from now on.
    TopicSettings {
        id: Uuid,
        settings: BTreeMap<String, String>,
    },
    /// All settings of a client metrics subscription or of a group from now on; none: it is gone.
    ResourceSettings {
        kind: ResourceKind,
        name: String,
        settings: BTreeMap<String, String>,
    },
    TopicDeleted {
        id: Uuid,
    },
    /// All settings altered at run time, of that broker or (none) for all, from now on.
    BrokerSettings {
        broker: Option<i32>,
        settings: BTreeMap<String, String>,
    },
    /// Producer ids below `next` may be in use.
    ProducerIds {
        next: i64,
    },
}

/// Why the metadata log cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    #[error("metadata log: {0}; mend the disk, restore the data directory from a copy, or start with an empty one")]
    Storage(#[from] StorageError),
    #[error(
        "metadata log, record {offset}: {reason}; restore the data directory from a copy, or start with an empty one"
    )]
    Unreadable { offset: i64, reason: String },
}

/// The open metadata log.
#[derive(Debug)]
pub struct MetadataLog {
    log: Log,
    /// Records since the last checkpoint.
    is_dirty: bool,
    /// From this size on it is worth a look whether the log is to be compacted.
    look_at_bytes: u64,
}

/// A compaction under way: what holds stands at the log's end once more, and from there the log is to begin.
#[derive(Debug)]
pub struct MetadataCompaction {
    pub checkpoint: CheckpointWork,
    pub start: StartChange,
}

impl MetadataLog {
    /// Opens the log and returns every record in it.
    pub fn open(
        file_system: Arc<dyn FileSystem>,
        dir: &Path,
        config: LogConfig,
        now_ms: i64,
    ) -> Result<(Self, Vec<MetadataRecord>), MetadataError> {
        let (log, _) = Log::open(file_system, dir, config, now_ms)?;
        let records = replay(&log)?;
        Ok((Self { log, is_dirty: false, look_at_bytes: LEAST_COMPACTED_BYTES }, records))
    }

    pub fn append(&mut self, record: &MetadataRecord, now_ms: i64) -> Result<(), RequestError> {
        self.is_dirty = true;
        self.log.append(&batch(std::slice::from_ref(record), now_ms)?, Origin::Internal, 0, now_ms)?;
        // Rare enough to be done here: who changes the catalog waits for it anyway.
        match self.log.config().durability {
            Durability::Fsync => Ok(self.log.flush()?),
            Durability::PageCache => Ok(()),
        }
    }

    pub fn end_offset(&self) -> i64 {
        self.log.log_end_offset()
    }

    /// True once after something was appended.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.is_dirty)
    }

    /// What a checkpoint has to write; None if nothing has changed. To be done without the catalog's lock.
    pub fn begin_checkpoint(&mut self) -> Result<Option<CheckpointWork>, StorageError> {
        self.log.begin_checkpoint()
    }

    pub fn finish_checkpoint(&mut self, done: CheckpointDone) -> Result<(), StorageError> {
        self.log.finish_checkpoint(done)
    }

    /// Whether it has grown so far that [`Self::begin_compaction`] is worth a try.
    pub fn may_be_overgrown(&self) -> bool {
        self.log.size_bytes() >= self.look_at_bytes
    }

    #[cfg(test)]
    pub fn look_soon(&mut self) {
        self.look_at_bytes = 0;
    }

    /// Every record in it.
    pub fn records(&self) -> Result<Vec<MetadataRecord>, MetadataError> {
        replay(&self.log)
    }

    /// Writes `live`, which says all that holds, behind the records that it was made from, if that is much less. None: it is not.
    /// Whatever fails from here on leaves both, which say the same. The caller lets no checkpoint be under way.
    pub fn begin_compaction(
        &mut self,
        live: &[MetadataRecord],
        now_ms: i64,
    ) -> Result<Option<MetadataCompaction>, RequestError> {
        let batches: Result<Vec<Bytes>, RequestError> =
            live.chunks(RECORDS_A_BATCH).map(|records| batch(records, now_ms)).collect();
        let batches = batches?;
        let live_bytes: u64 = batches.iter().map(|batch| u64::try_from(batch.len()).unwrap_or(u64::MAX)).sum();
        let size = self.log.size_bytes();
        self.look_at_bytes = self.look_at_bytes.max(live_bytes.saturating_mul(MAX_GROWTH));
        if self.may_be_overgrown() {
            // Should this fail, it is tried again when that much is there.
            self.look_at_bytes = size.saturating_mul(2);
            return self.write_anew(&batches, now_ms);
        }
        Ok(None)
    }

    fn write_anew(&mut self, batches: &[Bytes], now_ms: i64) -> Result<Option<MetadataCompaction>, RequestError> {
        self.log.roll_active(now_ms)?;
        let start = self.log.log_end_offset();
        for batch in batches {
            self.log.append(batch, Origin::Internal, 0, now_ms)?;
        }
        let start = self.log.plan_start(start)?;
        Ok(self.log.begin_checkpoint()?.map(|checkpoint| MetadataCompaction { checkpoint, start }))
    }

    /// From now on the log begins there; what was before goes. The start has been persisted, after the checkpoint was finished.
    pub fn finish_compaction(&mut self, start: &StartChange) -> Result<Doomed, StorageError> {
        self.log.move_start(start)?;
        let removed = self.log.take_out_of_range();
        self.look_at_bytes = LEAST_COMPACTED_BYTES.max(self.log.size_bytes().saturating_mul(MAX_GROWTH));
        removed.doom()
    }

    pub fn close(self) -> Result<(), StorageError> {
        self.log.close()
    }
}

fn batch(records: &[MetadataRecord], now_ms: i64) -> Result<Bytes, RequestError> {
    let mut batch = BatchBuilder::new(Compression::None);
    for record in records {
        let json = serde_json::to_vec(record).map_err(|error| RequestError::Unexpected(error.to_string()))?;
        batch.push(now_ms, None, Some(&json), &[]);
    }
    Ok(batch.build())
}

fn replay(log: &Log) -> Result<Vec<MetadataRecord>, MetadataError> {
    let mut found = Vec::new();
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let slice = log.read(next, log.log_end_offset(), REPLAY_CHUNK_BYTES, true)?;
        let Some(slice) = slice else { break };
        let before = next;
        for batch in batches(slice.read()?) {
            let unreadable = |reason: String| MetadataError::Unreadable { offset: before, reason };
            let batch = batch.map_err(|error| unreadable(error.to_string()))?;
            batch.check_crc().map_err(|error| unreadable(error.to_string()))?;
            let records = batch.records(MAX_DECOMPRESSED_BYTES).map_err(|error| unreadable(error.to_string()))?;
            for record in records {
                next = record.offset + 1;
                found.push(parse(record.offset, record.value.as_deref())?);
            }
        }
        if next == before {
            return Err(MetadataError::Unreadable { offset: next, reason: "no whole batch".into() });
        }
    }
    Ok(found)
}

fn parse(offset: i64, value: Option<&[u8]>) -> Result<MetadataRecord, MetadataError> {
    let unreadable = |reason: String| MetadataError::Unreadable { offset, reason };
    let value = value.ok_or_else(|| unreadable("it has no value".into()))?;
    serde_json::from_slice(value).map_err(|error| unreadable(error.to_string()))
}
