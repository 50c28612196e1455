//! Records of share groups in `__consumer_offsets` (KIP-932), types 10 to 15, as Apache Kafka 4.3 writes them.

use super::wire::{DecodeError, Reader, Writer};
use crate::{
    group::GroupId,
    share::{Assignment, StatePartitions, StateTopic},
};
use bytes::Bytes;

const MEMBER_KEY: i16 = 10;
const METADATA_KEY: i16 = 11;
const TARGET_METADATA_KEY: i16 = 12;
const TARGET_MEMBER_KEY: i16 = 13;
const CURRENT_KEY: i16 = 14;
const STATE_PARTITIONS_KEY: i16 = 15;
const VERSION: i16 = 0;
const ASSIGNMENT_TIMESTAMP: u32 = 0;
/// The one state that a member of a share group is in.
const STABLE: i8 = 0;

/// One durable fact of a share group. `None` as value deletes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShareGroupRecord {
    Metadata { group: GroupId, value: Option<GroupEpoch> },
    Member { group: GroupId, member: String, value: Option<ShareMember> },
    TargetMetadata { group: GroupId, value: Option<TargetEpoch> },
    TargetMember { group: GroupId, member: String, value: Option<Assignment> },
    Current { group: GroupId, member: String, value: Option<CurrentAssignment> },
    StatePartitions { group: GroupId, value: Option<StatePartitions> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupEpoch {
    pub epoch: i32,
    /// Of the topics that are subscribed to, as they were then.
    pub metadata_hash: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShareMember {
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    /// Sorted, each once.
    pub subscribed: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetEpoch {
    pub epoch: i32,
    pub timestamp_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CurrentAssignment {
    pub epoch: i32,
    pub previous_epoch: i32,
    pub assigned: Assignment,
}

impl ShareGroupRecord {
    pub fn group(&self) -> &GroupId {
        match self {
            Self::Metadata { group, .. }
            | Self::Member { group, .. }
            | Self::TargetMetadata { group, .. }
            | Self::TargetMember { group, .. }
            | Self::Current { group, .. }
            | Self::StatePartitions { group, .. } => group,
        }
    }

    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        match self {
            Self::Metadata { group, value } => (key(METADATA_KEY, group, None), value.as_ref().map(encode_epoch)),
            Self::Member { group, member, value } => {
                (key(MEMBER_KEY, group, Some(member)), value.as_ref().map(encode_member))
            }
            Self::TargetMetadata { group, value } => {
                (key(TARGET_METADATA_KEY, group, None), value.as_ref().map(encode_target_epoch))
            }
            Self::TargetMember { group, member, value } => {
                (key(TARGET_MEMBER_KEY, group, Some(member)), value.as_ref().map(encode_target))
            }
            Self::Current { group, member, value } => {
                (key(CURRENT_KEY, group, Some(member)), value.as_ref().map(encode_current))
            }
            Self::StatePartitions { group, value } => {
                (key(STATE_PARTITIONS_KEY, group, None), value.as_ref().map(encode_state_partitions))
            }
        }
    }

    /// `None`: a key of another type.
    pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(key.clone());
        let kind = reader.i16()?;
        if !(MEMBER_KEY..=STATE_PARTITIONS_KEY).contains(&kind) {
            return Ok(None);
        }
        let group: GroupId = reader.string()?.into();
        let record = match kind {
            MEMBER_KEY => {
                Self::Member { group, member: reader.string()?, value: value.map(decode_member).transpose()? }
            }
            METADATA_KEY => Self::Metadata { group, value: value.map(decode_epoch).transpose()? },
            TARGET_METADATA_KEY => Self::TargetMetadata { group, value: value.map(decode_target_epoch).transpose()? },
            TARGET_MEMBER_KEY => {
                Self::TargetMember { group, member: reader.string()?, value: value.map(decode_target).transpose()? }
            }
            CURRENT_KEY => {
                Self::Current { group, member: reader.string()?, value: value.map(decode_current).transpose()? }
            }
            _ => Self::StatePartitions { group, value: value.map(decode_state_partitions).transpose()? },
        };
        Ok(Some(record))
    }
}

fn key(kind: i16, group: &str, member: Option<&String>) -> Bytes {
    let mut key = Writer::default();
    key.i16(kind);
    key.string(group);
    if let Some(member) = member {
        key.string(member);
    }
    key.finish()
}

fn begin() -> Writer {
    let mut writer = Writer::default();
    writer.i16(VERSION);
    writer
}

fn end(mut writer: Writer) -> Bytes {
    writer.tagged_fields(&[]);
    writer.finish()
}

fn versioned(value: &Bytes, what: &'static str) -> Result<Reader, DecodeError> {
    let mut reader = Reader::new(value.clone());
    match reader.i16()? {
        VERSION => Ok(reader),
        version => Err(DecodeError::UnknownVersion { what, version }),
    }
}

fn encode_epoch(value: &GroupEpoch) -> Bytes {
    let mut writer = begin();
    writer.i32(value.epoch);
    writer.i64(value.metadata_hash);
    end(writer)
}

fn decode_epoch(value: &Bytes) -> Result<GroupEpoch, DecodeError> {
    let mut reader = versioned(value, "ShareGroupMetadataValue")?;
    Ok(GroupEpoch { epoch: reader.i32()?, metadata_hash: reader.i64()? })
}

fn encode_member(value: &ShareMember) -> Bytes {
    let mut writer = begin();
    match &value.rack_id {
        Some(rack_id) => writer.compact_string(rack_id),
        None => writer.compact_array(None),
    }
    writer.compact_string(&value.client_id);
    writer.compact_string(&value.client_host);
    writer.compact_array(Some(value.subscribed.len()));
    for topic in &value.subscribed {
        writer.compact_string(topic);
    }
    end(writer)
}

fn decode_member(value: &Bytes) -> Result<ShareMember, DecodeError> {
    let mut reader = versioned(value, "ShareGroupMemberMetadataValue")?;
    let mut member = ShareMember {
        rack_id: reader.nullable_compact_string()?,
        client_id: reader.compact_string()?,
        client_host: reader.compact_string()?,
        subscribed: Vec::new(),
    };
    for _ in 0..reader.compact_length()?.unwrap_or(0) {
        member.subscribed.push(reader.compact_string()?);
    }
    Ok(member)
}

fn encode_target_epoch(value: &TargetEpoch) -> Bytes {
    let mut writer = begin();
    writer.i32(value.epoch);
    writer.tagged_fields(&[(ASSIGNMENT_TIMESTAMP, value.timestamp_ms.to_be_bytes().to_vec())]);
    writer.finish()
}

fn decode_target_epoch(value: &Bytes) -> Result<TargetEpoch, DecodeError> {
    let mut reader = versioned(value, "ShareGroupTargetAssignmentMetadataValue")?;
    let mut target = TargetEpoch { epoch: reader.i32()?, timestamp_ms: 0 };
    reader.tagged_fields(|tag, mut field| {
        if tag == ASSIGNMENT_TIMESTAMP {
            target.timestamp_ms = field.i64()?;
        }
        Ok(())
    })?;
    Ok(target)
}

fn encode_target(value: &Assignment) -> Bytes {
    let mut writer = begin();
    write_assignment(&mut writer, value);
    end(writer)
}

fn decode_target(value: &Bytes) -> Result<Assignment, DecodeError> {
    read_assignment(&mut versioned(value, "ShareGroupTargetAssignmentMemberValue")?)
}

fn encode_current(value: &CurrentAssignment) -> Bytes {
    let mut writer = begin();
    writer.i32(value.epoch);
    writer.i32(value.previous_epoch);
    writer.i8(STABLE);
    write_assignment(&mut writer, &value.assigned);
    end(writer)
}

fn decode_current(value: &Bytes) -> Result<CurrentAssignment, DecodeError> {
    let mut reader = versioned(value, "ShareGroupCurrentMemberAssignmentValue")?;
    let (epoch, previous_epoch) = (reader.i32()?, reader.i32()?);
    reader.i8()?;
    Ok(CurrentAssignment { epoch, previous_epoch, assigned: read_assignment(&mut reader)? })
}

fn write_assignment(writer: &mut Writer, assignment: &Assignment) {
    writer.compact_array(Some(assignment.len()));
    for (topic_id, partitions) in assignment {
        writer.uuid(*topic_id);
        write_partitions(writer, partitions.iter());
        writer.tagged_fields(&[]);
    }
}

fn read_assignment(reader: &mut Reader) -> Result<Assignment, DecodeError> {
    let mut assignment = Assignment::new();
    for _ in 0..reader.compact_length()?.unwrap_or(0) {
        let topic_id = reader.uuid()?;
        assignment.insert(topic_id, read_partitions(reader)?.into_iter().collect());
        reader.tagged_fields(|_, _| Ok(()))?;
    }
    Ok(assignment)
}

fn write_partitions<'a>(writer: &mut Writer, partitions: impl ExactSizeIterator<Item = &'a i32>) {
    writer.compact_array(Some(partitions.len()));
    partitions.for_each(|partition| writer.i32(*partition));
}

fn read_partitions(reader: &mut Reader) -> Result<Vec<i32>, DecodeError> {
    let mut partitions = Vec::new();
    for _ in 0..reader.compact_length()?.unwrap_or(0) {
        partitions.push(reader.i32()?);
    }
    Ok(partitions)
}

fn encode_state_partitions(value: &StatePartitions) -> Bytes {
    let mut writer = begin();
    writer.compact_array(Some(0));
    writer.compact_array(Some(value.initialized.len()));
    for (topic_id, topic) in &value.initialized {
        writer.uuid(*topic_id);
        writer.compact_string(&topic.name);
        write_partitions(&mut writer, topic.partitions.iter());
        writer.tagged_fields(&[]);
    }
    writer.compact_array(Some(0));
    end(writer)
}

fn decode_state_partitions(value: &Bytes) -> Result<StatePartitions, DecodeError> {
    let mut reader = versioned(value, "ShareGroupStatePartitionMetadataValue")?;
    let mut state = StatePartitions::default();
    // Here what is being initialized is as good as initialized: the state begins with the first that is written.
    for _ in 0..2 {
        for _ in 0..reader.compact_length()?.unwrap_or(0) {
            let (topic_id, name) = (reader.uuid()?, reader.compact_string()?);
            let partitions = read_partitions(&mut reader)?;
            reader.tagged_fields(|_, _| Ok(()))?;
            let topic = state
                .initialized
                .entry(topic_id)
                .or_insert_with(|| StateTopic { name, partitions: Default::default() });
            topic.partitions.extend(partitions);
        }
    }
    Ok(state)
}
