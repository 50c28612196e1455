//! ListConfigResources, key 74, versions 0-1.
//!
//! 0 (KIP-714, as ListClientMetricsResources): client metrics subscriptions. 1 (KIP-1142): every kind of resource that has
//! settings, or those that are asked for.

use super::{Api, Context, bounds::*, describe_configs, versions};
use crate::{catalog::Catalog, settings::resources::ResourceKind};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, ListConfigResourcesRequest, ListConfigResourcesResponse, list_config_resources_response::ConfigResource,
    },
    protocol::StrBytes,
};
use std::collections::BTreeSet;

const LAYOUT: Layout = Layout::new(0, &[field(Kind::Array(&INT8)).since(1)]);

pub const API: Api = Api {
    key: ApiKey::ListConfigResources,
    name: "ListConfigResources",
    advertised: versions(0, 1),
    served: versions(0, 1),
    request: LAYOUT,
    handle: |services, call| {
        let (catalog, node_id) = (services.catalog.clone(), services.cluster.node_id);
        call.answer(move |request, context| std::future::ready(handle(&catalog, node_id, &request, &context)))
    },
};

const KINDS: [i8; 5] = [
    describe_configs::TOPIC,
    describe_configs::BROKER,
    describe_configs::BROKER_LOGGER,
    describe_configs::CLIENT_METRICS,
    describe_configs::GROUP,
];

fn handle(
    catalog: &Catalog,
    node_id: i32,
    request: &ListConfigResourcesRequest,
    context: &Context,
) -> ListConfigResourcesResponse {
    let asked: BTreeSet<i8> = match request.resource_types.as_slice() {
        _ if context.version == 0 => [describe_configs::CLIENT_METRICS].into(),
        [] => KINDS.into(),
        asked => asked.iter().copied().collect(),
    };
    if !asked.iter().all(|kind| KINDS.contains(kind)) {
        return ListConfigResourcesResponse::default().with_error_code(ResponseError::UnsupportedVersion.code());
    }
    let resources = asked.into_iter().flat_map(|kind| {
        names(catalog, node_id, kind).into_iter().map(move |name| {
            ConfigResource::default().with_resource_name(StrBytes::from_string(name)).with_resource_type(kind)
        })
    });
    ListConfigResourcesResponse::default().with_config_resources(resources.collect())
}

fn names(catalog: &Catalog, node_id: i32, kind: i8) -> Vec<String> {
    match kind {
        describe_configs::TOPIC => catalog.topics().iter().map(|topic| topic.name.to_string()).collect(),
        describe_configs::CLIENT_METRICS => catalog.resource_names(ResourceKind::ClientMetrics),
        describe_configs::GROUP => catalog.resource_names(ResourceKind::Group),
        _ => vec![node_id.to_string()],
    }
}
