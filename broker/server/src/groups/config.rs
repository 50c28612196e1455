//! The settings of groups, read from the broker's settings by Kafka's names.

use super::OFFSETS_TOPIC;
use crate::{
    catalog::NewTopic,
    settings::{Layers, Settings},
};
use tifo_coordinator::{
    ConsumerGroupConfig, ConsumerGroupSettings, GroupConfig, MigrationPolicy, assignment::Assignor,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    pub group: GroupConfig,
    pub offsets_topic_partitions: i32,
    pub offsets_topic_segment_bytes: i64,
}

impl GroupSettings {
    pub fn read(settings: &Layers) -> Self {
        let (default, read) = (GroupConfig::default(), |name| settings.read::<i32>(name));
        Self {
            group: GroupConfig {
                min_session_timeout_ms: read("group.min.session.timeout.ms").unwrap_or(default.min_session_timeout_ms),
                max_session_timeout_ms: read("group.max.session.timeout.ms").unwrap_or(default.max_session_timeout_ms),
                initial_rebalance_delay_ms: read("group.initial.rebalance.delay.ms")
                    .unwrap_or(default.initial_rebalance_delay_ms),
                max_size: settings.size("group.max.size"),
                offset_metadata_max_bytes: settings.size("offset.metadata.max.bytes"),
                offsets_retention_ms: settings.long("offsets.retention.minutes").saturating_mul(60_000),
                offsets_retention_check_interval_ms: settings.long("offsets.retention.check.interval.ms"),
                consumer: consumer_groups(settings),
            },
            offsets_topic_partitions: read("offsets.topic.num.partitions").unwrap_or(1),
            offsets_topic_segment_bytes: settings.long("offsets.topic.segment.bytes"),
        }
    }

    /// What the topic is created as.
    pub fn offsets_topic(&self) -> NewTopic {
        NewTopic {
            name: OFFSETS_TOPIC.to_owned(),
            partitions: self.offsets_topic_partitions,
            replication_factor: 1,
            assignments: Vec::new(),
            settings: internal_topic_settings("producer", self.offsets_topic_segment_bytes),
        }
    }
}

/// Groups of KIP-848.
fn consumer_groups(settings: &Layers) -> ConsumerGroupConfig {
    let policy = settings.text("group.consumer.migration.policy").to_ascii_lowercase();
    let assignors = settings.text("group.consumer.assignors").split(',');
    ConsumerGroupConfig {
        settings: consumer_group(|name| settings.read(&format!("group.{name}"))),
        max_size: settings.size("group.consumer.max.size"),
        assignors: assignors.filter_map(|name| Assignor::of_name(name.trim())).collect(),
        migration_policy: MigrationPolicy {
            upgrades: matches!(policy.as_str(), "upgrade" | "bidirectional"),
            downgrades: matches!(policy.as_str(), "downgrade" | "bidirectional"),
        },
    }
}

/// The settings that a group may have of its own, by their names as such.
pub fn consumer_group(read: impl Fn(&str) -> Option<i32>) -> ConsumerGroupSettings {
    let default = ConsumerGroupSettings::default();
    ConsumerGroupSettings {
        session_timeout_ms: read("consumer.session.timeout.ms").unwrap_or(default.session_timeout_ms),
        heartbeat_interval_ms: read("consumer.heartbeat.interval.ms").unwrap_or(default.heartbeat_interval_ms),
        assignment_interval_ms: read("consumer.assignment.interval.ms").unwrap_or(default.assignment_interval_ms),
    }
}

/// What every coordinator's topic is created with.
pub fn internal_topic_settings(compression: &str, segment_bytes: i64) -> Settings {
    let own = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", compression.to_owned()),
        ("segment.bytes", segment_bytes.to_string()),
    ];
    own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_kafkas_names() {
        let read = |name: &str, value: &str| {
            GroupSettings::read(&Layers { fixed: Settings::from([(name.into(), value.into())]), ..Layers::default() })
        };
        let defaults = GroupSettings::read(&Layers::default());
        assert_eq!((defaults.group, defaults.offsets_topic_partitions), (GroupConfig::default(), 50));
        assert_eq!(read("offsets.retention.minutes", "2").group.offsets_retention_ms, 120_000);
        assert_eq!(read("group.max.size", "7").group.max_size, 7);
    }
}
