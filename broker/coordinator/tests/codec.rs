//! Records survive the way through bytes, and no bytes whatever make the decoder panic.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use tifo_coordinator::{
    Record,
    record::{CommittedOffset, GroupMetadata, MemberMetadata, OffsetKey},
};
use uuid::Uuid;

fn text() -> impl Strategy<Value = String> {
    "[a-zé中-]{0,20}"
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn offset_record() -> impl Strategy<Value = Record> {
    let value = (any::<i64>(), any::<i32>(), text(), any::<i64>(), any::<u128>(), option::of(0i64..1 << 50));
    (text(), text(), any::<i32>(), option::of(value)).prop_map(|(group, topic, partition, value)| {
        let value =
            value.map(|(offset, leader_epoch, metadata, commit_timestamp_ms, topic_id, expire_timestamp_ms)| {
                // The version that bears an expiry has no room for the other two.
                let plain = expire_timestamp_ms.is_none();
                CommittedOffset {
                    offset,
                    leader_epoch: if plain { leader_epoch } else { -1 },
                    metadata,
                    commit_timestamp_ms,
                    expire_timestamp_ms,
                    topic_id: if plain { Uuid::from_u128(topic_id) } else { Uuid::nil() },
                }
            });
        Record::OffsetCommit { key: OffsetKey { group: group.into(), topic: topic.into(), partition }, value }
    })
}

fn member() -> impl Strategy<Value = MemberMetadata> {
    (text(), option::of(text()), text(), text(), any::<i32>(), any::<i32>(), bytes(), bytes()).prop_map(
        |(
            member_id,
            instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms,
            session_timeout_ms,
            subscription,
            assignment,
        )| {
            MemberMetadata {
                member_id,
                instance_id,
                client_id,
                client_host,
                rebalance_timeout_ms,
                session_timeout_ms,
                subscription,
                assignment,
            }
        },
    )
}

fn group_record() -> impl Strategy<Value = Record> {
    let value = (text(), any::<i32>(), option::of(text()), option::of(text()), any::<i64>(), vec(member(), 0..4));
    (text(), option::of(value)).prop_map(|(group, value)| {
        let value = value.map(|(protocol_type, generation, protocol, leader, current_state_timestamp_ms, members)| {
            GroupMetadata { protocol_type, generation, protocol, leader, current_state_timestamp_ms, members }
        });
        Record::GroupMetadata { group: group.into(), value }
    })
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![offset_record(), group_record()]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(record in record()) {
        let (key, value) = record.encode();
        prop_assert_eq!(Record::decode(&key, value.as_ref()).unwrap(), Some(record));
    }

    #[test]
    fn cut_or_altered_records_never_panic(record in record(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (key, value) = record.encode();
        let value = value.unwrap_or_default();
        let mut altered = value.to_vec();
        if !altered.is_empty() {
            let at = at.index(altered.len());
            altered[at] = byte;
            let _ = Record::decode(&key, Some(&value.slice(..at)));
        }
        let _ = Record::decode(&key, Some(&Bytes::from(altered)));
        let _ = Record::decode(&key.slice(..at.index(key.len())), None);
    }

    #[test]
    fn random_bytes_never_panic(kind in 0i16..4, version in 0i16..6, noise in vec(any::<u8>(), 0..80)) {
        let key = Bytes::from([&kind.to_be_bytes()[..], &[0, 1, b'g', 0, 1, b't', 0, 0, 0, 0]].concat());
        let value = Bytes::from([&version.to_be_bytes()[..], &noise].concat());
        let _ = Record::decode(&key, Some(&value));
        let _ = Record::decode(&value, Some(&key));
    }
}

/// Offset commits as older brokers wrote them, byte by byte.
#[test]
fn every_older_version_of_the_values_is_read() {
    let offset_v1 =
        Bytes::from_static(b"\0\x01\0\0\0\0\0\0\0\x11\0\x01m\0\0\0\0\0\0\0\x05\xff\xff\xff\xff\xff\xff\xff\xff");
    let offset_v3 = Bytes::from_static(b"\0\x03\0\0\0\0\0\0\0\x11\0\0\0\x07\0\x01m\0\0\0\0\0\0\0\x05");
    let key = Bytes::from_static(b"\0\0\0\x01g\0\x01t\0\0\0\x02");
    let committed = |bytes: &Bytes| match Record::decode(&key, Some(bytes)).unwrap().unwrap() {
        Record::OffsetCommit { value: Some(value), .. } => value,
        other => panic!("{other:?}"),
    };
    assert_eq!((committed(&offset_v1).offset, committed(&offset_v1).expire_timestamp_ms), (17, None));
    assert_eq!((committed(&offset_v3).leader_epoch, committed(&offset_v3).metadata.as_str()), (7, "m"));
    assert_eq!(Record::decode(&Bytes::from_static(b"\0\x03\0\x01g"), None).unwrap(), None, "another protocol's key");
}
