//! Every topic setting of Apache Kafka 4.3, by name, and Tifo's own.

use super::{CODECS, NONE};
use crate::settings::{
    Legal,
    Legal::{Among, Any, AtLeast, Between, GzipLevel, OneOf, ThrottledReplicas},
    Setting, SettingType,
    SettingType::{Boolean, Double, Int, List, Long, String},
    Update,
    topics::TopicSetting,
};

/// Name, type, default where no broker setting gives one, what is legal, the broker settings that it takes its value from.
#[rustfmt::skip]
pub const TOPIC_SETTINGS: &[TopicSetting] = &[
    works("cleanup.policy", List, NONE, Among(&["compact", "delete"]), &["log.cleanup.policy"], "What happens to old records: delete, compact, or both."),
    works("compression.gzip.level", Int, NONE, GzipLevel, &["compression.gzip.level"], "Level when compression.type is gzip."),
    works("compression.lz4.level", Int, NONE, Between(1.0, 17.0), &["compression.lz4.level"], "Level when compression.type is lz4."),
    works("compression.type", String, NONE, OneOf(CODECS), &["compression.type"], "Codec that batches are stored in; producer keeps them as they came."),
    works("compression.zstd.level", Int, NONE, Between(-131_072.0, 22.0), &["compression.zstd.level"], "Level when compression.type is zstd."),
    works("delete.retention.ms", Long, NONE, AtLeast(0), &["log.cleaner.delete.retention.ms"], "How long tombstones stay readable in a compacted topic."),
    works("file.delete.delay.ms", Long, NONE, AtLeast(0), &["log.segment.delete.delay.ms"], "How long a removed segment's file stays on disk."),
    works("flush.messages", Long, NONE, AtLeast(1), &["log.flush.interval.messages"], "Records after which the log is forced to disk."),
    works("flush.ms", Long, NONE, AtLeast(0), &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"], "Time after which the log is forced to disk."),
    idle("follower.replication.throttled.replicas", List, Some(""), ThrottledReplicas, &[], "Has no meaning on one node."),
    works("index.interval.bytes", Int, NONE, AtLeast(0), &["log.index.interval.bytes"], "Bytes of log between two entries of its indexes."),
    idle("leader.replication.throttled.replicas", List, Some(""), ThrottledReplicas, &[], "Has no meaning on one node."),
    idle("local.retention.bytes", Long, NONE, AtLeast(-2), &["log.local.retention.bytes"], "Has no meaning without tiered storage."),
    idle("local.retention.ms", Long, NONE, AtLeast(-2), &["log.local.retention.ms"], "Has no meaning without tiered storage."),
    works("max.compaction.lag.ms", Long, NONE, AtLeast(1), &["log.cleaner.max.compaction.lag.ms"], "Longest time that a record stays uncompacted."),
    works("max.decompressed.message.bytes", Int, NONE, AtLeast(1), &["max.decompressed.message.bytes"], "Tifo's own: most bytes that one batch may decompress to."),
    works("max.message.bytes", Int, NONE, AtLeast(0), &["message.max.bytes"], "Largest record batch that is accepted."),
    works("message.timestamp.after.max.ms", Long, NONE, AtLeast(0), &["log.message.timestamp.after.max.ms"], "How far a record's time may lie ahead of the broker's."),
    works("message.timestamp.before.max.ms", Long, NONE, AtLeast(0), &["log.message.timestamp.before.max.ms"], "How far a record's time may lie behind the broker's."),
    works("message.timestamp.type", String, NONE, OneOf(&["CreateTime", "LogAppendTime"]), &["log.message.timestamp.type"], "Whether a record keeps its producer's time or gets the broker's."),
    works("min.cleanable.dirty.ratio", Double, NONE, Between(0.0, 1.0), &["log.cleaner.min.cleanable.ratio"], "Share of uncompacted log from which it is compacted."),
    works("min.compaction.lag.ms", Long, NONE, AtLeast(0), &["log.cleaner.min.compaction.lag.ms"], "Shortest time that a record stays uncompacted."),
    idle("min.insync.replicas", Int, NONE, AtLeast(1), &["min.insync.replicas"], "Replicas that must have a record; on one node always one."),
    idle("preallocate", Boolean, NONE, Any, &["log.preallocate"], "Accepted; segments grow as they are written."),
    idle("remote.log.copy.disable", Boolean, Some("false"), Any, &[], "Has no meaning without tiered storage."),
    idle("remote.log.delete.on.disable", Boolean, Some("false"), Any, &[], "Has no meaning without tiered storage."),
    idle("remote.storage.enable", Boolean, Some("false"), Any, &[], "Tiered storage is not there: only false is accepted."),
    works("retention.bytes", Long, NONE, Any, &["log.retention.bytes"], "Size over which old segments are deleted; -1 for no limit."),
    works("retention.ms", Long, NONE, AtLeast(-1), &["log.retention.ms", "log.retention.minutes", "log.retention.hours"], "Age over which old segments are deleted; -1 for no limit."),
    works("segment.bytes", Int, NONE, AtLeast(1_048_576), &["log.segment.bytes"], "Size at which a new segment begins."),
    works("segment.index.bytes", Int, NONE, AtLeast(4), &["log.index.size.max.bytes"], "Largest size of a segment's index."),
    works("segment.jitter.ms", Long, NONE, AtLeast(0), &["log.roll.jitter.ms", "log.roll.jitter.hours"], "Random part taken off segment.ms."),
    works("segment.ms", Long, NONE, AtLeast(1), &["log.roll.ms", "log.roll.hours"], "Age at which a new segment begins."),
    works("tifo.durability", String, NONE, OneOf(&["page-cache", "fsync"]), &["durability"], "Tifo's own: what acknowledged means; page-cache survives the death of the process, fsync a power cut too."),
    idle("unclean.leader.election.enable", Boolean, NONE, Any, &["unclean.leader.election.enable"], "Has no meaning on one node."),
];

type Names = &'static [&'static str];
type Text = &'static str;

const fn works(
    name: Text,
    kind: SettingType,
    default: Option<Text>,
    legal: Legal,
    inherits: Names,
    documentation: Text,
) -> TopicSetting {
    let setting = Setting { name, kind, default, legal, update: Update::ClusterWide, is_idle: false, documentation };
    TopicSetting { setting, inherits }
}

/// Nothing reads it.
const fn idle(
    name: Text,
    kind: SettingType,
    default: Option<Text>,
    legal: Legal,
    inherits: Names,
    documentation: Text,
) -> TopicSetting {
    let setting = Setting { name, kind, default, legal, update: Update::ClusterWide, is_idle: true, documentation };
    TopicSetting { setting, inherits }
}
