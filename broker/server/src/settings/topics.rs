//! Settings of topics: what is in force on one, and what the log makes of it.

use super::{Effective, Layers, Setting, Settings, Source, Synonym, list, rows};
use crate::errors::RequestError;
use tifo_storage::{Durability, LogConfig, StoredCompression, record_batch::Compression};

pub use rows::TOPIC_SETTINGS;

/// One topic setting.
#[derive(Debug, Clone, Copy)]
pub struct TopicSetting {
    pub setting: Setting,
    /// Broker settings that it takes its value from, strongest first.
    pub inherits: &'static [&'static str],
}

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static TopicSetting> {
    TOPIC_SETTINGS.iter().find(|one| one.setting.name == name)
}

/// Checks what a client wants to set on a topic.
pub fn validate(settings: &Settings) -> Result<(), RequestError> {
    settings.iter().try_for_each(|(name, value)| {
        let known = find(name);
        let known = known.ok_or_else(|| RequestError::InvalidConfig(format!("Unknown topic config name: {name}")))?;
        known.setting.check(value).map_err(RequestError::InvalidConfig)
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
    /// What is in force on a topic with `own` settings under a broker.
    pub fn effective(&self, own: &Settings, broker: &Layers) -> Effective {
        let name = self.setting.name;
        let mut synonyms = broker.synonyms(self.inherits, self.inherits.first().copied().unwrap_or_default());
        if let Some(value) = own.get(name) {
            let synonym = Synonym { name: name.to_owned(), value: value.clone(), source: Source::DynamicTopic };
            synonyms.insert(0, synonym);
        }
        let source = synonyms.first().map_or(Source::Default, |first| first.source);
        Effective { value: Some(self.value(own, broker)), source, synonyms }
    }

    /// The value alone.
    pub fn value(&self, own: &Settings, broker: &Layers) -> String {
        if let Some(value) = own.get(self.setting.name) {
            return value.clone();
        }
        let inherited =
            self.inherits.iter().find_map(|name| broker.value(name).map(|value| in_milliseconds(name, value)));
        inherited.or_else(|| self.setting.default.map(str::to_owned)).unwrap_or_default()
    }

    /// What it is where nothing was set anywhere.
    pub fn default(&self) -> String {
        self.value(&Settings::new(), &Layers::default())
    }
}

/// Broker settings in hours and minutes count in ms on the topic.
fn in_milliseconds(name: &str, value: &str) -> String {
    let unit_ms = match name.rsplit('.').next() {
        Some("hours") => 3_600_000,
        Some("minutes") => 60_000,
        _ => return value.to_owned(),
    };
    match value.trim().parse::<i64>() {
        Ok(count) if count >= 0 => count.saturating_mul(unit_ms).to_string(),
        _ => "-1".to_owned(),
    }
}

/// The log's settings on a topic with `own` settings under a broker with `broker` settings.
pub fn log_config(own: &Settings, broker: &Layers) -> LogConfig {
    let text = |name: &str| find(name).map(|setting| setting.value(own, broker)).unwrap_or_default();
    let long = |name: &str, default: i64| text(name).trim().parse::<i64>().unwrap_or(default);
    let defaults = LogConfig::default();
    let size = |name: &str, default: u32| u32::try_from(long(name, default.into())).unwrap_or(default);
    let policies = |wanted: &str| list(&text("cleanup.policy")).any(|policy| policy == wanted);
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
        retention_check_interval_ms: broker.long("log.retention.check.interval.ms"),
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
        producer_id_expiration_ms: broker.long("producer.id.expiration.ms"),
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

    fn broker(pairs: &[(&str, &str)]) -> Layers {
        Layers { fixed: settings(pairs), ..Layers::default() }
    }

    #[test]
    fn defaults_are_kafkas_and_legal() {
        assert_eq!(log_config(&Settings::new(), &Layers::default()), LogConfig::default());
        for one in TOPIC_SETTINGS {
            one.setting.check(&one.default()).unwrap();
            assert_eq!(one.effective(&Settings::new(), &Layers::default()).source, Source::Default);
            assert!(one.inherits.iter().all(|name| super::super::find(name).is_some()), "{}", one.setting.name);
        }
        let default = |name: &str| find(name).unwrap().default();
        assert_eq!((default("retention.ms"), default("flush.ms")), ("604800000".into(), i64::MAX.to_string()));
    }

    #[test]
    fn a_topic_overrides_its_broker() {
        let broker = broker(&[("log.retention.hours", "1"), ("log.segment.bytes", "2097152")]);
        let own = settings(&[("segment.bytes", "1048576")]);
        let retention = find("retention.ms").unwrap().effective(&own, &broker);
        assert_eq!(retention.value.as_deref(), Some("3600000"));
        let segment = find("segment.bytes").unwrap().effective(&own, &broker);
        assert_eq!((segment.value.as_deref(), segment.source), (Some("1048576"), Source::DynamicTopic));
        assert_eq!(segment.synonyms.len(), 3);
    }

    #[test]
    fn recompression_has_the_level_of_its_codec() {
        let broker = broker(&[("compression.type", "gzip"), ("max.decompressed.message.bytes", "1000")]);
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
