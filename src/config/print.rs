//! `tifo config`: every setting in force and its source.

use figment::{Metadata, Source, value::Value};
use std::fmt::Write;

use super::Loaded;

impl Loaded {
    /// One line per setting: `name = value  # source`, sorted by name, in TOML's words.
    pub fn describe(&self) -> anyhow::Result<String> {
        let mut lines = String::new();
        for (name, value) in self.figment.extract::<figment::value::Dict>()? {
            self.describe_value(&mut lines, &name, &value);
        }
        Ok(lines)
    }

    fn describe_value(&self, lines: &mut String, name: &str, value: &Value) {
        match value {
            Value::Dict(_, inner) if !inner.is_empty() => {
                for (last, value) in inner {
                    let last = if last.contains('.') { format!("\"{last}\"") } else { last.clone() };
                    self.describe_value(lines, &format!("{name}.{last}"), value);
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

/// `default`, `environment`, `flag`, `--ephemeral` or the file's path.
pub(super) fn source_of(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(Source::File(path)) => path.display().to_string(),
        Some(Source::Code(_)) => "default".to_owned(),
        _ => metadata.name.to_string(),
    }
}

fn literal(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| error.to_string())
}
