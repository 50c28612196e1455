//! Records survive the way through bytes, and no bytes whatever make the decoder panic.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
};
use std::sync::Arc;
use tifo_coordinator::{
    Record,
    group::Protocol,
    record::{
        ClassicMember, ConsumerGroupEpoch, ConsumerMember, ConsumerRecord, MemberAssignment, MemberState,
        OwnedPartitions, ResolvedRegex, TargetAssignmentEpoch,
    },
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

fn owned() -> impl Strategy<Value = OwnedPartitions> {
    let partitions = btree_map(any::<i32>(), any::<i32>(), 1..4);
    btree_map(any::<u128>().prop_map(Uuid::from_u128), partitions, 0..3)
}

fn consumer_member() -> impl Strategy<Value = ConsumerMember> {
    let protocol = (text(), bytes()).prop_map(|(name, metadata)| Protocol { name: name.into(), metadata });
    let classic = (any::<i32>(), vec(protocol, 0..3))
        .prop_map(|(session_timeout_ms, protocols)| ClassicMember { session_timeout_ms, protocols });
    let texts = (option::of(text()), option::of(text()), text(), text(), option::of(text()), option::of(text()));
    (texts, btree_set(text(), 0..3), any::<i32>(), option::of(classic)).prop_map(
        |((instance, rack_id, client_id, client_host, regex, assignor), topic_names, rebalance_timeout_ms, classic)| {
            ConsumerMember {
                instance_id: instance.map(Into::into),
                rack_id,
                client_id,
                client_host,
                topic_names,
                topic_regex: regex.map(Into::into),
                rebalance_timeout_ms,
                assignor,
                classic,
            }
        },
    )
}

fn consumer_record() -> impl Strategy<Value = Record> {
    let states = [MemberState::Stable, MemberState::UnrevokedPartitions, MemberState::UnreleasedPartitions];
    let current = (any::<i32>(), any::<i32>(), prop::sample::select(states.to_vec()), owned(), owned()).prop_map(
        |(epoch, previous_epoch, state, assigned, revoking)| MemberAssignment {
            epoch,
            previous_epoch,
            state,
            assigned,
            revoking,
        },
    );
    let target = btree_map(any::<u128>().prop_map(Uuid::from_u128), btree_set(any::<i32>(), 1..4), 0..3);
    let regex = (btree_set(text(), 0..3), any::<i64>(), any::<i64>())
        .prop_map(|(topics, version, timestamp_ms)| ResolvedRegex { topics, version, timestamp_ms });
    let epoch = (any::<i32>(), any::<i64>());
    let epochs = epoch.prop_map(|(epoch, metadata_hash)| ConsumerGroupEpoch { epoch, metadata_hash });
    let target_epochs = epoch.prop_map(|(epoch, timestamp_ms)| TargetAssignmentEpoch { epoch, timestamp_ms });
    let fact = prop_oneof![
        option::of(epochs).prop_map(ConsumerRecord::Group),
        option::of(target_epochs).prop_map(ConsumerRecord::TargetEpoch),
        (text(), option::of(consumer_member()))
            .prop_map(|(id, said)| ConsumerRecord::Member(id.into(), said.map(Arc::new))),
        (text(), option::of(target)).prop_map(|(id, target)| ConsumerRecord::Target(id.into(), target.map(Arc::new))),
        (text(), option::of(current)).prop_map(|(id, current)| ConsumerRecord::Current(id.into(), current)),
        (text(), option::of(regex)).prop_map(|(regex, to)| ConsumerRecord::Regex(regex.into(), to.map(Arc::new))),
    ];
    (text(), fact).prop_map(|(group, fact)| Record::Consumer { group: group.into(), fact })
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![offset_record(), group_record(), consumer_record()]
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
    fn random_bytes_never_panic(kind in 0i16..18, version in 0i16..6, noise in vec(any::<u8>(), 0..80)) {
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
    assert_eq!(Record::decode(&Bytes::from_static(b"\0\x04\0\x01g"), None).unwrap(), None, "a key that is passed over");
}
