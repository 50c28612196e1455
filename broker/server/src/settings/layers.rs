//! Which value of a setting is in force, and everything behind it: Kafka's synonyms (KIP-226).

use super::{Settings, find};
use std::str::FromStr;

/// Where a value comes from; the number is the one of DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    DynamicTopic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    BrokerLogger = 6,
    ClientMetrics = 7,
    Group = 8,
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
    pub value: Option<String>,
    pub source: Source,
    pub synonyms: Vec<Synonym>,
}

/// Whose dynamic settings are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This broker's own.
    Broker,
    /// The defaults of all brokers.
    Cluster,
}

/// Settings that say the same in several units, the finest first.
const FAMILIES: &[&[&str]] = &[
    &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.roll.ms", "log.roll.hours"],
];

fn family(name: &str) -> Option<&'static [&'static str]> {
    // The timer has a meaning of its own.
    let mut found = FAMILIES.iter().filter(|_| name != "log.flush.scheduler.interval.ms");
    found.find(|family| family.contains(&name)).copied()
}

/// What was set on the broker, by where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layers {
    /// Altered at run time, on this broker.
    pub broker: Settings,
    /// Altered at run time, for all brokers.
    pub cluster: Settings,
    /// From the file, the environment or a flag.
    pub fixed: Settings,
}

impl Layers {
    pub fn dynamic(&self, scope: Scope) -> &Settings {
        match scope {
            Scope::Broker => &self.broker,
            Scope::Cluster => &self.cluster,
        }
    }

    #[must_use]
    pub fn with(mut self, scope: Scope, settings: Settings) -> Self {
        match scope {
            Scope::Broker => self.broker = settings,
            Scope::Cluster => self.cluster = settings,
        }
        self
    }

    /// What was set under that name, the strongest.
    pub fn set(&self, name: &str) -> Option<&str> {
        let found = self.broker.get(name).or_else(|| self.cluster.get(name)).or_else(|| self.fixed.get(name));
        found.map(String::as_str)
    }

    /// The value in force: what was set, else the default.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.set(name).or_else(|| find(name).and_then(|setting| setting.default))
    }

    /// The value as a number or the like; the default where a value that nothing has checked is not one.
    pub fn read<T: FromStr>(&self, name: &str) -> Option<T> {
        let parsed = self.value(name).and_then(|value| value.trim().parse().ok());
        parsed.or_else(|| find(name)?.default?.parse().ok())
    }

    /// A number that is not below zero.
    pub fn size(&self, name: &str) -> usize {
        usize::try_from(self.read::<i64>(name).unwrap_or(0)).unwrap_or(0)
    }

    pub fn long(&self, name: &str) -> i64 {
        self.read(name).unwrap_or(0)
    }

    pub fn flag(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    pub fn text(&self, name: &str) -> &str {
        self.value(name).unwrap_or_default()
    }

    /// A setting and those that stand for it where it is not set, the strongest name first. As in Kafka, the list begins with the first of
    /// the name `told`: a value that is inherited from another name alone has no synonyms.
    pub fn synonyms(&self, names: &[&str], told: &str) -> Vec<Synonym> {
        let layers = [
            (&self.broker, Source::DynamicBroker),
            (&self.cluster, Source::DynamicDefaultBroker),
            (&self.fixed, Source::StaticBroker),
        ];
        let synonym =
            |name: &str, value: &str, source| Synonym { name: name.to_owned(), value: value.to_owned(), source };
        let set = layers.iter().flat_map(|(layer, source)| {
            names.iter().filter_map(|name| layer.get(*name).map(|value| synonym(name, value, *source)))
        });
        let default =
            names.iter().filter_map(|name| find(name)?.default.map(|value| synonym(name, value, Source::Default)));
        set.chain(default).skip_while(|synonym| synonym.name != told).collect()
    }

    /// A broker's setting, described.
    pub fn effective(&self, name: &str) -> Effective {
        let synonyms = self.synonyms(family(name).unwrap_or(&[name]), name);
        let (value, source) = match synonyms.first() {
            Some(first) => (Some(first.value.clone()), first.source),
            None => (None, Source::Default),
        };
        Effective { value, source, synonyms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_layer_is_in_force() {
        let one = |value: &str| Settings::from([("log.retention.bytes".to_owned(), value.to_owned())]);
        let mut layers = Layers { broker: one("1"), cluster: one("2"), fixed: one("3") };
        let effective = layers.effective("log.retention.bytes");
        assert_eq!((effective.value.as_deref(), effective.source), (Some("1"), Source::DynamicBroker));
        let values: Vec<_> = effective.synonyms.iter().map(|synonym| synonym.value.as_str()).collect();
        assert_eq!(values, ["1", "2", "3", "-1"]);
        layers.broker.clear();
        assert_eq!(layers.read::<i64>("log.retention.bytes"), Some(2));
        assert_eq!(Layers::default().long("log.retention.bytes"), -1);
    }

    #[test]
    fn hours_stand_for_milliseconds_without_being_their_synonym() {
        let names = ["log.retention.ms", "log.retention.minutes", "log.retention.hours"];
        assert_eq!(Layers::default().synonyms(&names, "log.retention.ms"), []);
    }
}
