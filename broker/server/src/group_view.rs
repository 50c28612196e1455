//! Groups as the in-process door shows them: the coordinator's overview, beside what the logs hold.

use crate::{
    catalog::Catalog,
    client::{AssignedTopic, Group, GroupListing, GroupMember, GroupOffset},
};
use std::{collections::BTreeMap, sync::Arc};
use tifo_coordinator::group::{AssignedPartitions, GroupOverview, ListedGroup, MemberOverview, PartitionOffset};

pub fn listings(listed: Vec<ListedGroup>) -> Vec<GroupListing> {
    let listing = |listed: ListedGroup| GroupListing {
        group: listed.group.to_string(),
        group_type: listed.group_type.to_owned(),
        state: listed.state.to_owned(),
        protocol_type: listed.protocol_type,
    };
    let mut listings: Vec<_> = listed.into_iter().map(listing).collect();
    listings.sort_by(|one, other| one.group.cmp(&other.group));
    listings
}

pub fn view(id: &str, overview: GroupOverview, catalog: &Catalog) -> Group {
    let offsets = offsets(&overview, catalog);
    Group {
        group: id.to_owned(),
        group_type: overview.group_type.to_owned(),
        state: overview.state.to_owned(),
        protocol_type: overview.protocol_type,
        protocol: overview.protocol,
        generation: overview.generation,
        members: overview.members.into_iter().map(member).collect(),
        lag: lag(&offsets),
        offsets,
    }
}

fn member(member: MemberOverview) -> GroupMember {
    let topic = |(topic, partitions): (String, Vec<i32>)| AssignedTopic { topic, partitions };
    GroupMember {
        member_id: member.member_id,
        instance_id: member.instance_id.map(|instance_id| instance_id.to_string()),
        client_id: member.client_id,
        client_host: member.client_host,
        assignment: member.assignment.map(|assigned: AssignedPartitions| assigned.into_iter().map(topic).collect()),
    }
}

/// By topic and partition: what is committed, and what is assigned.
fn offsets(overview: &GroupOverview, catalog: &Catalog) -> Vec<GroupOffset> {
    let mut found: BTreeMap<(&str, i32), Option<&PartitionOffset>> = BTreeMap::new();
    for (topic, partitions) in overview.members.iter().flat_map(|member| member.assignment.iter().flatten()) {
        found.extend(partitions.iter().map(|partition| ((topic.as_str(), *partition), None)));
    }
    for (topic, partitions) in &overview.offsets {
        let topic: &Arc<str> = topic;
        found.extend(partitions.iter().map(|offset| ((&**topic, offset.partition), Some(offset))));
    }
    found.into_iter().map(|((topic, partition), offset)| offset_of(topic, partition, offset, catalog)).collect()
}

fn offset_of(topic: &str, partition: i32, found: Option<&PartitionOffset>, catalog: &Catalog) -> GroupOffset {
    let committed = found.and_then(|found| found.committed.as_ref());
    let log = catalog.partition(topic, partition).and_then(|partition| partition.offsets()).ok();
    let log_end = log.as_ref().map(|log| log.high_watermark);
    let lag = log_end.zip(committed).map(|(end, committed)| (end - committed.offset).max(0));
    GroupOffset {
        topic: topic.to_owned(),
        partition,
        committed: committed.map(|committed| committed.offset),
        metadata: committed.map(|committed| committed.metadata.clone()),
        pending: found.is_some_and(|found| found.is_unstable),
        log_start: log.as_ref().map(|log| log.log_start_offset),
        log_end,
        lag,
    }
}

/// `None` while it cannot be told. What is gone or empty holds nobody back.
fn lag(offsets: &[GroupOffset]) -> Option<i64> {
    let lag = |offset: &GroupOffset| match (offset.lag, offset.log_start, offset.log_end) {
        (Some(lag), ..) => Some(lag),
        (None, Some(start), Some(end)) if end > start => None,
        _ => Some(0),
    };
    offsets.iter().map(lag).sum()
}
