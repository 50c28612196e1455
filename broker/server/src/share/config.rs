//! The settings of the share coordinator, read from the broker's settings by Kafka's names.

use super::STATE_TOPIC;
use crate::{
    catalog::NewTopic,
    settings::{Layers, Settings},
};

/// What `__share_group_state` is created as: updates must not be compacted away, and nothing of it is ever too old.
pub fn state_topic(settings: &Layers) -> NewTopic {
    let own = [
        ("cleanup.policy", "delete".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("segment.bytes", settings.long("share.coordinator.state.topic.segment.bytes").to_string()),
    ];
    NewTopic {
        name: STATE_TOPIC.to_owned(),
        partitions: settings.read("share.coordinator.state.topic.num.partitions").unwrap_or(1),
        replication_factor: 1,
        assignments: Vec::new(),
        settings: own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Settings>(),
    }
}
