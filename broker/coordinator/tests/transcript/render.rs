//! What the coordinator says, in the words of a transcript.

use super::step::shorten;
use bytes::Bytes;
use tifo_coordinator::{
    GroupError, Record, Reply,
    group::{DescribedGroup, FetchedOffsets, JoinReply, LeaveReply, ListedGroup, PartitionResult, SyncReply},
    record::GroupMetadata,
};

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
    }
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
