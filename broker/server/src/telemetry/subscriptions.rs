//! Which clients are to push which metrics, and how often: the client-metrics resources, read once for each change of them.

use crate::settings::{Settings, list};
use regex::Regex;
use std::{
    collections::BTreeSet,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
};
use uuid::Uuid;

/// Kafka's word for all metrics.
const ALL: &str = "*";
/// Where no subscription says otherwise (KIP-714).
const DEFAULT_INTERVAL_MS: i32 = 300_000;
/// What Kafka says of a client that has not told what it is.
const UNKNOWN: &str = "unknown";

/// Who a client is, as far as it and its connection tell.
#[derive(Debug, Clone, Default)]
pub struct Client {
    pub id: String,
    pub software_name: String,
    pub software_version: String,
    pub address: Option<SocketAddr>,
}

impl fmt::Display for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.map(|address| address.to_string()).unwrap_or_default();
        write!(formatter, "{} ({} {}) {address}", self.id, self.software_name, self.software_version)
    }
}

impl Client {
    fn attribute(&self, name: &str, instance: Uuid) -> Option<String> {
        let or_unknown = |text: &str| if text.is_empty() { UNKNOWN.to_owned() } else { text.to_owned() };
        match name {
            "client_instance_id" => Some(crate::catalog::kafka_uuid::to_kafka_string(instance)),
            "client_id" => Some(self.id.clone()),
            "client_software_name" => Some(or_unknown(&self.software_name)),
            "client_software_version" => Some(or_unknown(&self.software_version)),
            "client_source_address" => self.address.map(|address| address.ip().to_canonical().to_string()),
            "client_source_port" => self.address.map(|address| address.port().to_string()),
            _ => None,
        }
    }
}

/// What one client instance is to push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Another one as soon as anything of it is another.
    pub id: i32,
    pub push_interval_ms: i32,
    /// Prefixes of names; `*` alone stands for all, none for nothing.
    pub metrics: Vec<String>,
}

/// Every client-metrics resource.
#[derive(Debug)]
pub struct Subscriptions {
    pub version: u64,
    all: Vec<One>,
}

#[derive(Debug)]
struct One {
    interval_ms: i32,
    metrics: BTreeSet<String>,
    patterns: Vec<(String, Regex)>,
}

impl Subscriptions {
    pub fn read(version: u64, resources: Vec<Settings>) -> Self {
        Self { version, all: resources.iter().filter_map(One::read).collect() }
    }

    /// The sum of those that match.
    pub fn of(&self, instance: Uuid, client: &Client) -> Subscription {
        let mut metrics = BTreeSet::new();
        let mut push_interval_ms = DEFAULT_INTERVAL_MS;
        for one in self.all.iter().filter(|one| one.matches(instance, client)) {
            metrics.extend(one.metrics.iter().cloned());
            push_interval_ms = push_interval_ms.min(one.interval_ms);
        }
        if metrics.contains(ALL) {
            metrics = BTreeSet::from([ALL.to_owned()]);
        }
        let id = id_of(instance, push_interval_ms, &metrics);
        Subscription { id, push_interval_ms, metrics: metrics.into_iter().collect() }
    }
}

impl One {
    /// What was set has been checked when it was set.
    fn read(settings: &Settings) -> Option<Self> {
        let items = |name: &str| settings.get(name).map(String::as_str).unwrap_or_default();
        let patterns = list(items("match")).map(|pair| {
            let (attribute, pattern) = pair.split_once('=')?;
            // The whole of the attribute must match.
            let pattern = Regex::new(&format!("^(?:{})$", pattern.trim())).ok()?;
            Some((attribute.trim().to_owned(), pattern))
        });
        Some(Self {
            interval_ms: items("interval.ms").trim().parse().unwrap_or(DEFAULT_INTERVAL_MS),
            metrics: list(items("metrics")).map(str::to_owned).collect(),
            patterns: patterns.collect::<Option<_>>()?,
        })
    }

    fn matches(&self, instance: Uuid, client: &Client) -> bool {
        let has = |(name, pattern): &(String, Regex)| {
            client.attribute(name, instance).is_some_and(|value| pattern.is_match(&value))
        };
        self.patterns.iter().all(has)
    }
}

/// Differs when what the client is asked for differs. Clients only send it back; one that an earlier release gave is unknown, and asked for anew.
fn id_of(instance: Uuid, interval_ms: i32, metrics: &BTreeSet<String>) -> i32 {
    let mut hasher = DefaultHasher::new();
    (instance, interval_ms, metrics).hash(&mut hasher);
    hasher.finish().to_be_bytes().first_chunk().map_or(0, |upper| i32::from_be_bytes(*upper))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn resource(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn of(resources: &[Settings]) -> Subscription {
        let client = Client {
            id: "shop".into(),
            software_name: "apache-kafka-java".into(),
            software_version: "4.3.1".into(),
            address: Some("127.0.0.1:5000".parse().unwrap()),
        };
        Subscriptions::read(1, resources.to_vec()).of(Uuid::from_u128(5), &client)
    }

    #[test]
    fn the_sum_of_what_matches() {
        let slow = resource(&[("metrics", "org.apache.kafka.producer."), ("interval.ms", "60000")]);
        let fast = resource(&[
            ("metrics", "a,org.apache.kafka.producer."),
            ("interval.ms", "1000"),
            ("match", "client_id=sh.*,client_source_port=[0-9]+"),
        ]);
        let others = resource(&[("metrics", "b"), ("interval.ms", "100"), ("match", "client_id=sho")]);
        let found = of(&[slow.clone(), fast.clone(), others]);
        assert_eq!(found.metrics, ["a", "org.apache.kafka.producer."]);
        assert_eq!(found.push_interval_ms, 1000);
        assert_ne!(found.id, of(&[slow]).id);
        let all = resource(&[("metrics", "*"), ("match", "client_software_name=apache-kafka-java")]);
        assert_eq!(of(&[fast, all]).metrics, ["*"]);
    }

    #[test]
    fn without_a_match_nothing_is_wanted() {
        let found = of(&[resource(&[("metrics", "a"), ("match", "client_software_name=librdkafka")])]);
        assert_eq!((found.push_interval_ms, found.metrics), (300_000, Vec::new()));
    }
}
