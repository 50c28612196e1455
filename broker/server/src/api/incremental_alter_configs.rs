//! IncrementalAlterConfigs, key 44, versions 0-1 (KIP-339), for topics.
//!
//! 1: flexible. What is set holds from the next request on, when the answer leaves.
//! Left out: settings of brokers at run time, broker loggers, client metrics and groups.

use super::{Api, bounds::*, describe_configs, versions};
use crate::{
    catalog::{
        Catalog,
        topic_settings::{self, SettingType, Settings},
    },
    config::BrokerConfig,
    errors::RequestError,
};
use kafka_protocol::messages::{
    ApiKey, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    incremental_alter_configs_response::AlterConfigsResourceResponse,
};
use std::{collections::HashSet, sync::Arc};

const CONFIG: Kind = Kind::Struct(&[field(Kind::String), field(INT8), field(Kind::NullableString)]);
const RESOURCE: Kind = Kind::Struct(&[field(INT8), field(Kind::String), field(Kind::Array(&CONFIG))]);
const LAYOUT: Layout = Layout::new(1, &[field(Kind::Array(&RESOURCE)), field(BOOLEAN)]);

pub const API: Api = Api {
    key: ApiKey::IncrementalAlterConfigs,
    name: "IncrementalAlterConfigs",
    advertised: versions(0, 1),
    served: versions(0, 1),
    request: LAYOUT,
    handle: |services, call| {
        let (catalog, config) = (services.catalog.clone(), services.config.clone());
        call.answer(move |request, _| handle(catalog, config, request))
    },
};

/// Operations by number.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

async fn handle(
    catalog: Arc<Catalog>,
    config: Arc<BrokerConfig>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let work = move || {
        let responses = request.resources.iter().map(|resource| {
            let altered = alter(&catalog, &config, resource, request.validate_only);
            let response = AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match altered {
                Ok(()) => response.with_error_message(None),
                // Kafka has no words for an operation that does not exist.
                Err(error @ RequestError::Unexpected(_)) => {
                    response.with_error_code(error.code()).with_error_message(None)
                }
                Err(error) => response.with_error_code(error.code()).with_error_message(Some(error.message())),
            }
        });
        responses.collect()
    };
    let responses = tokio::task::spawn_blocking(work).await.unwrap_or_default();
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn alter(
    catalog: &Catalog,
    config: &BrokerConfig,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), RequestError> {
    let mut seen = HashSet::new();
    if !resource.configs.iter().all(|config| seen.insert(&*config.name)) {
        return Err(RequestError::InvalidRequest("Error due to duplicate config keys".into()));
    }
    let null = resource.configs.iter().find(|config| config.value.is_none() && config.config_operation != DELETE);
    if let Some(config) = null {
        return Err(RequestError::InvalidRequest(format!("Null value not supported for : {}", config.name)));
    }
    let names = resource.configs.iter().map(|config| &*config.name);
    check_resource(config, resource.resource_type, &resource.resource_name, names)?;
    let name = &resource.resource_name;
    let altered = catalog.alter_settings(name, validate_only, |present| {
        let mut settings = present.clone();
        resource.configs.iter().try_for_each(|config| apply(&mut settings, config))?;
        Ok(settings)
    });
    altered.map_err(|error| no_such_topic(name, error))
}

/// Kafka words this refusal in its own way when settings are altered.
pub fn no_such_topic(name: &str, error: RequestError) -> RequestError {
    match error {
        RequestError::UnknownTopicOrPartition => RequestError::NoSuchTopic(name.to_owned()),
        other => other,
    }
}

/// Only topics can be altered at run time.
pub fn check_resource<'a>(
    config: &BrokerConfig,
    resource_type: i8,
    name: &str,
    settings: impl Iterator<Item = &'a str>,
) -> Result<(), RequestError> {
    let invalid = |complaint: String| Err(RequestError::InvalidRequest(complaint));
    match resource_type {
        describe_configs::TOPIC if name.is_empty() => invalid("Default topic resources are not allowed.".into()),
        describe_configs::TOPIC => Ok(()),
        describe_configs::BROKER if name.is_empty() || name.parse() == Ok(config.node_id) => {
            let settings: Vec<&str> = settings.collect();
            invalid(format!("Cannot update these configs dynamically: Set({})", settings.join(", ")))
        }
        describe_configs::BROKER => {
            invalid(format!("Unexpected broker id, expected {}, but received {name}", config.node_id))
        }
        other => invalid(format!("Unknown resource type {other}")),
    }
}

fn apply(settings: &mut Settings, config: &AlterableConfig) -> Result<(), RequestError> {
    let name = config.name.to_string();
    let value = config.value.as_ref().map(ToString::to_string).unwrap_or_default();
    match config.config_operation {
        SET => {
            settings.insert(name, value);
            Ok(())
        }
        DELETE => {
            settings.remove(&name);
            Ok(())
        }
        APPEND | SUBTRACT => {
            let setting = topic_settings::find(&name);
            let setting =
                setting.ok_or_else(|| RequestError::InvalidConfig(format!("Unknown topic config name: {name}")))?;
            let verb = if config.config_operation == APPEND { "APPEND" } else { "SUBTRACT" };
            if setting.kind != SettingType::List {
                let complaint = format!("Can't {verb} to key {name} because its type is not LIST.");
                return Err(RequestError::InvalidConfig(complaint));
            }
            let present = settings.get(&name).map_or(setting.default, String::as_str);
            let changed = change_list(present, &value, config.config_operation == APPEND);
            settings.insert(name, changed);
            Ok(())
        }
        other => Err(RequestError::Unexpected(format!("Unknown operation {other}"))),
    }
}

fn change_list(present: &str, value: &str, is_append: bool) -> String {
    let items = |text: &str| -> Vec<String> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    let mut list = items(present);
    for item in items(value) {
        list.retain(|other| *other != item);
        if is_append {
            list.push(item);
        }
    }
    list.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_and_shrink() {
        assert_eq!(change_list("delete", "compact", true), "delete,compact");
        assert_eq!(change_list("delete", "delete", true), "delete");
        assert_eq!(change_list("delete, compact", "delete", false), "compact");
        assert_eq!(change_list("", "compact", false), "");
    }
}
