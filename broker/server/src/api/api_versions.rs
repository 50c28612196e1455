//! ApiVersions, key 18, versions 0-4.
//!
//! 1: throttle time. 2: no change. 3 (KIP-511, KIP-584): the client's name and version, features; flexible. 4 (KIP-1022):
//! a feature's lowest version may be 0. A version that we do not know is answered in version 0 with UNSUPPORTED_VERSION
//! and our range of this API, so that the client can ask again (KIP-35). The response header is never flexible.
//! Left out: ZooKeeper migration (never ready), and the features of APIs that this broker does not serve.

use super::{Answer, Api, Context, TABLE, bounds::*, versions};
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
    handle: |_, call| call.answer(|request, context| std::future::ready(handle(&request, &context))),
};

/// A feature of the cluster: name, supported versions, version in force. Those of a fresh Kafka 4.3 that hold here too.
const FEATURES: &[(&str, i16, i16, i16)] = &[
    ("metadata.version", METADATA_VERSION_MIN, METADATA_VERSION, METADATA_VERSION),
    ("transaction.version", 0, TRANSACTION_VERSION, TRANSACTION_VERSION),
];
/// 3.3-IV3, the oldest that Kafka 4 runs on.
const METADATA_VERSION_MIN: i16 = 7;
/// KIP-890 whole: clients that know it add no partitions themselves, and get a new epoch with each end.
const TRANSACTION_VERSION: i16 = 2;
/// 4.1-IV1: the schemas that this broker speaks are those of Kafka 4.1.
const METADATA_VERSION: i16 = 27;

fn handle(request: &ApiVersionsRequest, context: &Context) -> ApiVersionsResponse {
    if context.version >= 3
        && !(is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version))
    {
        return ApiVersionsResponse::default().with_error_code(ResponseError::InvalidRequest.code());
    }
    let response = ApiVersionsResponse::default().with_api_keys(TABLE.iter().map(row).collect());
    if context.version < 3 {
        return response;
    }
    let supported = FEATURES.iter().map(|(name, min, max, _)| {
        SupportedFeatureKey::default()
            .with_name(StrBytes::from_static_str(name))
            .with_min_version(*min)
            .with_max_version(*max)
    });
    let finalized = FEATURES.iter().map(|(name, _, _, level)| {
        FinalizedFeatureKey::default()
            .with_name(StrBytes::from_static_str(name))
            .with_max_version_level(*level)
            .with_min_version_level(*level)
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
