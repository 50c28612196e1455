//! Aggregates on a cluster elsewhere, by as many instances as there are: the same engine in two stages.
//!
//! `counting` reads the raw topic as one member of a group: it judges each event by its own partition's watermark, counts
//! it, and writes what it has counted (`partial`) to an internal topic, in one transaction with how far it has read.
//! `merging` reads these partials, one member at a time: it adds them up by source partition, closes windows by the
//! watermarks that they carry, and writes the rows in one transaction with its own progress. Nothing is kept anywhere
//! else: whoever takes over goes on from what the cluster holds.

mod counting;
mod merging;
mod partial;
mod stage;
mod supported;

use crate::{AggregatorError, Definition, Shown, Status, recovery, status::StatusHandle};
use std::{sync::Arc, thread::JoinHandle};
use tifo_broker::{
    LogClient,
    client::{Membership, TopicSpec},
    clock::Clock,
};
use tokio_util::sync::CancellationToken;

pub use partial::{UnreadablePartial, partials_topic};

/// What both stages work with.
#[derive(Debug, Clone)]
pub struct Around {
    pub definition: Arc<Definition>,
    pub client: Arc<dyn LogClient>,
    pub members: Arc<dyn Membership>,
    pub clock: Clock,
    pub status: StatusHandle,
    pub stop: CancellationToken,
    /// For the few questions that a stage's thread asks the client.
    pub runtime: tokio::runtime::Handle,
}

/// The aggregates that run here, each in two threads.
#[derive(Debug)]
pub struct Outside {
    shown: Vec<Shown>,
    threads: parking_lot::Mutex<Vec<JoinHandle<()>>>,
}

impl Outside {
    /// Checks the definitions, makes sure of the topics, and starts the stages; they stop when `stop` is cancelled.
    pub async fn start(
        definitions: Vec<Definition>,
        client: Arc<dyn LogClient>,
        members: Arc<dyn Membership>,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self, AggregatorError> {
        let (mut shown, mut threads) = (Vec::new(), Vec::new());
        for definition in definitions {
            definition.validate()?;
            supported::check(&definition)?;
            make_topics(&*client, &definition).await?;
            let status = StatusHandle::default();
            status.update(|status| status.name.clone_from(&definition.name));
            shown.push(Shown { definition: definition.clone(), declared: false, status: status.clone() });
            let around = Around {
                definition: Arc::new(definition),
                client: Arc::clone(&client),
                members: Arc::clone(&members),
                clock: clock.clone(),
                status,
                stop: stop.clone(),
                runtime: tokio::runtime::Handle::current(),
            };
            threads.extend(stage::start(around).map_err(AggregatorError::Thread)?);
        }
        Ok(Self { shown, threads: parking_lot::Mutex::new(threads) })
    }

    /// Every aggregate, as far as this instance knows.
    pub fn all(&self) -> Vec<Shown> {
        self.shown.clone()
    }

    pub fn statuses(&self) -> Vec<Status> {
        self.shown.iter().map(|shown| shown.status.status()).collect()
    }

    /// Waits until all have stopped; `stop` tells them to.
    pub async fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a stage of an aggregate ended badly");
                }
            }
        });
        if let Err(error) = joined.await {
            tracing::error!(%error, "the stages could not be waited for");
        }
    }
}

async fn make_topics(client: &dyn LogClient, definition: &Definition) -> Result<(), AggregatorError> {
    let partials = TopicSpec { name: partials_topic(definition), partitions: 1, ..TopicSpec::default() };
    for topic in recovery::topics(definition).into_iter().chain([partials]) {
        client.ensure_topic(&topic).await?;
    }
    Ok(())
}
