//! Settings of client metrics subscriptions (KIP-714) and of groups (KIP-848): what they are, and what is legal.
//!
//! Those of consumer groups are read with each of their heartbeats, those of share groups by `groups/share.rs`; nothing reads those of
//! streams groups yet.

use super::{Effective, Layers, Setting, SettingType, Settings, Source, Synonym, Update};
use crate::errors::RequestError;
use serde::{Deserialize, Serialize};

/// What has settings beside topics and brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceKind {
    ClientMetrics,
    Group,
}

/// One setting of them.
#[derive(Debug, Clone, Copy)]
pub struct ResourceSetting {
    pub setting: Setting,
    /// The broker setting that it takes its value from; Kafka names the setting itself where there is none.
    inherits: Option<&'static str>,
    allowed: Allowed,
}

/// What a value must be beyond its type and [`super::Legal`].
#[derive(Debug, Clone, Copy)]
enum Allowed {
    Any,
    /// A push interval.
    Interval(i64, i64),
    AtLeast(i64),
    /// Between the broker's settings of that name with `min` and `max` in it, where there are such.
    OfBroker,
    OneOf(&'static [&'static str]),
    /// `earliest`, `latest` or `by_duration:` and a duration.
    OffsetReset,
    ClientMatch,
}

use Allowed::{Any, AtLeast, ClientMatch, Interval, OfBroker, OffsetReset, OneOf};

const fn row(
    name: &'static str,
    kind: SettingType,
    default: &'static str,
    inherits: Option<&'static str>,
    allowed: Allowed,
    documentation: &'static str,
) -> ResourceSetting {
    let setting = Setting {
        name,
        kind,
        default: Some(default),
        legal: super::Legal::Any,
        update: Update::ClusterWide,
        is_idle: inherits.is_some(),
        documentation,
    };
    ResourceSetting { setting, inherits, allowed }
}

#[rustfmt::skip]
const CLIENT_METRICS: &[ResourceSetting] = {
    use SettingType::{Int, List};
    &[
        row("interval.ms", Int, "300000", None, Interval(100, 3_600_000), "How often a client pushes its metrics."),
        row("match", List, "", None, ClientMatch, "Which clients push: attribute=pattern, separated by commas; empty: all."),
        row("metrics", List, "", None, Any, "Prefixes of the metrics that are wanted, separated by commas; * stands for all."),
    ]
};

#[rustfmt::skip]
const GROUP: &[ResourceSetting] = {
    use SettingType::{Boolean, Int, String};
    &[
        row("consumer.assignment.interval.ms", Int, "0", Some("group.consumer.assignment.interval.ms"), OfBroker, "Least time between two assignments of a consumer group."),
        row("consumer.heartbeat.interval.ms", Int, "5000", Some("group.consumer.heartbeat.interval.ms"), OfBroker, "How often members of a consumer group are heard of."),
        row("consumer.session.timeout.ms", Int, "45000", Some("group.consumer.session.timeout.ms"), OfBroker, "Silence after which a member of a consumer group is gone."),
        row("share.assignment.interval.ms", Int, "1000", Some("group.share.assignment.interval.ms"), OfBroker, "Least time between two assignments of a share group."),
        row("share.auto.offset.reset", String, "latest", Some("share.auto.offset.reset"), OffsetReset, "Where a share group begins to read."),
        row("share.delivery.count.limit", Int, "5", Some("group.share.delivery.count.limit"), OfBroker, "How often a record is delivered to a share group."),
        row("share.heartbeat.interval.ms", Int, "5000", Some("group.share.heartbeat.interval.ms"), OfBroker, "How often members of a share group are heard of."),
        row("share.isolation.level", String, "read_uncommitted", Some("share.isolation.level"), OneOf(&["read_committed", "read_uncommitted"]), "Whether a share group reads what is not committed."),
        row("share.partition.max.record.locks", Int, "2000", Some("group.share.partition.max.record.locks"), OfBroker, "Most records that a share group holds of one partition."),
        row("share.record.lock.duration.ms", Int, "30000", Some("group.share.record.lock.duration.ms"), OfBroker, "How long a member of a share group holds a record."),
        row("share.renew.acknowledge.enable", Boolean, "true", Some("share.renew.acknowledge.enable"), OneOf(&["true", "false"]), "Whether a member of a share group may hold a record for longer."),
        row("share.session.timeout.ms", Int, "45000", Some("group.share.session.timeout.ms"), OfBroker, "Silence after which a member of a share group is gone."),
        row("streams.assignment.interval.ms", Int, "1000", Some("group.streams.assignment.interval.ms"), OfBroker, "Least time between two assignments of a streams group."),
        row("streams.heartbeat.interval.ms", Int, "5000", Some("group.streams.heartbeat.interval.ms"), OfBroker, "How often members of a streams group are heard of."),
        row("streams.initial.rebalance.delay.ms", Int, "3000", Some("group.streams.initial.rebalance.delay.ms"), AtLeast(0), "How long an empty streams group waits for more members."),
        row("streams.num.standby.replicas", Int, "0", Some("group.streams.num.standby.replicas"), OfBroker, "Standby replicas of each task of a streams group."),
        row("streams.session.timeout.ms", Int, "45000", Some("group.streams.session.timeout.ms"), OfBroker, "Silence after which a member of a streams group is gone."),
    ]
};

impl ResourceKind {
    /// Every setting that a resource of this kind can have.
    pub fn settings(self) -> &'static [ResourceSetting] {
        match self {
            Self::ClientMetrics => CLIENT_METRICS,
            Self::Group => GROUP,
        }
    }

    fn source(self) -> Source {
        match self {
            Self::ClientMetrics => Source::ClientMetrics,
            Self::Group => Source::Group,
        }
    }

    /// Checks all that would be set on a resource, in Kafka's words.
    pub fn check(self, settings: &Settings, broker: &Layers) -> Result<(), RequestError> {
        settings.iter().try_for_each(|(name, value)| {
            match self.settings().iter().find(|one| one.setting.name == name) {
                Some(one) => one.check(value, broker),
                None => Err(self.unknown(name)),
            }
        })
    }

    fn unknown(self, name: &str) -> RequestError {
        match self {
            Self::ClientMetrics => {
                RequestError::InvalidRequest(format!("Unknown client metrics configuration: {name}"))
            }
            Self::Group => RequestError::InvalidConfig(format!("Unknown group config name: {name}")),
        }
    }
}

impl ResourceSetting {
    /// What is in force on a resource with these settings.
    pub fn effective(&self, kind: ResourceKind, own: &Settings, broker: &Layers) -> Effective {
        let (name, default) = (self.setting.name, self.setting.default.unwrap_or_default());
        let synonym =
            |name: &str, value: &str, source| Synonym { name: name.to_owned(), value: value.to_owned(), source };
        let mut synonyms: Vec<Synonym> =
            own.get(name).map(|value| synonym(name, value, kind.source())).into_iter().collect();
        match self.inherits {
            Some(inherited) if inherited == name => synonyms.push(synonym(name, default, Source::Default)),
            Some(inherited) => synonyms.extend(broker.synonyms(&[inherited], inherited)),
            None => {}
        }
        let strongest = synonyms.first().map(|first| (first.value.clone(), first.source));
        let (value, source) = strongest.unwrap_or_else(|| (default.to_owned(), Source::Default));
        Effective { value: Some(value), source, synonyms }
    }

    fn check(&self, value: &str, broker: &Layers) -> Result<(), RequestError> {
        self.setting.check(value).map_err(RequestError::InvalidConfig)?;
        let name = self.setting.name;
        let number = value.trim().parse::<i64>().unwrap_or_default();
        let illegal = |complaint: String| Err(RequestError::InvalidConfig(complaint));
        match self.allowed {
            Interval(least, most) if !(least..=most).contains(&number) => Err(RequestError::InvalidRequest(format!(
                "Invalid value {value} for {name}, interval must be between {least} and {most} (1 hour)"
            ))),
            AtLeast(least) if number < least => illegal(format!("{name} must be at least {least}")),
            OfBroker => self.check_bounds(number, broker),
            OneOf(words) if !words.contains(&value) => illegal(format!(
                "Invalid value {value} for configuration {name}: String must be one of: {}",
                words.join(", ")
            )),
            OffsetReset if !is_offset_reset(value) => illegal(format!(
                "Invalid value {value} for configuration {name}: expected earliest, latest or by_duration: and a duration"
            )),
            ClientMatch => check_match(value),
            _ => Ok(()),
        }
    }

    /// `group.consumer.session.timeout.ms` is bounded by `group.consumer.min.session.timeout.ms` and the like.
    fn check_bounds(&self, number: i64, broker: &Layers) -> Result<(), RequestError> {
        let name = self.setting.name;
        let bound = |which: &str| {
            let (protocol, rest) = name.split_once('.')?;
            let bound = format!("group.{protocol}.{which}.{rest}");
            broker.read::<i64>(&bound).map(|value| (bound, value))
        };
        let complaint = match (bound("min"), bound("max")) {
            (Some((least, value)), _) if number < value => format!("greater than or equal to {least}"),
            (_, Some((most, value))) if number > value => format!("less than or equal to {most}"),
            _ => return Ok(()),
        };
        Err(RequestError::InvalidConfig(format!("{name} must be {complaint}")))
    }
}

fn is_offset_reset(value: &str) -> bool {
    let is_duration = |text: &str| text.len() > 2 && text.starts_with('P') && !text.contains('-');
    matches!(value, "earliest" | "latest") || value.strip_prefix("by_duration:").is_some_and(is_duration)
}

/// What a client can be told by (KIP-714).
const CLIENT_ATTRIBUTES: &[&str] = &[
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

fn check_match(value: &str) -> Result<(), RequestError> {
    let pairs = value.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let mut wrong = pairs.filter(|pair| {
        let pattern = pair.split_once('=').filter(|(name, _)| CLIENT_ATTRIBUTES.contains(&name.trim()));
        pattern.is_none_or(|(_, pattern)| regex::Regex::new(pattern.trim()).is_err())
    });
    match wrong.next() {
        None => Ok(()),
        Some(pair) => Err(RequestError::InvalidConfig(format!("Illegal client matching pattern: {pair}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal_settings() {
        let check = |kind: ResourceKind, name: &str, value: &str| {
            kind.check(&Settings::from([(name.to_owned(), value.to_owned())]), &Layers::default()).is_ok()
        };
        let metrics = |name: &str, value: &str| check(ResourceKind::ClientMetrics, name, value);
        let group = |name: &str, value: &str| check(ResourceKind::Group, name, value);
        assert!(metrics("interval.ms", "100") && !metrics("interval.ms", "99") && !metrics("interval.ms", "soon"));
        assert!(metrics("match", "client_id=a.*, client_source_port=[0-9]+") && metrics("match", ""));
        for wrong in ["client_id", "colour=red", "client_id=["] {
            assert!(!metrics("match", wrong), "{wrong}");
        }
        assert!(!metrics("other", "1"));
        assert!(group("share.auto.offset.reset", "by_duration:PT1H"));
        assert!(!group("share.auto.offset.reset", "by_duration:-PT1H") && !group("share.auto.offset.reset", "now"));
        assert!(group("consumer.session.timeout.ms", "50000") && !group("consumer.session.timeout.ms", "5"));
        assert!(!group("consumer.session.timeout.ms", "60001") && !group("share.isolation.level", "none"));
        for kind in [ResourceKind::ClientMetrics, ResourceKind::Group] {
            for one in kind.settings() {
                assert!(check(kind, one.setting.name, one.setting.default.unwrap_or_default()), "{}", one.setting.name);
            }
        }
    }
}
