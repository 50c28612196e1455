//! Records of `__consumer_offsets`, in Kafka's own format, so that `kafka-dump-log --offsets-decoder` reads them; those of
//! `__transaction_state` are in `transaction.rs`.
//!
//! A key begins with a 16-bit type, which Kafka calls the version of the key: 0 and 1 are offset commits, 2 is the metadata
//! of a classic group, 3 to 8 and 16 make up a consumer group of KIP-848. A value begins with its own 16-bit version. A missing value deletes (tombstone).
//! Decoding is bounded: no length read from the bytes sizes an allocation before it was checked against what remains.

mod consumer_group;
mod group_metadata;
mod offset_commit;
mod share_group;
mod share_state;
mod transaction;
mod wire;

pub use consumer_group::{
    ClassicMember, ConsumerGroupEpoch, ConsumerMember, ConsumerRecord, MemberAssignment, MemberState, OwnedPartitions,
    ResolvedRegex, TargetAssignmentEpoch,
};
pub use group_metadata::{GroupMetadata, MemberMetadata};
pub use offset_commit::{CommittedOffset, OffsetKey};
pub use share_group::{CurrentAssignment, GroupEpoch, ShareGroupRecord, ShareMember, TargetEpoch};
pub use share_state::{Latest, ShareStateRecord};
pub use wire::DecodeError;

use crate::group::GroupId;
use bytes::Bytes;
use wire::{Reader, Writer};

const OFFSET_COMMIT_KEY_LEGACY: i16 = 0;
const OFFSET_COMMIT_KEY: i16 = 1;
const GROUP_METADATA_KEY: i16 = 2;

/// One durable fact. `None` as value deletes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    OffsetCommit {
        key: OffsetKey,
        value: Option<CommittedOffset>,
    },
    GroupMetadata {
        group: GroupId,
        value: Option<GroupMetadata>,
    },
    /// One fact of a consumer group of KIP-848.
    Consumer {
        group: GroupId,
        fact: ConsumerRecord,
    },
}

impl Record {
    pub fn group(&self) -> &GroupId {
        match self {
            Record::OffsetCommit { key, .. } => &key.group,
            Record::GroupMetadata { group, .. } | Record::Consumer { group, .. } => group,
        }
    }

    /// Key and value as Apache Kafka 4.3 writes them.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        match self {
            Record::OffsetCommit { key, value } => (key.encode(), value.as_ref().map(CommittedOffset::encode)),
            Record::GroupMetadata { group, value } => {
                let mut key = Writer::default();
                key.i16(GROUP_METADATA_KEY);
                key.string(group);
                (key.finish(), value.as_ref().map(GroupMetadata::encode))
            }
            Record::Consumer { group, fact } => fact.encode(group),
        }
    }

    /// `None`: a key of a type that is not known here (another group protocol's), to be passed over.
    pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Option<Record>, DecodeError> {
        let mut reader = Reader::new(key.clone());
        let record = match reader.i16()? {
            OFFSET_COMMIT_KEY_LEGACY | OFFSET_COMMIT_KEY => Record::OffsetCommit {
                key: OffsetKey::read(&mut reader)?,
                value: value.map(CommittedOffset::decode).transpose()?,
            },
            GROUP_METADATA_KEY => Record::GroupMetadata {
                group: reader.string()?.into(),
                value: value.map(GroupMetadata::decode).transpose()?,
            },
            other => return consumer_group::decode(other, &mut reader, value),
        };
        Ok(Some(record))
    }
}
