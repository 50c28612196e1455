//! Settings of the coordinators, by Kafka's names and with Kafka's defaults, but for
//! `group.initial.rebalance.delay.ms`, which is 0 here, as in Kafka's own test images.

use crate::assignment::Assignor;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long the first rebalance of an empty group waits for more members.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`
    pub max_size: usize,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in ms.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
    pub consumer: ConsumerGroupConfig,
}

/// Of groups of KIP-848.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroupConfig {
    /// Where a group has none of its own.
    pub settings: ConsumerGroupSettings,
    /// `group.consumer.max.size`
    pub max_size: usize,
    /// `group.consumer.assignors`, the default one first.
    pub assignors: Vec<Assignor>,
    pub migration_policy: MigrationPolicy,
}

/// What a group may have settings of its own for (`consumer.session.timeout.ms`, ...).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerGroupSettings {
    /// `group.consumer.session.timeout.ms`
    pub session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`
    pub heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms`: least time between two target assignments (KIP-1263).
    pub assignment_interval_ms: i32,
}

/// `group.consumer.migration.policy`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationPolicy {
    /// Classic groups with members become consumer groups.
    pub upgrades: bool,
    /// And back.
    pub downgrades: bool,
}

impl ConsumerGroupConfig {
    pub fn default_assignor(&self) -> Assignor {
        self.assignors.first().copied().unwrap_or(Assignor::Uniform)
    }

    pub fn offers(&self, assignor: &str) -> bool {
        self.assignors.iter().any(|offered| offered.name() == assignor)
    }
}

impl Default for ConsumerGroupSettings {
    fn default() -> Self {
        Self { session_timeout_ms: 45_000, heartbeat_interval_ms: 5_000, assignment_interval_ms: 0 }
    }
}

impl Default for ConsumerGroupConfig {
    fn default() -> Self {
        Self {
            settings: ConsumerGroupSettings::default(),
            max_size: 0x7fff_ffff,
            assignors: Assignor::ALL.to_vec(),
            migration_policy: MigrationPolicy { upgrades: true, downgrades: true },
        }
    }
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 0,
            max_size: 0x7fff_ffff,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            offsets_retention_check_interval_ms: 600_000,
            consumer: ConsumerGroupConfig::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionConfig {
    /// `transaction.max.timeout.ms`
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`
    pub id_expiration_ms: i64,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self { max_timeout_ms: 15 * 60 * 1_000, id_expiration_ms: 7 * 24 * 60 * 60 * 1_000 }
    }
}
