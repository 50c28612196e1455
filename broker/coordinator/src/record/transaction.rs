//! TransactionLogKey (0) and TransactionLogValue (0, 1): what `__transaction_state` holds, and `kafka-dump-log
//! --transaction-log-decoder` reads.
//!
//! Written as version 1, as Apache Kafka does with `transaction.version` 2. One tagged field is ours: the epoch before the last
//! bump, which Kafka keeps in memory only, so that a producer's retry (KIP-360) is known for one after a restart too.

use super::wire::{DecodeError, Reader, Writer};
use crate::transaction::{Producer, TransactionMetadata, TransactionRecord, TransactionState};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

const KEY_VERSION: i16 = 0;
const VERSION: i16 = 1;
/// The first version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 1;

const PREVIOUS_PRODUCER_ID_TAG: u32 = 0;
const NEXT_PRODUCER_ID_TAG: u32 = 1;
const CLIENT_VERSION_TAG: u32 = 2;
/// Far from Kafka's own, which count up.
const LAST_PRODUCER_EPOCH_TAG: u32 = 10_000;

impl TransactionRecord {
    /// Key and value as Apache Kafka 4.3 writes them.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        let mut key = Writer::default();
        key.i16(KEY_VERSION);
        key.string(&self.transactional_id);
        (key.finish(), self.value.as_ref().map(encode_value))
    }

    /// `None`: a key of a kind that is not known here, to be passed over.
    pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(key.clone());
        if reader.i16()? != KEY_VERSION {
            return Ok(None);
        }
        let transactional_id = reader.string()?.into();
        Ok(Some(Self { transactional_id, value: value.map(decode_value).transpose()? }))
    }
}

fn encode_value(value: &TransactionMetadata) -> Bytes {
    let mut writer = Writer::default();
    writer.i16(VERSION);
    writer.i64(value.producer.id);
    writer.i16(value.producer.epoch);
    writer.i32(value.timeout_ms);
    writer.i8(value.state.id());
    write_partitions(&mut writer, value);
    writer.i64(value.last_update_timestamp_ms);
    writer.i64(value.start_timestamp_ms);
    write_tags(&mut writer, value);
    writer.finish()
}

/// No transaction has no list at all.
fn write_partitions(writer: &mut Writer, value: &TransactionMetadata) {
    if value.state == TransactionState::Empty {
        return writer.compact_array(None);
    }
    writer.compact_array(Some(value.partitions.len()));
    for (topic, partitions) in &value.partitions {
        writer.compact_string(topic);
        writer.compact_array(Some(partitions.len()));
        partitions.iter().for_each(|partition| writer.i32(*partition));
        writer.varint(0);
    }
}

fn write_tags(writer: &mut Writer, value: &TransactionMetadata) {
    let tags: Vec<(u32, Vec<u8>)> = [
        (PREVIOUS_PRODUCER_ID_TAG, value.previous_producer_id != -1, value.previous_producer_id.to_be_bytes().to_vec()),
        (NEXT_PRODUCER_ID_TAG, value.next_producer_id != -1, value.next_producer_id.to_be_bytes().to_vec()),
        (CLIENT_VERSION_TAG, value.client_version != 0, value.client_version.to_be_bytes().to_vec()),
        (LAST_PRODUCER_EPOCH_TAG, value.last_producer_epoch != -1, value.last_producer_epoch.to_be_bytes().to_vec()),
    ]
    .into_iter()
    .filter(|(_, is_there, _)| *is_there)
    .map(|(tag, _, content)| (tag, content))
    .collect();
    writer.tagged_fields(&tags);
}

fn decode_value(bytes: &Bytes) -> Result<TransactionMetadata, DecodeError> {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.i16()?;
    if !(0..=VERSION).contains(&version) {
        return Err(DecodeError::UnknownVersion { what: "TransactionLogValue", version });
    }
    let producer = Producer { id: reader.i64()?, epoch: reader.i16()? };
    let timeout_ms = reader.i32()?;
    let state = reader.i8()?;
    let mut value = TransactionMetadata {
        producer,
        previous_producer_id: -1,
        next_producer_id: -1,
        last_producer_epoch: -1,
        timeout_ms,
        state: TransactionState::from_id(state)
            .ok_or(DecodeError::UnknownVersion { what: "transaction state", version: state.into() })?,
        partitions: read_partitions(&mut reader, version)?,
        last_update_timestamp_ms: reader.i64()?,
        start_timestamp_ms: reader.i64()?,
        client_version: 0,
    };
    if version >= FLEXIBLE {
        reader.tagged_fields(|tag, content| read_tag(&mut value, tag, content))?;
    }
    Ok(value)
}

fn read_partitions(
    reader: &mut Reader,
    version: i16,
) -> Result<BTreeMap<std::sync::Arc<str>, BTreeSet<i32>>, DecodeError> {
    let mut partitions = BTreeMap::new();
    for _ in 0..array_length(reader, version)? {
        let topic = if version >= FLEXIBLE { reader.compact_string()? } else { reader.string()? };
        let mut ids = BTreeSet::new();
        for _ in 0..array_length(reader, version)? {
            ids.insert(reader.i32()?);
        }
        if version >= FLEXIBLE {
            reader.tagged_fields(|_, _| Ok(()))?;
        }
        partitions.insert(topic.into(), ids);
    }
    Ok(partitions)
}

/// A missing array counts as empty.
fn array_length(reader: &mut Reader, version: i16) -> Result<usize, DecodeError> {
    if version >= FLEXIBLE {
        return Ok(reader.compact_length()?.unwrap_or(0));
    }
    reader.nullable_array_length().map(Option::unwrap_or_default)
}

fn read_tag(value: &mut TransactionMetadata, tag: u32, mut content: Reader) -> Result<(), DecodeError> {
    match tag {
        PREVIOUS_PRODUCER_ID_TAG => value.previous_producer_id = content.i64()?,
        NEXT_PRODUCER_ID_TAG => value.next_producer_id = content.i64()?,
        CLIENT_VERSION_TAG => value.client_version = content.i16()?,
        LAST_PRODUCER_EPOCH_TAG => value.last_producer_epoch = content.i16()?,
        _ => {}
    }
    Ok(())
}
