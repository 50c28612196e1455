//! One cleaning of a log: the map of its dirty part, then every group of segments through the filter.
//!
//! Memory: the map, a window of the source, what waits to be written, and one batch unpacked and packed again.

use super::{
    Cleaned, CleanerSettings, CleaningError, Job, LogDoor, SegmentFacts,
    filter::{Filter, Verdict},
    offset_map::OffsetMap,
    plan,
    source::Source,
    swap::{self, CLEANED_SUFFIX},
    throttle::Throttle,
    transactions::Transactions,
};
use crate::{
    StorageError,
    file_system::{bytes, io_error},
    record_batch::{BatchError, BatchHeader, RecordBatch},
    segment::Segment,
};
use std::io::IoSlice;

/// Largest cleaned segment: positions in an index are i32 to Kafka.
const MAX_SEGMENT_BYTES: u64 = i32::MAX as u64;

struct Pass<'a, D> {
    door: &'a D,
    job: &'a Job,
    settings: &'a CleanerSettings,
    throttle: Throttle,
    cleaned: Cleaned,
}

/// Batches on their way into the new segment.
struct Target {
    segment: Segment,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// Something is not as it was.
    has_changed: bool,
}

pub(super) fn run(
    door: &impl LogDoor,
    job: &Job,
    settings: &CleanerSettings,
    now_ms: i64,
) -> Result<Cleaned, CleaningError> {
    let throttle = Throttle::new(settings.max_bytes_per_second);
    let mut pass = Pass { door, job, settings, throttle, cleaned: Cleaned::default() };
    let map = pass.map_of_dirty_part()?;
    pass.cleaned.end_offset = map.latest_offset() + 1;
    pass.cleaned.keys = map.keys();
    pass.cleaned.map_bytes = map.memory_bytes();
    pass.clean_groups(&map, now_ms)?;
    Ok(pass.cleaned)
}

impl<D: LogDoor> Pass<'_, D> {
    fn map_of_dirty_part(&mut self) -> Result<OffsetMap, CleaningError> {
        let (first, end) = (self.job.dirt.first_dirty_offset, self.job.dirt.end_offset);
        let records = u64::try_from(end.saturating_sub(first)).unwrap_or(0);
        let mut map = OffsetMap::new(records, self.settings.dedupe_buffer_bytes, self.settings.load_factor);
        map.covers_up_to(first - 1);
        let mut transactions = Transactions::new(self.job.aborted.iter().copied());
        let is_dirty = |segment: &&SegmentFacts| segment.end_offset > first && segment.base_offset < end;
        for segment in self.job.segments.iter().filter(is_dirty) {
            if !self.map_segment(segment, &mut map, &mut transactions)? {
                break;
            }
            map.covers_up_to(segment.end_offset - 1);
        }
        Ok(map)
    }

    /// False once the map is full.
    fn map_segment(
        &mut self,
        segment: &SegmentFacts,
        map: &mut OffsetMap,
        transactions: &mut Transactions,
    ) -> Result<bool, CleaningError> {
        let mut source = self.source(segment)?;
        while let Some(batch) = self.next(&mut source)? {
            let is_aborted = transactions.observe(&batch).map_err(|error| corrupt(&source, &batch, error))?;
            if !is_aborted && !batch.is_control() {
                let has_room = self.map_batch(&batch, map).map_err(|error| corrupt(&source, &batch, error))?;
                if !has_room {
                    return Ok(false);
                }
            }
            map.covers_up_to(batch.header.last_offset());
        }
        Ok(true)
    }

    fn map_batch(&self, batch: &RecordBatch, map: &mut OffsetMap) -> Result<bool, BatchError> {
        let first = self.job.dirt.first_dirty_offset;
        if batch.header.last_offset() < first {
            return Ok(true);
        }
        let records = batch.open(self.job.config.max_decompressed_message_bytes)?;
        for record in records.iter() {
            let record = record?;
            let Some(key) = record.key.filter(|_| record.offset >= first) else { continue };
            if !map.put(key, record.offset) {
                return Ok(false);
            }
            map.covers_up_to(record.offset);
        }
        Ok(true)
    }

    fn clean_groups(&mut self, map: &OffsetMap, now_ms: i64) -> Result<(), CleaningError> {
        let Job { config, segments, .. } = self.job;
        let end_offset = map.latest_offset() + 1;
        let (max_bytes, interval) = (u64::from(config.segment_bytes), u64::from(config.index_interval_bytes));
        let mut transactions = Transactions::new(self.job.aborted.iter().copied());
        for group in plan::groups(segments, end_offset.min(self.job.dirt.end_offset), max_bytes, interval) {
            let mut filter = Filter {
                map,
                producers: &self.job.producers,
                transactions: &mut transactions,
                now_ms,
                delete_retention_ms: config.delete_retention_ms,
                max_decompressed_bytes: config.max_decompressed_message_bytes,
            };
            let group = segments.get(group).unwrap_or_default();
            self.clean_group(group, &mut filter)?;
        }
        Ok(())
    }

    fn clean_group(&mut self, group: &[SegmentFacts], filter: &mut Filter<'_>) -> Result<(), CleaningError> {
        let Some(first) = group.first().filter(|_| group.iter().any(|segment| segment.size > 0)) else { return Ok(()) };
        let mut target = self.target(first.base_offset)?;
        let written = self.write_group(group, filter, &mut target);
        if let Err(error) = written {
            swap::discard(&self.job.files(first.base_offset));
            return Err(error);
        }
        let before = group.iter().map(|segment| segment.size).sum::<u64>();
        self.cleaned.bytes_before += before;
        self.cleaned.bytes_after += target.segment.size();
        if !target.has_changed && group.len() == 1 {
            swap::discard(&self.job.files(first.base_offset));
            return Ok(());
        }
        swap::swap(self.door, self.job, target.segment, group)
    }

    fn write_group(
        &mut self,
        group: &[SegmentFacts],
        filter: &mut Filter<'_>,
        target: &mut Target,
    ) -> Result<(), CleaningError> {
        let last = group.iter().rposition(|segment| segment.size > 0).unwrap_or(0);
        for (at, segment) in group.iter().enumerate() {
            let mut source = self.source(segment)?;
            while let Some(batch) = self.next(&mut source)? {
                let is_last = at == last && source.is_at_end();
                let verdict = filter.judge(&batch, is_last).map_err(|error| corrupt(&source, &batch, error))?;
                target.take(batch, verdict);
                if target.waiting_bytes >= self.settings.io_buffer_bytes {
                    self.throttle.count(bytes(target.waiting_bytes));
                    target.write()?;
                }
            }
        }
        target.write()?;
        Ok(target.finish()?)
    }

    fn target(&self, base_offset: i64) -> Result<Target, StorageError> {
        let files = self.job.files(base_offset).with_suffix(CLEANED_SUFFIX);
        let segment = Segment::create(files, self.job.config.index_interval_bytes)?;
        // What an aborted cleaning may have left.
        segment.cut_file()?;
        Ok(Target { segment, waiting: Vec::new(), waiting_bytes: 0, has_changed: false })
    }

    /// A segment that is gone was removed by retention meanwhile: that ends the cleaning and is no fault.
    fn source(&self, segment: &SegmentFacts) -> Result<Source, CleaningError> {
        let files = self.job.files(segment.base_offset);
        Source::open(&files, segment.size, self.settings.io_buffer_bytes).map_err(|error| match error {
            StorageError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => CleaningError::Aborted,
            error => error.into(),
        })
    }

    fn next(&mut self, source: &mut Source) -> Result<Option<RecordBatch>, CleaningError> {
        self.throttle.wait(|| self.door.is_aborted());
        if self.door.is_aborted() {
            return Err(CleaningError::Aborted);
        }
        let batch = source.next()?;
        let size = batch.as_ref().map_or(0, |batch| bytes(batch.bytes.len()));
        self.cleaned.bytes_read += size;
        self.throttle.count(size);
        Ok(batch)
    }
}

impl Target {
    fn take(&mut self, batch: RecordBatch, verdict: Verdict) {
        let batch = match verdict {
            Verdict::Keep => batch,
            Verdict::Replace(other) => {
                self.has_changed = true;
                other
            }
            Verdict::Drop => {
                self.has_changed = true;
                return;
            }
        };
        self.waiting_bytes += batch.bytes.len();
        self.waiting.push(batch);
    }

    /// Everything is written: to stable storage with it, and closed.
    fn finish(&mut self) -> Result<(), StorageError> {
        self.segment.persist_indexes()?;
        let files = [vec![self.segment.file()?], self.segment.index_files()?].concat();
        for file in files {
            self.segment.file_system().sync_data(&file).map_err(io_error("sync", &file.path))?;
        }
        self.segment.release();
        Ok(())
    }

    fn write(&mut self) -> Result<(), StorageError> {
        let waiting = std::mem::take(&mut self.waiting);
        if self.segment.size() + bytes(self.waiting_bytes) > MAX_SEGMENT_BYTES {
            let (path, position) = (self.segment.file()?.path.to_path_buf(), self.segment.size());
            let reason = "compressed again, the segment outgrows what an index can express".to_owned();
            return Err(StorageError::Corrupt { path, position, reason });
        }
        self.waiting_bytes = 0;
        let headers: Vec<BatchHeader> = waiting.iter().map(|batch| batch.header).collect();
        let mut slices: Vec<IoSlice<'_>> = waiting.iter().map(|batch| IoSlice::new(&batch.bytes)).collect();
        if headers.is_empty() {
            Ok(())
        } else {
            self.segment.append(&mut slices, &headers).map_err(|failed| failed.error)
        }
    }
}

fn corrupt(source: &Source, batch: &RecordBatch, error: BatchError) -> StorageError {
    source.corrupt(format!("the batch before it, of offset {}: {}", batch.header.base_offset, error.0))
}
