//! Recovery of one shard: reads its partition from the beginning and shows every record and marker to the state machine.
//!
//! A record that cannot be read is told in the log and passed over: one bad record must not cost all ids of the shard.
//! Damage of a batch ends the loading with an error, and requests for these ids are answered as unavailable.

use crate::partition::Partition;
use bytes::Bytes;
use tifo_coordinator::DecodeError;
use tifo_storage::record_batch::{self, BatchHeader, EndTransactionMarker, RecordBatch};

/// `offsets.load.buffer.size`, `transaction.state.log.load.buffer.size`: most bytes read at once; a larger batch comes whole.
const LOAD_BUFFER_BYTES: usize = 5 << 20;
/// Most bytes that a compressed batch may unfold to; we write none, but a topic may have been copied from elsewhere.
const MAX_DECOMPRESSED_BYTES: usize = 256 << 20;

/// Who is shown what a partition holds, in the order of the log.
pub trait Replay {
    /// A record, and the batch that it came in.
    fn record(&mut self, batch: &BatchHeader, key: &Bytes, value: Option<&Bytes>) -> Result<(), DecodeError>;
    /// The end of a producer's transaction.
    fn marker(&mut self, producer_id: i64, marker: EndTransactionMarker);
}

/// Reads on the calling thread: for blocking tasks only. Returns the number of records.
pub fn load(partition: &Partition, replay: &mut impl Replay) -> Result<usize, String> {
    let end = partition.offsets().map_err(|error| error.to_string())?;
    let (mut offset, mut count) = (end.log_start_offset, 0);
    while offset < end.high_watermark {
        let read = partition.read(offset, LOAD_BUFFER_BYTES, true).map_err(|error| error.to_string())?;
        let Some(slice) = read.slice else { break };
        let bytes: Bytes = slice.read().map_err(|error| error.to_string())?;
        let before = offset;
        for batch in record_batch::batches(bytes) {
            let batch = batch.map_err(|error| error.to_string())?;
            count += load_batch(&batch, partition, replay)?;
            offset = batch.header.last_offset() + 1;
        }
        if offset <= before {
            return Err(format!("no whole batch at offset {before}"));
        }
    }
    Ok(count)
}

fn load_batch(batch: &RecordBatch, partition: &Partition, replay: &mut impl Replay) -> Result<usize, String> {
    batch.check_crc().map_err(|error| error.to_string())?;
    if batch.is_control() {
        // One without a record is what compaction leaves of it.
        if batch.header.record_count > 0 {
            let marker = EndTransactionMarker::read(batch).map_err(|error| error.to_string())?;
            replay.marker(batch.header.producer_id, marker);
        }
        return Ok(0);
    }
    let records = batch.records(MAX_DECOMPRESSED_BYTES).map_err(|error| error.to_string())?;
    let count = records.len();
    for record in records {
        let Some(key) = &record.key else { continue };
        if let Err(error) = replay.record(&batch.header, key, record.value.as_ref()) {
            tracing::warn!(
                topic = %partition.topic, partition = partition.index, offset = record.offset, %error,
                "a record of a coordinator cannot be read and is passed over"
            );
        }
    }
    Ok(count)
}
