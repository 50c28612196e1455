//! ApiVersions, key 18, versions 0-4.
//!
//! 1: throttle time. 2: no change. 3 (KIP-511, KIP-584): the client's name and version, features; flexible. 4 (KIP-1022):
//! a feature's lowest version may be 0. A version that we do not know is answered in version 0 with UNSUPPORTED_VERSION
//! and our range of this API, so that the client can ask again (KIP-35). The response header is never flexible.
//! Left out: ZooKeeper migration (never ready), and the features of APIs that this broker does not serve.

use super::{
    Answer, Api, Context,
    bounds::*,
    features::{FEATURES, Feature},
    versions,
};
use crate::telemetry::Telemetry;
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse,
        api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey},
    },
    protocol::StrBytes,
};

const LAYOUT: Layout = Layout::new(3, &[field(Kind::String).since(3), field(Kind::String).since(3)]);

pub const API: Api = Api {
    key: ApiKey::ApiVersions,
    name: "ApiVersions",
    advertised: versions(0, 4),
    served: versions(0, 4),
    request: LAYOUT,
    handle: |services, call| {
        let telemetry = services.telemetry.clone();
        call.answer(move |request, context| std::future::ready(handle(&telemetry, &request, &context)))
    },
};

fn handle(telemetry: &Telemetry, request: &ApiVersionsRequest, context: &Context) -> ApiVersionsResponse {
    if context.version >= 3
        && !(is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version))
    {
        return ApiVersionsResponse::default().with_error_code(ResponseError::InvalidRequest.code());
    }
    context.software.tell(&request.client_software_name, &request.client_software_version);
    let response = ApiVersionsResponse::default().with_api_keys(super::told(telemetry).map(row).collect());
    if context.version < 3 {
        return response;
    }
    let can_be_told = |feature: &&Feature| feature.min > 0 || context.version >= 4;
    let supported = FEATURES.iter().filter(can_be_told).map(|feature| {
        SupportedFeatureKey::default()
            .with_name(StrBytes::from_static_str(feature.name))
            .with_min_version(feature.min)
            .with_max_version(feature.max)
    });
    let finalized = FEATURES.iter().map(|feature| {
        FinalizedFeatureKey::default()
            .with_name(StrBytes::from_static_str(feature.name))
            .with_max_version_level(feature.level)
            .with_min_version_level(feature.level)
    });
    response
        .with_supported_features(supported.collect())
        .with_finalized_features(finalized.collect())
        .with_finalized_features_epoch(0)
}

/// The answer to a version that is newer than ours.
pub fn refuse(context: &Context) -> Answer {
    let response = ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(vec![row(&API)]);
    context.respond_in(&response, 0)
}

fn row(api: &Api) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(api.key as i16)
        .with_min_version(api.advertised.min)
        .with_max_version(api.advertised.max)
}

/// KIP-511: letters, digits, dots and dashes, with a letter or digit at both ends.
fn is_software_name(name: &str) -> bool {
    let at_ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    at_ends(name.chars().next())
        && at_ends(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
}
