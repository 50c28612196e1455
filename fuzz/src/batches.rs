//! Produce requests around a record batch that the fuzzer made up.

use bytes::{BufMut, Bytes, BytesMut};

/// Where the fields stand in a record batch of magic 2 (Kafka's documentation, "Record Batch").
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const CHECKED: usize = 21;
const HEADER: usize = 61;

const PRODUCE: i16 = 0;
const VERSION: i16 = 8; // the last one that is not flexible
/// The topic that a house has from the start.
pub const TOPIC: &str = "batches";

/// A Produce request with the batch, its length, magic and CRC put right; None for what is shorter than a header.
pub fn produce(mut batch: Vec<u8>) -> Option<Bytes> {
    let length = u32::try_from(batch.len()).ok().filter(|_| batch.len() >= HEADER)?;
    batch[LENGTH..LENGTH + 4].copy_from_slice(&(length - 12).to_be_bytes());
    batch[MAGIC] = 2;
    let crc = crc32c::crc32c(&batch[CHECKED..]);
    batch[CRC..CHECKED].copy_from_slice(&crc.to_be_bytes());
    let mut frame = BytesMut::with_capacity(batch.len() + 64);
    frame.put_i16(PRODUCE);
    frame.put_i16(VERSION);
    frame.put_i32(1);
    text(&mut frame, b"fuzz");
    frame.put_i16(-1); // no transaction
    frame.put_i16(1); // acks
    frame.put_i32(1000);
    frame.put_i32(1);
    text(&mut frame, TOPIC.as_bytes());
    frame.put_i32(1);
    frame.put_i32(0); // the partition
    frame.put_u32(length);
    frame.put_slice(&batch);
    Some(frame.freeze())
}

fn text(frame: &mut BytesMut, text: &[u8]) {
    frame.put_u16(u16::try_from(text.len()).unwrap_or(0));
    frame.put_slice(text);
}
