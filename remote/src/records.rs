//! Records of librdkafka and record batches of the door, one into the other.

use bytes::Bytes;
use rdkafka::{
    Message,
    message::{BorrowedMessage, Header, Headers, OwnedHeaders},
};
use tifo_broker::ClientError;
use tifo_storage::record_batch::{BatchBuilder, Compression, Record, RecordBatch, batches};

/// What one batch that is appended may decompress to.
const MAX_DECOMPRESSED_BYTES: usize = 256 << 20;
/// The base offset at the head of a batch; the CRC does not cover it.
const BASE_OFFSET_BYTES: usize = 8;

/// The records of whole batches, in order.
pub fn unpack(bytes: Bytes) -> Result<Vec<Record>, ClientError> {
    let mut all = Vec::new();
    for batch in batches(bytes) {
        let batch = batch.map_err(|error| ClientError::Refused(error.to_string()))?;
        refuse_numbered(&batch)?;
        all.extend(batch.records(MAX_DECOMPRESSED_BYTES).map_err(|error| ClientError::Refused(error.to_string()))?);
    }
    Ok(all)
}

/// The cluster's own client numbers what it sends: numbers of somebody else would be lost on the way.
fn refuse_numbered(batch: &RecordBatch) -> Result<(), ClientError> {
    if batch.header.has_producer_id() {
        return Err(ClientError::Refused(
            "events numbered by their sender need Tifo's own broker; a remote cluster takes them without producer id"
                .to_owned(),
        ));
    }
    Ok(())
}

pub fn owned_headers(record: &Record) -> Option<OwnedHeaders> {
    if record.headers.is_empty() {
        return None;
    }
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
    for (name, value) in &record.headers {
        // librdkafka takes names of headers as texts.
        let name = String::from_utf8_lossy(name);
        headers = headers.insert(Header { key: &name, value: value.as_deref() });
    }
    Some(headers)
}

pub fn own(message: &BorrowedMessage<'_>) -> Record {
    let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    Record {
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: copy(message.key()),
        value: copy(message.payload()),
        headers: headers.map(|header| (Bytes::copy_from_slice(header.key.as_bytes()), copy(header.value))).collect(),
    }
}

/// What a record holds, for limits.
pub fn size_bytes(record: &Record) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
    length(&record.key) + length(&record.value) + headers
}

/// Batches that hold these records at their offsets; a gap between offsets begins a new batch.
pub fn pack(records: &[Record]) -> Bytes {
    let mut out = Vec::new();
    for run in records.chunk_by(|one, next| one.offset + 1 == next.offset) {
        let Some(first) = run.first() else { continue };
        let mut builder = BatchBuilder::new(Compression::None);
        for record in run {
            let headers: Vec<_> =
                record.headers.iter().map(|(name, value)| (name.as_ref(), value.as_deref())).collect();
            builder.push(record.timestamp_ms, record.key.as_deref(), record.value.as_deref(), &headers);
        }
        out.extend_from_slice(&first.offset.to_be_bytes());
        out.extend_from_slice(builder.build().get(BASE_OFFSET_BYTES..).unwrap_or_default());
    }
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn record(offset: i64, text: &str) -> Record {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        Record {
            offset,
            timestamp_ms: 1_000 + offset,
            key: (!text.is_empty()).then(|| bytes(text)),
            value: Some(bytes(text)),
            headers: vec![(bytes("name"), None), (bytes(text), Some(bytes("x")))],
        }
    }

    proptest! {
        #[test]
        fn records_keep_their_offsets_and_contents(
            texts in prop::collection::vec(("[a-z]{0,9}", 1_i64..4), 0..40), start in 0_i64..1_000_000_000_000,
        ) {
            let mut offset = start;
            let records: Vec<Record> = texts.iter().map(|(text, step)| {
                offset += step;
                record(offset, text)
            }).collect();
            prop_assert_eq!(unpack(pack(&records)).unwrap(), records);
        }
    }

    #[test]
    fn a_batch_that_bears_a_producer_id_is_refused() {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(1, None, Some(b"x"), &[]);
        builder.idempotent(7, 0, 0);
        assert!(matches!(unpack(builder.build()), Err(ClientError::Refused(reason)) if reason.contains("producer id")));
    }
}
