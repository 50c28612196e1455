//! `log-checkpoint`: up to where the log is known to be good and on stable storage. Tifo's own file.
//!
//! Recovery scans only what lies behind it. It is written when a segment is sealed, now and then, and at a clean stop; after
//! that one the active segment ends exactly at the checkpoint, so nothing is scanned. It does not need to be withdrawn when
//! writing goes on: the file's length tells. A damaged one (CRC-32C) counts as missing, and everything is scanned.

use crate::{index::AbortDigest, segment::IndexState};
use std::collections::HashMap;

pub(crate) const FILE_NAME: &str = "log-checkpoint";
/// Largest file that is read.
pub(crate) const MAX_BYTES: u64 = 4096;
const VERSION: u64 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub log_start_offset: i64,
    /// Base offset of the segment in which the checkpoint lies.
    pub segment: i64,
    /// Bytes of that segment before the checkpoint.
    pub position: u64,
    /// The offset that comes next at the checkpoint.
    pub next_offset: i64,
    pub indexes: IndexState,
    /// Idempotent producers known at the checkpoint; if any, a `.snapshot` of `next_offset` holds them.
    pub producers: usize,
    /// All aborted transactions in the indexes of all segments.
    pub aborted: AbortDigest,
}

impl Checkpoint {
    pub fn encode(&self) -> String {
        let body = format!(
            "version: {VERSION}\nlog_start_offset: {}\nsegment: {}\nposition: {}\nnext_offset: {}\nindex_entries: {}\n\
             timeindex_entries: {}\nbytes_since_index_entry: {}\nmax_timestamp: {}\nmax_timestamp_offset: {}\n\
             producers: {}\ntxnindex_entries: {}\naborted_transactions: {}\naborted_transactions_sum: {:016x}\n",
            self.log_start_offset,
            self.segment,
            self.position,
            self.next_offset,
            self.indexes.offset_entries,
            self.indexes.time_entries,
            self.indexes.bytes_since_entry,
            self.indexes.max_timestamp,
            self.indexes.max_timestamp_offset,
            self.producers,
            self.indexes.aborted_entries,
            self.aborted.count,
            self.aborted.sum,
        );
        let crc = crc32c::crc32c(body.as_bytes());
        format!("{body}crc32c: {crc:08x}\n")
    }

    /// None if it is damaged.
    pub fn decode(file: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(file).ok()?;
        let (body, crc) = text.strip_suffix('\n')?.rsplit_once("crc32c: ")?;
        if u32::from_str_radix(crc, 16).ok()? != crc32c::crc32c(body.as_bytes()) {
            return None;
        }
        let fields: HashMap<&str, &str> = body.lines().filter_map(|line| line.split_once(": ")).collect();
        let signed = |name| fields.get(name)?.parse::<i64>().ok();
        let unsigned = |name| fields.get(name)?.parse::<u64>().ok();
        let count = |name| usize::try_from(unsigned(name)?).ok();
        (unsigned("version")? == VERSION).then_some(())?;
        Some(Self {
            log_start_offset: signed("log_start_offset")?,
            segment: signed("segment")?,
            position: unsigned("position")?,
            next_offset: signed("next_offset")?,
            indexes: IndexState {
                offset_entries: count("index_entries")?,
                time_entries: count("timeindex_entries")?,
                bytes_since_entry: unsigned("bytes_since_index_entry")?,
                max_timestamp: signed("max_timestamp")?,
                max_timestamp_offset: signed("max_timestamp_offset")?,
                // Checkpoints of logs without transactions were once written without these fields.
                aborted_entries: count("txnindex_entries").unwrap_or(0),
            },
            producers: count("producers")?,
            aborted: AbortDigest {
                count: unsigned("aborted_transactions").unwrap_or(0),
                sum: fields
                    .get("aborted_transactions_sum")
                    .and_then(|sum| u64::from_str_radix(sum, 16).ok())
                    .unwrap_or(0),
            },
        })
    }
}
