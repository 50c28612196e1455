//! The records of a consumer group of KIP-848: ConsumerGroupMetadata (3), MemberMetadata (5), TargetAssignmentMetadata (6),
//! TargetAssignmentMember (7), CurrentMemberAssignment (8) and RegularExpression (16), each in version 0, its only one.
//!
//! Together they are the group. PartitionMetadata (4), which Kafka 4.0 wrote, is passed over: the metadata hash has taken its place.

use super::{
    Record,
    wire::{DecodeError, Reader, Writer},
};
use crate::{
    assignment::Assignment,
    group::{GroupId, MemberId, Protocol},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use uuid::Uuid;

const GROUP: i16 = 3;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;

const VERSION: i16 = 0;

/// One fact of a consumer group. `None` deletes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerRecord {
    Group(Option<ConsumerGroupEpoch>),
    Member(MemberId, Option<Arc<ConsumerMember>>),
    TargetEpoch(Option<TargetAssignmentEpoch>),
    Target(MemberId, Option<Arc<Assignment>>),
    Current(MemberId, Option<MemberAssignment>),
    Regex(Arc<str>, Option<Arc<ResolvedRegex>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsumerGroupEpoch {
    pub epoch: i32,
    /// See [`crate::assignment::TopicsImage::metadata_hash`].
    pub metadata_hash: i64,
}

/// What a member has told of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerMember {
    pub instance_id: Option<Arc<str>>,
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub topic_names: BTreeSet<String>,
    pub topic_regex: Option<Arc<str>>,
    pub rebalance_timeout_ms: i32,
    pub assignor: Option<String>,
    /// Only of a member that speaks the classic protocol.
    pub classic: Option<ClassicMember>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassicMember {
    pub session_timeout_ms: i32,
    pub protocols: Vec<Protocol>,
}

/// The group epoch that the target assignment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetAssignmentEpoch {
    pub epoch: i32,
    /// When it was computed (KIP-1263); 0: not known.
    pub timestamp_ms: i64,
}

/// Partitions by topic id, each with the member epoch at which it came to the member.
pub type OwnedPartitions = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// How far a member is on its way to its target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberAssignment {
    pub epoch: i32,
    pub previous_epoch: i32,
    pub state: MemberState,
    pub assigned: OwnedPartitions,
    /// To be given up by the member before anything else happens.
    pub revoking: OwnedPartitions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemberState {
    #[default]
    Stable,
    /// It has been asked to give partitions up.
    UnrevokedPartitions,
    /// It waits for partitions that others hold.
    UnreleasedPartitions,
    /// A newer broker's.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolvedRegex {
    pub topics: BTreeSet<String>,
    /// Of the image of topics that it was resolved against.
    pub version: i64,
    pub timestamp_ms: i64,
}

impl ConsumerRecord {
    pub fn is_tombstone(&self) -> bool {
        match self {
            Self::Group(value) => value.is_none(),
            Self::Member(_, value) => value.is_none(),
            Self::TargetEpoch(value) => value.is_none(),
            Self::Target(_, value) => value.is_none(),
            Self::Current(_, value) => value.is_none(),
            Self::Regex(_, value) => value.is_none(),
        }
    }

    pub(super) fn encode(&self, group: &GroupId) -> (Bytes, Option<Bytes>) {
        let (kind, second, value) = match self {
            Self::Group(value) => (GROUP, None, value.as_ref().map(encode_group)),
            Self::Member(id, value) => (MEMBER, Some(id), value.as_ref().map(|member| encode_member(member))),
            Self::TargetEpoch(value) => (TARGET_EPOCH, None, value.as_ref().map(encode_target_epoch)),
            Self::Target(id, value) => (TARGET, Some(id), value.as_ref().map(|target| encode_target(target))),
            Self::Current(id, value) => (CURRENT, Some(id), value.as_ref().map(encode_current)),
            Self::Regex(regex, value) => (REGEX, Some(regex), value.as_ref().map(|resolved| encode_regex(resolved))),
        };
        let mut key = Writer::default();
        key.i16(kind);
        key.string(group);
        if let Some(second) = second {
            key.string(second);
        }
        (key.finish(), value)
    }
}

/// `None`: a key of a type that is not known here, to be passed over.
pub(super) fn decode(kind: i16, key: &mut Reader, value: Option<&Bytes>) -> Result<Option<Record>, DecodeError> {
    if !matches!(kind, GROUP | MEMBER | TARGET_EPOCH | TARGET | CURRENT | REGEX) {
        return Ok(None);
    }
    let group: GroupId = key.string()?.into();
    let fact = match kind {
        GROUP => ConsumerRecord::Group(read(value, "ConsumerGroupMetadataValue", read_group)?),
        TARGET_EPOCH => {
            ConsumerRecord::TargetEpoch(read(value, "ConsumerGroupTargetAssignmentMetadataValue", read_target_epoch)?)
        }
        MEMBER => ConsumerRecord::Member(
            key.string()?.into(),
            read(value, "ConsumerGroupMemberMetadataValue", read_member)?.map(Arc::new),
        ),
        TARGET => ConsumerRecord::Target(
            key.string()?.into(),
            read(value, "ConsumerGroupTargetAssignmentMemberValue", read_target)?.map(Arc::new),
        ),
        CURRENT => ConsumerRecord::Current(
            key.string()?.into(),
            read(value, "ConsumerGroupCurrentMemberAssignmentValue", read_current)?,
        ),
        _ => ConsumerRecord::Regex(
            key.string()?.into(),
            read(value, "ConsumerGroupRegularExpressionValue", read_regex)?.map(Arc::new),
        ),
    };
    Ok(Some(Record::Consumer { group, fact }))
}

fn read<T>(
    value: Option<&Bytes>,
    what: &'static str,
    read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    let Some(value) = value else { return Ok(None) };
    let mut reader = Reader::new(value.clone());
    match reader.i16()? {
        VERSION => read(&mut reader).map(Some),
        version => Err(DecodeError::UnknownVersion { what, version }),
    }
}

fn writer() -> Writer {
    let mut writer = Writer::default();
    writer.i16(VERSION);
    writer
}

fn encode_group(value: &ConsumerGroupEpoch) -> Bytes {
    let mut writer = writer();
    writer.i32(value.epoch);
    write_long_tag(&mut writer, value.metadata_hash);
    writer.finish()
}

fn read_group(reader: &mut Reader) -> Result<ConsumerGroupEpoch, DecodeError> {
    Ok(ConsumerGroupEpoch { epoch: reader.i32()?, metadata_hash: read_long_tag(reader)? })
}

fn encode_target_epoch(value: &TargetAssignmentEpoch) -> Bytes {
    let mut writer = writer();
    writer.i32(value.epoch);
    write_long_tag(&mut writer, value.timestamp_ms);
    writer.finish()
}

fn read_target_epoch(reader: &mut Reader) -> Result<TargetAssignmentEpoch, DecodeError> {
    Ok(TargetAssignmentEpoch { epoch: reader.i32()?, timestamp_ms: read_long_tag(reader)? })
}

/// Tag 0, absent where it is 0.
fn write_long_tag(writer: &mut Writer, value: i64) {
    let tag = (value != 0).then(|| (0, value.to_be_bytes().to_vec()));
    writer.tagged_fields(&tag.into_iter().collect::<Vec<_>>());
}

fn read_long_tag(reader: &mut Reader) -> Result<i64, DecodeError> {
    let mut value = 0;
    reader.tagged_fields(|tag, mut content| {
        if tag == 0 {
            value = content.i64()?;
        }
        Ok(())
    })?;
    Ok(value)
}

fn encode_member(value: &ConsumerMember) -> Bytes {
    let mut writer = writer();
    writer.nullable_compact_string(value.instance_id.as_deref());
    writer.nullable_compact_string(value.rack_id.as_deref());
    writer.compact_string(&value.client_id);
    writer.compact_string(&value.client_host);
    write_strings(&mut writer, &value.topic_names);
    writer.nullable_compact_string(value.topic_regex.as_deref());
    writer.i32(value.rebalance_timeout_ms);
    writer.nullable_compact_string(value.assignor.as_deref());
    // Always there: Kafka takes one that is not for an empty one.
    writer.tagged_fields(&[(0, value.classic.as_ref().map_or_else(|| vec![0], encode_classic))]);
    writer.finish()
}

/// Behind the byte that says that there is something.
fn encode_classic(value: &ClassicMember) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.i8(1);
    writer.i32(value.session_timeout_ms);
    writer.compact_array(Some(value.protocols.len()));
    for protocol in &value.protocols {
        writer.compact_string(&protocol.name);
        writer.compact_bytes(&protocol.metadata);
        writer.varint(0);
    }
    writer.varint(0);
    writer.finish().to_vec()
}

fn read_member(reader: &mut Reader) -> Result<ConsumerMember, DecodeError> {
    let mut member = ConsumerMember {
        instance_id: reader.nullable_compact_string()?.map(Arc::from),
        rack_id: reader.nullable_compact_string()?,
        client_id: reader.compact_string()?,
        client_host: reader.compact_string()?,
        topic_names: read_strings(reader)?,
        topic_regex: reader.nullable_compact_string()?.map(Arc::from),
        rebalance_timeout_ms: reader.i32()?,
        assignor: reader.nullable_compact_string()?,
        classic: None,
    };
    reader.tagged_fields(|tag, mut content| {
        if tag == 0 && content.i8()? == 1 {
            member.classic = Some(read_classic(&mut content)?);
        }
        Ok(())
    })?;
    Ok(member)
}

fn read_classic(reader: &mut Reader) -> Result<ClassicMember, DecodeError> {
    let mut classic = ClassicMember { session_timeout_ms: reader.i32()?, protocols: Vec::new() };
    for _ in 0..reader.compact_length()?.unwrap_or(0) {
        let (name, metadata) = (reader.compact_string()?.into(), reader.compact_bytes()?);
        reader.tagged_fields(|_, _| Ok(()))?;
        classic.protocols.push(Protocol { name, metadata });
    }
    Ok(classic)
}

fn encode_target(value: &Assignment) -> Bytes {
    let mut writer = writer();
    writer.compact_array(Some(value.len()));
    for (topic, partitions) in value {
        writer.uuid(*topic);
        writer.compact_array(Some(partitions.len()));
        partitions.iter().for_each(|partition| writer.i32(*partition));
        writer.varint(0);
    }
    writer.varint(0);
    writer.finish()
}

fn read_target(reader: &mut Reader) -> Result<Assignment, DecodeError> {
    let mut assignment = Assignment::new();
    for _ in 0..reader.compact_length()?.unwrap_or(0) {
        let topic = reader.uuid()?;
        let partitions = read_ints(reader)?.into_iter().collect();
        reader.tagged_fields(|_, _| Ok(()))?;
        assignment.insert(topic, partitions);
    }
    Ok(assignment)
}

fn encode_current(value: &MemberAssignment) -> Bytes {
    let mut writer = writer();
    writer.i32(value.epoch);
    writer.i32(value.previous_epoch);
    writer.i8(value.state.id());
    write_owned(&mut writer, &value.assigned);
    write_owned(&mut writer, &value.revoking);
    writer.varint(0);
    writer.finish()
}

fn read_current(reader: &mut Reader) -> Result<MemberAssignment, DecodeError> {
    let epoch = reader.i32()?;
    Ok(MemberAssignment {
        epoch,
        previous_epoch: reader.i32()?,
        state: MemberState::of_id(reader.i8()?),
        assigned: read_owned(reader, epoch)?,
        revoking: read_owned(reader, epoch)?,
    })
}

fn write_owned(writer: &mut Writer, owned: &OwnedPartitions) {
    writer.compact_array(Some(owned.len()));
    for (topic, partitions) in owned {
        writer.uuid(*topic);
        write_ints(writer, partitions.keys());
        let mut epochs = Writer::default();
        write_ints(&mut epochs, partitions.values());
        writer.tagged_fields(&[(0, epochs.finish().to_vec())]);
    }
}

/// Where a record tells no epochs of partitions (Kafka before 4.3), they are taken to be the member's.
fn read_owned(reader: &mut Reader, epoch: i32) -> Result<OwnedPartitions, DecodeError> {
    let mut owned = OwnedPartitions::new();
    for _ in 0..reader.compact_length()?.unwrap_or(0) {
        let topic = reader.uuid()?;
        let partitions = read_ints(reader)?;
        let mut epochs = Vec::new();
        reader.tagged_fields(|tag, mut content| {
            if tag == 0 {
                epochs = read_ints(&mut content)?;
            }
            Ok(())
        })?;
        let epochs = epochs.into_iter().chain(std::iter::repeat(epoch));
        owned.insert(topic, partitions.into_iter().zip(epochs).collect());
    }
    Ok(owned)
}

fn encode_regex(value: &ResolvedRegex) -> Bytes {
    let mut writer = writer();
    write_strings(&mut writer, &value.topics);
    writer.i64(value.version);
    writer.i64(value.timestamp_ms);
    writer.varint(0);
    writer.finish()
}

fn read_regex(reader: &mut Reader) -> Result<ResolvedRegex, DecodeError> {
    Ok(ResolvedRegex { topics: read_strings(reader)?, version: reader.i64()?, timestamp_ms: reader.i64()? })
}

fn write_strings(writer: &mut Writer, strings: &BTreeSet<String>) {
    writer.compact_array(Some(strings.len()));
    strings.iter().for_each(|string| writer.compact_string(string));
}

fn read_strings(reader: &mut Reader) -> Result<BTreeSet<String>, DecodeError> {
    let mut strings = BTreeSet::new();
    for _ in 0..reader.compact_length()?.unwrap_or(0) {
        strings.insert(reader.compact_string()?);
    }
    Ok(strings)
}

fn write_ints<'a>(writer: &mut Writer, ints: impl ExactSizeIterator<Item = &'a i32>) {
    writer.compact_array(Some(ints.len()));
    ints.for_each(|int| writer.i32(*int));
}

fn read_ints(reader: &mut Reader) -> Result<Vec<i32>, DecodeError> {
    let mut ints = Vec::new();
    for _ in 0..reader.compact_length()?.unwrap_or(0) {
        ints.push(reader.i32()?);
    }
    Ok(ints)
}

impl MemberState {
    fn id(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
            MemberState::Unknown => i8::MAX,
        }
    }

    fn of_id(id: i8) -> Self {
        match id {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => MemberState::Unknown,
        }
    }
}
