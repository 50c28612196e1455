//! AlterConfigs, key 33, versions 0-2, for topics: the settings given replace all that the topic had.
//!
//! 1: throttling. 2: flexible. Superseded by IncrementalAlterConfigs (KIP-339), still called by older tools.
//! Left out: settings of brokers at run time.

use super::{
    Api,
    bounds::*,
    incremental_alter_configs::{check_resource, no_such_topic},
    versions,
};
use crate::{
    catalog::{Catalog, topic_settings::Settings},
    config::BrokerConfig,
    errors::RequestError,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, ApiKey, alter_configs_request::AlterConfigsResource,
    alter_configs_response::AlterConfigsResourceResponse,
};
use std::sync::Arc;

const CONFIG: Kind = Kind::Struct(&[field(Kind::String), field(Kind::NullableString)]);
const RESOURCE: Kind = Kind::Struct(&[field(INT8), field(Kind::String), field(Kind::Array(&CONFIG))]);
const LAYOUT: Layout = Layout::new(2, &[field(Kind::Array(&RESOURCE)), field(BOOLEAN)]);

pub const API: Api = Api {
    key: ApiKey::AlterConfigs,
    name: "AlterConfigs",
    advertised: versions(0, 2),
    served: versions(0, 2),
    request: LAYOUT,
    handle: |services, call| {
        let (catalog, config) = (services.catalog.clone(), services.config.clone());
        call.answer(move |request, _| handle(catalog, config, request))
    },
};

async fn handle(
    catalog: Arc<Catalog>,
    config: Arc<BrokerConfig>,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let work = move || {
        let responses = request.resources.iter().map(|resource| {
            let response = AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match alter(&catalog, &config, resource, request.validate_only) {
                Ok(()) => response.with_error_message(None),
                Err(error) => response.with_error_code(error.code()).with_error_message(Some(error.message())),
            }
        });
        responses.collect()
    };
    let responses = tokio::task::spawn_blocking(work).await.unwrap_or_default();
    AlterConfigsResponse::default().with_responses(responses)
}

fn alter(
    catalog: &Catalog,
    config: &BrokerConfig,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), RequestError> {
    let pairs = resource.configs.iter().map(|config| match &config.value {
        Some(value) => Ok((config.name.to_string(), value.to_string())),
        None => Err(RequestError::InvalidRequest(format!("Null value not supported for : {}", config.name))),
    });
    let settings = pairs.collect::<Result<Settings, _>>()?;
    let names = settings.keys().map(String::as_str);
    check_resource(config, resource.resource_type, &resource.resource_name, names)?;
    let altered = catalog.alter_settings(&resource.resource_name, validate_only, |_| Ok(settings));
    altered.map_err(|error| no_such_topic(&resource.resource_name, error))
}
