//! `tifo config`: every setting in force and its source.

use figment::{Figment, Metadata, Source, value::Value};
use std::fmt::Write;

use super::Loaded;
use tifo_broker::BrokerConfig;

/// What `source_of` calls the defaults.
pub(super) const DEFAULT: &str = "default";

impl Loaded {
    /// One line per setting: `name = value  # source`, sorted by name, in TOML's words.
    pub fn describe(&self) -> anyhow::Result<String> {
        let mut lines = String::new();
        for (name, value) in self.figment.extract::<figment::value::Dict>()? {
            self.describe_value(&mut lines, &name, &value);
        }
        let given = &self.settings.kafka.settings;
        for (name, default) in BrokerConfig::defaults().filter(|(name, _)| !given.contains_key(*name)) {
            let _ = writeln!(lines, "kafka.{} = {default:?}  # {DEFAULT}", quoted(name));
        }
        let mut lines: Vec<&str> = lines.lines().collect();
        lines.sort_unstable();
        Ok(lines.join("\n") + "\n")
    }

    fn describe_value(&self, lines: &mut String, name: &str, value: &Value) {
        match value {
            Value::Dict(_, inner) if !inner.is_empty() => {
                for (last, value) in inner {
                    self.describe_value(lines, &format!("{name}.{}", quoted(last)), value);
                }
            }
            Value::Array(_, values) if values.iter().any(|value| matches!(value, Value::Dict(..))) => {
                for (index, value) in values.iter().enumerate() {
                    self.describe_value(lines, &format!("{name}[{index}]"), value);
                }
            }
            leaf => {
                let source = self.figment.get_metadata(leaf.tag()).map(source_of).unwrap_or_default();
                // Writing to a String cannot fail.
                let _ = writeln!(lines, "{name} = {}  # {source}", literal(leaf));
            }
        }
    }
}

fn quoted(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}

/// Where one of Kafka's settings comes from; None: nobody has set it.
pub(super) fn source_of_kafka(figment: &Figment, name: &str) -> Option<String> {
    let kafka: figment::value::Dict = figment.extract_inner("kafka").ok()?;
    figment.get_metadata(kafka.get(name)?.tag()).map(source_of)
}

/// `default`, `environment`, `flag`, `--ephemeral` or the file's path.
pub(super) fn source_of(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(Source::File(path)) => path.display().to_string(),
        Some(Source::Code(_)) => DEFAULT.to_owned(),
        _ => metadata.name.to_string(),
    }
}

fn literal(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| error.to_string())
}
