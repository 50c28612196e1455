//! Waiting for a group through the in-process door, while members come and go over real sockets.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        DeleteGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
        OffsetCommitRequest, SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol,
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use support::*;
use tifo_broker::{
    Broker, LogClient,
    client::{Group, GroupCondition, GroupWait, WantedState},
};
use tokio::{sync::watch, task::JoinHandle};

const PATIENCE: Duration = Duration::from_secs(30);
/// What a rig sets when it wants members to hear of each other soon.
const HEARTBEAT: Duration = Duration::from_millis(20);

fn group_id(group: &str) -> GroupId {
    GroupId(StrBytes::from_string(group.to_owned()))
}

fn condition(state: &str, members: usize) -> GroupCondition {
    let state = Some(WantedState::Named(state.to_owned()));
    GroupCondition { state, members: Some(members), max_lag: None }
}

async fn wait(broker: &Broker, group: &str, condition: &GroupCondition) -> Option<Group> {
    let waited = broker.client().wait_for_group(group, condition, PATIENCE).await.unwrap();
    assert!(waited.is_reached, "{condition:?}: {:?}", waited.group);
    waited.group
}

/// A stock consumer of the classic protocol, as far as groups go: the leader gives all of `t` to itself.
struct Member {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Member {
    fn start(address: SocketAddr, group: &'static str) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(take_part(address, group, stopped)) }
    }

    async fn leave(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

async fn take_part(address: SocketAddr, group: &str, mut stopped: watch::Receiver<bool>) {
    let mut client = Client::connect(address).await;
    let mut member_id = StrBytes::default();
    while !*stopped.borrow() {
        let joined = client.call(&join(group, &member_id), 9).await;
        member_id = joined.member_id.clone();
        if joined.error_code == 0 && client.call(&sync(group, &joined), 5).await.error_code == 0 {
            beat(&mut client, group, &joined, &mut stopped).await;
        }
    }
    let leaving = MemberIdentity::default().with_member_id(member_id);
    let leave = LeaveGroupRequest::default().with_group_id(group_id(group)).with_members(vec![leaving]);
    client.call(&leave, 5).await;
}

/// Until the generation is over, or the member is to leave.
async fn beat(client: &mut Client, group: &str, joined: &JoinGroupResponse, stopped: &mut watch::Receiver<bool>) {
    let heartbeat = HeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    while client.call(&heartbeat, 4).await.error_code == 0 {
        if tokio::time::timeout(HEARTBEAT, stopped.wait_for(|stopped| *stopped)).await.is_ok() {
            return;
        }
    }
}

fn join(group: &str, member_id: &StrBytes) -> JoinGroupRequest {
    let subscription = Bytes::from_static(b"\x00\x00\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff");
    let range =
        JoinGroupRequestProtocol::default().with_name(StrBytes::from_static_str("range")).with_metadata(subscription);
    JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(member_id.clone())
        .with_protocol_type(StrBytes::from_static_str("consumer"))
        .with_protocols(vec![range])
}

fn sync(group: &str, joined: &JoinGroupResponse) -> SyncGroupRequest {
    let mut assignment = BytesMut::new();
    assignment.put_slice(
        b"\x00\x00\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff",
    );
    let leader = joined.members.iter().filter(|member| member.member_id == joined.leader);
    let assignments = leader.map(|member| {
        SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(assignment.clone().freeze())
    });
    SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(Some(StrBytes::from_static_str("consumer")))
        .with_protocol_name(Some(StrBytes::from_static_str("range")))
        .with_assignments(assignments.collect())
}

fn commit(group: &str, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    let partition = |&(partition, offset): &(i32, i64)| {
        OffsetCommitRequestPartition::default().with_partition_index(partition).with_committed_offset(offset)
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partitions(offsets.iter().map(partition).collect());
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// What issue 6 asks of a group: stable within 150 ms of the second join, and of a leave.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_two_is_stable_within_150_ms_of_a_join_and_of_a_leave() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    Client::connect(broker.kafka_addr()).await.create_topic("t", 2).await;
    let first = Member::start(broker.kafka_addr(), "g");
    wait(&broker, "g", &condition("stable", 1)).await;
    let began = Instant::now();
    let second = Member::start(broker.kafka_addr(), "g");
    let found = wait(&broker, "g", &condition("stable", 2)).await.unwrap();
    let joined = began.elapsed();
    assert_eq!((found.group_type.as_str(), found.protocol_type.as_str()), ("classic", "consumer"));
    let assigned = found.members.iter().flat_map(|member| member.assignment.iter().flatten());
    let assigned: Vec<_> = assigned.map(|topic| (topic.topic.as_str(), topic.partitions.clone())).collect();
    assert_eq!(assigned, [("t", vec![0, 1])], "the leader has them all");
    let began = Instant::now();
    second.leave().await;
    wait(&broker, "g", &condition("stable", 1)).await;
    let left = began.elapsed();
    println!("stable {joined:?} after the second join, {left:?} after the leave");
    assert!(joined.max(left) < Duration::from_millis(150), "join {joined:?}, leave {left:?}");
    first.leave().await;
    wait(&broker, "g", &condition("empty", 0)).await;
    broker.shutdown().await;
}

/// 100 joins and 100 leaves within a second; two seconds after the last the group is stable.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_settles_within_two_seconds_of_much_coming_and_going() {
    const STAYING: usize = 10;
    const COMING: usize = 100;
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let staying: Vec<_> = (0..STAYING).map(|_| Member::start(broker.kafka_addr(), "g")).collect();
    wait(&broker, "g", &condition("stable", STAYING)).await;
    let mut due = tokio::time::interval(Duration::from_secs(1) / u32::try_from(COMING).unwrap());
    let mut visitors = Vec::new();
    for _ in 0..COMING {
        due.tick().await;
        visitors.push(Member::start(broker.kafka_addr(), "g"));
        if visitors.len() > 5 {
            let leaving = visitors.remove(0);
            tokio::spawn(leaving.leave());
        }
    }
    for visitor in visitors {
        visitor.leave().await;
    }
    let began = Instant::now();
    wait(&broker, "g", &condition("stable", STAYING)).await;
    let settled = began.elapsed();
    println!("settled {settled:?} after the last leave");
    assert!(settled < Duration::from_secs(2), "{settled:?}");
    for member in staying {
        member.leave().await;
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn lag_and_gone_are_waited_for_too() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let mut client = Client::connect(broker.kafka_addr()).await;
    client.create_topic("t", 2).await;
    client.produce("t", 0, batch(&[b"a", b"b", b"c"])).await;
    assert_eq!(broker.client().group("g").await.unwrap(), None);
    let caught_up = GroupCondition { max_lag: Some(0), ..GroupCondition::default() };
    let door = broker.client();
    let waits = tokio::spawn(async move { door.wait_for_group("g", &caught_up, PATIENCE).await.unwrap() });
    client.call(&commit("g", &[(0, 1), (1, 0)]), 9).await;
    let behind = broker.client().group("g").await.unwrap().unwrap();
    let offsets: Vec<_> =
        behind.offsets.iter().map(|offset| (offset.partition, offset.committed, offset.log_end, offset.lag)).collect();
    assert_eq!(offsets, [(0, Some(1), Some(3), Some(2)), (1, Some(0), Some(0), Some(0))]);
    assert_eq!((behind.state.as_str(), behind.lag), ("Empty", Some(2)));
    let listed = broker.client().groups().await.unwrap();
    assert_eq!(listed.iter().map(|group| (&*group.group, &*group.state)).collect::<Vec<_>>(), [("g", "Empty")]);
    client.call(&commit("g", &[(0, 3)]), 9).await;
    assert_eq!(waits.await.unwrap().group.unwrap().lag, Some(0));

    let gone = GroupCondition { state: Some(WantedState::Gone), ..GroupCondition::default() };
    let door = broker.client();
    let waits = tokio::spawn(async move { door.wait_for_group("g", &gone, PATIENCE).await.unwrap() });
    client.call(&DeleteGroupsRequest::default().with_groups_names(vec![group_id("g")]), 2).await;
    assert_eq!(waits.await.unwrap(), GroupWait { group: None, is_reached: true });
    broker.shutdown().await;
}

#[tokio::test]
async fn a_wait_ends_with_its_time_and_with_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let door = broker.client();
    let brief = Duration::from_millis(5);
    let waited = door.wait_for_group("nobody", &condition("stable", 1), brief).await.unwrap();
    assert_eq!(waited, GroupWait { group: None, is_reached: false });
    let (begun, mut begins) = watch::channel(());
    let waits = tokio::spawn(async move {
        begun.send_replace(());
        door.wait_for_group("nobody", &condition("stable", 1), PATIENCE).await
    });
    begins.changed().await.unwrap();
    broker.shutdown().await;
    assert!(waits.await.unwrap().is_err());
}
