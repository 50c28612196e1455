//! The settings a log acts on.

use crate::compression::Compression;

/// `compression.type` and the level that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoredCompression {
    /// Batches stay in the codec in which they came.
    #[default]
    Producer,
    /// This codec; batches that come in another one are recompressed. No level: the codec's own default.
    Codec(Compression, Option<i32>),
}

impl StoredCompression {
    /// The codec in which a batch is stored that came in `source`.
    pub(crate) fn for_source(self, source: Compression) -> Compression {
        match self {
            Self::Producer => source,
            Self::Codec(codec, _) => codec,
        }
    }

    pub(crate) fn level(self) -> Option<i32> {
        match self {
            Self::Producer => None,
            Self::Codec(_, level) => level,
        }
    }
}

/// What "acknowledged" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// In the operating system's page cache: survives the death of the process, not a power cut.
    PageCache,
    /// On stable storage; readers, too, see only what is there.
    Fsync,
}

/// Kafka's topic settings, as far as the log acts on them. Kafka's names and units.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    pub segment_bytes: u32,
    pub segment_ms: i64,
    /// `segment.jitter.ms`: up to so much is taken off `segment_ms`, so that logs that began together do not all roll together.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment is rolled before one of its indexes grows beyond.
    pub segment_index_bytes: u32,
    pub index_interval_bytes: u32,
    /// `cleanup.policy` holds `delete`: old segments go by age and size.
    pub delete: bool,
    /// How old the youngest record of a segment may grow before the segment goes; -1: no limit.
    pub retention_ms: i64,
    /// `log.retention.check.interval.ms`: records that had expired when they came (a replay, a test with times of its own) stay so long
    /// after the last append to their segment, as Kafka's timer lets them; never longer than `retention_ms`.
    pub retention_check_interval_ms: i64,
    /// How large the log may grow before its oldest segments go; -1: no limit.
    pub retention_bytes: i64,
    /// `file.delete.delay.ms`: how long the files of what was removed stay, under another name.
    pub file_delete_delay_ms: i64,
    pub max_message_bytes: u32,
    /// `message.timestamp.type=LogAppendTime`: the log writes its own clock into each batch.
    pub log_append_time: bool,
    /// `cleanup.policy` holds `compact`: a record without key is refused.
    pub compacted: bool,
    /// `min.cleanable.dirty.ratio`: share of the log that must be dirty before it is cleaned.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: how long a record is left alone at least.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: how long a record may stay dirty.
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`: how long tombstones and markers stay readable.
    pub delete_retention_ms: i64,
    /// `compression.type`.
    pub compression: StoredCompression,
    /// Cap on what one batch may decompress to (`max.decompressed.message.bytes`, Tifo's own setting).
    pub max_decompressed_message_bytes: usize,
    /// `message.timestamp.before.max.ms`: how far behind the broker's clock a client's timestamp may lie.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far ahead of the broker's clock a client's timestamp may lie.
    pub timestamp_after_max_ms: i64,
    /// `tifo.durability`, Tifo's own setting.
    pub durability: Durability,
    /// `flush.messages`: records after which the log is synced; the append that reaches it waits for the sync.
    pub flush_messages: i64,
    /// `flush.ms`: how long a record stays unsynced at most.
    pub flush_ms: i64,
    /// `producer.id.expiration.ms`: an idempotent producer silent for so long is forgotten.
    pub producer_id_expiration_ms: i64,
}

/// Kafka's defaults.
impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            delete: true,
            retention_ms: 7 * 24 * 3_600_000,
            retention_check_interval_ms: 300_000,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
            max_message_bytes: 1_048_588,
            log_append_time: false,
            compacted: false,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: 24 * 3_600_000,
            compression: StoredCompression::Producer,
            max_decompressed_message_bytes: 128 << 20,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            durability: Durability::PageCache,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            producer_id_expiration_ms: 24 * 3_600_000,
        }
    }
}

impl LogConfig {
    /// `segment.ms` less the jitter of the segment that drew this random number.
    pub(crate) fn roll_after_ms(&self, drawn: u64) -> i64 {
        let jitter = u64::try_from(self.segment_jitter_ms.min(self.segment_ms)).unwrap_or(0);
        let taken_off = drawn.checked_rem(jitter).and_then(|taken_off| i64::try_from(taken_off).ok());
        self.segment_ms.saturating_sub(taken_off.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn jitter_takes_off_less_than_itself(segment_ms in 1..i64::MAX, jitter in 0..i64::MAX, drawn: u64) {
            let config = LogConfig { segment_ms, segment_jitter_ms: jitter, ..LogConfig::default() };
            let after = config.roll_after_ms(drawn);
            prop_assert!(after <= segment_ms && after > 0 && (jitter > 0 || after == segment_ms));
            prop_assert!(segment_ms - after < jitter.max(1));
        }
    }
}
