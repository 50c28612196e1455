//! One table row per API: dispatch, ApiVersions, metric names and docs/compatibility.md all derive from it.
//!
//! The way of a request: header and bounds are checked here, then the row's handler is called. What it does before its
//! first await happens in request order; its future may complete in any order. Nothing in here touches a socket, and no
//! version is advertised that the handler does not honour. To add an API: one file, one row, one set of golden frames.

pub mod bounds;

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod alter_share_group_offsets;
mod altered_configs;
mod api_versions;
#[cfg(test)]
mod compatibility;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_share_group_offsets;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_share_group_offsets;
mod describe_topic_partitions;
mod describe_transactions;
mod elect_leaders;
mod end_txn;
mod features;
mod fetch;
mod find_coordinator;
mod get_telemetry_subscriptions;
mod group_fields;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod push_telemetry;
mod record_errors;
mod share_acknowledge;
mod share_fetch;
mod share_group_describe;
mod share_group_heartbeat;
mod sync_group;
mod txn_offset_commit;
mod unregister_broker;
mod update_features;
mod write_txn_markers;

pub use fetch::FetchSessions;

use crate::{
    network::{
        connection::{Peer, Shared, Software},
        response::{EncodeError, Response},
    },
    services::Services,
    telemetry::Telemetry,
};
use bounds::{BoundsError, Layout};
use bytes::{Buf, Bytes};
use kafka_protocol::{
    messages::ApiKey,
    protocol::{Decodable, Encodable, HeaderVersion, StrBytes},
};
use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Instant};

/// The APIs that this broker serves, by key.
pub const TABLE: &[Api] = &[
    produce::API,
    fetch::API,
    list_offsets::API,
    metadata::API,
    offset_commit::API,
    offset_fetch::API,
    find_coordinator::API,
    join_group::API,
    heartbeat::API,
    leave_group::API,
    sync_group::API,
    describe_groups::API,
    list_groups::API,
    api_versions::API,
    create_topics::API,
    delete_topics::API,
    delete_records::API,
    init_producer_id::API,
    offset_for_leader_epoch::API,
    add_partitions_to_txn::API,
    add_offsets_to_txn::API,
    end_txn::API,
    write_txn_markers::API,
    txn_offset_commit::API,
    describe_configs::API,
    alter_configs::API,
    alter_replica_log_dirs::API,
    describe_log_dirs::API,
    create_partitions::API,
    delete_groups::API,
    elect_leaders::API,
    incremental_alter_configs::API,
    alter_partition_reassignments::API,
    list_partition_reassignments::API,
    offset_delete::API,
    describe_quorum::API,
    update_features::API,
    describe_cluster::API,
    describe_producers::API,
    describe_transactions::API,
    list_transactions::API,
    consumer_group_heartbeat::API,
    consumer_group_describe::API,
    unregister_broker::API,
    get_telemetry_subscriptions::API,
    push_telemetry::API,
    list_config_resources::API,
    describe_topic_partitions::API,
    share_group_heartbeat::API,
    share_group_describe::API,
    share_fetch::API,
    share_acknowledge::API,
    describe_share_group_offsets::API,
    alter_share_group_offsets::API,
    delete_share_group_offsets::API,
];

/// One API: what is known of it without running it.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    pub key: ApiKey,
    pub name: &'static str,
    /// What ApiVersions tells clients.
    pub advertised: Versions,
    /// What the handler honours. Differs from `advertised` for Produce alone, as in Kafka.
    pub served: Versions,
    pub request: Layout,
    pub handle: Handler,
}

/// From the first to the last version, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    pub min: i16,
    pub max: i16,
}

pub const fn versions(min: i16, max: i16) -> Versions {
    Versions { min, max }
}

impl Versions {
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

/// Takes the call; what is done before the future is returned or first awaits happens in request order.
pub type Handler = fn(&Arc<Services>, Call) -> Pending;

/// The answer to come.
pub type Pending = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What a handler answers.
#[derive(Debug)]
pub enum Answer {
    Response(Response),
    /// Produce with acks=0.
    Nothing,
    Close(Closed),
}

/// Why a request costs the client its connection.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    #[error("a frame of {0} bytes holds no request header")]
    NoHeader(usize),
    #[error("request of unknown API key {0}")]
    UnknownKey(i16),
    #[error("{api} version {version} is not supported")]
    UnsupportedVersion { api: &'static str, version: i16 },
    #[error("malformed {api} version {version}: {reason}")]
    Malformed { api: &'static str, version: i16, reason: BoundsError },
    #[error("malformed {api} version {version}: {reason}")]
    Undecodable { api: &'static str, version: i16, reason: String },
    #[error("{api} version {version}: {reason}")]
    Unanswerable { api: &'static str, version: i16, reason: EncodeError },
    #[error("produce with acks=0 failed: {0}")]
    SilentProduceFailed(String),
}

/// Who asks, and how.
#[derive(Debug, Clone)]
pub struct Context {
    pub api: &'static str,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<StrBytes>,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that the client dialled.
    pub local: SocketAddr,
    /// What it is.
    pub software: Arc<Software>,
}

/// One request whose bounds have been checked.
#[derive(Debug)]
pub struct Call {
    pub context: Context,
    pub body: Bytes,
}

impl Call {
    /// The usual handler: decode, handle, encode. `handle` gets only what its API file hands it.
    pub fn answer<Q, R, F>(self, handle: impl FnOnce(Q, Context) -> F) -> Pending
    where
        Q: Decodable,
        R: Encodable + HeaderVersion,
        F: Future<Output = R> + Send + 'static,
    {
        let context = self.context.clone();
        let request = match self.decode::<Q>() {
            Ok(request) => request,
            Err(closed) => return ready(Answer::Close(closed)),
        };
        let response = handle(request, context.clone());
        Box::pin(async move { context.respond(&response.await) })
    }

    pub fn decode<Q: Decodable>(mut self) -> Result<Q, Closed> {
        let Context { api, version, .. } = self.context;
        Q::decode(&mut self.body, version).map_err(|error| Closed::Undecodable {
            api,
            version,
            reason: error.to_string(),
        })
    }
}

impl Context {
    pub fn respond<R: Encodable + HeaderVersion>(&self, response: &R) -> Answer {
        self.respond_in(response, self.version)
    }

    /// Answers in another version than the request's (ApiVersions does when it knows no better).
    pub fn respond_in<R: Encodable + HeaderVersion>(&self, response: &R, version: i16) -> Answer {
        self.seal(Response::encode(response, version, self.correlation_id))
    }

    pub fn seal(&self, encoded: Result<Response, EncodeError>) -> Answer {
        match encoded {
            Ok(response) => Answer::Response(response),
            Err(reason) => {
                let Context { api, version, .. } = *self;
                Answer::Close(Closed::Unanswerable { api, version, reason })
            }
        }
    }
}

pub fn ready(answer: Answer) -> Pending {
    Box::pin(std::future::ready(answer))
}

/// What ApiVersions tells of: all but what must be asked for.
pub fn told(telemetry: &Telemetry) -> impl Iterator<Item = &'static Api> {
    let is_told = telemetry.is_enabled();
    TABLE.iter().filter(move |api| is_told || !ASKED_FOR.contains(&api.key))
}

/// Told only with `client.telemetry.enable`.
pub const ASKED_FOR: [ApiKey; 2] = [ApiKey::GetTelemetrySubscriptions, ApiKey::PushTelemetry];

/// The row of an API key.
pub fn find(key: i16) -> Option<(usize, &'static Api)> {
    TABLE.iter().enumerate().find(|(_, api)| api.key as i16 == key)
}

/// Checks header, version and bounds of a frame, then hands it to its API.
pub fn dispatch(shared: &Arc<Shared>, peer: &Peer, mut frame: Bytes) -> Result<Pending, Closed> {
    let size = frame.len();
    let (Ok(key), Ok(version), Ok(correlation_id)) = (frame.try_get_i16(), frame.try_get_i16(), frame.try_get_i32())
    else {
        return Err(Closed::NoHeader(size));
    };
    let (row, api) = find(key).ok_or(Closed::UnknownKey(key))?;
    let Peer { address, local, software } = peer.clone();
    let mut context =
        Context { api: api.name, version, correlation_id, client_id: None, peer: address, local, software };
    if !api.served.contains(version) {
        return refuse_version(api, &context);
    }
    context.client_id = read_client_id(api, version, &mut frame)?;
    bounds::walk(&api.request, version, &frame).map_err(|reason| malformed(api, version, reason))?;
    let started = Instant::now();
    let pending = (api.handle)(&shared.services, Call { context, body: frame });
    Ok(measured(shared.metrics.row(row), started, pending))
}

/// Cuts the rest of the header off the frame.
fn read_client_id(api: &Api, version: i16, frame: &mut Bytes) -> Result<Option<StrBytes>, Closed> {
    let refused = |reason| malformed(api, version, reason);
    let behind = bounds::walk_header(api.request.is_flexible(version), frame).map_err(refused)?;
    let mut header = frame.split_to(frame.len() - behind);
    let length = header.try_get_i16().ok().and_then(|length| usize::try_from(length).ok());
    let Some(length) = length.filter(|length| *length <= header.len()) else { return Ok(None) };
    let reason = |error: std::str::Utf8Error| Closed::Undecodable { api: api.name, version, reason: error.to_string() };
    StrBytes::from_utf8(header.split_to(length)).map(Some).map_err(reason)
}

/// KIP-35: an unknown version of ApiVersions is answered in version 0, any other costs the connection, as in Kafka.
fn refuse_version(api: &Api, context: &Context) -> Result<Pending, Closed> {
    if api.key == ApiKey::ApiVersions {
        return Ok(ready(api_versions::refuse(context)));
    }
    Err(Closed::UnsupportedVersion { api: api.name, version: context.version })
}

fn malformed(api: &Api, version: i16, reason: BoundsError) -> Closed {
    Closed::Malformed { api: api.name, version, reason }
}

fn measured(metrics: &RowMetrics, started: Instant, pending: Pending) -> Pending {
    metrics.requests.increment(1);
    let seconds = metrics.seconds.clone();
    Box::pin(async move {
        let answer = pending.await;
        seconds.record(started.elapsed().as_secs_f64());
        answer
    })
}

/// Counters and histograms of every row, looked up once.
#[derive(Debug)]
pub struct ApiMetrics(Vec<RowMetrics>);

struct RowMetrics {
    requests: metrics::Counter,
    seconds: metrics::Histogram,
}

impl std::fmt::Debug for RowMetrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RowMetrics")
    }
}

impl ApiMetrics {
    /// Registers the metrics of all APIs; the process's recorder is installed by then.
    pub fn register() -> Self {
        let row = |api: &Api| RowMetrics {
            requests: metrics::counter!("tifo_broker_requests_total", "api" => api.name),
            seconds: metrics::histogram!("tifo_broker_request_seconds", "api" => api.name),
        };
        Self(TABLE.iter().map(row).collect())
    }

    fn row(&self, row: usize) -> &RowMetrics {
        &self.0[row]
    }
}
