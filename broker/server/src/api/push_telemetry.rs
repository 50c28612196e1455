//! PushTelemetry, key 72, version 0 (KIP-714).
//!
//! A client instance pushes its metrics, in OpenTelemetry's format, packed or not. They are checked, counted and not kept: `telemetry` tells.
//! Told to clients as GetTelemetrySubscriptions is. Left out: reading what is in the metrics.

use super::{Api, bounds::*, get_telemetry_subscriptions::client, versions};
use crate::telemetry::{Client, Push, Refusal, Telemetry};
use kafka_protocol::messages::{ApiKey, PushTelemetryRequest, PushTelemetryResponse};
use std::sync::Arc;
use uuid::Uuid;

const LAYOUT: Layout = Layout::new(0, &[field(UUID), field(INT32), field(BOOLEAN), field(INT8), field(Kind::Bytes)]);

pub const API: Api = Api {
    key: ApiKey::PushTelemetry,
    name: "PushTelemetry",
    advertised: versions(0, 0),
    served: versions(0, 0),
    request: LAYOUT,
    handle: |services, call| {
        let telemetry = services.telemetry.clone();
        call.answer(move |request, context| handle(telemetry, request, client(&context)))
    },
};

/// Ids that Kafka keeps for itself: none, and that of the metadata topic.
const RESERVED: [Uuid; 2] = [Uuid::nil(), Uuid::from_u128(1)];

async fn handle(telemetry: Arc<Telemetry>, request: PushTelemetryRequest, client: Client) -> PushTelemetryResponse {
    let id = request.client_instance_id;
    let refused = |refusal: Refusal| PushTelemetryResponse::default().with_error_code(refusal.kind().code());
    if RESERVED.contains(&id) {
        return refused(Refusal::Invalid);
    }
    let push = Push {
        subscription_id: request.subscription_id,
        is_terminating: request.terminating,
        compression: request.compression_type,
        metrics: request.metrics,
    };
    // Unpacking takes its time.
    match tokio::task::spawn_blocking(move || telemetry.push(id, &client, &push)).await {
        Ok(Ok(())) => PushTelemetryResponse::default(),
        Ok(Err(refusal)) => refused(refusal),
        Err(_) => refused(Refusal::Damaged),
    }
}
