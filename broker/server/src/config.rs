//! The broker's settings. What Kafka has bears Kafka's name and default; deviations are few and said beside the field.

use crate::catalog::topic_settings::{SettingType, Settings, TOPIC_SETTINGS, log_config};
use crate::{groups::GroupSettings, maintenance::cleaner};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{fmt, path::PathBuf};
use tifo_storage::{CleanerSettings, Durability};

/// Settings of one broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BrokerConfig {
    /// Where the data lies; created if missing. Put here by the binary.
    #[serde(skip)]
    pub data_dir: PathBuf,
    /// Address to listen on: `host:port`, `:port` or Kafka's `PLAINTEXT://host:port`; port 0 takes any free one.
    pub listeners: String,
    /// What clients are told to dial; unset (unlike Kafka): the address that each of them dialled.
    #[serde(rename = "advertised.listeners")]
    pub advertised_listeners: Option<String>,
    /// 0, where several client suites expect the only node; Kafka has no default.
    #[serde(rename = "node.id", alias = "broker.id")]
    pub node_id: i32,
    #[serde(rename = "auto.create.topics.enable")]
    pub auto_create_topics_enable: bool,
    #[serde(rename = "num.partitions")]
    pub num_partitions: i32,
    #[serde(rename = "default.replication.factor")]
    pub default_replication_factor: i16,
    #[serde(rename = "delete.topic.enable")]
    pub delete_topic_enable: bool,
    #[serde(rename = "socket.request.max.bytes")]
    pub socket_request_max_bytes: usize,
    #[serde(rename = "max.connections")]
    pub max_connections: usize,
    #[serde(rename = "connections.max.idle.ms")]
    pub connections_max_idle_ms: u64,
    /// Most bytes that one fetch response carries.
    #[serde(rename = "fetch.max.bytes")]
    pub fetch_max_bytes: usize,
    /// Tifo's own: most segment files that are open at a time; unset: half of what the operating system lets the process open.
    #[serde(rename = "log.max.open.files", skip_serializing_if = "Option::is_none")]
    pub log_max_open_files: Option<usize>,
    /// Kafka's other settings by name: defaults of topic settings (`log.retention.ms`, …) and what other parts read.
    #[serde(flatten, deserialize_with = "scalars")]
    pub settings: Settings,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("tifo-data"),
            listeners: "0.0.0.0:9092".into(),
            advertised_listeners: None,
            node_id: 0,
            auto_create_topics_enable: true,
            num_partitions: 1,
            default_replication_factor: 1,
            delete_topic_enable: true,
            socket_request_max_bytes: 100 << 20,
            max_connections: 2_147_483_647,
            connections_max_idle_ms: 600_000,
            fetch_max_bytes: 55 << 20,
            log_max_open_files: None,
            settings: Settings::from([(DURABILITY.to_owned(), "page-cache".to_owned())]),
        }
    }
}

/// What acknowledged means, unless a topic says otherwise by `tifo.durability`. Written out by default, so that it is seen.
const DURABILITY: &str = "durability";

/// Why the settings are not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("setting {name} is not known; did you mean {nearest}?")]
    Unknown { name: String, nearest: String },
    #[error("setting {name}: {complaint}")]
    Illegal { name: String, complaint: String },
}

/// Settings of Kafka that other parts of this broker read from [`BrokerConfig::settings`].
const OTHER_SETTINGS: &[&str] = &["producer.id.expiration.ms", "log.retention.check.interval.ms", FETCH_SESSION_SLOTS];
const FETCH_SESSION_SLOTS: &str = "max.incremental.fetch.session.cache.slots";
const DEFAULT_FETCH_SESSION_SLOTS: usize = 1000;

/// Timers of Kafka's log manager: accepted and without effect. What is due is done within seconds here.
const TIMERS: &[&str] = &[
    "log.flush.offset.checkpoint.interval.ms",
    "log.flush.start.offset.checkpoint.interval.ms",
    "log.flush.scheduler.interval.ms",
];

impl BrokerConfig {
    /// Broker-wide; also that of the metadata log.
    pub fn durability(&self) -> Durability {
        log_config(&Settings::new(), &self.settings).durability
    }

    /// `max.incremental.fetch.session.cache.slots` (KIP-227).
    pub fn fetch_session_slots(&self) -> Result<usize, ConfigError> {
        let Some(value) = self.settings.get(FETCH_SESSION_SLOTS) else { return Ok(DEFAULT_FETCH_SESSION_SLOTS) };
        let complaint = || format!("{value} is not a number of sessions");
        value
            .trim()
            .parse()
            .map_err(|_| ConfigError::Illegal { name: FETCH_SESSION_SLOTS.into(), complaint: complaint() })
    }

    /// Refuses what no part of the broker would understand.
    pub fn check(&self) -> Result<(), ConfigError> {
        let illegal =
            |name: &str, complaint: &str| Err(ConfigError::Illegal { name: name.into(), complaint: complaint.into() });
        if self.num_partitions < 1 {
            return illegal("num.partitions", "must be at least 1");
        }
        if self.max_connections == 0 {
            return illegal("max.connections", "must be at least 1");
        }
        if self.connections_max_idle_ms == 0 {
            return illegal("connections.max.idle.ms", "must be at least 1");
        }
        if self.log_max_open_files == Some(0) {
            return illegal("log.max.open.files", "must be at least 1");
        }
        self.group_settings()?;
        self.fetch_session_slots()?;
        self.cleaner_settings()?;
        self.settings.iter().try_for_each(|(name, value)| check_other(name, value))
    }

    /// What groups are hosted with.
    pub fn group_settings(&self) -> Result<GroupSettings, ConfigError> {
        GroupSettings::read(&self.settings)
            .map_err(|(name, complaint)| ConfigError::Illegal { name: name.into(), complaint })
    }

    /// What the cleaner works with; None: there is none.
    pub fn cleaner_settings(&self) -> Result<Option<CleanerSettings>, ConfigError> {
        cleaner::settings(&self.settings)
            .map_err(|(name, complaint)| ConfigError::Illegal { name: name.into(), complaint })
    }
}

/// One setting of the broker as DescribeConfigs tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedSetting {
    pub name: String,
    pub value: String,
    pub kind: SettingType,
    pub is_default: bool,
    pub documentation: &'static str,
}

impl BrokerConfig {
    /// Every setting of Kafka's that this broker reads, with the value in force.
    pub fn described(&self) -> Vec<DescribedSetting> {
        let defaults = Self::default().typed();
        let typed = self.typed().into_iter().zip(defaults).map(|(now, default)| DescribedSetting {
            name: now.0.to_owned(),
            is_default: now.1 == default.1,
            value: now.1,
            kind: now.2,
            documentation: now.3,
        });
        let inherited = TOPIC_SETTINGS.iter().flat_map(|setting| {
            setting.inherits.iter().filter_map(|(name, default)| {
                let own = self.settings.get(*name);
                Some(DescribedSetting {
                    name: (*name).to_owned(),
                    value: own.cloned().or_else(|| default.map(str::to_owned))?,
                    kind: setting.kind,
                    is_default: own.is_none_or(|own| Some(own.as_str()) == *default),
                    documentation: setting.documentation,
                })
            })
        });
        let cleaner = cleaner::SETTINGS.iter().map(|(name, kind, default, documentation)| DescribedSetting {
            name: (*name).to_owned(),
            value: self.settings.get(*name).map_or_else(|| (*default).to_owned(), String::clone),
            kind: *kind,
            is_default: !self.settings.contains_key(*name),
            documentation,
        });
        typed.chain(inherited).chain(cleaner).collect()
    }

    #[rustfmt::skip]
    fn typed(&self) -> Vec<(&'static str, String, SettingType, &'static str)> {
        use SettingType::{Boolean, Int, Long, String as Text};
        let data_dir = self.data_dir.display().to_string();
        let advertised = self.advertised_listeners.clone().unwrap_or_default();
        vec![
            ("log.dirs", data_dir.clone(), Text, "Where the data lies."),
            ("log.dir", data_dir, Text, "Where the data lies."),
            ("listeners", self.listeners.clone(), Text, "Address to listen on."),
            ("advertised.listeners", advertised, Text, "What clients are told to dial; empty: the address that each of them dialled."),
            ("node.id", self.node_id.to_string(), Int, "The only node's id."),
            ("broker.id", self.node_id.to_string(), Int, "The only node's id."),
            ("auto.create.topics.enable", self.auto_create_topics_enable.to_string(), Boolean, "Whether a topic is created when a client first asks for it."),
            ("num.partitions", self.num_partitions.to_string(), Int, "Partitions of topics that are created without saying how many."),
            ("default.replication.factor", self.default_replication_factor.to_string(), Int, "Replicas of topics that are created without saying how many."),
            ("delete.topic.enable", self.delete_topic_enable.to_string(), Boolean, "Whether topics can be deleted."),
            ("socket.request.max.bytes", self.socket_request_max_bytes.to_string(), Int, "Largest request that is read."),
            ("max.connections", self.max_connections.to_string(), Int, "Most connections at a time."),
            ("connections.max.idle.ms", self.connections_max_idle_ms.to_string(), Long, "Idle time after which a connection is closed."),
            ("fetch.max.bytes", self.fetch_max_bytes.to_string(), Int, "Most bytes of one fetch response."),
        ]
    }
}

fn check_other(name: &str, value: &str) -> Result<(), ConfigError> {
    let is_other = OTHER_SETTINGS.contains(&name)
        || TIMERS.contains(&name)
        || cleaner::is_setting(name)
        || name.starts_with("group.")
        || name.starts_with("offsets.")
        || name == "offset.metadata.max.bytes";
    let inherited = TOPIC_SETTINGS.iter().find_map(|setting| {
        setting.inherits.iter().find(|(broker, _)| *broker == name).map(|(broker, _)| (setting, broker))
    });
    match inherited {
        Some((setting, broker)) if !broker.ends_with(".hours") && !broker.ends_with(".minutes") => setting
            .check(value)
            .map_err(|error| ConfigError::Illegal { name: name.into(), complaint: error.to_string() }),
        Some(_) => match value.trim().parse::<i64>() {
            Ok(_) => Ok(()),
            Err(_) => Err(ConfigError::Illegal { name: name.into(), complaint: format!("{value} is not a number") }),
        },
        None if is_other => Ok(()),
        None => Err(ConfigError::Unknown { name: name.into(), nearest: nearest(name) }),
    }
}

/// The known name that shares most with the wrong one.
fn nearest(wrong: &str) -> String {
    let typed = [
        "data_dir",
        "listeners",
        "advertised.listeners",
        "node.id",
        "auto.create.topics.enable",
        "num.partitions",
        "default.replication.factor",
        "delete.topic.enable",
        "socket.request.max.bytes",
        "max.connections",
        "connections.max.idle.ms",
        "fetch.max.bytes",
        "log.max.open.files",
    ];
    let inherited = TOPIC_SETTINGS.iter().flat_map(|setting| setting.inherits.iter().map(|(name, _)| *name));
    let known = typed.into_iter().chain(inherited).chain(OTHER_SETTINGS.iter().copied()).chain(TIMERS.iter().copied());
    let known = known.chain(cleaner::SETTINGS.iter().map(|(name, ..)| *name));
    known.min_by_key(|name| distance(wrong, name)).unwrap_or("num.partitions").to_owned()
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.bytes().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Reads a map whose values may be text, numbers or booleans; all are kept as text.
fn scalars<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Settings, D::Error> {
    let map = std::collections::BTreeMap::<String, Scalar>::deserialize(deserializer)?;
    Ok(map.into_iter().map(|(name, Scalar(value))| (name, value)).collect())
}

struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor).map(Scalar)
    }
}

struct ScalarVisitor;

impl de::Visitor<'_> for ScalarVisitor {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text, a number or a boolean")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kafkas_names_are_read() {
        let json = r#"{"num.partitions": 3, "log.retention.ms": 1000, "log.preallocate": true, "node.id": 7}"#;
        let config: BrokerConfig = serde_json::from_str(json).unwrap();
        assert_eq!((config.num_partitions, config.node_id), (3, 7));
        assert_eq!(config.settings["log.retention.ms"], "1000");
        assert_eq!(config.settings["log.preallocate"], "true");
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.fetch_max_bytes, BrokerConfig::default().fetch_max_bytes);
    }

    #[test]
    fn a_typo_is_refused_with_the_nearest_name() {
        let config: BrokerConfig = serde_json::from_str(r#"{"num.partition": 3}"#).unwrap();
        let nearest = ConfigError::Unknown { name: "num.partition".into(), nearest: "num.partitions".into() };
        assert_eq!(config.check(), Err(nearest));
        let config: BrokerConfig = serde_json::from_str(r#"{"log.retention.ms": "soon"}"#).unwrap();
        assert!(matches!(config.check(), Err(ConfigError::Illegal { .. })));
    }
}
