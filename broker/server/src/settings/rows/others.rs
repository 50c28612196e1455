//! Topics that come by themselves, quotas, metrics, and the rest.

use super::{CLASSES, METRICS, NETWORK, NONE, PURGATORY, QUOTAS, idle, works};
use crate::settings::{
    Legal::{Any, AtLeast},
    Setting,
    SettingType::{Boolean, Class, Int, List, Long, String},
    Update::{ClusterWide, ReadOnly},
};

#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    idle("alter.config.policy.class.name", Class, NONE, Any, ReadOnly, CLASSES),
    works("auto.create.topics.enable", Boolean, Some("true"), Any, ReadOnly, "Whether a topic is created when a client first asks for it."),
    idle("background.threads", Int, Some("10"), AtLeast(1), ClusterWide, NETWORK),
    idle("client.quota.callback.class", Class, NONE, Any, ReadOnly, QUOTAS),
    idle("config.providers", List, Some(""), Any, ClusterWide, CLASSES),
    idle("create.topic.policy.class.name", Class, NONE, Any, ReadOnly, CLASSES),
    idle("delete.records.purgatory.purge.interval.requests", Int, Some("1"), Any, ReadOnly, PURGATORY),
    works("delete.topic.enable", Boolean, Some("true"), Any, ReadOnly, "Whether topics can be deleted."),
    idle("fetch.purgatory.purge.interval.requests", Int, Some("1000"), Any, ReadOnly, PURGATORY),
    idle("kafka.metrics.polling.interval.secs", Int, Some("10"), AtLeast(1), ReadOnly, METRICS),
    idle("kafka.metrics.reporters", List, Some(""), Any, ReadOnly, METRICS),
    idle("metric.reporters", List, Some("org.apache.kafka.common.metrics.JmxReporter"), Any, ClusterWide, METRICS),
    idle("metrics.num.samples", Int, Some("2"), AtLeast(1), ReadOnly, METRICS),
    idle("metrics.recording.level", String, Some("INFO"), Any, ReadOnly, METRICS),
    idle("metrics.sample.window.ms", Long, Some("30000"), AtLeast(1), ReadOnly, METRICS),
    works("num.partitions", Int, Some("1"), AtLeast(1), ReadOnly, "Partitions of topics that are created without saying how many."),
    idle("producer.purgatory.purge.interval.requests", Int, Some("1000"), Any, ReadOnly, PURGATORY),
    idle("quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, QUOTAS),
    idle("quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, QUOTAS),
    works("telemetry.max.bytes", Int, Some("1048576"), AtLeast(1), ReadOnly, "Most bytes of metrics, as they are packed, that a client may push at a time."),
];
