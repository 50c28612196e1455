//! GroupMetadataValue (versions 0 to 4): a classic group as it was when its last generation became stable or empty.
//! Written as version 3, as Apache Kafka 4.3 does.

use super::wire::{DecodeError, Reader, Writer};
use bytes::Bytes;

const VERSION: i16 = 3;
const MAX_VERSION: i16 = 4;
/// Version 4 is flexible: compact strings and tagged fields.
const FLEXIBLE: i16 = 4;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupMetadata {
    /// Empty for a group that never had members.
    pub protocol_type: String,
    pub generation: i32,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    /// Since when the group is in its state; -1: not known.
    pub current_state_timestamp_ms: i64,
    pub members: Vec<MemberMetadata>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberMetadata {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

impl GroupMetadata {
    pub(super) fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.i16(VERSION);
        writer.string(&self.protocol_type);
        writer.i32(self.generation);
        writer.nullable_string(self.protocol.as_deref());
        writer.nullable_string(self.leader.as_deref());
        writer.i64(self.current_state_timestamp_ms);
        writer.array_length(self.members.len());
        for member in &self.members {
            member.write(&mut writer);
        }
        writer.finish()
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes.clone());
        let version = reader.i16()?;
        if !(0..=MAX_VERSION).contains(&version) {
            return Err(DecodeError::UnknownVersion { what: "GroupMetadataValue", version });
        }
        let mut value = Self {
            protocol_type: string(&mut reader, version)?,
            generation: reader.i32()?,
            protocol: nullable_string(&mut reader, version)?,
            leader: nullable_string(&mut reader, version)?,
            current_state_timestamp_ms: if version >= 2 { reader.i64()? } else { -1 },
            members: Vec::new(),
        };
        for _ in 0..array_length(&mut reader, version)? {
            value.members.push(MemberMetadata::read(&mut reader, version)?);
        }
        skip_tagged_fields(&mut reader, version)?;
        Ok(value)
    }
}

impl MemberMetadata {
    fn write(&self, writer: &mut Writer) {
        writer.string(&self.member_id);
        writer.nullable_string(self.instance_id.as_deref());
        writer.string(&self.client_id);
        writer.string(&self.client_host);
        writer.i32(self.rebalance_timeout_ms);
        writer.i32(self.session_timeout_ms);
        writer.bytes(&self.subscription);
        writer.bytes(&self.assignment);
    }

    fn read(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let mut member = Self {
            member_id: string(reader, version)?,
            instance_id: if version >= 3 { nullable_string(reader, version)? } else { None },
            client_id: string(reader, version)?,
            client_host: string(reader, version)?,
            rebalance_timeout_ms: if version >= 1 { reader.i32()? } else { -1 },
            session_timeout_ms: reader.i32()?,
            subscription: byte_string(reader, version)?,
            assignment: byte_string(reader, version)?,
        };
        if version < 1 {
            member.rebalance_timeout_ms = member.session_timeout_ms;
        }
        skip_tagged_fields(reader, version)?;
        Ok(member)
    }
}

fn string(reader: &mut Reader, version: i16) -> Result<String, DecodeError> {
    if version >= FLEXIBLE { reader.compact_string() } else { reader.string() }
}

fn nullable_string(reader: &mut Reader, version: i16) -> Result<Option<String>, DecodeError> {
    if version >= FLEXIBLE { reader.nullable_compact_string() } else { reader.nullable_string() }
}

fn byte_string(reader: &mut Reader, version: i16) -> Result<Bytes, DecodeError> {
    if version >= FLEXIBLE { reader.compact_bytes() } else { reader.bytes() }
}

fn array_length(reader: &mut Reader, version: i16) -> Result<usize, DecodeError> {
    if version >= FLEXIBLE { Ok(reader.compact_length()?.unwrap_or(0)) } else { reader.array_length() }
}

fn skip_tagged_fields(reader: &mut Reader, version: i16) -> Result<(), DecodeError> {
    if version >= FLEXIBLE { reader.tagged_fields(|_, _| Ok(())) } else { Ok(()) }
}
