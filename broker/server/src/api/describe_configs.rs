//! DescribeConfigs, key 32, versions 1-4.
//!
//! 1: sources and synonyms instead of "is default". 2: throttling. 3 (KIP-569): types and documentation. 4: flexible.
//! Topics: every setting of Kafka 4.3 and Tifo's own. Brokers: what this broker reads, not the 250 that Kafka has.
//! Left out: broker loggers, client metrics and groups as resources (INVALID_REQUEST).

use super::{Api, Context, bounds::*, versions};
use crate::{
    catalog::{
        Catalog, names,
        topic_settings::{Effective, Settings, Source, Synonym, TOPIC_SETTINGS},
    },
    config::BrokerConfig,
    errors::RequestError,
};
use kafka_protocol::{
    messages::{
        ApiKey, DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym},
    },
    protocol::StrBytes,
};

const RESOURCE: Kind = Kind::Struct(&[field(INT8), field(Kind::String), field(Kind::NullableArray(&Kind::String))]);
const LAYOUT: Layout = Layout::new(4, &[field(Kind::Array(&RESOURCE)), field(BOOLEAN), field(BOOLEAN).since(3)]);

pub const API: Api = Api {
    key: ApiKey::DescribeConfigs,
    name: "DescribeConfigs",
    advertised: versions(1, 4),
    served: versions(1, 4),
    request: LAYOUT,
    handle: |services, call| {
        let (catalog, config) = (services.catalog.clone(), services.config.clone());
        call.answer(move |request, context| std::future::ready(handle(&catalog, &config, &request, &context)))
    },
};

/// Resource types by number (KIP-133).
pub const TOPIC: i8 = 2;
pub const BROKER: i8 = 4;

/// One setting, described.
struct Described {
    name: String,
    effective: Effective,
    kind: i8,
    is_read_only: bool,
    documentation: &'static str,
}

fn handle(
    catalog: &Catalog,
    config: &BrokerConfig,
    request: &DescribeConfigsRequest,
    context: &Context,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe(catalog, config, resource) {
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
    config: &BrokerConfig,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, RequestError> {
    let name = &resource.resource_name;
    match resource.resource_type {
        TOPIC => {
            if let Some(complaint) = names::complaint(name) {
                return Err(RequestError::InvalidTopic(complaint));
            }
            let topic = catalog.topic(name).ok_or(RequestError::UnknownTopicOrPartition)?;
            Ok(topic_entries(&topic.settings, &config.settings))
        }
        // The empty name stands for the defaults of all brokers: none are set.
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER if name.parse() == Ok(config.node_id) => Ok(broker_entries(config)),
        BROKER if name.parse::<i32>().is_err() => {
            Err(RequestError::InvalidRequest(format!("Broker id must be an integer, but it is: {}", &**name)))
        }
        BROKER => Err(RequestError::InvalidRequest(format!(
            "Unexpected broker id, expected {} or empty string, but received {name}",
            config.node_id
        ))),
        _ => Err(RequestError::InvalidRequest(
            "This most likely occurs because of a request being malformed by the client library or the message was sent \
             to an incompatible broker. See the broker logs for more details."
                .into(),
        )),
    }
}

fn topic_entries(own: &Settings, broker: &Settings) -> Vec<Described> {
    let entries = TOPIC_SETTINGS.iter().map(|setting| Described {
        name: setting.name.to_owned(),
        effective: setting.effective(own, broker),
        kind: setting.kind as i8,
        is_read_only: false,
        documentation: setting.documentation,
    });
    entries.collect()
}

fn broker_entries(config: &BrokerConfig) -> Vec<Described> {
    let mut entries: Vec<Described> = config
        .described()
        .into_iter()
        .map(|setting| {
            let source = if setting.is_default { Source::Default } else { Source::StaticBroker };
            let synonym = Synonym { name: setting.name.clone(), value: setting.value.clone(), source };
            Described {
                name: setting.name,
                effective: Effective { value: setting.value, source, synonyms: vec![synonym] },
                kind: setting.kind as i8,
                is_read_only: true,
                documentation: setting.documentation,
            }
        })
        .collect();
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    entries
}

fn entry(described: Described, request: &DescribeConfigsRequest, version: i16) -> DescribeConfigsResourceResult {
    let text = |text: String| StrBytes::from_string(text);
    let mut entry = DescribeConfigsResourceResult::default()
        .with_name(text(described.name))
        .with_value(Some(text(described.effective.value)))
        .with_read_only(described.is_read_only)
        .with_config_source(described.effective.source as i8)
        .with_documentation(None);
    if request.include_synonyms {
        let synonyms = described.effective.synonyms.into_iter().map(|synonym| {
            DescribeConfigsSynonym::default()
                .with_name(text(synonym.name))
                .with_value(Some(text(synonym.value)))
                .with_source(synonym.source as i8)
        });
        entry.synonyms = synonyms.collect();
    }
    if version >= 3 {
        entry.config_type = described.kind;
    }
    if request.include_documentation {
        entry.documentation = Some(StrBytes::from_static_str(described.documentation));
    }
    entry
}
