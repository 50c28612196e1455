//! One aggregate as a task: topics made sure of, recovery, the pump, and again after a failure.

use crate::{
    AggregatorError, Definition, Status,
    committer::Committer,
    pump::{Pump, Surroundings},
    recovery::{Restored, recover},
    status::{State, StatusHandle},
};
use std::{sync::Arc, time::Duration};
use tifo_broker::{LogClient, clock::Clock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Back-off between recoveries: after what may pass by itself, and after what probably needs a hand.
const TRANSIENT_BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
const FAILURE_BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A running aggregate.
#[derive(Debug)]
pub struct Aggregator {
    task: JoinHandle<()>,
    status: StatusHandle,
}

impl Aggregator {
    /// Checks the definition, creates missing topics, reads the last decision, and starts the task. It stops when
    /// `shutdown` is cancelled; nothing needs to be flushed, stopping is the same as being killed.
    pub async fn start(
        definition: Definition,
        client: Arc<dyn LogClient>,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> Result<Self, AggregatorError> {
        definition.validate()?;
        let restored = recover(&*client, &definition).await?;
        let status = StatusHandle::default();
        status.update(|status| {
            status.name.clone_from(&definition.name);
            status.decisions = restored.sequence;
        });
        let around = Surroundings { definition: Arc::new(definition), client, clock, status: status.clone(), shutdown };
        Ok(Self { task: tokio::spawn(supervise(around, restored)), status })
    }

    /// What it looks like now.
    pub fn status(&self) -> Status {
        self.status.status()
    }

    /// To ask for the status from elsewhere.
    pub fn status_handle(&self) -> StatusHandle {
        self.status.clone()
    }

    /// Waits until it has stopped.
    pub async fn join(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the aggregator's task ended badly");
        }
    }
}

/// Runs the pump; after a failure recovers and runs it again, until shutdown.
async fn supervise(around: Surroundings, first: Restored) {
    let definition = &around.definition;
    let (group, topic) = (definition.consumer_group(), definition.from.clone());
    let committer = Committer::start(Arc::clone(&around.client), group, topic);
    let mut restored = Ok(first);
    let mut waited = Duration::ZERO;
    while !around.shutdown.is_cancelled() {
        let error = match restored {
            Ok(start) => {
                let epoch = start.epoch;
                tracing::info!(aggregate = definition.name, epoch, decisions = start.sequence, "aggregator runs");
                let mut pump = Pump::new(&around, &committer, start);
                match pump.run().await {
                    Ok(()) => break,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        waited = back_off(&around, &error, waited).await;
        restored = recover(&*around.client, definition).await;
    }
    committer.stop().await;
    around.status.update(|status| status.state = State::Stopped);
}

/// Says what is wrong and waits, each time longer.
async fn back_off(around: &Surroundings, error: &AggregatorError, before: Duration) -> Duration {
    let (first, longest) = if error.is_transient() { TRANSIENT_BACK_OFF } else { FAILURE_BACK_OFF };
    let wait = (before * 2).clamp(first, longest);
    tracing::error!(aggregate = around.definition.name, %error, wait_ms = wait.as_millis(), "aggregator recovers");
    around.status.update(|status| {
        status.state = State::Failed;
        status.error = Some(error.to_string());
    });
    tokio::select! {
        () = around.shutdown.cancelled() => {}
        () = tokio::time::sleep(wait) => {}
    }
    wait
}
