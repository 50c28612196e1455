//! What the cleaner asks of a log under its lock: what there is to clean, and the exchange of segments.

use super::Log;
use crate::{
    LogConfig, StorageError,
    compaction::{self, CleaningStep, Dirt, Job, Rules, SegmentFacts},
    index::AbortDigest,
    segment::Segment,
};
use std::ops::RangeInclusive;

/// What a log knows of its own cleaning.
#[derive(Debug)]
pub(super) struct CleaningState {
    /// Everything below is clean; None: nothing was cleaned yet.
    first_dirty_offset: Option<i64>,
    /// Base offsets of the segments that are being exchanged.
    swapping: Option<RangeInclusive<i64>>,
}

impl CleaningState {
    pub fn new(first_dirty_offset: Option<i64>) -> Self {
        Self { first_dirty_offset, swapping: None }
    }
}

impl Log {
    /// Whether `cleanup.policy` asks for compaction.
    pub fn is_compacted(&self) -> bool {
        self.config.compacted
    }

    /// How much of the log is dirty, and whether it is due to be cleaned. Reads little, and only for the lag settings.
    pub fn dirt(&mut self, now_ms: i64) -> Result<(Dirt, bool), StorageError> {
        let rules = rules(&self.config);
        let segments = self.segment_facts(&rules)?;
        // What a transaction holds open may still be aborted.
        let limit = self.last_stable_offset(self.high_watermark()).min(self.active.base_offset());
        let dirt = compaction::dirt(&segments, self.first_dirty_offset(), limit, &rules, now_ms);
        let is_due = self.config.compacted && compaction::is_due(&dirt, &rules);
        Ok((dirt, is_due))
    }

    /// Rolls if `max.compaction.lag.ms` has passed for a record in the active segment: only a sealed one is cleaned. Kafka waits for
    /// the next append. Answers when that will be due.
    pub fn roll_for_compaction(&mut self, now_ms: i64) -> Result<i64, StorageError> {
        let lag = self.config.max_compaction_lag_ms;
        if !self.config.compacted || lag == i64::MAX {
            return Ok(i64::MAX);
        }
        let first = self.active.first_timestamp()?.filter(|first| *first > 0);
        let due_ms = first.map_or(i64::MAX, |first| first.saturating_add(lag).saturating_add(1));
        if due_ms > now_ms {
            return Ok(due_ms);
        }
        self.check_online()?;
        self.roll(now_ms)?;
        Ok(i64::MAX)
    }

    /// What a cleaning has to do first.
    pub(crate) fn cleaning_job(&mut self, now_ms: i64) -> Result<CleaningStep, StorageError> {
        self.check_online()?;
        let (dirt, is_due) = self.dirt(now_ms)?;
        if !is_due {
            return Ok(CleaningStep::Nothing);
        }
        // Recovery starts in the segment of the last checkpoint, and wants no gaps from there on.
        if self.checkpointed_segment.is_none_or(|segment| segment < dirt.end_offset) {
            return Ok(CleaningStep::Checkpoint);
        }
        Ok(CleaningStep::Clean(Box::new(Job {
            file_system: self.file_system.clone(),
            dir: self.dir.clone(),
            config: self.config.clone(),
            segments: self.segment_facts(&rules(&self.config))?,
            dirt,
            producers: self.producers.last_records(),
            aborted: self.aborted_below(dirt.end_offset)?,
        })))
    }

    fn aborted_below(&self, end_offset: i64) -> Result<Vec<compaction::AbortedTransaction>, StorageError> {
        let aborted = self.aborted_transactions(self.log_start_offset, end_offset)?.into_iter();
        Ok(aborted.map(|one| (one.producer_id, one.first_offset)).map(compaction::AbortedTransaction::from).collect())
    }

    pub(crate) fn note_cleaned(&mut self, end_offset: i64) {
        self.cleaning.first_dirty_offset = Some(end_offset);
    }

    /// From here on nobody else may remove these segments. False: they are not all there any more as they were.
    pub(crate) fn reserve_for_swap(&mut self, segments: &[SegmentFacts]) -> bool {
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return false };
        let at = self.sealed.partition_point(|segment| segment.base_offset() < first.base_offset);
        let there =
            self.sealed.get(at..).unwrap_or_default().iter().map(|segment| (segment.base_offset(), segment.size()));
        let as_they_were = there.take(segments.len()).eq(segments.iter().map(|facts| (facts.base_offset, facts.size)));
        if !as_they_were || self.offline.is_some() {
            return false;
        }
        self.cleaning.swapping = Some(first.base_offset..=last.base_offset);
        true
    }

    pub(crate) fn release_from_swap(&mut self) {
        self.cleaning.swapping = None;
    }

    /// Whether the cleaner is just exchanging the segment: it must not be removed now, its files are changing names.
    pub(crate) fn is_being_swapped(&self, segment: &Segment) -> bool {
        self.cleaning.swapping.as_ref().is_some_and(|range| range.contains(&segment.base_offset()))
    }

    /// Takes `segment` in the place of the reserved ones. Their files are the caller's to remove.
    pub(crate) fn exchange(&mut self, segment: Segment) {
        let Some(range) = self.cleaning.swapping.clone() else { return };
        let at = self.sealed.partition_point(|sealed| sealed.base_offset() < *range.start());
        let gone = self.sealed.extract_if(.., |sealed| range.contains(&sealed.base_offset()));
        let digest = gone.map(|sealed| sealed.abort_digest()).fold(AbortDigest::default(), AbortDigest::plus);
        self.note_indexes_gone(digest);
        self.sealed.insert(at.min(self.sealed.len()), segment);
        self.cursors.clear();
    }

    /// Renames the files of the new segment by `rename`, and from then on opens them by their final names.
    pub(crate) fn finish_swap(
        &mut self,
        rename: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        rename()?;
        let Some(range) = self.cleaning.swapping.take() else { return Ok(()) };
        if let Some(segment) = self.sealed.iter_mut().find(|sealed| sealed.base_offset() == *range.start()) {
            segment.renamed("");
            // The cleaned segment holds nothing that was aborted; the index is that of the one before.
            segment.clear_aborted()?;
        }
        Ok(())
    }

    /// Names and memory may not agree any more: no writing until the next open has put it in order.
    pub(crate) fn swap_failed(&mut self, error: &StorageError) {
        self.offline.get_or_insert_with(|| format!("the exchange of a cleaned segment failed: {error}"));
    }

    fn first_dirty_offset(&self) -> i64 {
        let known = self.cleaning.first_dirty_offset.filter(|offset| *offset <= self.log_end_offset);
        known.map_or(self.log_start_offset, |offset| offset.max(self.log_start_offset))
    }

    /// Times are only looked up where a lag setting asks for them.
    fn segment_facts(&mut self, rules: &Rules) -> Result<Vec<SegmentFacts>, StorageError> {
        let first_dirty_offset = self.first_dirty_offset();
        let bases = self.sealed.iter().map(Segment::base_offset).skip(1);
        let ends: Vec<i64> = bases.chain([self.active.base_offset()]).collect();
        let mut facts = Vec::with_capacity(ends.len());
        for (segment, end_offset) in self.sealed.iter_mut().zip(ends) {
            let is_dirty = end_offset > first_dirty_offset;
            facts.push(SegmentFacts {
                base_offset: segment.base_offset(),
                end_offset,
                size: segment.size(),
                first_timestamp: match is_dirty && rules.max_compaction_lag_ms != i64::MAX {
                    true => segment.first_timestamp()?,
                    false => None,
                },
                largest_timestamp: match is_dirty && rules.min_compaction_lag_ms > 0 {
                    true => segment.max_timestamp()?.map(|max| max.timestamp_ms),
                    false => None,
                },
            });
        }
        Ok(facts)
    }
}

fn rules(config: &LogConfig) -> Rules {
    Rules {
        min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: config.min_compaction_lag_ms,
        max_compaction_lag_ms: config.max_compaction_lag_ms,
    }
}
