//! Every aggregate that runs here: those of the settings, and those declared while it runs.
//!
//! The latter are kept in a compacted topic of their own, by name, so that a restart knows them. A declaration starts the
//! aggregate first and writes it down then: what was refused is never there, and what was answered is there for good.

use crate::{
    Aggregator, AggregatorError, Definition, DefinitionError, Status, definition::alike, event::EventReader,
    first_look::FIRST_EVENTS, reader::MAX_DECOMPRESSED_BYTES, recovery::scan, status::StatusHandle,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tifo_broker::{ClientError, LogClient, client::TopicSpec, clock::Clock};
use tifo_storage::record_batch::{BatchBuilder, Compression, batches};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Where declared aggregates are kept: name -> definition, as JSON.
pub const DEFINITIONS_TOPIC: &str = "__tifo_aggregates";
/// Version of that JSON.
const VERSION: u32 = 1;
/// What is read of each partition for a look at the first events.
const LOOK_BYTES: usize = 1 << 20;
/// Aggregates of one process, those of the settings included.
pub const MAX_AGGREGATES: usize = 1_000;

/// Why a declaration or a removal is refused.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    #[error(transparent)]
    Invalid(#[from] DefinitionError),
    /// What is there stands in the way.
    #[error("{0}")]
    Conflict(String),
    #[error("there is no aggregate `{0}`")]
    Unknown(String),
    /// The log did not do it; nothing has changed.
    #[error("{0}")]
    Failed(AggregatorError),
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    definition: Definition,
}

#[derive(Debug)]
struct Entry {
    definition: Definition,
    aggregator: Aggregator,
    stop: CancellationToken,
    /// Over the door, not in the settings.
    declared: bool,
}

/// What is shown of an aggregate.
#[derive(Debug, Clone)]
pub struct Shown {
    pub definition: Definition,
    pub declared: bool,
    pub status: StatusHandle,
}

#[derive(Debug)]
pub struct Registry {
    client: Arc<dyn LogClient>,
    clock: Clock,
    shutdown: CancellationToken,
    /// Held for a whole declaration or removal: they come one after the other.
    entries: Mutex<BTreeMap<String, Entry>>,
    /// The same for those who only look. Never held across an await.
    shown: parking_lot::Mutex<BTreeMap<String, Shown>>,
}

impl Registry {
    /// Starts the settings' aggregates, any failure of which is fatal, then the declared ones, where it is only logged.
    pub async fn start(
        settings: Vec<Definition>,
        client: Arc<dyn LogClient>,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> Result<Self, AggregatorError> {
        let (entries, shown) = (Mutex::default(), parking_lot::Mutex::default());
        let registry = Self { client, clock, shutdown, entries, shown };
        let mut entries = registry.entries.lock().await;
        for definition in settings {
            registry.run(&mut entries, definition, false).await?;
        }
        for definition in kept(&*registry.client).await?.into_values() {
            let name = definition.name.clone();
            let started = match check_apart(&entries, &definition) {
                Ok(()) => registry.run(&mut entries, definition, true).await.map_err(DeclareError::Failed),
                Err(error) => Err(error),
            };
            if let Err(error) = started {
                tracing::error!(aggregate = name, %error, "a declared aggregate does not run");
            }
        }
        drop(entries);
        Ok(registry)
    }

    /// Starts the aggregate and keeps it; false if it runs already, exactly so.
    pub async fn declare(&self, definition: Definition) -> Result<bool, DeclareError> {
        definition.validate()?;
        let mut entries = self.entries.lock().await;
        if entries.get(&definition.name).is_some_and(|entry| entry.definition == definition) {
            return Ok(false);
        }
        check_apart(&entries, &definition)?;
        check_source(&*self.client, &definition).await?;
        let name = definition.name.clone();
        self.run(&mut entries, definition.clone(), true).await.map_err(refused)?;
        if let Err(error) = self.keep(&name, Some(definition)).await {
            self.end(&mut entries, &name).await;
            return Err(DeclareError::Failed(error.into()));
        }
        Ok(true)
    }

    /// Stops a declared aggregate and forgets it. Its topics stay.
    pub async fn remove(&self, name: &str) -> Result<(), DeclareError> {
        let mut entries = self.entries.lock().await;
        match entries.get(name) {
            None => return Err(DeclareError::Unknown(name.to_owned())),
            Some(entry) if !entry.declared => {
                return Err(DeclareError::Conflict(format!("`{name}` is in the settings file; remove it there")));
            }
            Some(_) => {}
        }
        self.keep(name, None).await.map_err(|error| DeclareError::Failed(error.into()))?;
        self.end(&mut entries, name).await;
        Ok(())
    }

    /// Every aggregate, by name.
    pub fn all(&self) -> Vec<Shown> {
        self.shown.lock().values().cloned().collect()
    }

    pub fn statuses(&self) -> Vec<Status> {
        self.all().iter().map(|shown| shown.status.status()).collect()
    }

    /// Waits until all have stopped; `shutdown` tells them to.
    pub async fn join(&self) {
        for (_, entry) in std::mem::take(&mut *self.entries.lock().await) {
            entry.aggregator.join().await;
        }
    }

    async fn run(
        &self,
        entries: &mut BTreeMap<String, Entry>,
        definition: Definition,
        declared: bool,
    ) -> Result<(), AggregatorError> {
        let stop = self.shutdown.child_token();
        let (client, clock) = (Arc::clone(&self.client), self.clock.clone());
        let aggregator = Aggregator::start(definition.clone(), client, clock, stop.clone()).await?;
        let (name, status) = (definition.name.clone(), aggregator.status_handle());
        self.shown.lock().insert(name.clone(), Shown { definition: definition.clone(), declared, status });
        entries.insert(name, Entry { definition, aggregator, stop, declared });
        Ok(())
    }

    async fn end(&self, entries: &mut BTreeMap<String, Entry>, name: &str) {
        self.shown.lock().remove(name);
        if let Some(entry) = entries.remove(name) {
            entry.stop.cancel();
            entry.aggregator.join().await;
        }
    }

    /// Writes it down; None: that it is gone.
    async fn keep(&self, name: &str, definition: Option<Definition>) -> Result<(), ClientError> {
        let settings = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        self.client.ensure_topic(&TopicSpec { name: DEFINITIONS_TOPIC.to_owned(), partitions: 1, settings }).await?;
        // Plain structs of numbers and strings always serialize.
        let value =
            definition.map(|definition| serde_json::to_vec(&Kept { version: VERSION, definition }).unwrap_or_default());
        let mut batch = BatchBuilder::new(Compression::None);
        batch.push(self.clock.now_ms(), Some(name.as_bytes()), value.as_deref(), &[]);
        self.client.append(DEFINITIONS_TOPIC, 0, batch.build()).await.map(|_| ())
    }
}

/// Output of another definition, and definitions that are none, are the client's mistake.
fn refused(error: AggregatorError) -> DeclareError {
    match error {
        AggregatorError::Definition(error) => DeclareError::Invalid(error),
        AggregatorError::Changed { .. } => DeclareError::Conflict(error.to_string()),
        error => DeclareError::Failed(error),
    }
}

/// No two aggregates bear one name or write to one topic.
fn check_apart(entries: &BTreeMap<String, Entry>, definition: &Definition) -> Result<(), DeclareError> {
    let name = &definition.name;
    if entries.contains_key(name) {
        return Err(DeclareError::Conflict(format!(
            "another aggregate is named `{name}`; remove it first, or take another name"
        )));
    }
    if entries.len() >= MAX_AGGREGATES {
        return Err(DeclareError::Conflict(format!("there are {MAX_AGGREGATES} aggregates, as many as there may be")));
    }
    let others = entries.values().flat_map(|entry| entry.definition.written_topics());
    let own = definition.written_topics();
    match others.into_iter().find(|topic| own.contains(topic)) {
        Some(topic) => Err(DeclareError::Conflict(format!("another aggregate writes to topic `{topic}`"))),
        None => Ok(()),
    }
}

/// The raw topic is there or may be created. A field that every event must have, and that none of the raw topic's first events has, is a mistake; of fewer events
/// the status tells it.
async fn check_source(client: &dyn LogClient, definition: &Definition) -> Result<(), DeclareError> {
    let failed = |error: ClientError| DeclareError::Failed(error.into());
    let count = match client.partitions(&definition.from).await {
        Err(ClientError::UnknownTopic(_)) => return check_may_create(client, definition),
        count => count.map_err(failed)?,
    };
    let mut events = EventReader::new(definition);
    for partition in 0..count {
        let (start, end) = client.offsets(&definition.from, partition).await.map_err(failed)?;
        if start < end && !events.knows_events() {
            let fetched = client.fetch(&definition.from, partition, start, LOOK_BYTES, Duration::ZERO).await;
            look_at(&mut events, fetched.map_err(failed)?.batches);
        }
    }
    match events.warning().filter(|_| events.knows_events()) {
        Some(reason) => Err(DefinitionError { aggregate: definition.name.clone(), field: "group_by", reason }.into()),
        None => Ok(()),
    }
}

/// A missing raw topic is created where Kafka would create it.
fn check_may_create(client: &dyn LogClient, definition: &Definition) -> Result<(), DeclareError> {
    let Some(topics) = client.only_topics() else { return Ok(()) };
    let known: Vec<&str> = topics.iter().map(String::as_str).collect();
    let meant = alike(&definition.from, &known).map(|topic| format!(" (did you mean `{topic}`?)"));
    let reason = format!(
        "topic `{}` does not exist{}; create it first, or set auto.create.topics.enable=true",
        definition.from,
        meant.unwrap_or_default()
    );
    Err(DefinitionError { aggregate: definition.name.clone(), field: "from", reason }.into())
}

/// Damaged batches say nothing here.
fn look_at(events: &mut EventReader, bytes: Bytes) {
    for batch in batches(bytes).map_while(Result::ok).filter(|batch| !batch.is_control()) {
        let Ok(records) = batch.open(MAX_DECOMPRESSED_BYTES) else { continue };
        for record in records.iter().map_while(Result::ok).take(FIRST_EVENTS) {
            // What is wrong with an event is the aggregate's business.
            let _ = events.read(&record);
        }
    }
}

/// What was declared and not removed since.
async fn kept(client: &dyn LogClient) -> Result<BTreeMap<String, Definition>, AggregatorError> {
    let mut all = BTreeMap::new();
    let (start, end) = match client.offsets(DEFINITIONS_TOPIC, 0).await {
        Err(ClientError::UnknownTopic(_) | ClientError::UnknownPartition { .. }) => return Ok(all),
        offsets => offsets?,
    };
    scan(client, DEFINITIONS_TOPIC, start, end, |record| {
        let Some(name) = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) else { return Ok(()) };
        let Some(value) = &record.value else {
            all.remove(name);
            return Ok(());
        };
        match serde_json::from_slice::<Kept>(value) {
            Ok(kept) if kept.version == VERSION => {
                all.insert(name.to_owned(), kept.definition);
            }
            Ok(kept) => {
                tracing::error!(aggregate = name, version = kept.version, "a declared aggregate of another version")
            }
            Err(error) => tracing::error!(aggregate = name, %error, "a declared aggregate cannot be read"),
        }
        Ok(())
    })
    .await?;
    Ok(all)
}
