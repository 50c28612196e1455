//! Metrics that clients push (KIP-714): who is to push which, how often, and what came.
//!
//! Subscriptions are the client-metrics resources of the catalog; each client instance gets the sum of those that match it. What is pushed is checked
//! (it must unpack), counted and told in the log at level debug; this broker keeps none of it. It never trusts a claimed length, and
//! the number of instances is bounded.

mod instance;
mod subscriptions;

pub use instance::{Instance, Refusal};
pub use subscriptions::{Client, Subscription, Subscriptions};

use crate::{catalog::Catalog, clock::Clock, settings::Live};
use instance::is_expired;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use tifo_storage::record_batch::unpack;
use uuid::Uuid;

/// Most client instances that are remembered, as in Kafka; then the one unheard of for longest is forgotten.
const MAX_INSTANCES: usize = 16_384;
/// What pushed metrics may unpack to, as a multiple of `telemetry.max.bytes`.
const MAX_UNPACK_FACTOR: usize = 16;

/// What clients push, on this broker.
#[derive(Debug)]
pub struct Telemetry {
    catalog: Arc<Catalog>,
    config: Arc<Live>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    instances: HashMap<Uuid, Instance>,
    /// As of the catalog's version of them.
    subscriptions: Option<(u64, Arc<Subscriptions>)>,
}

/// One push, as it came.
#[derive(Debug)]
pub struct Push {
    pub subscription_id: i32,
    pub is_terminating: bool,
    pub compression: i8,
    pub metrics: bytes::Bytes,
}

impl Telemetry {
    pub fn new(catalog: Arc<Catalog>, config: Arc<Live>, clock: Clock) -> Self {
        Self { catalog, config, clock, state: Mutex::default() }
    }

    /// What a client instance is to push.
    pub fn subscribe(&self, id: Uuid, client: &Client) -> Result<Subscription, Refusal> {
        let now_ms = self.clock.now_ms();
        let mut state = self.state.lock();
        let instance = self.instance(&mut state, id, client, now_ms);
        let answer = instance.subscribe(now_ms).map(|()| instance.subscription.clone());
        refused(answer.as_ref().err());
        answer
    }

    /// Takes what a client instance pushed.
    pub fn push(&self, id: Uuid, client: &Client, push: &Push) -> Result<(), Refusal> {
        let (now_ms, most) = (self.clock.now_ms(), self.max_bytes());
        let accepted = self.instance(&mut self.state.lock(), id, client, now_ms).push(now_ms, push, most);
        // Unpacking takes its time: nobody else waits for it.
        let taken = accepted.and_then(|()| match take(id, client, push, most.saturating_mul(MAX_UNPACK_FACTOR)) {
            Ok(()) => Ok(()),
            Err(refusal) => {
                self.instance(&mut self.state.lock(), id, client, now_ms).failed(refusal);
                Err(refusal)
            }
        });
        refused(taken.as_ref().err());
        taken
    }

    /// Whether clients are told that they can push.
    pub fn is_enabled(&self) -> bool {
        self.config.now().layers.flag("client.telemetry.enable")
    }

    /// `telemetry.max.bytes`.
    pub fn max_bytes(&self) -> usize {
        self.config.now().layers.size("telemetry.max.bytes")
    }

    /// The instance of that id: a new one where there is none, or where subscriptions have changed since.
    fn instance<'a>(&self, state: &'a mut State, id: Uuid, client: &Client, now_ms: i64) -> &'a mut Instance {
        let subscriptions = self.subscriptions(state);
        let is_current = |instance: &Instance| {
            instance.subscriptions_version == subscriptions.version && !is_expired(instance, now_ms)
        };
        let instance = match state.instances.remove(&id) {
            Some(instance) if is_current(&instance) => instance,
            before => {
                make_room(&mut state.instances, now_ms);
                // Who it is stays as it was first told.
                let client = before.map_or_else(|| client.clone(), |before| before.client);
                Instance::new(subscriptions.of(id, &client), client, subscriptions.version)
            }
        };
        let instances = &mut state.instances;
        metrics::gauge!("tifo_broker_client_telemetry_instances")
            .set(u32::try_from(instances.len().saturating_add(1)).unwrap_or(u32::MAX));
        let instance = instances.entry(id).or_insert(instance);
        instance.heard_ms = now_ms;
        instance
    }

    fn subscriptions(&self, state: &mut State) -> Arc<Subscriptions> {
        let version = self.catalog.client_metrics_version();
        match &state.subscriptions {
            Some((of, subscriptions)) if *of == version => subscriptions.clone(),
            _ => {
                let read = Arc::new(Subscriptions::read(version, self.catalog.client_metrics()));
                state.subscriptions = Some((version, read.clone()));
                read
            }
        }
    }
}

fn make_room(instances: &mut HashMap<Uuid, Instance>, now_ms: i64) {
    if instances.len() < MAX_INSTANCES {
        return;
    }
    instances.retain(|_, instance| !is_expired(instance, now_ms));
    if instances.len() >= MAX_INSTANCES {
        let oldest = instances.iter().min_by_key(|(_, instance)| instance.heard_ms).map(|(id, _)| *id);
        oldest.and_then(|id| instances.remove(&id));
    }
}

/// Unpacks, counts, tells.
fn take(id: Uuid, client: &Client, push: &Push, cap: usize) -> Result<(), Refusal> {
    if push.metrics.is_empty() {
        return Ok(());
    }
    let unpacked = unpack(i16::from(push.compression), &push.metrics, cap).map_err(|_| Refusal::Damaged)?;
    metrics::counter!("tifo_broker_client_telemetry_pushes_total").increment(1);
    let bytes = u64::try_from(push.metrics.len()).unwrap_or(u64::MAX);
    metrics::counter!("tifo_broker_client_telemetry_bytes_total").increment(bytes);
    tracing::debug!(%id, %client, bytes, unpacked = unpacked.len(), "client metrics");
    Ok(())
}

fn refused(refusal: Option<&Refusal>) {
    if let Some(refusal) = refusal {
        metrics::counter!("tifo_broker_client_telemetry_refused_total", "error" => refusal.name()).increment(1);
    }
}
