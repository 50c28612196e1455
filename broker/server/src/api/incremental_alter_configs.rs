//! IncrementalAlterConfigs, key 44, versions 0-1 (KIP-339), for topics, brokers, client metrics, groups and broker loggers.
//!
//! 1: flexible. What is set holds from the next request on, when the answer leaves.
//! Left out: nothing.

use super::{
    Api,
    altered_configs::{Resource, alter_all},
    bounds::*,
    versions,
};
use crate::{catalog::Catalog, errors::RequestError, loggers::Loggers, settings::Settings};
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
        let (catalog, loggers) = (services.catalog.clone(), services.loggers.clone());
        call.answer(move |request, _| handle(catalog, loggers, request))
    },
};

/// Operations by number.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

async fn handle(
    catalog: Arc<Catalog>,
    loggers: Arc<Loggers>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let IncrementalAlterConfigsRequest { resources, validate_only, .. } = request;
    let altered = alter_all(
        resources,
        |one| (one.resource_type, &one.resource_name),
        move |resource| alter(&catalog, &loggers, resource, validate_only),
    );
    let responses = altered.await.into_iter().map(|(resource, outcome)| {
        AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
            .with_error_code(outcome.code)
            .with_error_message(outcome.message)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn alter(
    catalog: &Catalog,
    loggers: &Loggers,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), RequestError> {
    check(&resource.configs)?;
    let target = Resource::find(catalog, Some(loggers), resource.resource_type, &resource.resource_name)?;
    target.alter(catalog, validate_only, |present| {
        let mut settings = present.clone();
        resource.configs.iter().try_for_each(|config| apply(target, &mut settings, config))?;
        Ok(settings)
    })
}

fn check(configs: &[AlterableConfig]) -> Result<(), RequestError> {
    let mut seen = HashSet::new();
    if !configs.iter().all(|config| seen.insert(&*config.name)) {
        return Err(RequestError::InvalidRequest("Error due to duplicate config keys".into()));
    }
    let null = configs.iter().find(|config| config.value.is_none() && config.config_operation != DELETE);
    match null {
        Some(config) => Err(RequestError::InvalidRequest(format!("Null value not supported for : {}", config.name))),
        None => Ok(()),
    }
}

fn apply(target: Resource<'_>, settings: &mut Settings, config: &AlterableConfig) -> Result<(), RequestError> {
    let name = config.name.to_string();
    let value = config.value.as_ref().map(ToString::to_string).unwrap_or_default();
    match config.config_operation {
        SET => {
            settings.insert(name, value);
            Ok(())
        }
        DELETE => {
            target.check_removal(&name)?;
            settings.remove(&name);
            Ok(())
        }
        operation @ (APPEND | SUBTRACT) => {
            let default = target.list_default(&name, operation == APPEND)?;
            let present = settings.get(&name).unwrap_or(&default);
            let changed = change_list(present, &value, operation == APPEND);
            settings.insert(name, changed);
            Ok(())
        }
        other => Err(target.unknown_operation(other)),
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
