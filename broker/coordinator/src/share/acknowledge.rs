//! A member says what became of records that it holds: all that it names must be its own, or nothing changes.

use super::partition::{Change, InFlight, Limits, RecordState, SharePartition};
use crate::ShareError;

/// What a member says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// There is no record at this offset.
    Gap,
    Accept,
    Release,
    Reject,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgementBatch {
    pub first_offset: i64,
    pub last_offset: i64,
    /// One for all, or one for each.
    pub types: Vec<Acknowledge>,
}

impl Acknowledge {
    /// By its number on the wire.
    pub fn of(number: i8) -> Option<Self> {
        [Self::Gap, Self::Accept, Self::Release, Self::Reject].get(usize::try_from(number).ok()?).copied()
    }

    fn outcome(self, record: &InFlight, limits: &Limits) -> InFlight {
        let outcome = |state| InFlight::new(state, record.delivery_count);
        match self {
            Self::Accept => outcome(RecordState::Acknowledged),
            Self::Gap | Self::Reject => outcome(RecordState::Archived),
            Self::Release => record.given_back(limits.delivery_count),
        }
    }
}

impl AcknowledgementBatch {
    fn of_offset(&self, offset: i64) -> Option<Acknowledge> {
        let index = if self.types.len() == 1 { 0 } else { usize::try_from(offset - self.first_offset).ok()? };
        self.types.get(index).copied()
    }

    /// What is said of the offsets from `first` to `last`, in runs.
    fn runs(&self, first: i64, last: i64) -> Vec<(i64, i64, Acknowledge)> {
        if let [only] = self.types.as_slice() {
            return vec![(first, last, *only)];
        }
        let mut runs: Vec<(i64, i64, Acknowledge)> = Vec::new();
        for (offset, said) in (first..=last).filter_map(|offset| Some((offset, self.of_offset(offset)?))) {
            match runs.last_mut() {
                Some(run) if run.2 == said && run.1 == offset - 1 => run.1 = offset,
                _ => runs.push((offset, offset, said)),
            }
        }
        runs
    }

    /// In order, with one type or as many as offsets.
    pub fn are_sound(batches: &[Self]) -> bool {
        let mut end = -1;
        batches.iter().all(|batch| {
            let length = batch.last_offset.checked_sub(batch.first_offset);
            let types = i64::try_from(batch.types.len()).unwrap_or(i64::MAX);
            let is_sound = batch.first_offset <= batch.last_offset
                && batch.first_offset >= end
                && (types == 1 || types > 1 && length == Some(types - 1));
            end = batch.last_offset;
            is_sound
        })
    }
}

impl SharePartition {
    /// What the acknowledgements of a member change. What lies before the start is done with already.
    pub fn acknowledge(
        &self,
        member: &str,
        batches: &[AcknowledgementBatch],
        limits: &Limits,
    ) -> Result<Change, ShareError> {
        let mut runs = Vec::new();
        let mut from = self.start_offset;
        for batch in batches.iter().filter(|batch| batch.last_offset >= self.start_offset) {
            if self.runs.is_empty() || batch.first_offset > self.start_offset && batch.first_offset < from {
                return Err(ShareError::InvalidRecordState);
            }
            if batch.last_offset >= self.end_offset {
                return Err(ShareError::InvalidRequest);
            }
            let first = batch.first_offset.max(self.start_offset);
            for (first, last, record) in self.runs.within(first, batch.last_offset) {
                match &record.state {
                    RecordState::Acquired { member: holder, .. } if **holder == *member => {}
                    _ => return Err(ShareError::InvalidRecordState),
                }
                let said = batch.runs(first, last).into_iter();
                runs.extend(said.map(|(first, last, said)| (first, last, said.outcome(record, limits))));
            }
            from = batch.last_offset + 1;
        }
        Ok(self.change(runs))
    }
}
