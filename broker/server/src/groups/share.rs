//! Share groups in a shard of `__consumer_offsets`: their members, beside the classic groups of the same partition.
//!
//! An id is one group of one kind: what is asked of a share group by the APIs of classic groups is refused here, and the
//! other way round. What share groups hold of partitions is in `crate::share`.

use super::{
    Groups,
    shard::{Shard, State},
};
use crate::{
    catalog::{Catalog, Topic},
    durability::patience,
    partition::UntilDurable,
    settings::{Live, resources::ResourceKind},
};
use std::{sync::Arc, time::Duration};
use tifo_coordinator::{
    GroupCoordinator, GroupError, Request, ShareError,
    share::{
        Decision, DescribedShareGroup, HeartbeatReply, HeartbeatRequest, Limits, ShareGroupRecord, ShareGroups,
        StatePartitions, TopicImage,
    },
};
use uuid::Uuid;

/// What a shard knows of this broker on behalf of its share groups.
#[derive(Debug, Clone)]
pub struct ShareHost {
    catalog: Arc<Catalog>,
    live: Arc<Live>,
}

/// The settings of one share group, as they are now: its own, else the broker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareGroupSettings {
    pub session_timeout_ms: i64,
    pub heartbeat_interval_ms: i32,
    pub limits: Limits,
    pub auto_offset_reset: OffsetReset,
    pub reads_committed: bool,
}

/// `share.auto.offset.reset`: where a share group begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    Earliest,
    Latest,
    /// So long before now.
    ByDuration(Duration),
}

impl TopicImage for ShareHost {
    fn topic(&self, name: &str) -> Option<(Uuid, i32)> {
        self.catalog.topic(name).map(|topic| (topic.id, Topic::partition_count(&topic)))
    }
}

impl ShareHost {
    pub fn new(catalog: Arc<Catalog>, live: Arc<Live>) -> Self {
        Self { catalog, live }
    }

    pub fn max_size(&self) -> usize {
        self.live.now().layers.size("group.share.max.size")
    }

    pub fn settings(&self, group: &str) -> ShareGroupSettings {
        let (own, now) = (self.catalog.resource_settings(ResourceKind::Group, group), self.live.now());
        let text = |name: &str| {
            let row = ResourceKind::Group.settings().iter().find(|row| row.setting.name == name);
            row.and_then(|row| row.effective(ResourceKind::Group, &own, &now.layers).value).unwrap_or_default()
        };
        let number = |name: &str| text(name).parse::<i32>().unwrap_or(i32::MAX);
        ShareGroupSettings {
            session_timeout_ms: number("share.session.timeout.ms").into(),
            heartbeat_interval_ms: number("share.heartbeat.interval.ms"),
            limits: Limits {
                max_record_locks: number("share.partition.max.record.locks").into(),
                delivery_count: i16::try_from(number("share.delivery.count.limit")).unwrap_or(i16::MAX),
                lock_duration_ms: number("share.record.lock.duration.ms").into(),
            },
            auto_offset_reset: OffsetReset::of(&text("share.auto.offset.reset")),
            reads_committed: text("share.isolation.level") == "read_committed",
        }
    }
}

impl OffsetReset {
    fn of(text: &str) -> Self {
        match text.strip_prefix("by_duration:") {
            Some(duration) => Self::ByDuration(iso_duration(duration)),
            None if text == "earliest" => Self::Earliest,
            None => Self::Latest,
        }
    }
}

/// ISO 8601 as Java writes it: days, hours, minutes and seconds, the last maybe with a fraction. What is not one is as long as nothing.
fn iso_duration(text: &str) -> Duration {
    let (mut number, mut seconds) = (String::new(), 0.0);
    for letter in text.trim_start_matches('P').chars() {
        let unit = match letter.to_ascii_uppercase() {
            'D' => 86_400.0,
            'H' => 3_600.0,
            'M' => 60.0,
            'S' => 1.0,
            'T' => continue,
            other => {
                number.push(other);
                continue;
            }
        };
        seconds += unit * number.parse::<f64>().unwrap_or(0.0);
        number.clear();
    }
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}

/// Why a classic group's request is refused by a share group.
pub(super) fn refuses(share: &ShareGroups, request: &Request) -> Option<GroupError> {
    if !share.contains(request.group()) {
        return None;
    }
    match request {
        Request::Join(_) => Some(GroupError::InconsistentGroupProtocol),
        Request::ConsumerHeartbeat(_)
        | Request::OffsetCommit(_)
        | Request::TransactionalCommit(_)
        | Request::OffsetDelete(_) => Some(GroupError::GroupIdNotFound),
        _ => None,
    }
}

impl Shard {
    /// Lets the share groups decide; what they decide is in the log when this returns, and durable when the second is reached.
    pub(super) fn share<R>(
        &self,
        decide: impl FnOnce(&mut ShareGroups, &GroupCoordinator, i64) -> Decision<Result<R, ShareError>>,
    ) -> Result<(R, Option<UntilDurable>), ShareError> {
        let state = patience::lock_in_turn(&self.state, &self.stalled);
        let mut state = state.ok_or(ShareError::CoordinatorNotAvailable)?;
        let state = &mut *state;
        let Decision { records, reply } = decide(&mut state.share, &state.coordinator, self.clock.now_ms());
        let until_durable = self.keep_share(state, &records);
        self.note_deadline(state);
        self.note_change();
        let reply = reply?;
        Ok((reply, until_durable.map_err(|_| ShareError::NotCoordinator)?))
    }

    /// Looks without changing anything. Refused when a disk stalls and too many wait before.
    pub(super) fn read_share<T>(&self, look: impl FnOnce(&ShareGroups) -> T) -> Result<T, GroupError> {
        let state = patience::lock_in_turn(&self.state, &self.stalled);
        state.map(|state| look(&state.share)).ok_or(GroupError::CoordinatorNotAvailable)
    }

    fn keep_share(&self, state: &mut State, records: &[ShareGroupRecord]) -> Result<Option<UntilDurable>, GroupError> {
        let until_durable = self.append_encoded(records.iter().map(ShareGroupRecord::encode), None)?;
        records.iter().for_each(|record| state.share.replay(record));
        Ok(until_durable)
    }

    /// Members that were there have their time to be heard of again.
    pub(super) fn share_loaded(&self, state: &mut State) {
        state.share.loaded(|group| self.share.settings(group).session_timeout_ms, self.clock.now_ms());
    }

    /// What cannot be written now, because the disk does not take it, is written when the broker has been started again.
    pub(super) fn expire_share_members(&self, state: &mut State) {
        while let Some(records) = state.share.expire(&self.share, self.clock.now_ms()) {
            if self.keep_share(state, &records).is_err() {
                tracing::warn!("a member of a share group is gone, but that could not be written");
            }
        }
    }
}

/// No share group may have the id of another group.
fn is_free(coordinator: &GroupCoordinator, group: &str) -> bool {
    coordinator.describe(group).is_none() && coordinator.describe_consumer_group(group).is_none()
}

impl Groups {
    pub async fn share_heartbeat(&self, request: &HeartbeatRequest) -> Result<HeartbeatReply, ShareError> {
        let shard = self.shard_for_share(&request.group).await?;
        let (reply, until_durable) = shard.share(|share, coordinator, now_ms| {
            if !share.contains(&request.group) && !is_free(coordinator, &request.group) {
                let refused = request.check().err().unwrap_or(ShareError::GroupIdNotFound);
                return Decision { records: Vec::new(), reply: Err(refused) };
            }
            share.heartbeat(request, &shard.share, now_ms)
        })?;
        durable(until_durable).await?;
        Ok(reply)
    }

    /// `None`: the group does not exist.
    pub async fn describe_share(&self, group: &str) -> Result<Option<DescribedShareGroup>, ShareError> {
        self.shard_for_share(group).await?.read_share(|share| share.describe(group)).map_err(unavailable)
    }

    /// The partitions of which the group has states; None: it does not exist.
    pub async fn share_states(&self, group: &str) -> Result<Option<StatePartitions>, ShareError> {
        self.shard_for_share(group).await?.read_share(|share| share.states(group)).map_err(unavailable)
    }

    /// The group goes; the partitions whose states have to go.
    pub async fn delete_share(&self, group: &str) -> Result<Vec<(Uuid, i32)>, ShareError> {
        self.change_share(group, |share, _, _| share.delete(group)).await
    }

    /// Likewise, of some topics only.
    pub async fn delete_share_states(&self, group: &str, topics: &[Uuid]) -> Result<Vec<(Uuid, i32)>, ShareError> {
        self.change_share(group, |share, _, _| share.delete_states(group, topics)).await
    }

    /// The group has states of these partitions from now on.
    pub async fn begin_share_states(&self, group: &str, states: &StatePartitions) -> Result<(), ShareError> {
        let begin = |share: &mut ShareGroups, coordinator: &GroupCoordinator, now_ms| match is_free(coordinator, group)
        {
            true => share.begin_states(&group.into(), states, now_ms),
            false => Decision { records: Vec::new(), reply: Err(ShareError::GroupIdNotFound) },
        };
        self.change_share(group, begin).await
    }

    /// A topic is gone: the partitions whose states have to go, by group.
    pub async fn forget_share_topic(&self, topic: Uuid) -> Result<Vec<(Arc<str>, Vec<(Uuid, i32)>)>, ShareError> {
        let mut gone = Vec::new();
        if !self.topic.exists() {
            return Ok(gone);
        }
        let hosted = self.all_shards().await.map_err(unavailable)?;
        for shard in &hosted.shards {
            for group in shard.read_share(|share| share.with_states_of(topic)).map_err(unavailable)? {
                let (partitions, _) = shard.share(|share, _, _| share.forget_topic(&group, topic))?;
                gone.push((group, partitions));
            }
        }
        Ok(gone)
    }

    async fn change_share<R>(
        &self,
        group: &str,
        decide: impl FnOnce(&mut ShareGroups, &GroupCoordinator, i64) -> Decision<Result<R, ShareError>>,
    ) -> Result<R, ShareError> {
        let shard = self.shard_for_share(group).await?;
        let (reply, until_durable) = shard.share(decide)?;
        durable(until_durable).await?;
        Ok(reply)
    }

    async fn shard_for_share(&self, group: &str) -> Result<Arc<Shard>, ShareError> {
        self.shard(group).await.map_err(unavailable)
    }
}

fn unavailable(_: GroupError) -> ShareError {
    ShareError::CoordinatorNotAvailable
}

async fn durable(until_durable: Option<UntilDurable>) -> Result<(), ShareError> {
    match until_durable {
        Some(until_durable) => until_durable.reached().await.map(|_| ()).map_err(|_| ShareError::NotCoordinator),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_java_writes_them() {
        for (text, seconds) in
            [("PT1H", 3600), ("P1DT2H3M4S", 93_784), ("PT0.5S", 0), ("P2D", 172_800), ("PT90M", 5400)]
        {
            assert_eq!(iso_duration(text).as_secs(), seconds, "{text}");
        }
        assert_eq!(OffsetReset::of("by_duration:PT1M"), OffsetReset::ByDuration(Duration::from_secs(60)));
        assert_eq!(
            (OffsetReset::of("earliest"), OffsetReset::of("latest")),
            (OffsetReset::Earliest, OffsetReset::Latest)
        );
    }
}
