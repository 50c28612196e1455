//! UpdateFeatures, key 57, versions 0-2 (KIP-584).
//!
//! 1 (KIP-778): kinds of downgrade, validate only. 2: no results by feature. Setting a feature to the level in force works;
//! every other level is refused, also where Kafka would take a lower one: there is one level of each.

use super::{
    Api, Context,
    bounds::*,
    features::{self, Feature},
    versions,
};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, UpdateFeaturesRequest, UpdateFeaturesResponse, update_features_request::FeatureUpdateKey,
        update_features_response::UpdatableFeatureResult,
    },
    protocol::StrBytes,
};

const UPDATE: Kind = Kind::Struct(&[field(Kind::String), field(INT16), field(BOOLEAN).until(0), field(INT8).since(1)]);
const LAYOUT: Layout = Layout::new(0, &[field(INT32), field(Kind::Array(&UPDATE)), field(BOOLEAN).since(1)]);

pub const API: Api = Api {
    key: ApiKey::UpdateFeatures,
    name: "UpdateFeatures",
    advertised: versions(0, 2),
    served: versions(0, 2),
    request: LAYOUT,
    handle: |services, call| {
        let node_id = services.cluster.node_id;
        call.answer(move |request, context| std::future::ready(handle(node_id, &request, &context)))
    },
};

/// Kinds of update by number: upgrade, safe downgrade, unsafe downgrade.
const UPGRADE: i8 = 1;
const UPDATE_TYPES: std::ops::RangeInclusive<i8> = UPGRADE..=3;
/// Kafka's message where there is no error.
const NO_ERROR: &str = "NONE";

fn handle(node_id: i32, request: &UpdateFeaturesRequest, context: &Context) -> UpdateFeaturesResponse {
    let complaint = request.feature_updates.iter().find_map(|update| complaint(node_id, update, context.version));
    if let Some(complaint) = complaint {
        let complaint =
            format!("The update failed for all features since the following feature had an error: {complaint}");
        return UpdateFeaturesResponse::default()
            .with_error_code(ResponseError::InvalidUpdateVersion.code())
            .with_error_message(Some(StrBytes::from_string(complaint)));
    }
    let response = UpdateFeaturesResponse::default().with_error_message(None);
    if context.version >= 2 {
        return response;
    }
    let results = request.feature_updates.iter().map(|update| {
        UpdatableFeatureResult::default()
            .with_feature(update.feature.clone())
            .with_error_message(Some(StrBytes::from_static_str(NO_ERROR)))
    });
    response.with_results(results.collect())
}

/// Why a feature cannot be at that level, in the order in which Kafka looks.
fn complaint(node_id: i32, update: &FeatureUpdateKey, version: i16) -> Option<String> {
    let (name, level) = (&*update.feature, update.max_version_level);
    let is_upgrade = if version == 0 { !update.allow_downgrade } else { update.upgrade_type == UPGRADE };
    let reason = match features::find(name) {
        _ if version > 0 && !UPDATE_TYPES.contains(&update.upgrade_type) => {
            "The controller does not support the given upgrade type.".to_owned()
        }
        _ if level < 0 => "A feature version cannot be less than 0.".to_owned(),
        None if level == 0 => format!("Feature {name} not found."),
        None => format!("Local controller {node_id} does not support this feature."),
        Some(Feature { min, max, .. }) if level < *min || level > *max => {
            format!("Local controller {node_id} only supports versions {min}-{max}")
        }
        Some(feature) if level == feature.level => return None,
        Some(_) if is_upgrade => "Can't downgrade the version of this feature without setting the upgrade type to \
                                  either safe or unsafe downgrade."
            .to_owned(),
        Some(feature) => format!("This broker runs at level {} alone.", feature.level),
    };
    Some(format!("Invalid update version {level} for feature {name}. {reason}"))
}
