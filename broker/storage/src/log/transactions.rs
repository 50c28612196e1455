//! What readers of committed records need: where the log is stable, and what was aborted below.

use super::Log;
use crate::{AbortedTransaction, ActiveProducer, StorageError, index::AbortDigest};

impl Log {
    /// Below it every transaction is decided, and so are the markers that decided them below `high_watermark`. At most
    /// the high watermark itself, and never below the log's start, which may have passed an open transaction.
    pub fn last_stable_offset(&mut self, high_watermark: i64) -> i64 {
        self.producers.last_stable_offset(high_watermark).max(self.log_start_offset)
    }

    /// The aborted transactions that have records in `from..to`; some may lie outside. In the order of their markers.
    pub fn aborted_transactions(&self, from: i64, to: i64) -> Result<Vec<AbortedTransaction>, StorageError> {
        let mut found = Vec::new();
        for segment in self.segments_from(from) {
            if segment.collect_aborted(from, to, &mut found)? {
                break;
            }
        }
        Ok(found)
    }

    /// Whether the producer has a transaction open here, in this epoch.
    pub fn has_open_transaction(&self, producer_id: i64, epoch: i16) -> bool {
        self.producers.has_open_transaction(producer_id, epoch)
    }

    /// The producers that the log knows.
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        self.producers.active()
    }

    /// Segments with aborted transactions are gone: the last checkpoint still counts these, another one is due. (Until it is
    /// there, a start makes the transaction indexes anew.)
    pub(super) fn note_indexes_gone(&mut self, digest: AbortDigest) {
        self.dirty |= digest != AbortDigest::default();
    }
}
