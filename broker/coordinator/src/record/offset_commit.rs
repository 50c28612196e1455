//! OffsetCommitKey (0, 1) and OffsetCommitValue (versions 0 to 4).
//!
//! Written as version 4, as Apache Kafka 4.3 does, or as version 1 when the commit bears an expiry of its own
//! (OffsetCommit requests up to v4 may).

use super::{
    OFFSET_COMMIT_KEY,
    wire::{DecodeError, Reader, Writer},
};
use crate::group::GroupId;
use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;

const VERSION: i16 = 4;
const VERSION_WITH_EXPIRY: i16 = 1;
const TOPIC_ID_TAG: u32 = 0;

/// What an offset is committed for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OffsetKey {
    pub group: GroupId,
    pub topic: Arc<str>,
    pub partition: i32,
}

impl OffsetKey {
    pub(super) fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.i16(OFFSET_COMMIT_KEY);
        writer.string(&self.group);
        writer.string(&self.topic);
        writer.i32(self.partition);
        writer.finish()
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { group: reader.string()?.into(), topic: reader.string()?.into(), partition: reader.i32()? })
    }
}

/// A committed offset with what was committed beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: i64,
    /// -1: not given.
    pub leader_epoch: i32,
    pub metadata: String,
    pub commit_timestamp_ms: i64,
    /// Overrides `offsets.retention.minutes`.
    pub expire_timestamp_ms: Option<i64>,
    /// Nil: not known.
    pub topic_id: Uuid,
}

impl CommittedOffset {
    pub(super) fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        match self.expire_timestamp_ms {
            Some(expire_timestamp_ms) => self.write_with_expiry(&mut writer, expire_timestamp_ms),
            None => self.write(&mut writer),
        }
        writer.finish()
    }

    fn write_with_expiry(&self, writer: &mut Writer, expire_timestamp_ms: i64) {
        writer.i16(VERSION_WITH_EXPIRY);
        writer.i64(self.offset);
        writer.string(&self.metadata);
        writer.i64(self.commit_timestamp_ms);
        writer.i64(expire_timestamp_ms);
    }

    fn write(&self, writer: &mut Writer) {
        writer.i16(VERSION);
        writer.i64(self.offset);
        writer.i32(self.leader_epoch);
        writer.compact_string(&self.metadata);
        writer.i64(self.commit_timestamp_ms);
        if self.topic_id.is_nil() {
            return writer.varint(0);
        }
        writer.varint(1);
        writer.varint(TOPIC_ID_TAG);
        writer.varint(16);
        writer.uuid(self.topic_id);
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes.clone());
        let version = reader.i16()?;
        if !(0..=VERSION).contains(&version) {
            return Err(DecodeError::UnknownVersion { what: "OffsetCommitValue", version });
        }
        let mut value = Self {
            offset: reader.i64()?,
            leader_epoch: if version >= 3 { reader.i32()? } else { -1 },
            metadata: if version >= 4 { reader.compact_string()? } else { reader.string()? },
            commit_timestamp_ms: reader.i64()?,
            expire_timestamp_ms: if version == 1 { Some(reader.i64()?).filter(|at| *at != -1) } else { None },
            topic_id: Uuid::nil(),
        };
        if version >= 4 {
            reader.tagged_fields(|tag, mut content| {
                if tag == TOPIC_ID_TAG {
                    value.topic_id = content.uuid()?;
                }
                Ok(())
            })?;
        }
        Ok(value)
    }
}
