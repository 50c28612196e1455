//! What the broker is started with: where its data lies, and Kafka's settings by name. Their meaning is in `settings`.

use crate::settings::{ConfigError, InForce, Layers, Settings, broker_settings, nearest};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Settings of one broker, as given. What is not given has its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrokerConfig {
    /// Where the data lies; created if missing. Put here by the binary.
    #[serde(skip)]
    pub data_dir: PathBuf,
    /// By Kafka's names.
    #[serde(flatten, deserialize_with = "scalars")]
    pub settings: Settings,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self::new("tifo-data")
    }
}

impl BrokerConfig {
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), settings: Settings::new() }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.set(name, value);
        self
    }

    pub fn set(&mut self, name: &str, value: impl fmt::Display) {
        self.settings.insert(name.to_owned(), value.to_string());
    }

    /// Where the settings say that the data lies; of several places the first.
    pub fn log_dir(&self) -> Option<&Path> {
        let dirs = self.settings.get("log.dirs").or_else(|| self.settings.get("log.dir"))?;
        dirs.split(',').next().map(str::trim).filter(|dir| !dir.is_empty()).map(Path::new)
    }

    /// Refuses what no part of the broker would understand.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.in_force().map(drop)
    }

    /// What is in force as long as nothing is altered at run time.
    pub(crate) fn in_force(&self) -> Result<InForce, ConfigError> {
        let mut fixed = self.settings.clone();
        for (name, other) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
            if let Some(id) = self.settings.get(name) {
                fixed.entry(other.to_owned()).or_insert_with(|| id.clone());
            }
        }
        for name in ["log.dir", "log.dirs"] {
            fixed.insert(name.to_owned(), self.data_dir.display().to_string());
        }
        InForce::read(Layers { fixed, ..Layers::default() })
    }

    /// Every setting that has an effect here and a value without being set: name and value.
    pub fn defaults() -> impl Iterator<Item = (&'static str, &'static str)> {
        let working = broker_settings().filter(|setting| !setting.is_idle);
        working.filter_map(|setting| setting.default.map(|default| (setting.name, default)))
    }

    /// The known setting whose name is nearest to that one, and by how many letters they differ; none where the name is known.
    pub fn nearest_setting(name: &str) -> Option<(&'static str, usize)> {
        nearest(name)
    }
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
        let json = r#"{"num.partitions": 3, "log.retention.ms": 1000, "log.preallocate": true, "broker.id": 7}"#;
        let config: BrokerConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.settings["log.preallocate"], "true");
        let in_force = config.in_force().unwrap();
        assert_eq!((in_force.num_partitions, in_force.node_id), (3, 7));
        assert_eq!(in_force.layers.text("log.retention.ms"), "1000");
        assert_eq!(in_force.fetch_max_bytes, 55 << 20);
        assert_eq!(in_force.without_effect().len(), 1);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refusal = |name: &str, value: &str| BrokerConfig::default().with(name, value).check().unwrap_err();
        let nearest = ConfigError::Unknown { name: "num.partition".into(), nearest: "num.partitions".into() };
        assert_eq!(refusal("num.partition", "3"), nearest);
        for (name, value) in [
            ("log.retention.ms", "soon"),
            ("log.retention.check.interval.ms", "0"),
            ("log.retention.hours", "x"),
            ("num.partitions", "0"),
            ("max.connections.per.ip.overrides", "here"),
            ("log.cleaner.dedupe.buffer.size", "1000"),
            ("group.max.size", "0"),
        ] {
            assert!(matches!(refusal(name, value), ConfigError::Illegal { .. }), "{name}");
        }
        assert!(refusal("group.min.session.timeout.ms", "soon").to_string().contains("soon"));
        let both = BrokerConfig::default().with("node.id", 1).with("broker.id", 2);
        assert_eq!(both.check().unwrap_err().setting(), "node.id");
        for (name, value) in [("zookeeper.connect", "a:1"), ("num.io.threads", "3"), ("listener.name.a.b", "c")] {
            assert_eq!(BrokerConfig::default().with(name, value).check(), Ok(()), "{name}");
        }
    }
}
