//! Settings: what they are, where they come from, and clear words when they are wrong.

mod fan_out;
mod layers;
mod print;

use figment::{
    Figment, Provider,
    error::Kind,
    providers::{Format, Serialized, Toml},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};
use tifo_aggregator::{Definition, Keep};
use tifo_broker::BrokerConfig;
use tifo_http_gateway::{HttpConfig, Poll, Rounds, StreamIngest};
use tifo_mqtt_gateway::{MqttConfig, MqttRole};

use crate::cli::{LogFormat, Role, ServeArgs};
use layers::{Environment, Ephemeral, Flags, KafkaEnvironment, KafkaNames, LogDirs, NoBroker};

/// Read when no `--config` names another and it exists.
const DEFAULT_FILE: &str = "tifo.toml";

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub roles: BTreeSet<Role>,
    /// An Apache Kafka cluster in place of a broker here: `HOST:PORT,…`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bootstrap: Option<String>,
    /// librdkafka's settings for that cluster, by their own names.
    pub cluster: BTreeMap<String, String>,
    pub log_format: LogFormat,
    /// Filter of the log on standard error, as `tracing` words it: `info`, `tifo_broker=debug,warn`.
    pub log: String,
    pub kafka: BrokerConfig,
    pub http: HttpConfig,
    pub mqtt: MqttConfig,
    pub stream: Vec<Stream>,
    /// Aggregates beside those of the streams.
    pub aggregate: Vec<Definition>,
    /// The same as SQL: `CREATE AGGREGATE …`.
    pub aggregate_sql: Vec<String>,
}

/// One declared pipeline: raw topic, ingest, aggregate, aggregate topic, fan-out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    pub name: String,
    pub ingest: StreamIngest,
    pub aggregate: Definition,
    /// How many of a window's groups reach the crowd.
    pub top_n: usize,
    /// At most one message per channel in this time, the latest; 0: each window's.
    #[serde(default)]
    pub min_interval_ms: u64,
    /// The binary form as well, on `…/bin`.
    #[serde(default)]
    pub binary: bool,
    /// The group field that names the channel; empty: the first one, if there are several.
    #[serde(default)]
    pub channel: String,
    /// The measure that shares are of; empty: `count`, or else the first one.
    #[serde(default)]
    pub measure: String,
    /// What pages show of it, if its groups are the answers to a question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<Poll>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("settings file {}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("{0}")]
    Value(String),
}

/// Settings with the memory of their sources.
pub struct Loaded {
    pub settings: Settings,
    figment: Figment,
    /// Variables of the environment that begin like Kafka's settings and are none.
    pub left_alone: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: "./tifo-data".into(),
            roles: BTreeSet::from([Role::Broker, Role::Aggregator, Role::Http, Role::Mqtt]),
            bootstrap: None,
            cluster: BTreeMap::new(),
            log_format: LogFormat::Text,
            log: "info".to_owned(),
            kafka: BrokerConfig::default().with("listeners", "127.0.0.1:9092"),
            http: HttpConfig::default(),
            mqtt: MqttConfig::default(),
            stream: vec![Stream::emoji()],
            aggregate: Vec::new(),
            aggregate_sql: Vec::new(),
        }
    }
}

impl Stream {
    /// The stream that is there by default.
    pub fn emoji() -> Self {
        Self {
            name: "emoji".to_owned(),
            ingest: StreamIngest::emoji(),
            aggregate: Definition::emoji(),
            top_n: 10,
            min_interval_ms: 0,
            binary: false,
            channel: String::new(),
            measure: String::new(),
            poll: None,
        }
    }

    fn ingest(&self) -> StreamIngest {
        let poll = self.poll.clone().map(|poll| Poll { rounds: rounds(&self.aggregate), ..poll });
        StreamIngest { name: self.name.clone(), poll, ..self.ingest.clone() }
    }
}

/// Merges defaults, file, environment and flags.
pub fn load(args: &ServeArgs) -> Result<Loaded, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(Settings::default()));
    if let Some(path) = settings_file(args)? {
        figment = figment.merge(KafkaNames(Toml::file_exact(&path)));
    }
    let kafka_environment = KafkaEnvironment::new(std::env::vars());
    let left_alone = kafka_environment.left_alone.clone();
    figment = figment.merge(kafka_environment);
    figment = figment.merge(Environment::new(std::env::vars(), top_level_settings()));
    if args.ephemeral {
        figment = figment.merge(Ephemeral);
    }
    figment = figment.merge(Flags(args));
    let mut settings: Settings = figment.extract().map_err(explain)?;
    if let Some(log_dir) = settings.kafka.log_dir().filter(|_| is_default(&figment, "data_dir")) {
        let log_dir = log_dir.to_owned();
        figment = figment.merge(LogDirs(log_dir.clone()));
        settings.data_dir = log_dir;
    }
    if settings.bootstrap.is_some() && is_default(&figment, "roles") {
        figment = figment.merge(NoBroker);
        settings.roles.remove(&Role::Broker);
    }
    settings.check(&figment)?;
    Ok(Loaded { settings, figment, left_alone })
}

fn is_default(figment: &Figment, setting: &str) -> bool {
    figment.find_metadata(setting).is_none_or(|metadata| print::source_of(metadata) == print::DEFAULT)
}

/// The file to read, known to be readable.
fn settings_file(args: &ServeArgs) -> Result<Option<PathBuf>, ConfigError> {
    let path = match &args.config {
        Some(path) => path.clone(),
        None if Path::new(DEFAULT_FILE).exists() => PathBuf::from(DEFAULT_FILE),
        None => return Ok(None),
    };
    match std::fs::File::open(&path).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.is_file() => Ok(Some(path)),
        Ok(_) => Err(ConfigError::File { path, reason: "it is not a file".to_owned() }),
        Err(error) => Err(ConfigError::File { path, reason: error.to_string() }),
    }
}

fn top_level_settings() -> Vec<String> {
    match Serialized::defaults(Settings::default()).data() {
        Ok(data) => data.into_values().flat_map(figment::value::Dict::into_keys).collect(),
        Err(_) => Vec::new(),
    }
}

/// One line that names the setting, its source and the way out.
fn explain(error: figment::Error) -> ConfigError {
    let source = error.metadata.as_ref().map(print::source_of).unwrap_or_default();
    let mut path: Vec<String> = error.path.clone();
    if let Kind::UnknownField(name, _) = &error.kind {
        path.push(name.clone());
    }
    let what = match &error.kind {
        Kind::UnknownField(name, known) => match nearest(name, known) {
            Some(known) => format!("there is no such setting; did you mean `{known}`?"),
            None => format!("there is no such setting; known here: {}", known.join(", ")),
        },
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("found {found}, expected {expected}")
        }
        other => other.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let setting = if path.is_empty() { String::new() } else { format!("`{}`: ", path.join(".")) };
    let source = if source.is_empty() { source } else { format!(" ({source})") };
    ConfigError::Value(format!("setting {setting}{what}{source}"))
}

fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    const ALIKE: f64 = 0.8;
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), *candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

impl Settings {
    pub fn broker_config(&self) -> BrokerConfig {
        BrokerConfig { data_dir: self.data_dir.clone(), ..self.kafka.clone() }
    }

    pub fn http_config(&self) -> HttpConfig {
        HttpConfig { streams: self.stream.iter().map(Stream::ingest).collect(), ..self.http.clone() }
    }

    pub fn mqtt_config(&self) -> MqttConfig {
        MqttConfig { streams: self.stream.iter().map(fan_out::stream).collect(), ..self.mqtt.clone() }
    }

    /// A node of the fan-out tree, which has no log.
    pub fn is_follower(&self) -> bool {
        self.mqtt.role != MqttRole::Main
    }

    fn check_follower(&self) -> Result<(), ConfigError> {
        let possible = [Role::Mqtt, Role::Http];
        if !self.roles.contains(&Role::Mqtt) || !self.roles.iter().all(|role| possible.contains(role)) {
            return Err(ConfigError::Value(
                "setting `roles`: a node that follows another has no log; run it with --roles mqtt, or with mqtt,http for \
                 WebSocket, metrics and probes"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// What types alone cannot say.
    fn check(&self, figment: &Figment) -> Result<(), ConfigError> {
        if self.is_follower() {
            return self.check_follower();
        }
        self.check_log()?;
        self.kafka.check().map_err(|error| {
            let source = print::source_of_kafka(figment, error.setting());
            ConfigError::Value(format!(
                "[kafka] {error}{}",
                source.map_or_else(String::new, |source| format!(" ({source})"))
            ))
        })?;
        let mut names = BTreeSet::new();
        for stream in &self.stream {
            if !names.insert(&stream.name) {
                return Err(ConfigError::Value(format!("setting `stream`: the name {} stands twice", stream.name)));
            }
            stream
                .aggregate
                .validate()
                .map_err(|error| error.to_string())
                .and_then(|()| fan_out::check(stream))
                .map_err(|error| ConfigError::Value(format!("stream {}: {error}", stream.name)))?;
        }
        self.aggregates().and_then(|aggregates| check_apart(&aggregates))
    }

    /// The log is here, or elsewhere.
    fn check_log(&self) -> Result<(), ConfigError> {
        let wrong = match (&self.bootstrap, self.roles.contains(&Role::Broker)) {
            (None, true) => return Ok(()),
            (None, false) => {
                "setting `roles`: the aggregator and the gateways need a log: `broker` in the same process, or a Kafka \
                 cluster by --bootstrap HOST:PORT"
            }
            (Some(_), true) => {
                "setting `roles`: with `bootstrap` the log is in that cluster and no broker runs here; leave `broker` out"
            }
            (Some(bootstrap), false) if !is_address_list(bootstrap) => {
                "setting `bootstrap`: expected HOST:PORT, several joined by commas"
            }
            (Some(_), false) => return Ok(()),
        };
        Err(ConfigError::Value(wrong.to_owned()))
    }

    /// Every aggregate that is declared: the streams', then the others, each valid.
    pub fn aggregates(&self) -> Result<Vec<Definition>, ConfigError> {
        let mut all: Vec<Definition> = self.stream.iter().map(|stream| stream.aggregate.clone()).collect();
        for definition in &self.aggregate {
            definition.validate().map_err(|error| ConfigError::Value(error.to_string()))?;
            all.push(definition.clone());
        }
        for text in &self.aggregate_sql {
            let definition = Definition::from_sql(text);
            all.push(definition.map_err(|error| ConfigError::Value(format!("setting `aggregate_sql`: {error}")))?);
        }
        Ok(all)
    }
}

/// When the crowd may vote, as the aggregate counts.
fn rounds(aggregate: &Definition) -> Rounds {
    let (round, _) = aggregate.window.times();
    Rounds {
        round_ms: u64::try_from(round.as_millis()).unwrap_or(u64::MAX),
        opens_ms: aggregate.open.as_ref().map(|open| open.ms),
        closes_ms: aggregate.close.as_ref().map(|close| close.ms),
        may_change: aggregate.dedup.as_ref().is_some_and(|dedup| dedup.keep == Keep::Last),
    }
}

fn is_address_list(text: &str) -> bool {
    let is_address = |one: &str| {
        one.trim().rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    text.split(',').all(is_address)
}

/// No two aggregates bear one name or write to one topic.
fn check_apart(aggregates: &[Definition]) -> Result<(), ConfigError> {
    let (mut names, mut topics) = (BTreeSet::new(), BTreeSet::new());
    for aggregate in aggregates {
        if !names.insert(aggregate.name.clone()) {
            return Err(ConfigError::Value(format!("two aggregates are named `{}`", aggregate.name)));
        }
        for topic in aggregate.written_topics() {
            if topics.contains(&topic) {
                let name = &aggregate.name;
                return Err(ConfigError::Value(format!("aggregate `{name}`: another one writes to topic `{topic}`")));
            }
            topics.insert(topic);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
