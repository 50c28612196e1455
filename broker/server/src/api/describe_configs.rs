//! DescribeConfigs, key 32, versions 1-4.
//!
//! 1: sources and synonyms instead of "is default". 2: throttling. 3 (KIP-569): types and documentation. 4: flexible.
//! Topics and brokers: every setting of Kafka 4.3 and Tifo's own, those without effect here, too.
//! Client metrics subscriptions and groups: all that they can have, also where nothing is set. Broker loggers: the levels of the log.

use super::{Api, Context, bounds::*, versions};
use crate::{
    catalog::{Catalog, names},
    errors::RequestError,
    loggers::Loggers,
    services::Services,
    settings::{
        self, Effective, InForce, Layers, Scope, Setting, Settings, Source, Synonym, Update, resources::ResourceKind,
        topics,
    },
};
use kafka_protocol::{
    messages::{
        ApiKey, DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym},
    },
    protocol::StrBytes,
};
use std::collections::BTreeSet;

const RESOURCE: Kind = Kind::Struct(&[field(INT8), field(Kind::String), field(Kind::NullableArray(&Kind::String))]);
const LAYOUT: Layout = Layout::new(4, &[field(Kind::Array(&RESOURCE)), field(BOOLEAN), field(BOOLEAN).since(3)]);

pub const API: Api = Api {
    key: ApiKey::DescribeConfigs,
    name: "DescribeConfigs",
    advertised: versions(1, 4),
    served: versions(1, 4),
    request: LAYOUT,
    handle: |services, call| {
        let services = services.clone();
        call.answer(move |request, context| std::future::ready(handle(&services, &request, &context)))
    },
};

/// Resource types by number (KIP-133).
pub const TOPIC: i8 = 2;
pub const BROKER: i8 = 4;
pub const BROKER_LOGGER: i8 = 8;
pub const CLIENT_METRICS: i8 = 16;
pub const GROUP: i8 = 32;
/// Type of a setting that no table knows.
const UNKNOWN_TYPE: i8 = 0;

/// Throttles of replication, which Kafka does not tell of unless they are set.
const TOLD_WHEN_SET: &[&str] = &[
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// One setting, described.
struct Described {
    name: String,
    effective: Effective,
    /// None: a dynamic setting that no table knows, or the level of a logger.
    setting: Option<Setting>,
    is_read_only: bool,
}

fn handle(services: &Services, request: &DescribeConfigsRequest, context: &Context) -> DescribeConfigsResponse {
    let Services { catalog, loggers, config, .. } = services;
    let config = config.now();
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe(catalog, loggers, &config, resource) {
            Ok(described) => {
                let wanted = described.into_iter().filter(|one| is_wanted(resource, &one.name));
                let entries = wanted.map(|one| entry(one, request, context.version)).collect();
                result.with_error_message(Some(StrBytes::default())).with_configs(entries)
            }
            // Kafka has no message for this one.
            Err(error @ RequestError::UnknownTopicOrPartition) => {
                result.with_error_code(error.code()).with_error_message(Some(StrBytes::default()))
            }
            Err(error) => result.with_error_code(error.code()).with_error_message(Some(error.message())),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn is_wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    resource.configuration_keys.as_ref().is_none_or(|keys| keys.iter().any(|key| **key == *name))
}

fn describe(
    catalog: &Catalog,
    loggers: &Loggers,
    config: &InForce,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, RequestError> {
    let name = &resource.resource_name;
    match resource.resource_type {
        TOPIC => {
            if let Some(complaint) = names::complaint(name) {
                return Err(RequestError::InvalidTopic(complaint));
            }
            let topic = catalog.topic(name).ok_or(RequestError::UnknownTopicOrPartition)?;
            Ok(topic_entries(&topic.settings, &config.layers))
        }
        // The empty name stands for the defaults of all brokers.
        BROKER if name.is_empty() => Ok(cluster_entries(config.layers.dynamic(Scope::Cluster))),
        BROKER if name.parse() == Ok(config.node_id) => Ok(broker_entries(&config.layers)),
        BROKER if name.parse::<i32>().is_err() => {
            Err(RequestError::InvalidRequest(format!("Broker id must be an integer, but it is: {}", &**name)))
        }
        BROKER => Err(RequestError::InvalidRequest(format!(
            "Unexpected broker id, expected {} or empty string, but received {name}",
            config.node_id
        ))),
        BROKER_LOGGER if name.is_empty() => Err(RequestError::InvalidRequest("Broker id must not be empty".into())),
        BROKER_LOGGER if name.parse() == Ok(config.node_id) => Ok(logger_entries(loggers)),
        BROKER_LOGGER if name.parse::<i32>().is_err() => {
            Err(RequestError::InvalidRequest(format!("Broker id must be an integer, but it is: {}", &**name)))
        }
        BROKER_LOGGER => Err(RequestError::InvalidRequest(format!(
            "Unexpected broker id, expected {} but received {name}",
            config.node_id
        ))),
        CLIENT_METRICS if name.is_empty() => {
            Err(RequestError::InvalidRequest("Client metrics subscription name must not be empty".into()))
        }
        GROUP if name.is_empty() => Err(RequestError::InvalidRequest("Group name must not be empty".into())),
        CLIENT_METRICS => Ok(resource_entries(catalog, &config.layers, ResourceKind::ClientMetrics, name)),
        GROUP => Ok(resource_entries(catalog, &config.layers, ResourceKind::Group, name)),
        _ => Err(RequestError::InvalidRequest(
            "This most likely occurs because of a request being malformed by the client library or the message was sent \
             to an incompatible broker. See the broker logs for more details."
                .into(),
        )),
    }
}

fn topic_entries(own: &Settings, broker: &Layers) -> Vec<Described> {
    let entries = topics::TOPIC_SETTINGS.iter().map(|one| Described {
        name: one.setting.name.to_owned(),
        effective: one.effective(own, broker),
        setting: Some(one.setting),
        is_read_only: false,
    });
    entries.collect()
}

fn resource_entries(catalog: &Catalog, broker: &Layers, kind: ResourceKind, name: &str) -> Vec<Described> {
    let own = catalog.resource_settings(kind, name);
    let entries = kind.settings().iter().map(|one| Described {
        name: one.setting.name.to_owned(),
        effective: one.effective(kind, &own, broker),
        setting: Some(one.setting),
        is_read_only: false,
    });
    entries.collect()
}

fn broker_entries(layers: &Layers) -> Vec<Described> {
    let dynamic = layers.broker.keys().chain(layers.cluster.keys()).map(String::as_str);
    let unknown = dynamic.filter(|name| settings::find(name).is_none());
    let known = settings::broker_settings().map(|setting| setting.name);
    let told = known.filter(|name| !TOLD_WHEN_SET.contains(name) || layers.set(name).is_some());
    let names: BTreeSet<&str> = told.chain(unknown).collect();
    let entries = names.into_iter().map(|name| {
        let setting = settings::find(name).copied();
        let is_read_only = setting.is_none_or(|setting| setting.update == Update::ReadOnly);
        Described { name: name.to_owned(), effective: layers.effective(name), setting, is_read_only }
    });
    entries.collect()
}

fn logger_entries(loggers: &Loggers) -> Vec<Described> {
    let entries = loggers.all().into_iter().map(|(name, level)| Described {
        name,
        effective: Effective {
            value: Some(level.name().to_owned()),
            source: Source::BrokerLogger,
            synonyms: Vec::new(),
        },
        setting: None,
        is_read_only: false,
    });
    entries.collect()
}

/// Only what was altered for all brokers.
fn cluster_entries(altered: &Settings) -> Vec<Described> {
    let entries = altered.iter().map(|(name, value)| {
        let source = Source::DynamicDefaultBroker;
        let synonym = Synonym { name: name.clone(), value: value.clone(), source };
        let setting = settings::find(name).copied();
        Described {
            name: name.clone(),
            effective: Effective { value: Some(value.clone()), source, synonyms: vec![synonym] },
            setting,
            is_read_only: setting.is_none_or(|setting| setting.update == Update::ReadOnly),
        }
    });
    entries.collect()
}

fn entry(described: Described, request: &DescribeConfigsRequest, version: i16) -> DescribeConfigsResourceResult {
    let Described { name, effective, setting, is_read_only } = described;
    let is_logger = effective.source == Source::BrokerLogger;
    // What no table knows may be a password.
    let is_sensitive = !is_logger && setting.is_none_or(|setting| setting.is_sensitive());
    let shown = |value: String| (!is_sensitive).then(|| StrBytes::from_string(value));
    let mut entry = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_string(name))
        .with_value(effective.value.and_then(shown))
        .with_read_only(is_read_only)
        .with_is_sensitive(is_sensitive)
        .with_config_source(effective.source as i8)
        // Of loggers Kafka has no words, but no null either.
        .with_documentation(is_logger.then(StrBytes::default));
    if request.include_synonyms {
        let synonyms = effective.synonyms.into_iter().map(|synonym| {
            DescribeConfigsSynonym::default()
                .with_name(StrBytes::from_string(synonym.name))
                .with_value(shown(synonym.value))
                .with_source(synonym.source as i8)
        });
        entry.synonyms = synonyms.collect();
    }
    if version >= 3 {
        entry.config_type = setting.map_or(UNKNOWN_TYPE, |setting| setting.kind as i8);
    }
    if request.include_documentation && !is_logger {
        entry.documentation = setting.map(|setting| StrBytes::from_static_str(setting.documentation));
    }
    entry
}
