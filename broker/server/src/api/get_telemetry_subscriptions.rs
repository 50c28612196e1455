//! GetTelemetrySubscriptions, key 71, version 0 (KIP-714).
//!
//! A client instance asks which metrics it is to push, how often and how packed; without an id it gets one. Told to clients by ApiVersions only with
//! `client.telemetry.enable`, as Apache Kafka does only with a reporter that takes client metrics. Left out: nothing.

use super::{Api, Context, bounds::*, versions};
use crate::{
    catalog::kafka_uuid,
    telemetry::{Client, Telemetry},
};
use kafka_protocol::{
    messages::{ApiKey, GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse},
    protocol::StrBytes,
};

const LAYOUT: Layout = Layout::new(0, &[field(UUID)]);

pub const API: Api = Api {
    key: ApiKey::GetTelemetrySubscriptions,
    name: "GetTelemetrySubscriptions",
    advertised: versions(0, 0),
    served: versions(0, 0),
    request: LAYOUT,
    handle: |services, call| {
        let telemetry = services.telemetry.clone();
        call.answer(move |request, context| std::future::ready(handle(&telemetry, &request, &context)))
    },
};

/// What clients may pack with, by number, Kafka's favourite first: zstd, lz4, gzip, snappy.
const COMPRESSION_TYPES: [i8; 4] = [4, 3, 1, 2];

fn handle(
    telemetry: &Telemetry,
    request: &GetTelemetrySubscriptionsRequest,
    context: &Context,
) -> GetTelemetrySubscriptionsResponse {
    let asked = request.client_instance_id;
    let id = if asked.is_nil() { kafka_uuid::random() } else { asked };
    let subscription = match telemetry.subscribe(id, &client(context)) {
        Ok(subscription) => subscription,
        Err(refusal) => return GetTelemetrySubscriptionsResponse::default().with_error_code(refusal.kind().code()),
    };
    GetTelemetrySubscriptionsResponse::default()
        .with_client_instance_id(id)
        .with_subscription_id(subscription.id)
        .with_accepted_compression_types(COMPRESSION_TYPES.to_vec())
        .with_push_interval_ms(subscription.push_interval_ms)
        .with_telemetry_max_bytes(i32::try_from(telemetry.max_bytes()).unwrap_or(i32::MAX))
        .with_delta_temporality(true)
        .with_requested_metrics(subscription.metrics.into_iter().map(StrBytes::from_string).collect())
}

/// Who asks.
pub fn client(context: &Context) -> Client {
    let (software_name, software_version) = context.software.told();
    Client {
        id: context.client_id.as_deref().unwrap_or_default().to_owned(),
        software_name,
        software_version,
        address: Some(context.peer),
    }
}
