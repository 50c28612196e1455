//! Searching by time (ListOffsets): exact to the record, also inside a compressed batch.

use super::{Log, TimestampAndOffset};
use crate::{
    StorageError,
    file_system::{bytes, read_exact_at},
    record_batch::{BatchHeader, RecordBatch},
    segment::{Located, Segment},
};

impl Log {
    /// The first record whose timestamp is at least `timestamp_ms`, also inside a compressed batch.
    pub fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<TimestampAndOffset>, StorageError> {
        for segment in self.segments_from(self.log_start_offset) {
            let reaches = segment.max_timestamp()?.is_some_and(|max| max.timestamp_ms >= timestamp_ms);
            if reaches && let Some(found) = self.search_segment(segment, timestamp_ms, self.log_start_offset)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first record that bears the highest timestamp (ListOffsets -3). As in Kafka it may lie below the log start, as long as its
    /// segment is there.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampAndOffset>, StorageError> {
        let mut highest: Option<(i64, &Segment)> = None;
        for segment in self.segments_from(self.log_start_offset) {
            let found = segment.max_timestamp()?.map(|max| max.timestamp_ms);
            if let Some(found) = found.filter(|found| highest.is_none_or(|(known, _)| *found > known)) {
                highest = Some((found, segment));
            }
        }
        match highest {
            Some((timestamp_ms, segment)) => self.search_segment(segment, timestamp_ms, segment.base_offset()),
            None => Ok(None),
        }
    }

    /// Among the records from offset `from` on.
    fn search_segment(
        &self,
        segment: &Segment,
        timestamp_ms: i64,
        from: i64,
    ) -> Result<Option<TimestampAndOffset>, StorageError> {
        for step in segment.walk_from_timestamp(timestamp_ms)? {
            let batch = step?;
            let candidate = batch.header.max_timestamp >= timestamp_ms && batch.header.last_offset() >= from;
            if candidate && let Some(found) = self.search_batch(segment, &batch, timestamp_ms, from)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn search_batch(
        &self,
        segment: &Segment,
        batch: &Located,
        timestamp_ms: i64,
        from: i64,
    ) -> Result<Option<TimestampAndOffset>, StorageError> {
        let header = &batch.header;
        let is_whole = i64::from(header.record_count) == i64::from(header.last_offset_delta) + 1;
        if header.is_log_append_time() && is_whole {
            let offset = header.base_offset.max(from);
            return Ok(Some(found(header, header.max_timestamp, offset)));
        }
        let file = segment.file()?;
        let corrupt =
            |reason| StorageError::Corrupt { path: file.path.to_path_buf(), position: batch.position, reason };
        let mut content = vec![0; header.size()];
        read_exact_at(segment.file_system(), &file, &mut content, batch.position)?;
        debug_assert_eq!(bytes(content.len()), bytes(header.size()));
        let whole = RecordBatch { header: *header, bytes: content.into() };
        let records = whole.open(self.config.max_decompressed_message_bytes).map_err(|error| corrupt(error.0))?;
        for record in records.iter() {
            let record = record.map_err(|error| corrupt(error.0))?;
            if record.timestamp_ms >= timestamp_ms && record.offset >= from {
                return Ok(Some(found(header, record.timestamp_ms, record.offset)));
            }
        }
        Ok(None)
    }
}

fn found(header: &BatchHeader, timestamp_ms: i64, offset: i64) -> TimestampAndOffset {
    TimestampAndOffset { timestamp_ms, offset, leader_epoch: header.partition_leader_epoch }
}
