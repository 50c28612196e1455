//! AlterConfigs, key 33, versions 0-2, for topics, brokers, client metrics and groups: the settings given replace all that were altered before.
//!
//! 1: throttling. 2: flexible. Superseded by IncrementalAlterConfigs (KIP-339), still called by older tools.
//! Left out: nothing; levels of broker loggers are altered by the other alone.

use super::{
    Api,
    altered_configs::{Resource, alter_all},
    bounds::*,
    versions,
};
use crate::{catalog::Catalog, errors::RequestError, settings::Settings};
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
        let catalog = services.catalog.clone();
        call.answer(move |request, _| handle(catalog, request))
    },
};

async fn handle(catalog: Arc<Catalog>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let AlterConfigsRequest { resources, validate_only, .. } = request;
    let altered = alter_all(
        resources,
        |one| (one.resource_type, &one.resource_name),
        move |resource: &AlterConfigsResource| {
            let settings = settings(resource)?;
            let resource = Resource::find(&catalog, None, resource.resource_type, &resource.resource_name)?;
            resource.alter(&catalog, validate_only, |_| Ok(settings))
        },
    );
    let responses = altered.await.into_iter().map(|(resource, outcome)| {
        AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
            .with_error_code(outcome.code)
            .with_error_message(outcome.message)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

fn settings(resource: &AlterConfigsResource) -> Result<Settings, RequestError> {
    let pairs = resource.configs.iter().map(|config| match &config.value {
        Some(value) => Ok((config.name.to_string(), value.to_string())),
        None => Err(RequestError::InvalidRequest(format!("Null value not supported for : {}", config.name))),
    });
    pairs.collect()
}
