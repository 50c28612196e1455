//! The fetch response by hand, so that records are spliced in as runs of their files.

use super::{AskedTopic, NO_SESSION, Read};
use crate::{
    api::{Answer, Context},
    network::response::{EncodeError, FrameBuilder, Response},
    partition::EpochEnd,
};
use bytes::BufMut;
use kafka_protocol::ResponseError;
use tifo_storage::{AbortedTransaction, LogSlice};

/// First version with compact lengths and tag sections.
const FLEXIBLE_SINCE: i16 = 12;
/// Shorter runs are copied into the frame: one system call less than sending them from the file.
pub(super) const SENDFILE_FROM_BYTES: usize = 4096;
/// Bytes of one partition besides its records, roughly.
const PARTITION_SIZE_HINT: usize = 56;
/// Epoch, offset and an empty tag section.
const DIVERGING_EPOCH_BYTES: u8 = 4 + 8 + 1;

/// The answer to a fetch, partitions in request order.
pub fn answer(context: &Context, session_id: i32, topics: &[AskedTopic], reads: Vec<Read>) -> Answer {
    context.seal(encode(context, session_id, topics, reads))
}

/// The answer that refuses the whole request.
pub fn refused(context: &Context, error: ResponseError) -> Answer {
    let encoded = Encoder::start(context, error.code(), NO_SESSION, 0).and_then(|mut encoder| {
        encoder.put_count(0);
        encoder.put_no_tags();
        encoder.frame.seal()
    });
    context.seal(encoded)
}

fn encode(
    context: &Context,
    session_id: i32,
    topics: &[AskedTopic],
    reads: Vec<Read>,
) -> Result<Response, EncodeError> {
    let mut encoder = Encoder::start(context, 0, session_id, reads.len() * PARTITION_SIZE_HINT)?;
    let mut reads = reads.into_iter();
    encoder.put_count(topics.len());
    for topic in topics {
        encoder.put_topic(topic);
        encoder.put_count(topic.partitions.len());
        for (asked, read) in topic.partitions.iter().zip(&mut reads) {
            encoder.put_partition(asked.index, read)?;
        }
        encoder.put_no_tags();
    }
    encoder.put_no_tags();
    encoder.frame.seal()
}

struct Encoder {
    frame: FrameBuilder,
    version: i16,
}

impl Encoder {
    fn start(context: &Context, error_code: i16, session_id: i32, size_hint: usize) -> Result<Self, EncodeError> {
        let version = context.version;
        let header_version = i16::from(version >= FLEXIBLE_SINCE);
        let frame = FrameBuilder::start(header_version, context.correlation_id, size_hint.saturating_add(64))?;
        let mut encoder = Self { frame, version };
        encoder.frame.bytes.put_i32(0); // throttle time
        if version >= 7 {
            encoder.frame.bytes.put_i16(error_code);
            encoder.frame.bytes.put_i32(session_id);
        }
        Ok(encoder)
    }

    fn is_flexible(&self) -> bool {
        self.version >= FLEXIBLE_SINCE
    }

    fn put_topic(&mut self, topic: &AskedTopic) {
        if self.version >= 13 {
            self.frame.bytes.put_slice(topic.id.as_bytes());
            return;
        }
        let name = topic.name.as_bytes();
        if self.is_flexible() {
            self.put_varint(name.len() + 1);
        } else {
            self.frame.bytes.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
        }
        self.frame.bytes.put_slice(name);
    }

    fn put_partition(&mut self, index: i32, read: Read) -> Result<(), EncodeError> {
        let (code, read) = match read {
            Ok(read) => (0, Some(read)),
            Err(error) => (error.code(), None),
        };
        let offsets = read.as_ref().map(|read| read.offsets);
        let is_unknown = [ResponseError::UnknownTopicOrPartition, ResponseError::UnknownTopicId]
            .iter()
            .any(|unknown| unknown.code() == code);
        let bytes = &mut self.frame.bytes;
        bytes.put_i32(index);
        bytes.put_i16(code);
        bytes.put_i64(offsets.map_or(-1, |offsets| offsets.high_watermark));
        bytes.put_i64(offsets.map_or(-1, |offsets| offsets.last_stable_offset));
        if self.version >= 5 {
            bytes.put_i64(offsets.map_or(-1, |offsets| offsets.log_start_offset));
        }
        // Null for who reads everything, except that Kafka says "none" of partitions that it does not have.
        match read.as_ref().and_then(|read| read.aborted.as_deref()) {
            Some(aborted) => self.put_aborted(aborted),
            None if is_unknown => self.put_count(0),
            None => self.put_null_array(),
        }
        if self.version >= 11 {
            self.frame.bytes.put_i32(-1); // preferred read replica
        }
        let (slice, diverging) = read.map_or((None, None), |read| (read.slice, read.diverging));
        self.put_records(slice)?;
        match diverging {
            Some(diverging) => self.put_diverging(diverging),
            None => self.put_no_tags(),
        }
        Ok(())
    }

    fn put_aborted(&mut self, aborted: &[AbortedTransaction]) {
        self.put_count(aborted.len());
        for transaction in aborted {
            self.frame.bytes.put_i64(transaction.producer_id);
            self.frame.bytes.put_i64(transaction.first_offset);
            self.put_no_tags();
        }
    }

    /// The only tagged field of a partition that is ever there: number 0, 13 bytes.
    fn put_diverging(&mut self, diverging: EpochEnd) {
        if !self.is_flexible() {
            return;
        }
        self.frame.bytes.put_slice(&[1, 0, DIVERGING_EPOCH_BYTES]);
        self.frame.bytes.put_i32(diverging.leader_epoch);
        self.frame.bytes.put_i64(diverging.end_offset);
        self.put_no_tags();
    }

    fn put_records(&mut self, slice: Option<LogSlice>) -> Result<(), EncodeError> {
        let size = slice.as_ref().map_or(0, |slice| slice.length);
        if self.is_flexible() {
            self.put_varint(size + 1);
        } else {
            self.frame.bytes.put_i32(i32::try_from(size).unwrap_or(i32::MAX));
        }
        match slice {
            None => {}
            Some(slice) if slice.length >= SENDFILE_FROM_BYTES && slice.file().is_some() => self.frame.put_file(slice),
            Some(slice) => {
                let records = slice.read().map_err(|error| EncodeError::new(error.to_string()))?;
                self.frame.bytes.put_slice(&records);
            }
        }
        Ok(())
    }

    fn put_count(&mut self, count: usize) {
        if self.is_flexible() {
            self.put_varint(count + 1);
        } else {
            self.frame.bytes.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
        }
    }

    fn put_null_array(&mut self) {
        if self.is_flexible() { self.frame.bytes.put_u8(0) } else { self.frame.bytes.put_i32(-1) }
    }

    fn put_no_tags(&mut self) {
        if self.is_flexible() {
            self.frame.bytes.put_u8(0);
        }
    }

    fn put_varint(&mut self, value: usize) {
        let mut value = value;
        while value >= 0x80 {
            self.frame.bytes.put_u8(low_bits(value) | 0x80);
            value >>= 7;
        }
        self.frame.bytes.put_u8(low_bits(value));
    }
}

fn low_bits(value: usize) -> u8 {
    u8::try_from(value & 0x7f).unwrap_or(0)
}
