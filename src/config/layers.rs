//! The sources of settings, in rising order: defaults, file, environment, flags. Each is a figment provider, so that
//! every value in force remembers where it came from.

use figment::{
    Error, Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};
use std::{net::SocketAddr, path::PathBuf};
use tifo_broker::BrokerConfig;

use crate::cli::{Role, ServeArgs};

/// Variables of this name are settings; two underscores part the levels: `TIFO_HTTP__FLUSH_EVENTS`.
const ENVIRONMENT_PREFIX: &str = "TIFO_";
const LEVEL_SEPARATOR: &str = "__";
/// The table whose keys are Kafka's dotted names.
const KAFKA_TABLE: &str = "kafka";
/// The table whose keys are librdkafka's dotted names.
const CLUSTER_TABLE: &str = "cluster";
/// The setting of each part that says where it listens.
const KAFKA_LISTEN: [&str; 2] = [KAFKA_TABLE, "listeners"];
const HTTP_LISTEN: [&str; 2] = ["http", "listen"];
const MQTT_TABLE: &str = "mqtt";
const MQTT_LISTEN: [&str; 2] = [MQTT_TABLE, "listen"];

/// Joins what TOML nests: `[kafka] num.partitions = 3` and `"num.partitions" = 3` are the same setting.
pub struct KafkaNames<P>(pub P);

impl<P: Provider> Provider for KafkaNames<P> {
    fn metadata(&self) -> Metadata {
        self.0.metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut data = self.0.data()?;
        for settings in data.values_mut() {
            for table in [KAFKA_TABLE, CLUSTER_TABLE] {
                if let Some(Value::Dict(_, nested)) = settings.get_mut(table) {
                    *nested = joined(std::mem::take(nested));
                }
            }
        }
        Ok(data)
    }
}

fn joined(nested: Dict) -> Dict {
    let mut flat = Dict::new();
    for (name, value) in nested {
        join_into(&mut flat, name, value);
    }
    flat
}

fn join_into(flat: &mut Dict, name: String, value: Value) {
    match value {
        Value::Dict(_, inner) => {
            for (last, value) in inner {
                join_into(flat, format!("{name}.{last}"), value);
            }
        }
        leaf => {
            flat.insert(name, leaf);
        }
    }
}

/// `TIFO_…` variables whose first level is a setting; others (a test's own, say) are left alone.
pub struct Environment {
    variables: Vec<(String, String)>,
    known: Vec<String>,
}

impl Environment {
    pub fn new(variables: impl Iterator<Item = (String, String)>, known: Vec<String>) -> Self {
        Self { variables: variables.collect(), known }
    }

    fn setting(&self, variable: &str) -> Option<Vec<String>> {
        let name = variable.strip_prefix(ENVIRONMENT_PREFIX)?.to_lowercase();
        let mut levels: Vec<String> = name.split(LEVEL_SEPARATOR).map(str::to_owned).collect();
        if !self.known.contains(levels.first()?) {
            return None;
        }
        if [KAFKA_TABLE, CLUSTER_TABLE].contains(&levels[0].as_str()) {
            levels[1..].iter_mut().for_each(|level| *level = level.replace('_', "."));
        }
        Some(levels)
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment").interpolater(|_, keys| {
            format!("{ENVIRONMENT_PREFIX}{}", keys.join(LEVEL_SEPARATOR).replace('.', "_").to_uppercase())
        })
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut settings = Dict::new();
        for (variable, text) in &self.variables {
            if let Some(levels) = self.setting(variable) {
                let as_text = || Value::from(text.as_str());
                // Kafka's settings are texts: "1e5" must not become a number and back.
                let is_kafkas =
                    levels.first().is_some_and(|level| [KAFKA_TABLE, CLUSTER_TABLE].contains(&level.as_str()));
                let value = if is_kafkas { as_text() } else { text.parse().unwrap_or_else(|_| as_text()) };
                insert(&mut settings, &levels, value);
            }
        }
        Ok(Profile::Default.collect(settings))
    }
}

fn insert(settings: &mut Dict, levels: &[String], value: Value) {
    match levels {
        [] => {}
        [last] => {
            settings.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let level = settings.entry(first.clone()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = level {
                insert(inner, rest, value);
            }
        }
    }
}

/// `KAFKA_…` variables in the form of the official container: `_` stands for a dot, `__` for `_`, `___` for `-`.
pub struct KafkaEnvironment {
    settings: Vec<(String, String)>,
    /// Names of variables that are no settings and resemble none: not ours.
    pub left_alone: Vec<String>,
}

const KAFKA_PREFIX: &str = "KAFKA_";
/// Variables of the container that are not settings of the broker.
const CONTAINERS_OWN: &[&str] = &[
    "KAFKA_CLUSTER_ID",
    "KAFKA_DEBUG",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_OPTS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_VERSION",
];
/// A name that differs from a setting's by no more letters is taken for a typo.
const TYPO_LETTERS: usize = 3;

impl KafkaEnvironment {
    pub fn new(variables: impl Iterator<Item = (String, String)>) -> Self {
        let (mut settings, mut left_alone) = (Vec::new(), Vec::new());
        for (variable, value) in variables {
            let Some(name) = container_name(&variable) else { continue };
            match BrokerConfig::nearest_setting(&name) {
                Some((_, letters)) if letters > TYPO_LETTERS => left_alone.push(variable),
                // A typo is kept: it is refused with all that is.
                _ => settings.push((name, value)),
            }
        }
        Self { settings, left_alone }
    }
}

fn container_name(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(KAFKA_PREFIX).filter(|_| !CONTAINERS_OWN.contains(&variable))?;
    Some(name.to_lowercase().replace('_', ".").replace("...", "-").replace("..", "_"))
}

impl Provider for KafkaEnvironment {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment, KAFKA_…")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut settings = Dict::new();
        for (name, value) in &self.settings {
            insert(&mut settings, &[KAFKA_TABLE.to_owned(), name.clone()], Value::from(value.as_str()));
        }
        Ok(Profile::Default.collect(settings))
    }
}

/// What `--ephemeral` means: any free port everywhere. The data folder is made when serving.
pub struct Ephemeral;

impl Provider for Ephemeral {
    fn metadata(&self) -> Metadata {
        Metadata::named("--ephemeral")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut settings = Dict::new();
        for setting in [KAFKA_LISTEN, HTTP_LISTEN, MQTT_LISTEN] {
            insert(&mut settings, &setting.map(str::to_owned), Value::from(any_port.to_string()));
        }
        Ok(Profile::Default.collect(settings))
    }
}

/// Kafka's `log.dirs` says where the data lies, if nothing else does.
pub struct LogDirs(pub PathBuf);

impl Provider for LogDirs {
    fn metadata(&self) -> Metadata {
        Metadata::named("log.dirs")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut settings = Dict::new();
        settings.insert("data_dir".to_owned(), Value::serialize(&self.0)?);
        Ok(Profile::Default.collect(settings))
    }
}

/// `bootstrap` says where the log is: by default everything but the broker runs here.
pub struct NoBroker;

impl Provider for NoBroker {
    fn metadata(&self) -> Metadata {
        Metadata::named("bootstrap")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut settings = Dict::new();
        settings.insert("roles".to_owned(), Value::serialize([Role::Aggregator, Role::Http, Role::Mqtt])?);
        Ok(Profile::Default.collect(settings))
    }
}

/// The flags that were given.
pub struct Flags<'a>(pub &'a ServeArgs);

impl Provider for Flags<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named("flag")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let args = self.0;
        let mut settings = Dict::new();
        for (setting, address) in [(KAFKA_LISTEN, args.kafka), (HTTP_LISTEN, args.http), (MQTT_LISTEN, args.mqtt)] {
            if let Some(address) = address {
                insert(&mut settings, &setting.map(str::to_owned), Value::from(address.to_string()));
            }
        }
        if let Some(role) = &args.mqtt_role {
            insert(&mut settings, &[MQTT_TABLE, "role"].map(str::to_owned), Value::serialize(role)?);
        }
        let texts = [
            ("upstream", &args.upstream),
            ("downstream", &args.downstream),
            ("cluster", &args.cluster),
            ("autoscale", &args.autoscale),
        ];
        for (setting, text) in texts {
            if let Some(text) = text {
                insert(&mut settings, &[MQTT_TABLE, setting].map(str::to_owned), Value::from(text.as_str()));
            }
        }
        if let Some(dir) = &args.data_dir {
            settings.insert("data_dir".to_owned(), Value::serialize(dir)?);
        }
        if let Some(bootstrap) = &args.bootstrap {
            settings.insert("bootstrap".to_owned(), Value::serialize(bootstrap)?);
        }
        if let Some(roles) = &args.roles {
            settings.insert("roles".to_owned(), Value::serialize(roles)?);
        }
        if let Some(durability) = &args.durability {
            let setting = [KAFKA_TABLE, "durability"].map(str::to_owned);
            insert(&mut settings, &setting, Value::serialize(durability)?);
        }
        if let Some(format) = &args.log_format {
            settings.insert("log_format".to_owned(), Value::serialize(format)?);
        }
        Ok(Profile::Default.collect(settings))
    }
}
