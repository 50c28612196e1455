//! Groups of the cluster, as the door shows them.
//!
//! librdkafka describes classic groups only (it asks by ListGroups and DescribeGroups): of the others their listing is shown
//! and their offsets. Every look costs requests; waiting looks again and again.

use crate::{
    assignment,
    cluster::{ANSWER_TIMEOUT, Cluster},
    errors,
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    groups::{GroupInfo, GroupList},
};
use std::time::Duration;
use tifo_broker::{
    ClientError,
    client::{Group, GroupListing, GroupMember, GroupOffset},
};

/// How often a group that is waited for is looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Partitions of the cluster whose commits are asked for; a cluster with more shows none.
const MAX_PARTITIONS: usize = 10_000;
/// Partitions of a group whose ends are asked for, one request each.
const MAX_ENDS: usize = 256;

/// A consumer that never joins, to ask for a group's offsets and to commit them.
pub fn committer(cluster: &Cluster, group: &str) -> Result<BaseConsumer, ClientError> {
    let own = [("group.id", group), ("enable.auto.commit", "false")];
    cluster.config(&own).create().map_err(|error| errors::general(&error))
}

pub fn list(asker: &BaseConsumer) -> Result<Vec<GroupListing>, ClientError> {
    let groups = ask(asker, None)?;
    Ok(groups.groups().iter().map(listing).collect())
}

fn ask(asker: &BaseConsumer, group: Option<&str>) -> Result<GroupList, ClientError> {
    asker.fetch_group_list(group, ANSWER_TIMEOUT).map_err(|error| errors::general(&error))
}

fn listing(group: &GroupInfo) -> GroupListing {
    GroupListing {
        group: group.name().to_owned(),
        group_type: "classic".to_owned(),
        state: group.state().to_owned(),
        protocol_type: group.protocol_type().to_owned(),
    }
}

/// None: it does not exist.
pub fn describe(asker: &BaseConsumer, of_group: &BaseConsumer, name: &str) -> Result<Option<Group>, ClientError> {
    let groups = ask(asker, Some(name))?;
    let found = groups.groups().iter().find(|group| group.name() == name);
    let offsets = offsets(asker, of_group)?;
    // Kafka calls a group that is not there dead.
    let Some(info) = found.filter(|group| group.state() != "Dead" || !offsets.is_empty()) else { return Ok(None) };
    let listing = listing(info);
    let lag = offsets.iter().map(|offset| offset.lag).sum();
    Ok(Some(Group {
        group: listing.group,
        group_type: listing.group_type,
        state: listing.state,
        protocol_type: listing.protocol_type,
        protocol: info.protocol().to_owned(),
        generation: -1,
        members: info
            .members()
            .iter()
            .map(|member| GroupMember {
                member_id: member.id().to_owned(),
                instance_id: None,
                client_id: member.client_id().to_owned(),
                client_host: member.client_host().to_owned(),
                assignment: member.assignment().and_then(assignment::read),
            })
            .collect(),
        offsets,
        lag,
    }))
}

/// What is committed, of every topic that there is.
fn offsets(asker: &BaseConsumer, of_group: &BaseConsumer) -> Result<Vec<GroupOffset>, ClientError> {
    let metadata = asker.fetch_metadata(None, ANSWER_TIMEOUT).map_err(|error| errors::general(&error))?;
    let mut wanted = TopicPartitionList::new();
    for topic in metadata.topics() {
        for partition in topic.partitions() {
            wanted.add_partition(topic.name(), partition.id());
        }
    }
    if wanted.count() > MAX_PARTITIONS {
        tracing::warn!(partitions = wanted.count(), "too many partitions to ask for a group's offsets");
        return Ok(Vec::new());
    }
    let committed = of_group.committed_offsets(wanted, ANSWER_TIMEOUT).map_err(|error| errors::general(&error))?;
    let mut all = Vec::new();
    for element in committed.elements() {
        let Offset::Offset(offset) = element.offset() else { continue };
        let (topic, partition) = (element.topic(), element.partition());
        let bounds = (all.len() < MAX_ENDS).then(|| asker.fetch_watermarks(topic, partition, ANSWER_TIMEOUT).ok());
        let bounds = bounds.flatten();
        all.push(GroupOffset {
            topic: topic.to_owned(),
            partition,
            committed: Some(offset),
            metadata: Some(element.metadata().to_owned()),
            pending: false,
            log_start: bounds.map(|(start, _)| start),
            log_end: bounds.map(|(_, end)| end),
            lag: bounds.map(|(_, end)| (end - offset).max(0)),
        });
    }
    Ok(all)
}
