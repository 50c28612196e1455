//! What the coordinator says, in the words of a transcript.

use super::step::shorten;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tifo_coordinator::{
    GroupError, Record, Reply,
    assignment::Assignment,
    group::{ConsumerHeartbeatReply, DescribedConsumerGroup},
    group::{DescribedGroup, FetchedOffsets, JoinReply, LeaveReply, ListedGroup, PartitionResult, SyncReply},
    record::{ConsumerMember, ConsumerRecord, GroupMetadata, MemberAssignment, OwnedPartitions},
};
use uuid::Uuid;

pub fn record(record: &Record) -> String {
    match record {
        Record::OffsetCommit { key, value: None } => format!("- offset {} {}-{}", key.group, key.topic, key.partition),
        Record::OffsetCommit { key, value: Some(value) } => {
            let metadata = if value.metadata.is_empty() { String::new() } else { format!(" '{}'", value.metadata) };
            let expiry = value.expire_timestamp_ms.map(|at| format!(" expires={at}")).unwrap_or_default();
            format!("+ offset {} {}-{} = {}{metadata}{expiry}", key.group, key.topic, key.partition, value.offset)
        }
        Record::GroupMetadata { group, value: None } => format!("- group {group}"),
        Record::GroupMetadata { group, value: Some(value) } => format!("+ group {group} {}", metadata(value)),
        Record::Consumer { group, fact } => consumer(group, fact),
    }
}

/// Metadata hashes and moments are left out.
fn consumer(group: &str, fact: &ConsumerRecord) -> String {
    use ConsumerRecord::{Current, Group, Member, Regex, Target, TargetEpoch};
    let sign = if fact.is_tombstone() { "-" } else { "+" };
    let what = match fact {
        Group(None) => "epoch".to_owned(),
        Group(Some(value)) => format!("epoch {}", value.epoch),
        Member(id, None) => format!("member {}", shorten(id)),
        Member(id, Some(said)) => format!("member {} {}", shorten(id), member(said)),
        TargetEpoch(None) => "target-epoch".to_owned(),
        TargetEpoch(Some(value)) => format!("target-epoch {}", value.epoch),
        Target(id, None) => format!("target {}", shorten(id)),
        Target(id, Some(target)) => format!("target {} {}", shorten(id), assignment(target)),
        Current(id, None) => format!("current {}", shorten(id)),
        Current(id, Some(now)) => format!("current {} {}", shorten(id), current(now)),
        Regex(regex, None) => format!("regex {regex}"),
        Regex(regex, Some(resolved)) => {
            format!("regex {regex} [{}]", resolved.topics.iter().cloned().collect::<Vec<_>>().join(", "))
        }
    };
    format!("{sign} {group}: {what}")
}

fn member(said: &ConsumerMember) -> String {
    let names = said.topic_names.iter().cloned().collect::<Vec<_>>().join(", ");
    let regex = said.topic_regex.as_ref().map(|regex| format!(" regex='{regex}'")).unwrap_or_default();
    let instance = said.instance_id.as_ref().map(|id| format!(" instance={id}")).unwrap_or_default();
    let assignor = said.assignor.as_ref().map(|name| format!(" assignor={name}")).unwrap_or_default();
    let classic = if said.classic.is_some() { " classic" } else { "" };
    format!("[{names}]{regex}{instance}{assignor}{classic}")
}

fn current(now: &MemberAssignment) -> String {
    let revoking = match now.revoking.is_empty() {
        true => String::new(),
        false => format!(" revoking={}", owned(&now.revoking)),
    };
    format!("epoch={}<-{} {:?} {}{revoking}", now.epoch, now.previous_epoch, now.state, owned(&now.assigned))
}

fn topic_name(id: &Uuid) -> String {
    String::from_utf8_lossy(id.as_bytes()).trim_end_matches('\0').to_owned()
}

fn assignment(assigned: &Assignment) -> String {
    let of_topic = |(topic, partitions): (&Uuid, &BTreeSet<i32>)| {
        partitions.iter().map(|partition| format!("{}-{partition}", topic_name(topic))).collect::<Vec<_>>()
    };
    format!("[{}]", assigned.iter().flat_map(of_topic).collect::<Vec<_>>().join(", "))
}

/// With the epochs in which they came.
fn owned(partitions: &OwnedPartitions) -> String {
    let of_topic = |(topic, partitions): (&Uuid, &BTreeMap<i32, i32>)| {
        let one = |(partition, since): (&i32, &i32)| format!("{}-{partition}@{since}", topic_name(topic));
        partitions.iter().map(one).collect::<Vec<_>>()
    };
    format!("[{}]", partitions.iter().flat_map(of_topic).collect::<Vec<_>>().join(", "))
}

fn beat(reply: &ConsumerHeartbeatReply) -> String {
    if let Some(error) = reply.error {
        return format!("beat {error:?}");
    }
    let assigned = reply.assignment.as_ref().map(|assigned| format!(" {}", assignment(assigned)));
    let (id, again) = (shorten(&reply.member_id), reply.heartbeat_interval_ms);
    format!("beat {id} epoch={} again={again}{}", reply.epoch, assigned.unwrap_or_default())
}

pub fn described_consumer(group: Option<&DescribedConsumerGroup>) -> Vec<String> {
    let Some(group) = group else { return vec!["none".to_owned()] };
    let (epoch, assigned) = (group.epoch, group.assignment_epoch);
    let mut lines =
        vec![format!("{} epoch={epoch} assignment-epoch={assigned} assignor={}", group.state, group.assignor)];
    for one in &group.members {
        let plain = |topics: &[(Uuid, std::sync::Arc<str>, BTreeSet<i32>)]| {
            assignment(&topics.iter().map(|(id, _, partitions)| (*id, partitions.clone())).collect())
        };
        let (id, has, is_to_have) = (shorten(&one.member_id), plain(&one.assigned), plain(&one.target));
        lines.push(format!("{id} epoch={} {} has {has} is to have {is_to_have}", one.epoch, member(&one.said)));
    }
    lines
}

fn metadata(value: &GroupMetadata) -> String {
    let member = |member: &tifo_coordinator::record::MemberMetadata| {
        let instance = member.instance_id.as_ref().map(|id| format!("/{id}")).unwrap_or_default();
        format!("{}{instance}={}", shorten(&member.member_id), text(&member.assignment))
    };
    let members: Vec<String> = value.members.iter().map(member).collect();
    let protocol = value.protocol.as_deref().unwrap_or("-");
    let leader = value.leader.as_deref().map_or("-".to_owned(), shorten);
    format!("generation={} protocol={protocol} leader={leader} members=[{}]", value.generation, members.join(", "))
}

pub fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Join(reply) => joined(reply),
        Reply::Sync(reply) => synced(reply),
        Reply::Heartbeat(error) => format!("heartbeat {}", outcome(*error)),
        Reply::Leave(reply) => left(reply),
        Reply::ConsumerHeartbeat(reply) => beat(reply),
        Reply::OffsetCommit(results) => format!("commit {}", partitions(results)),
        Reply::OffsetDelete(Ok(results)) => format!("delete-offsets {}", partitions(results)),
        Reply::OffsetDelete(Err(error)) => format!("delete-offsets {error:?}"),
        Reply::DeleteGroup(error) => format!("delete-group {}", outcome(*error)),
    }
}

fn joined(reply: &JoinReply) -> String {
    if let Some(error) = reply.error {
        return format!("join {error:?} member={}", shorten(&reply.member_id));
    }
    let member = |member: &tifo_coordinator::group::JoinedMember| {
        let instance = member.instance_id.as_ref().map(|id| format!("/{id}")).unwrap_or_default();
        format!("{}{instance}", shorten(&member.member_id))
    };
    let members: Vec<String> = reply.members.iter().map(member).collect();
    let skip = if reply.skip_assignment { " skip-assignment" } else { "" };
    format!(
        "join generation={} member={} leader={} protocol={}{skip} members=[{}]",
        reply.generation,
        shorten(&reply.member_id),
        shorten(&reply.leader),
        reply.protocol.as_deref().unwrap_or("-"),
        members.join(", ")
    )
}

fn synced(reply: &SyncReply) -> String {
    match reply.error {
        Some(error) => format!("sync {error:?}"),
        None => format!("sync {}", text(&reply.assignment)),
    }
}

fn left(reply: &LeaveReply) -> String {
    if let Some(error) = reply.error {
        return format!("leave {error:?}");
    }
    let member = |(member, error): &(tifo_coordinator::group::LeavingMember, Option<GroupError>)| {
        let name = match &member.instance_id {
            Some(instance) => format!("{}/{instance}", shorten(&member.member_id)),
            None => shorten(&member.member_id),
        };
        format!("{name} {}", outcome(*error))
    };
    format!("leave {}", reply.members.iter().map(member).collect::<Vec<_>>().join(", "))
}

fn partitions(results: &[PartitionResult]) -> String {
    let one = |result: &PartitionResult| format!("{}-{} {}", result.topic, result.partition, outcome(result.error));
    results.iter().map(one).collect::<Vec<_>>().join(", ")
}

pub fn described(group: Option<&DescribedGroup>) -> Vec<String> {
    let Some(group) = group else { return vec!["Dead".to_owned()] };
    let mut lines = vec![format!(
        "{} type={} protocol={} generation={}",
        group.state,
        group.protocol_type,
        if group.protocol.is_empty() { "-" } else { &group.protocol },
        group.generation
    )];
    for member in &group.members {
        let instance = member.instance_id.as_ref().map(|id| format!("/{id}")).unwrap_or_default();
        lines.push(format!("{}{instance}={}", shorten(&member.member_id), text(&member.assignment)));
    }
    lines
}

pub fn listed(groups: &[ListedGroup]) -> Vec<String> {
    let one = |group: &ListedGroup| {
        let protocol_type = if group.protocol_type.is_empty() { "-" } else { &group.protocol_type };
        format!("{} {} {} {}", group.group, group.state, group.group_type, protocol_type)
    };
    groups.iter().map(one).collect()
}

pub fn fetched(topics: &FetchedOffsets) -> Vec<String> {
    let mut lines = Vec::new();
    for (topic, partitions) in topics {
        for partition in partitions {
            let offset =
                partition.committed.as_ref().map_or("none".to_owned(), |committed| committed.offset.to_string());
            let unstable = if partition.is_unstable { " unstable" } else { "" };
            lines.push(format!("{topic}-{} {offset}{unstable}", partition.partition));
        }
    }
    lines
}

fn outcome(error: Option<GroupError>) -> String {
    error.map_or("ok".to_owned(), |error| format!("{error:?}"))
}

fn text(bytes: &Bytes) -> String {
    if bytes.is_empty() { "(nothing)".to_owned() } else { String::from_utf8_lossy(bytes).into_owned() }
}
