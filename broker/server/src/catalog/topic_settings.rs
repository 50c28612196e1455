//! Every topic setting of Kafka: name, type, default, the broker settings that it inherits from, and what is legal.
//!
//! One table; validation, DescribeConfigs and the log's settings all derive from it. Values are kept as the text that the
//! client gave, as Kafka does.

use crate::errors::RequestError;
use std::collections::BTreeMap;
use tifo_storage::{Durability, LogConfig, StoredCompression, record_batch::Compression};

/// Settings by name.
pub type Settings = BTreeMap<String, String>;

/// Kafka's types of settings; the number is the one of DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// What a value must be besides being of its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Legal {
    Any,
    AtLeast(i64),
    Between(f64, f64),
    /// 1 to 9, or -1 for the codec's own default.
    GzipLevel,
    /// Exactly one of them.
    OneOf(&'static [&'static str]),
    /// A list of them.
    Among(&'static [&'static str]),
}

/// One topic setting.
#[derive(Debug, Clone, Copy)]
pub struct TopicSetting {
    pub name: &'static str,
    pub kind: SettingType,
    pub default: &'static str,
    /// Broker settings that it takes its value from, strongest first, each with its own default if it has one.
    pub inherits: &'static [(&'static str, Option<&'static str>)],
    pub legal: Legal,
    pub documentation: &'static str,
}

const MAX_LONG: &str = "9223372036854775807";
const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

macro_rules! setting {
    ($name:literal, $kind:ident, $default:expr, [$($broker:literal $(= $own:expr)?),*], $legal:expr, $doc:literal) => {
        TopicSetting {
            name: $name,
            kind: SettingType::$kind,
            default: $default,
            inherits: &[$(($broker, setting!(@own $($own)?))),*],
            legal: $legal,
            documentation: $doc,
        }
    };
    (@own $own:expr) => { Some($own) };
    (@own) => { None };
}

use Legal::{Among, Any, AtLeast, Between, GzipLevel, OneOf};

/// All topic settings of Apache Kafka 4.3, by name, and Tifo's own.
#[rustfmt::skip]
pub const TOPIC_SETTINGS: &[TopicSetting] = &[
    setting!("cleanup.policy", List, "delete", ["log.cleanup.policy" = "delete"], Among(&["compact", "delete"]), "What happens to old records: delete, compact, or both."),
    setting!("compression.gzip.level", Int, "-1", ["compression.gzip.level" = "-1"], GzipLevel, "Level when compression.type is gzip."),
    setting!("compression.lz4.level", Int, "9", ["compression.lz4.level" = "9"], Between(1.0, 17.0), "Level when compression.type is lz4."),
    setting!("compression.type", String, "producer", ["compression.type" = "producer"], OneOf(CODECS), "Codec that batches are stored in; producer keeps them as they came."),
    setting!("compression.zstd.level", Int, "3", ["compression.zstd.level" = "3"], Between(-131_072.0, 22.0), "Level when compression.type is zstd."),
    setting!("delete.retention.ms", Long, "86400000", ["log.cleaner.delete.retention.ms" = "86400000"], AtLeast(0), "How long tombstones stay readable in a compacted topic."),
    setting!("file.delete.delay.ms", Long, "60000", ["log.segment.delete.delay.ms" = "60000"], AtLeast(0), "How long a removed segment's file stays on disk."),
    setting!("flush.messages", Long, MAX_LONG, ["log.flush.interval.messages" = MAX_LONG], AtLeast(1), "Records after which the log is forced to disk."),
    setting!("flush.ms", Long, MAX_LONG, ["log.flush.interval.ms"], AtLeast(0), "Time after which the log is forced to disk."),
    setting!("follower.replication.throttled.replicas", List, "", [], Any, "Has no meaning on one node."),
    setting!("index.interval.bytes", Int, "4096", ["log.index.interval.bytes" = "4096"], AtLeast(0), "Bytes of log between two entries of its indexes."),
    setting!("leader.replication.throttled.replicas", List, "", [], Any, "Has no meaning on one node."),
    setting!("local.retention.bytes", Long, "-2", ["log.local.retention.bytes" = "-2"], AtLeast(-2), "Has no meaning without tiered storage."),
    setting!("local.retention.ms", Long, "-2", ["log.local.retention.ms" = "-2"], AtLeast(-2), "Has no meaning without tiered storage."),
    setting!("max.compaction.lag.ms", Long, MAX_LONG, ["log.cleaner.max.compaction.lag.ms" = MAX_LONG], AtLeast(1), "Longest time that a record stays uncompacted."),
    setting!("max.decompressed.message.bytes", Int, "134217728", ["max.decompressed.message.bytes" = "134217728"], AtLeast(1), "Tifo's own: most bytes that one batch may decompress to."),
    setting!("max.message.bytes", Int, "1048588", ["message.max.bytes" = "1048588"], AtLeast(0), "Largest record batch that is accepted."),
    setting!("message.timestamp.after.max.ms", Long, "3600000", ["log.message.timestamp.after.max.ms" = "3600000"], AtLeast(0), "How far a record's time may lie ahead of the broker's."),
    setting!("message.timestamp.before.max.ms", Long, MAX_LONG, ["log.message.timestamp.before.max.ms" = MAX_LONG], AtLeast(0), "How far a record's time may lie behind the broker's."),
    setting!("message.timestamp.type", String, "CreateTime", ["log.message.timestamp.type" = "CreateTime"], OneOf(&["CreateTime", "LogAppendTime"]), "Whether a record keeps its producer's time or gets the broker's."),
    setting!("min.cleanable.dirty.ratio", Double, "0.5", ["log.cleaner.min.cleanable.ratio" = "0.5"], Between(0.0, 1.0), "Share of uncompacted log from which it is compacted."),
    setting!("min.compaction.lag.ms", Long, "0", ["log.cleaner.min.compaction.lag.ms" = "0"], AtLeast(0), "Shortest time that a record stays uncompacted."),
    setting!("min.insync.replicas", Int, "1", ["min.insync.replicas" = "1"], AtLeast(1), "Replicas that must have a record; on one node always one."),
    setting!("preallocate", Boolean, "false", ["log.preallocate" = "false"], Any, "Accepted; segments grow as they are written."),
    setting!("remote.log.copy.disable", Boolean, "false", [], Any, "Has no meaning without tiered storage."),
    setting!("remote.log.delete.on.disable", Boolean, "false", [], Any, "Has no meaning without tiered storage."),
    setting!("remote.storage.enable", Boolean, "false", [], Any, "Tiered storage is not there: only false is accepted."),
    setting!("retention.bytes", Long, "-1", ["log.retention.bytes" = "-1"], Any, "Size over which old segments are deleted; -1 for no limit."),
    setting!("retention.ms", Long, "604800000", ["log.retention.ms", "log.retention.minutes", "log.retention.hours"], AtLeast(-1), "Age over which old segments are deleted; -1 for no limit."),
    setting!("segment.bytes", Int, "1073741824", ["log.segment.bytes" = "1073741824"], AtLeast(1_048_576), "Size at which a new segment begins."),
    setting!("segment.index.bytes", Int, "10485760", ["log.index.size.max.bytes" = "10485760"], AtLeast(4), "Largest size of a segment's index."),
    setting!("segment.jitter.ms", Long, "0", ["log.roll.jitter.ms", "log.roll.jitter.hours"], AtLeast(0), "Random part taken off segment.ms."),
    setting!("segment.ms", Long, "604800000", ["log.roll.ms", "log.roll.hours"], AtLeast(1), "Age at which a new segment begins."),
    setting!("tifo.durability", String, "page-cache", ["durability" = "page-cache"], OneOf(&["page-cache", "fsync"]), "Tifo's own: what acknowledged means; page-cache survives the death of the process, fsync a power cut too."),
    setting!("unclean.leader.election.enable", Boolean, "false", ["unclean.leader.election.enable" = "false"], Any, "Has no meaning on one node."),
];

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static TopicSetting> {
    TOPIC_SETTINGS.iter().find(|setting| setting.name == name)
}

/// Checks what a client wants to set on a topic.
pub fn validate(settings: &Settings) -> Result<(), RequestError> {
    settings.iter().try_for_each(|(name, value)| {
        let setting = find(name);
        let setting =
            setting.ok_or_else(|| RequestError::InvalidConfig(format!("Unknown topic config name: {name}")))?;
        setting.check(value)
    })?;
    let is_remote = settings.get("remote.storage.enable").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if is_remote {
        return Err(RequestError::InvalidConfig(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
                .into(),
        ));
    }
    Ok(())
}

impl TopicSetting {
    /// Checks a value in Kafka's words.
    pub fn check(&self, value: &str) -> Result<(), RequestError> {
        let complaint = match self.complaint_on_type(value) {
            Some(complaint) => Some(complaint),
            None => self.complaint_on_value(value),
        };
        match complaint {
            None => Ok(()),
            Some(complaint) => {
                let (name, value) = (self.name, self.normal(value));
                Err(RequestError::InvalidConfig(format!("Invalid value {value} for configuration {name}: {complaint}")))
            }
        }
    }

    /// Numbers with a fraction are shown as Java shows them.
    fn normal(&self, value: &str) -> String {
        match (self.kind, value.trim().parse::<f64>()) {
            (SettingType::Double, Ok(number)) => format!("{number:?}"),
            _ => value.to_owned(),
        }
    }

    fn complaint_on_type(&self, value: &str) -> Option<String> {
        let value = value.trim();
        let (is_right, complaint) = match self.kind {
            SettingType::Boolean => (
                matches!(value.to_ascii_lowercase().as_str(), "true" | "false"),
                "Expected value to be either true or false",
            ),
            SettingType::Int => (value.parse::<i32>().is_ok(), "Not a number of type INT"),
            SettingType::Long => (value.parse::<i64>().is_ok(), "Not a number of type LONG"),
            SettingType::Double => (value.parse::<f64>().is_ok(), "Not a number of type DOUBLE"),
            SettingType::String | SettingType::List => (true, ""),
        };
        (!is_right).then(|| complaint.to_owned())
    }

    fn complaint_on_value(&self, value: &str) -> Option<String> {
        let number = value.trim().parse::<f64>().unwrap_or(0.0);
        match self.legal {
            Any => None,
            AtLeast(least) => {
                let is_less = value.trim().parse::<i64>().is_ok_and(|value| value < least);
                is_less.then(|| format!("Value must be at least {least}"))
            }
            Between(least, _) if number < least => Some(format!("Value must be at least {least}")),
            Between(_, most) if number > most => Some(format!("Value must be no more than {most}")),
            Between(..) => None,
            GzipLevel => {
                let is_legal = number == -1.0 || (1.0..=9.0).contains(&number);
                (!is_legal).then(|| "Value must be between 1 and 9 or equal to -1".to_owned())
            }
            OneOf(words) => (!words.contains(&value)).then(|| format!("String must be one of: {}", words.join(", "))),
            Among(words) => {
                let is_legal = list(value).all(|item| words.contains(&item));
                (!is_legal).then(|| format!("String must be one of: {}", words.join(", ")))
            }
        }
    }
}

/// The items of a list value.
fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Where a value in force comes from; the number is the one of DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    DynamicTopic = 1,
    StaticBroker = 4,
    Default = 5,
}

/// A value that could be in force, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    pub name: String,
    pub value: String,
    pub source: Source,
}

/// The value in force and everything behind it, strongest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    pub value: String,
    pub source: Source,
    pub synonyms: Vec<Synonym>,
}

impl TopicSetting {
    /// What is in force on a topic with `own` settings under a broker with `broker` settings.
    pub fn effective(&self, own: &Settings, broker: &Settings) -> Effective {
        let mut synonyms = Vec::new();
        if let Some(value) = own.get(self.name) {
            synonyms.push(Synonym { name: self.name.into(), value: value.clone(), source: Source::DynamicTopic });
        }
        for (name, default) in self.inherits {
            if let Some(value) = broker.get(*name) {
                synonyms.push(Synonym { name: (*name).into(), value: value.clone(), source: Source::StaticBroker });
            }
            if let Some(default) = default {
                synonyms.push(Synonym { name: (*name).into(), value: (*default).into(), source: Source::Default });
            }
        }
        let strongest = synonyms.first().map(|first| (self.in_own_unit(&first.name, &first.value), first.source));
        let (value, source) = strongest.unwrap_or_else(|| (self.default.to_owned(), Source::Default));
        Effective { value, source, synonyms }
    }

    /// Broker settings in hours and minutes count in ms on the topic.
    fn in_own_unit(&self, from: &str, value: &str) -> String {
        let unit_ms = if from.ends_with(".hours") {
            3_600_000
        } else if from.ends_with(".minutes") {
            60_000
        } else {
            return value.to_owned();
        };
        match value.trim().parse::<i64>() {
            Ok(count) if count < 0 => "-1".to_owned(),
            Ok(count) => count.saturating_mul(unit_ms).to_string(),
            Err(_) => self.default.to_owned(),
        }
    }
}

/// The log's settings on a topic with `own` settings under a broker with `broker` settings.
pub fn log_config(own: &Settings, broker: &Settings) -> LogConfig {
    let text = |name: &str| find(name).map(|setting| setting.effective(own, broker).value).unwrap_or_default();
    let long = |name: &str, default: i64| text(name).trim().parse::<i64>().unwrap_or(default);
    let defaults = LogConfig::default();
    let size = |name: &str, default: u32| u32::try_from(long(name, default.into())).unwrap_or(default);
    let policies = |wanted: &str| list(&text("cleanup.policy")).any(|policy| policy == wanted);
    let number = |name: &str| broker.get(name).and_then(|value| value.trim().parse::<i64>().ok());
    let (expiration, interval) = (number("producer.id.expiration.ms"), number("log.retention.check.interval.ms"));
    LogConfig {
        segment_bytes: size("segment.bytes", defaults.segment_bytes),
        segment_ms: long("segment.ms", defaults.segment_ms),
        segment_jitter_ms: long("segment.jitter.ms", defaults.segment_jitter_ms),
        segment_index_bytes: size("segment.index.bytes", defaults.segment_index_bytes),
        index_interval_bytes: size("index.interval.bytes", defaults.index_interval_bytes),
        max_message_bytes: size("max.message.bytes", defaults.max_message_bytes),
        log_append_time: text("message.timestamp.type") == "LogAppendTime",
        compacted: policies("compact"),
        delete: policies("delete"),
        retention_ms: long("retention.ms", defaults.retention_ms),
        retention_check_interval_ms: interval.unwrap_or(defaults.retention_check_interval_ms),
        retention_bytes: long("retention.bytes", defaults.retention_bytes),
        file_delete_delay_ms: long("file.delete.delay.ms", defaults.file_delete_delay_ms),
        min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio").trim().parse().unwrap_or(0.5),
        min_compaction_lag_ms: long("min.compaction.lag.ms", defaults.min_compaction_lag_ms),
        max_compaction_lag_ms: long("max.compaction.lag.ms", defaults.max_compaction_lag_ms),
        delete_retention_ms: long("delete.retention.ms", defaults.delete_retention_ms),
        compression: stored_compression(&text("compression.type"), text),
        max_decompressed_message_bytes: usize::try_from(long("max.decompressed.message.bytes", 0))
            .ok()
            .filter(|bytes| *bytes > 0)
            .unwrap_or(defaults.max_decompressed_message_bytes),
        timestamp_before_max_ms: long("message.timestamp.before.max.ms", defaults.timestamp_before_max_ms),
        timestamp_after_max_ms: long("message.timestamp.after.max.ms", defaults.timestamp_after_max_ms),
        producer_id_expiration_ms: expiration.unwrap_or(defaults.producer_id_expiration_ms),
        durability: if text("tifo.durability") == "fsync" { Durability::Fsync } else { Durability::PageCache },
        flush_messages: long("flush.messages", defaults.flush_messages),
        flush_ms: long("flush.ms", defaults.flush_ms),
    }
}

/// `compression.type`, with the level of its codec.
fn stored_compression(codec: &str, text: impl Fn(&str) -> String) -> StoredCompression {
    let level = |name: &str| text(name).trim().parse().ok();
    match codec {
        "uncompressed" => StoredCompression::Codec(Compression::None, None),
        "gzip" => StoredCompression::Codec(Compression::Gzip, level("compression.gzip.level")),
        "snappy" => StoredCompression::Codec(Compression::Snappy, None),
        "lz4" => StoredCompression::Codec(Compression::Lz4, level("compression.lz4.level")),
        "zstd" => StoredCompression::Codec(Compression::Zstd, level("compression.zstd.level")),
        _ => StoredCompression::Producer,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn defaults_are_kafkas_and_legal() {
        assert_eq!(log_config(&Settings::new(), &Settings::new()), LogConfig::default());
        for setting in TOPIC_SETTINGS {
            setting.check(setting.default).unwrap();
            let effective = setting.effective(&Settings::new(), &Settings::new());
            assert_eq!(effective.value, setting.default, "{}", setting.name);
        }
    }

    #[test]
    fn a_topic_overrides_its_broker() {
        let broker = settings(&[("log.retention.hours", "1"), ("log.segment.bytes", "2097152")]);
        let own = settings(&[("segment.bytes", "1048576")]);
        let retention = find("retention.ms").unwrap().effective(&own, &broker);
        assert_eq!((retention.value.as_str(), retention.source), ("3600000", Source::StaticBroker));
        let segment = find("segment.bytes").unwrap().effective(&own, &broker);
        assert_eq!((segment.value.as_str(), segment.source), ("1048576", Source::DynamicTopic));
        assert_eq!(segment.synonyms.len(), 3);
    }

    #[test]
    fn recompression_has_the_level_of_its_codec() {
        let broker = settings(&[("compression.type", "gzip"), ("max.decompressed.message.bytes", "1000")]);
        let inherited = log_config(&Settings::new(), &broker);
        assert_eq!(inherited.compression, StoredCompression::Codec(Compression::Gzip, Some(-1)));
        assert_eq!(inherited.max_decompressed_message_bytes, 1000);
        let own = settings(&[("compression.type", "zstd"), ("compression.zstd.level", "-7")]);
        assert_eq!(log_config(&own, &broker).compression, StoredCompression::Codec(Compression::Zstd, Some(-7)));
        let plain = settings(&[("compression.type", "uncompressed")]);
        assert_eq!(log_config(&plain, &broker).compression, StoredCompression::Codec(Compression::None, None));
    }

    #[test]
    fn illegal_values_are_refused_in_kafkas_words() {
        let refusal = |name, value| validate(&settings(&[(name, value)])).unwrap_err().to_string();
        assert_eq!(refusal("no.such", "1"), "Unknown topic config name: no.such");
        assert_eq!(
            refusal("retention.ms", "x"),
            "Invalid value x for configuration retention.ms: Not a number of type LONG"
        );
        assert_eq!(
            refusal("max.message.bytes", "-1"),
            "Invalid value -1 for configuration max.message.bytes: Value must be at least 0"
        );
        assert!(refusal("cleanup.policy", "shred").contains("String must be one of: compact, delete"));
        assert!(validate(&settings(&[("cleanup.policy", "compact,delete")])).is_ok());
    }
}
