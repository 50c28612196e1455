//! Producer ids are taken from blocks; a block is recorded before its first id is given out, so that none is ever reused.

use crate::errors::RequestError;

/// Ids per block, as in Kafka.
const BLOCK_SIZE: i64 = 1000;

/// The ids left in the current block.
#[derive(Debug, Default)]
pub struct ProducerIds {
    next: i64,
    end: i64,
}

impl ProducerIds {
    /// After a start: ids below `recorded` may be in use.
    pub fn starting_at(recorded: i64) -> Self {
        Self { next: recorded, end: recorded }
    }

    /// The next id; `record` makes a new block durable when one is needed.
    pub fn next(&mut self, record: impl FnOnce(i64) -> Result<(), RequestError>) -> Result<i64, RequestError> {
        if self.next >= self.end {
            let end = self.next.checked_add(BLOCK_SIZE);
            let end = end.ok_or_else(|| RequestError::Unexpected("producer ids are used up".into()))?;
            record(end)?;
            self.end = end;
        }
        let id = self.next;
        self.next += 1;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_are_never_reused_after_a_crash() {
        let mut recorded = 0;
        let mut ids = ProducerIds::default();
        let first: Vec<i64> = (0..1001)
            .map(|_| {
                ids.next(|end| {
                    recorded = end;
                    Ok(())
                })
                .unwrap()
            })
            .collect();
        assert_eq!((first[0], first[1000], recorded), (0, 1000, 2000));
        let mut after_crash = ProducerIds::starting_at(recorded);
        assert_eq!(after_crash.next(|_| Ok(())).unwrap(), 2000);
    }

    #[test]
    fn a_block_that_is_not_recorded_gives_no_id() {
        let mut ids = ProducerIds::default();
        assert!(ids.next(|_| Err(RequestError::Offline)).is_err());
        assert_eq!(ids.next(|_| Ok(())).unwrap(), 0);
    }
}
