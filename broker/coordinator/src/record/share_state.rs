//! Records of `__share_group_state` (KIP-932): ShareSnapshot and ShareUpdate, as Apache Kafka 4.3 writes them.

use super::wire::{DecodeError, Reader, Writer};
use crate::share::{ShareKey, ShareState, StateBatch, Update};
use bytes::Bytes;

const SNAPSHOT_KEY: i16 = 0;
const UPDATE_KEY: i16 = 1;
const VERSION: i16 = 0;
const DELIVERY_COMPLETE_COUNT: u32 = 0;
const UNKNOWN_COUNT: i32 = -1;

/// What was last said of a share partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Latest {
    Snapshot(ShareState),
    Update { snapshot_epoch: i32, update: Update },
    Deleted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareStateRecord {
    pub key: ShareKey,
    pub value: Latest,
}

impl ShareStateRecord {
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        let (kind, value) = match &self.value {
            Latest::Snapshot(state) => (SNAPSHOT_KEY, Some(encode_snapshot(state))),
            Latest::Update { snapshot_epoch, update } => (UPDATE_KEY, Some(encode_update(*snapshot_epoch, update))),
            Latest::Deleted => (SNAPSHOT_KEY, None),
        };
        let mut key = Writer::default();
        key.i16(kind);
        key.string(&self.key.group);
        key.uuid(self.key.topic_id);
        key.i32(self.key.partition);
        (key.finish(), value)
    }

    /// `None`: a key of a type that is not known here, to be passed over.
    pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(key.clone());
        let kind = reader.i16()?;
        if !matches!(kind, SNAPSHOT_KEY | UPDATE_KEY) {
            return Ok(None);
        }
        let key = ShareKey { group: reader.string()?.into(), topic_id: reader.uuid()?, partition: reader.i32()? };
        let value = match (kind, value) {
            (SNAPSHOT_KEY, Some(value)) => Latest::Snapshot(decode_snapshot(value)?),
            (UPDATE_KEY, Some(value)) => decode_update(value)?,
            // What an update said is gone with its snapshot.
            (UPDATE_KEY, None) => return Ok(None),
            _ => Latest::Deleted,
        };
        Ok(Some(Self { key, value }))
    }
}

fn encode_snapshot(state: &ShareState) -> Bytes {
    let mut writer = Writer::default();
    writer.i16(VERSION);
    writer.i32(state.snapshot_epoch);
    writer.i32(state.state_epoch);
    writer.i32(state.leader_epoch);
    writer.i64(state.start_offset);
    writer.i64(state.created_ms);
    writer.i64(state.written_ms);
    write_batches(&mut writer, &state.batches);
    write_count(&mut writer, state.delivery_complete_count);
    writer.finish()
}

fn encode_update(snapshot_epoch: i32, update: &Update) -> Bytes {
    let mut writer = Writer::default();
    writer.i16(VERSION);
    writer.i32(snapshot_epoch);
    writer.i32(update.leader_epoch);
    writer.i64(update.start_offset);
    write_batches(&mut writer, &update.batches);
    write_count(&mut writer, update.delivery_complete_count);
    writer.finish()
}

fn decode_snapshot(value: &Bytes) -> Result<ShareState, DecodeError> {
    let mut reader = versioned(value, "ShareSnapshotValue")?;
    let mut state = ShareState {
        snapshot_epoch: reader.i32()?,
        state_epoch: reader.i32()?,
        leader_epoch: reader.i32()?,
        start_offset: reader.i64()?,
        delivery_complete_count: UNKNOWN_COUNT,
        created_ms: reader.i64()?,
        written_ms: reader.i64()?,
        batches: read_batches(&mut reader)?,
    };
    state.delivery_complete_count = read_count(&mut reader)?;
    Ok(state)
}

fn decode_update(value: &Bytes) -> Result<Latest, DecodeError> {
    let mut reader = versioned(value, "ShareUpdateValue")?;
    let snapshot_epoch = reader.i32()?;
    let (leader_epoch, start_offset) = (reader.i32()?, reader.i64()?);
    let batches = read_batches(&mut reader)?;
    let delivery_complete_count = read_count(&mut reader)?;
    let update = Update { start_offset, delivery_complete_count, leader_epoch, batches };
    Ok(Latest::Update { snapshot_epoch, update })
}

fn versioned(value: &Bytes, what: &'static str) -> Result<Reader, DecodeError> {
    let mut reader = Reader::new(value.clone());
    match reader.i16()? {
        VERSION => Ok(reader),
        version => Err(DecodeError::UnknownVersion { what, version }),
    }
}

fn write_batches(writer: &mut Writer, batches: &[StateBatch]) {
    writer.compact_array(Some(batches.len()));
    for batch in batches {
        writer.i64(batch.first_offset);
        writer.i64(batch.last_offset);
        writer.i8(batch.delivery_state);
        writer.i16(batch.delivery_count);
        writer.tagged_fields(&[]);
    }
}

fn read_batches(reader: &mut Reader) -> Result<Vec<StateBatch>, DecodeError> {
    let mut batches = Vec::new();
    for _ in 0..reader.compact_length()?.unwrap_or(0) {
        batches.push(StateBatch {
            first_offset: reader.i64()?,
            last_offset: reader.i64()?,
            delivery_state: reader.i8()?,
            delivery_count: reader.i16()?,
        });
        reader.tagged_fields(|_, _| Ok(()))?;
    }
    Ok(batches)
}

fn write_count(writer: &mut Writer, count: i32) {
    if count == UNKNOWN_COUNT {
        return writer.tagged_fields(&[]);
    }
    writer.tagged_fields(&[(DELIVERY_COMPLETE_COUNT, count.to_be_bytes().to_vec())]);
}

fn read_count(reader: &mut Reader) -> Result<i32, DecodeError> {
    let mut count = UNKNOWN_COUNT;
    reader.tagged_fields(|tag, mut field| {
        if tag == DELIVERY_COMPLETE_COUNT {
            count = field.i32()?;
        }
        Ok(())
    })?;
    Ok(count)
}
