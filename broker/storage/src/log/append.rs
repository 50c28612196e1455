//! Appending: offsets, rolling, one vectored write.
//!
//! The body of a batch is written as it came. Only its first 16 bytes (base offset, length, leader epoch) are replaced, which
//! no CRC covers; where validation made a new header (LogAppendTime, another codec) the rest of the header too, with its CRC.

use super::{AppendError, Appended, BehindCheckpoint, Log, Origin, random, validation, validation::Accepted};
use crate::{
    StorageError,
    file_system::bytes,
    producer_state::EXPIRY_CHECK_INTERVAL_MS,
    record_batch::{BatchHeader, EndTransactionMarker, HEADER_LENGTH, PATCHED_PREFIX},
    segment::Segment,
};
use bytes::Bytes;
use std::io::IoSlice;

/// A batch, ready to be written: the new front, then the client's bytes from `front_length` on.
struct Placed<'a> {
    header: BatchHeader,
    front: [u8; HEADER_LENGTH],
    front_length: usize,
    body: &'a [u8],
    marker: Option<EndTransactionMarker>,
}

impl Log {
    /// Appends one or more whole v2 batches as they came, giving them offsets and `leader_epoch`.
    pub fn append(
        &mut self,
        batches: &Bytes,
        origin: Origin,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.check_online()?;
        let batches = validation::validate(batches, origin, &self.config, now_ms)?;
        self.expire_producers(now_ms);
        if let Some(duplicate) = self.check_producers(&batches, origin, now_ms)? {
            return Ok(duplicate);
        }
        let placed = self.place(&batches, leader_epoch);
        self.roll_if_due(&placed, now_ms)?;
        self.note_leader_epoch(leader_epoch)?;
        self.write(&placed)?;
        Ok(self.take_in(&placed, now_ms))
    }

    fn expire_producers(&mut self, now_ms: i64) {
        if now_ms.saturating_sub(self.producers_checked_ms) >= EXPIRY_CHECK_INTERVAL_MS {
            self.producers_checked_ms = now_ms;
            self.producers.expire(now_ms, self.config.producer_id_expiration_ms);
        }
    }

    /// The earlier outcome, if the batch was appended before. A client sends one batch at a time, so the first decides.
    fn check_producers(
        &self,
        batches: &[Accepted],
        origin: Origin,
        now_ms: i64,
    ) -> Result<Option<Appended>, AppendError> {
        for batch in batches.iter().filter(|batch| batch.header.has_producer_id()) {
            if let Some(earlier) = self.producers.check(&batch.header, batch.marker, origin)? {
                return Ok(Some(Appended {
                    base_offset: earlier.base_offset(),
                    last_offset: earlier.last_offset,
                    log_append_time_ms: self.append_time(now_ms).map_or(-1, |_| earlier.timestamp_ms),
                    log_start_offset: self.log_start_offset,
                    duplicate: true,
                }));
            }
        }
        Ok(None)
    }

    fn append_time(&self, now_ms: i64) -> Option<i64> {
        self.config.log_append_time.then_some(now_ms)
    }

    fn place<'a>(&self, batches: &'a [Accepted], leader_epoch: i32) -> Vec<Placed<'a>> {
        let mut next_offset = self.log_end_offset;
        let mut placed = Vec::with_capacity(batches.len());
        for batch in batches {
            let header = BatchHeader { base_offset: next_offset, partition_leader_epoch: leader_epoch, ..batch.header };
            next_offset = header.last_offset() + 1;
            placed.push(Placed::new(header, batch));
        }
        placed
    }

    fn roll_if_due(&mut self, placed: &[Placed<'_>], now_ms: i64) -> Result<(), AppendError> {
        if self.roll_is_due(placed, now_ms)? {
            self.roll(now_ms)?;
        }
        Ok(())
    }

    fn roll_is_due(&mut self, placed: &[Placed<'_>], now_ms: i64) -> Result<bool, StorageError> {
        let size = self.active.size();
        let Some(last) = placed.last().filter(|_| size > 0) else { return Ok(false) };
        let incoming: u64 = placed.iter().map(|batch| bytes(batch.header.size())).sum();
        let limit = u64::from(self.config.segment_bytes).min(u64::from(i32::MAX.cast_unsigned()));
        if size + incoming > limit || !self.active.has_room(last.header.last_offset(), self.config.segment_index_bytes)
        {
            return Ok(true);
        }
        let newest = placed.iter().map(|batch| batch.header.max_timestamp).max().unwrap_or(-1);
        let waited = match self.active.first_timestamp()? {
            Some(first) if first >= 0 && newest >= 0 => newest.saturating_sub(first),
            _ => now_ms.saturating_sub(self.active_since_ms),
        };
        Ok(waited > self.config.roll_after_ms(self.roll_jitter))
    }

    /// Seals the active segment and begins a new one. The next sync brings what was sealed to stable storage. After an error the
    /// log is as it was, and the next append tries again.
    pub(crate) fn roll(&mut self, now_ms: i64) -> Result<(), StorageError> {
        self.ensure_checkpoint()?;
        self.active.seal()?;
        let next = Segment::create(self.segment_files(self.log_end_offset), self.config.index_interval_bytes)?;
        self.directory_changes += 1;
        self.sealed.push(std::mem::replace(&mut self.active, next));
        self.active_since_ms = now_ms;
        self.roll_jitter = random();
        self.dirty = true;
        self.write_snapshot();
        Ok(())
    }

    /// The first epoch of a log is not written at once, which would cost each new partition one more file to make: as long as there
    /// is no checkpoint, recovery reads all batches, and their epochs.
    fn note_leader_epoch(&mut self, leader_epoch: i32) -> Result<(), StorageError> {
        if self.leader_epochs.latest().is_some_and(|latest| latest >= leader_epoch) {
            return Ok(());
        }
        let before = self.leader_epochs.clone();
        if !self.leader_epochs.assign(leader_epoch, self.log_end_offset) {
            return Ok(());
        }
        if before.latest().is_none() && self.checkpointed_segment.is_none() {
            self.leader_epochs_unwritten = true;
            return Ok(());
        }
        self.write_leader_epochs().inspect_err(|_| self.leader_epochs = before)
    }

    fn write(&mut self, placed: &[Placed<'_>]) -> Result<(), StorageError> {
        let mut slices: Vec<IoSlice<'_>> =
            placed.iter().flat_map(|batch| [batch.front(), batch.body]).map(IoSlice::new).collect();
        let headers: Vec<BatchHeader> = placed.iter().map(|batch| batch.header).collect();
        self.dirty = true;
        self.active.append(&mut slices, &headers).map_err(|failed| {
            if !failed.undone {
                self.offline = Some(format!("a write that could not be undone: {}", failed.error));
            }
            failed.error
        })
    }

    /// The batches are in the file: now they are part of the log.
    fn take_in(&mut self, placed: &[Placed<'_>], now_ms: i64) -> Appended {
        let base_offset = self.log_end_offset;
        self.active.note_appended(now_ms);
        self.unsynced_since_ms.get_or_insert(now_ms);
        let behind = self.behind.get_or_insert(BehindCheckpoint { bytes: 0, since_ms: now_ms });
        behind.bytes += placed.iter().map(|batch| bytes(batch.header.size())).sum::<u64>();
        for batch in placed {
            self.log_end_offset = batch.header.last_offset() + 1;
            if let Some(aborted) = self.producers.record(&batch.header, batch.marker, now_ms) {
                self.active.note_aborted(aborted);
            }
        }
        Appended {
            base_offset,
            last_offset: self.log_end_offset - 1,
            log_append_time_ms: self.append_time(now_ms).unwrap_or(-1),
            log_start_offset: self.log_start_offset,
            duplicate: false,
        }
    }
}

impl<'a> Placed<'a> {
    fn new(header: BatchHeader, batch: &'a Accepted) -> Self {
        let front_length = if batch.is_header_new { HEADER_LENGTH } else { PATCHED_PREFIX };
        let body = batch.bytes.get(front_length..).unwrap_or_default();
        Self { header, front: header.encode(), front_length, body, marker: batch.marker }
    }

    fn front(&self) -> &[u8] {
        self.front.get(..self.front_length).unwrap_or_default()
    }
}
