//! The settings of transactions, read from the broker's settings by Kafka's names.

use super::STATE_TOPIC;
use crate::{catalog::NewTopic, groups::internal_topic_settings, settings::Layers};
use tifo_coordinator::TransactionConfig;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionSettings {
    pub transaction: TransactionConfig,
    pub state_topic_partitions: i32,
    pub state_topic_segment_bytes: i64,
}

impl TransactionSettings {
    pub fn read(settings: &Layers) -> Self {
        let (default, read) = (TransactionConfig::default(), |name| settings.read::<i32>(name));
        Self {
            transaction: TransactionConfig {
                max_timeout_ms: read("transaction.max.timeout.ms").unwrap_or(default.max_timeout_ms),
                id_expiration_ms: settings.long("transactional.id.expiration.ms"),
            },
            state_topic_partitions: read("transaction.state.log.num.partitions").unwrap_or(1),
            state_topic_segment_bytes: settings.long("transaction.state.log.segment.bytes"),
        }
    }

    /// What the topic is created as.
    pub fn state_topic(&self) -> NewTopic {
        NewTopic {
            name: STATE_TOPIC.to_owned(),
            partitions: self.state_topic_partitions,
            replication_factor: 1,
            assignments: Vec::new(),
            settings: internal_topic_settings("uncompressed", self.state_topic_segment_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn defaults_and_kafkas_names() {
        let read = |name: &str, value: &str| {
            let fixed = Settings::from([(name.into(), value.into())]);
            TransactionSettings::read(&Layers { fixed, ..Layers::default() })
        };
        let defaults = TransactionSettings::read(&Layers::default());
        assert_eq!((defaults.transaction, defaults.state_topic_partitions), (TransactionConfig::default(), 50));
        assert_eq!(read("transaction.max.timeout.ms", "1000").transaction.max_timeout_ms, 1000);
        assert_eq!(read("transactional.id.expiration.ms", "5").transaction.id_expiration_ms, 5);
    }
}
