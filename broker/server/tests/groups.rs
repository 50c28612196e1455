//! Consumer groups over a real socket: every API in every version, and what is left after a restart.
#![allow(clippy::unwrap_used)]

mod support;

use kafka_protocol::{
    messages::{
        DeleteGroupsRequest, DeleteTopicsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId,
        HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest,
        OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol,
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};
use support::*;
use tifo_broker::LogClient;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn id(group: &str) -> GroupId {
    GroupId(text(group))
}

fn join(group: &str, member: &str) -> JoinGroupRequest {
    let range = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata("meta".into());
    JoinGroupRequest::default()
        .with_group_id(id(group))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![range])
}

fn sync(group: &str, joined: &JoinGroupResponse, version: i16) -> SyncGroupRequest {
    let assignment = |member: &str| {
        SyncGroupRequestAssignment::default()
            .with_member_id(text(member))
            .with_assignment(member.as_bytes().to_vec().into())
    };
    let members = joined.members.iter().map(|member| assignment(&member.member_id)).collect();
    let named = |name: &str| Some(text(name)).filter(|_| version >= 5);
    SyncGroupRequest::default()
        .with_group_id(id(group))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(named("consumer"))
        .with_protocol_name(named("range"))
        .with_assignments(members)
}

fn commit(group: &str, generation: i32, member: &str, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    let partition = |&(partition, offset): &(i32, i64)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("note")))
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partitions(offsets.iter().map(partition).collect());
    OffsetCommitRequest::default()
        .with_group_id(id(group))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(text(member))
        .with_topics(vec![topic])
}

/// Joins as often as the version needs it.
async fn enter(client: &mut Client, group: &str, version: i16) -> JoinGroupResponse {
    let joined = client.call(&join(group, ""), version).await;
    if joined.error_code != 79 {
        return joined;
    }
    assert!(version >= 4, "MEMBER_ID_REQUIRED is for those who know it");
    client.call(&join(group, &joined.member_id), version).await
}

async fn committed(client: &mut Client, group: &str, partition: i32, version: i16) -> i64 {
    if version >= 8 {
        let topic =
            OffsetFetchRequestTopics::default().with_name(topic_name("t")).with_partition_indexes(vec![partition]);
        let asked = OffsetFetchRequestGroup::default().with_group_id(id(group)).with_topics(Some(vec![topic]));
        let fetched = client.call(&OffsetFetchRequest::default().with_groups(vec![asked]), version).await;
        assert_eq!(fetched.groups[0].error_code, 0);
        return fetched.groups[0].topics[0].partitions[0].committed_offset;
    }
    let topic = OffsetFetchRequestTopic::default().with_name(topic_name("t")).with_partition_indexes(vec![partition]);
    let asked = OffsetFetchRequest::default().with_group_id(id(group)).with_topics(Some(vec![topic]));
    let fetched = client.call(&asked, version).await;
    assert_eq!(fetched.topics[0].partitions[0].error_code, 0);
    fetched.topics[0].partitions[0].committed_offset
}

#[tokio::test]
async fn every_version_of_join_sync_heartbeat_and_leave() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    for version in 0..=9 {
        let group = format!("g{version}");
        let joined = enter(&mut client, &group, version).await;
        assert_eq!((joined.error_code, joined.generation_id, joined.members.len()), (0, 1, 1), "JoinGroup {version}");
        assert!(joined.member_id.starts_with("test-"));
        let sync_version = version.min(5);
        let synced = client.call(&sync(&group, &joined, sync_version), sync_version).await;
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, joined.member_id.as_bytes()));
        let beat = HeartbeatRequest::default()
            .with_group_id(id(&group))
            .with_generation_id(1)
            .with_member_id(joined.member_id.clone());
        assert_eq!(client.call(&beat, version.min(4)).await.error_code, 0);
        let leave = LeaveGroupRequest::default().with_group_id(id(&group));
        let leave = match version.min(5) {
            3.. => leave.with_members(vec![MemberIdentity::default().with_member_id(joined.member_id.clone())]),
            _ => leave.with_member_id(joined.member_id.clone()),
        };
        let left = client.call(&leave, version.min(5)).await;
        assert_eq!((left.error_code, left.members.iter().all(|member| member.error_code == 0)), (0, true));
        assert_eq!(client.call(&beat, version.min(4)).await.error_code, 25);
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn every_version_of_commit_fetch_list_describe_find_and_delete() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("t", 2).await;
    for version in 0..=6 {
        let find = FindCoordinatorRequest::default();
        let find = if version >= 4 { find.with_coordinator_keys(vec![text("g")]) } else { find.with_key(text("g")) };
        let found = client.call(&find, version).await;
        let port = if version >= 4 { found.coordinators[0].port } else { found.port };
        assert_eq!((found.error_code, port), (0, i32::from(broker.kafka_addr().port())), "FindCoordinator {version}");
    }
    for version in 2..=9 {
        let answer = client.call(&commit("g", -1, "", &[(0, i64::from(version)), (7, 1)]), version).await;
        let codes: Vec<i16> = answer.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
        assert_eq!(codes, [3, 0], "OffsetCommit {version}");
        for fetch_version in 1..=9 {
            assert_eq!(committed(&mut client, "g", 0, fetch_version).await, i64::from(version));
        }
        assert_eq!(committed(&mut client, "g", 1, version).await, -1);
        assert_eq!(committed(&mut client, "nobody", 0, version).await, -1);
    }
    for version in 0..=5 {
        let listed = client.call(&ListGroupsRequest::default(), version).await;
        assert_eq!((listed.groups.len(), &*listed.groups[0].group_id.0), (1, "g"), "ListGroups {version}");
    }
    for version in 0..=6 {
        let described =
            client.call(&DescribeGroupsRequest::default().with_groups(vec![id("g"), id("x")]), version).await;
        let states: Vec<&str> = described.groups.iter().map(|group| &*group.group_state).collect();
        assert_eq!(states, ["Empty", "Dead"], "DescribeGroups {version}");
        assert_eq!(described.groups[1].error_code, if version >= 6 { 69 } else { 0 });
    }
    let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
    let topic = OffsetDeleteRequestTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    let deleted = client.call(&OffsetDeleteRequest::default().with_group_id(id("g")).with_topics(vec![topic]), 0).await;
    assert_eq!((deleted.error_code, deleted.topics[0].partitions[0].error_code), (0, 0));
    for version in 0..=2 {
        client.call(&commit("g", -1, "", &[(0, 1)]), 9).await;
        let delete = DeleteGroupsRequest::default().with_groups_names(vec![id("g"), id("x")]);
        let codes: Vec<i16> =
            client.call(&delete, version).await.results.iter().map(|group| group.error_code).collect();
        assert_eq!(codes, [0, 69], "DeleteGroups {version}");
        assert_eq!(client.call(&ListGroupsRequest::default(), 5).await.groups.len(), 0);
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn two_members_share_and_a_restart_keeps_group_and_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let (mut a, mut b) = (Client::connect(broker.kafka_addr()).await, Client::connect(broker.kafka_addr()).await);
    a.create_topic("t", 2).await;
    let first = enter(&mut a, "g", 3).await;
    b.send(&join("g", ""), 3).await;
    let beat = |generation, member: &StrBytes| {
        HeartbeatRequest::default().with_group_id(id("g")).with_generation_id(generation).with_member_id(member.clone())
    };
    // The second join may need a moment to arrive on its own connection.
    while a.call(&beat(1, &first.member_id), 4).await.error_code != 27 {}
    let led = a.call(&join("g", &first.member_id), 3).await;
    let (_, followed) = b.receive::<JoinGroupRequest>(3).await;
    assert_eq!((led.generation_id, followed.generation_id, led.members.len()), (2, 2, 2));
    b.send(&sync("g", &followed, 5), 5).await;
    assert_eq!(a.call(&sync("g", &led, 5), 5).await.assignment, led.member_id.as_bytes());
    let (_, share) = b.receive::<SyncGroupRequest>(5).await;
    assert_eq!(share.assignment, followed.member_id.as_bytes());
    let done = b.call(&commit("g", 2, &followed.member_id, &[(1, 42)]), 8).await;
    assert_eq!(done.topics[0].partitions[0].error_code, 0);
    broker.shutdown().await;

    let broker = start(dir.path()).await;
    let mut again = Client::connect(broker.kafka_addr()).await;
    assert_eq!(committed(&mut again, "g", 1, 9).await, 42);
    assert_eq!(again.call(&beat(2, &followed.member_id), 4).await.error_code, 0, "the generation is still stable");
    assert_eq!(again.call(&beat(1, &followed.member_id), 4).await.error_code, 22);
    broker.shutdown().await;
}

/// A client that hangs up while it waits to join, and could not know its member id, holds nobody up.
#[tokio::test]
async fn hanging_up_gives_the_place_back() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut a = Client::connect(broker.kafka_addr()).await;
    let first = enter(&mut a, "g", 3).await;
    let mut b = Client::connect(broker.kafka_addr()).await;
    b.send(&join("g", ""), 3).await;
    let members = async |a: &mut Client| {
        let described = a.call(&DescribeGroupsRequest::default().with_groups(vec![id("g")]), 6).await;
        described.groups[0].members.len()
    };
    while members(&mut a).await != 2 {}
    drop(b);
    while members(&mut a).await != 1 {}
    let alone = a.call(&join("g", &first.member_id), 3).await;
    assert_eq!((alone.error_code, alone.members.len()), (0, 1));
    broker.shutdown().await;
}

#[tokio::test]
async fn the_door_commits_and_a_deleted_topic_takes_its_offsets_along() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("t", 2).await;
    let door = broker.client();
    assert!(door.committed("agg", "t").await.unwrap().is_empty());
    door.commit("agg", "t", &[(0, 5), (1, 6)]).await.unwrap();
    assert_eq!(door.committed("agg", "t").await.unwrap(), [(0, 5), (1, 6)].into());
    assert_eq!(committed(&mut client, "agg", 1, 9).await, 6);
    assert!(door.commit("agg", "nowhere", &[(0, 5)]).await.is_err());
    assert!(door.commit("agg", "t", &[(2, 5)]).await.is_err());
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![topic_name("t")]);
    assert_eq!(client.call(&delete, 5).await.responses[0].error_code, 0);
    assert!(door.committed("agg", "t").await.unwrap().is_empty());
    // Even the offsets topic itself may go: it is created again when the next group needs it.
    client.create_topic("t", 2).await;
    door.commit("agg", "t", &[(0, 7)]).await.unwrap();
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![topic_name("__consumer_offsets")]);
    assert_eq!(client.call(&delete, 5).await.responses[0].error_code, 0);
    assert!(door.committed("agg", "t").await.unwrap().is_empty());
    door.commit("agg", "t", &[(0, 8)]).await.unwrap();
    // Whoever holds the door holds the data directory.
    drop(door);
    broker.shutdown().await;
    let broker = start(dir.path()).await;
    assert_eq!(broker.client().committed("agg", "t").await.unwrap(), [(0, 8)].into());
    broker.shutdown().await;
}
