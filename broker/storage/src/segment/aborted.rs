//! The aborted transactions whose markers lie in this segment, and the markers themselves.

use super::{FileKind, Located, Segment};
use crate::{
    StorageError,
    file_system::{read_exact_at, remove_if_there},
    index::{AbortDigest, AbortedTransaction, TransactionIndex},
    record_batch::{EndTransactionMarker, RecordBatch},
};

/// A control batch is some 80 bytes; what is larger ends no transaction.
const MAX_MARKER_BYTES: usize = 4096;

impl Segment {
    /// Takes note of a transaction that the batch noted last has aborted.
    pub fn note_aborted(&mut self, transaction: AbortedTransaction) {
        let files = &self.files;
        let index = self.aborted.get_or_insert_with(|| Box::new(TransactionIndex::empty(files.clone())));
        index.push(transaction);
    }

    /// From the file, if there is one; of the first `expected` entries, if given.
    pub fn load_aborted(&mut self, expected: Option<usize>) -> Result<(), StorageError> {
        self.aborted = match expected {
            Some(0) => None,
            expected => TransactionIndex::load(self.files.clone(), expected)?.map(Box::new),
        };
        Ok(())
    }

    /// Forgets all of them, to be made anew.
    pub fn clear_aborted(&mut self) -> Result<(), StorageError> {
        self.aborted = None;
        remove_if_there(self.file_system(), &self.files.path(FileKind::TransactionIndex))
    }

    pub(super) fn persist_aborted(&mut self) -> Result<usize, StorageError> {
        let Some(index) = &mut self.aborted else { return Ok(0) };
        index.persist()?;
        Ok(index.len())
    }

    /// Adds those that concern a reader of `from..to` to `found`; true if none of a later segment can.
    pub fn collect_aborted(
        &self,
        from: i64,
        to: i64,
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<bool, StorageError> {
        self.aborted.as_ref().map_or(Ok(false), |index| index.collect(from, to, found))
    }

    pub fn abort_digest(&self) -> AbortDigest {
        self.aborted.as_ref().map_or_else(AbortDigest::default, |index| index.digest())
    }

    /// What a control batch says; None for any other, and for what compaction has emptied.
    pub fn marker(&self, batch: &Located) -> Result<Option<EndTransactionMarker>, StorageError> {
        let header = batch.header;
        if !header.is_control() || header.record_count == 0 || header.size() > MAX_MARKER_BYTES {
            return Ok(None);
        }
        let mut content = vec![0; header.size()];
        read_exact_at(self.file_system(), &self.file()?, &mut content, batch.position)?;
        Ok(EndTransactionMarker::read(&RecordBatch { header, bytes: content.into() }).ok())
    }
}
