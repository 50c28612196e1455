//! Tiered storage.

use super::{MAX_LONG, NONE, REMOTE, idle};
use crate::settings::{
    Legal::{Any, AtLeast, NotEmpty},
    Setting,
    SettingType::{Boolean, Int, Long, String},
    Update::{ClusterWide, ReadOnly},
};

#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    idle("follower.fetch.last.tiered.offset.enable", Boolean, Some("false"), Any, ClusterWide, REMOTE),
    idle("log.local.retention.bytes", Long, Some("-2"), AtLeast(-2), ClusterWide, REMOTE),
    idle("log.local.retention.ms", Long, Some("-2"), AtLeast(-2), ClusterWide, REMOTE),
    idle("remote.fetch.max.wait.ms", Int, Some("500"), AtLeast(1), ClusterWide, REMOTE),
    idle("remote.list.offsets.request.timeout.ms", Long, Some("30000"), AtLeast(1), ClusterWide, REMOTE),
    idle("remote.log.index.file.cache.total.size.bytes", Long, Some("1073741824"), AtLeast(1), ClusterWide, REMOTE),
    idle("remote.log.manager.copier.thread.pool.size", Int, Some("10"), AtLeast(1), ClusterWide, REMOTE),
    idle("remote.log.manager.copy.max.bytes.per.second", Long, MAX_LONG, AtLeast(1), ClusterWide, REMOTE),
    idle("remote.log.manager.copy.quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, REMOTE),
    idle("remote.log.manager.copy.quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, REMOTE),
    idle("remote.log.manager.expiration.thread.pool.size", Int, Some("10"), AtLeast(1), ClusterWide, REMOTE),
    idle("remote.log.manager.fetch.max.bytes.per.second", Long, MAX_LONG, AtLeast(1), ClusterWide, REMOTE),
    idle("remote.log.manager.fetch.quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, REMOTE),
    idle("remote.log.manager.fetch.quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, REMOTE),
    idle("remote.log.manager.follower.thread.pool.size", Int, Some("2"), AtLeast(1), ClusterWide, REMOTE),
    idle("remote.log.manager.task.interval.ms", Long, Some("30000"), AtLeast(1), ReadOnly, REMOTE),
    idle("remote.log.manager.thread.pool.size", Int, Some("2"), AtLeast(1), ReadOnly, REMOTE),
    idle("remote.log.metadata.custom.metadata.max.bytes", Int, Some("128"), AtLeast(0), ReadOnly, REMOTE),
    idle("remote.log.metadata.manager.class.name", String, Some("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"), NotEmpty, ReadOnly, REMOTE),
    idle("remote.log.metadata.manager.class.path", String, NONE, Any, ReadOnly, REMOTE),
    idle("remote.log.metadata.manager.impl.prefix", String, Some("rlmm.config."), NotEmpty, ReadOnly, REMOTE),
    idle("remote.log.metadata.manager.listener.name", String, NONE, NotEmpty, ReadOnly, REMOTE),
    idle("remote.log.reader.max.pending.tasks", Int, Some("100"), AtLeast(1), ReadOnly, REMOTE),
    idle("remote.log.reader.threads", Int, Some("10"), AtLeast(1), ClusterWide, REMOTE),
    idle("remote.log.storage.manager.class.name", String, NONE, NotEmpty, ReadOnly, REMOTE),
    idle("remote.log.storage.manager.class.path", String, NONE, Any, ReadOnly, REMOTE),
    idle("remote.log.storage.manager.impl.prefix", String, Some("rsm.config."), NotEmpty, ReadOnly, REMOTE),
    idle("remote.log.storage.system.enable", Boolean, Some("false"), Any, ReadOnly, REMOTE),
];
