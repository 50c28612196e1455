//! The batches that a shard's records are written in.

use bytes::{BufMut, Bytes, BytesMut};
use tifo_coordinator::transaction::Producer;
use tifo_storage::record_batch::{BatchBuilder, Compression};

/// Records of one step are cut into batches of about this size, so that any client may read the topic.
const BATCH_BYTES: usize = 512 << 10;
/// What this process writes into a producer's transaction bears no sequence.
const NO_SEQUENCE: i32 = -1;

/// `transaction`: whose transaction the records are part of.
pub fn encode(
    records: impl IntoIterator<Item = (Bytes, Option<Bytes>)>,
    transaction: Option<Producer>,
    now_ms: i64,
) -> Bytes {
    let mut batches = BytesMut::new();
    let mut batch = builder(transaction);
    for (key, value) in records {
        batch.push(now_ms, Some(&key), value.as_deref(), &[]);
        if batch.size_bytes() >= BATCH_BYTES {
            batches.put(std::mem::replace(&mut batch, builder(transaction)).build());
        }
    }
    batches.put(batch.build());
    batches.freeze()
}

fn builder(transaction: Option<Producer>) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Compression::None);
    if let Some(producer) = transaction {
        builder.idempotent(producer.id, producer.epoch, NO_SEQUENCE);
        builder.transactional();
    }
    builder
}
