//! Recovery of one shard: reads its partition from the beginning and replays every record.
//!
//! A record that cannot be read is told in the log and passed over: one bad record must not cost all groups of the shard.
//! Damage of a batch ends the loading with an error, and requests for these groups are answered as unavailable.

use crate::partition::Partition;
use bytes::Bytes;
use tifo_coordinator::{GroupCoordinator, Record};
use tifo_storage::record_batch::{self, RecordBatch};

/// `offsets.load.buffer.size`: most bytes read at once; a larger batch comes whole.
const LOAD_BUFFER_BYTES: usize = 5 << 20;
/// Most bytes that a compressed batch may unfold to; we write none, but a topic may have been copied from elsewhere.
const MAX_DECOMPRESSED_BYTES: usize = 256 << 20;

/// Reads on the calling thread: for blocking tasks only. Returns the number of records.
pub fn load(partition: &Partition, coordinator: &mut GroupCoordinator) -> Result<usize, String> {
    let end = partition.offsets().map_err(|error| error.to_string())?;
    let (mut offset, mut count) = (end.log_start_offset, 0);
    while offset < end.high_watermark {
        let read = partition.read(offset, LOAD_BUFFER_BYTES, true).map_err(|error| error.to_string())?;
        let Some(slice) = read.slice else { break };
        let bytes: Bytes = slice.read().map_err(|error| error.to_string())?;
        let before = offset;
        for batch in record_batch::batches(bytes) {
            let batch = batch.map_err(|error| error.to_string())?;
            count += replay(&batch, partition, coordinator)?;
            offset = batch.header.last_offset() + 1;
        }
        if offset <= before {
            return Err(format!("no whole batch at offset {before}"));
        }
    }
    Ok(count)
}

fn replay(batch: &RecordBatch, partition: &Partition, coordinator: &mut GroupCoordinator) -> Result<usize, String> {
    if batch.is_control() {
        return Ok(0);
    }
    batch.check_crc().map_err(|error| error.to_string())?;
    let records = batch.records(MAX_DECOMPRESSED_BYTES).map_err(|error| error.to_string())?;
    let count = records.len();
    for record in records {
        let Some(key) = &record.key else { continue };
        match Record::decode(key, record.value.as_ref()) {
            Ok(Some(decoded)) => coordinator.replay(&decoded),
            Ok(None) => {}
            Err(error) => tracing::warn!(
                topic = %partition.topic, partition = partition.index, offset = record.offset, %error,
                "a record of a group cannot be read and is passed over"
            ),
        }
    }
    Ok(count)
}
