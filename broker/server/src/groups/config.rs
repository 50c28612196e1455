//! The settings of groups, read from the broker's settings by Kafka's names.

use crate::catalog::topic_settings::Settings;
use std::str::FromStr;
use tifo_coordinator::GroupConfig;

/// `offsets.topic.num.partitions`
const OFFSETS_TOPIC_PARTITIONS: i32 = 50;
/// `offsets.topic.segment.bytes`
const OFFSETS_TOPIC_SEGMENT_BYTES: i64 = 104_857_600;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    pub group: GroupConfig,
    pub offsets_topic_partitions: i32,
    pub offsets_topic_segment_bytes: i64,
}

impl GroupSettings {
    /// The settings, or the name of the one that is no number or out of its range, with what it should be.
    pub fn read(settings: &Settings) -> Result<Self, (&'static str, String)> {
        let default = GroupConfig::default();
        let minutes = number(settings, "offsets.retention.minutes", default.offsets_retention_ms / 60_000, 1)?;
        Ok(Self {
            group: GroupConfig {
                min_session_timeout_ms: number(
                    settings,
                    "group.min.session.timeout.ms",
                    default.min_session_timeout_ms,
                    1,
                )?,
                max_session_timeout_ms: number(
                    settings,
                    "group.max.session.timeout.ms",
                    default.max_session_timeout_ms,
                    1,
                )?,
                initial_rebalance_delay_ms: number(
                    settings,
                    "group.initial.rebalance.delay.ms",
                    default.initial_rebalance_delay_ms,
                    0,
                )?,
                max_size: number(settings, "group.max.size", default.max_size, 1)?,
                offset_metadata_max_bytes: number(
                    settings,
                    "offset.metadata.max.bytes",
                    default.offset_metadata_max_bytes,
                    0,
                )?,
                offsets_retention_ms: minutes.saturating_mul(60_000),
                offsets_retention_check_interval_ms: number(
                    settings,
                    "offsets.retention.check.interval.ms",
                    default.offsets_retention_check_interval_ms,
                    1,
                )?,
            },
            offsets_topic_partitions: number(settings, "offsets.topic.num.partitions", OFFSETS_TOPIC_PARTITIONS, 1)?,
            offsets_topic_segment_bytes: number(
                settings,
                "offsets.topic.segment.bytes",
                OFFSETS_TOPIC_SEGMENT_BYTES,
                1_048_576,
            )?,
        })
    }

    /// What the topic is created with.
    pub fn offsets_topic_settings(&self) -> Settings {
        let own = [
            ("cleanup.policy", "compact".to_owned()),
            ("compression.type", "producer".to_owned()),
            ("segment.bytes", self.offsets_topic_segment_bytes.to_string()),
        ];
        own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    settings: &Settings,
    name: &'static str,
    default: T,
    least: T,
) -> Result<T, (&'static str, String)> {
    let Some(value) = settings.get(name) else { return Ok(default) };
    match value.trim().parse::<T>() {
        Ok(number) if number >= least => Ok(number),
        _ => Err((name, format!("{value} is not a number of at least {least}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn defaults_and_kafkas_names() {
        let read = |name: &str, value: &str| GroupSettings::read(&Settings::from([(name.into(), value.into())]));
        let defaults = GroupSettings::read(&Settings::new()).unwrap();
        assert_eq!((defaults.group, defaults.offsets_topic_partitions), (GroupConfig::default(), 50));
        assert_eq!(read("offsets.retention.minutes", "2").unwrap().group.offsets_retention_ms, 120_000);
        assert_eq!(read("group.max.size", "0").unwrap_err().0, "group.max.size");
        assert!(read("group.min.session.timeout.ms", "soon").unwrap_err().1.contains("soon"));
    }
}
