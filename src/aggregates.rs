//! The aggregates of this process, in the broker or on a cluster elsewhere, and their door in the HTTP gateway.

use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use tifo_aggregator::{AggregatorError, DeclareError, Definition, Outside, Registry, Shown, Status};
use tifo_broker::clock::Clock;
use tifo_http_gateway::{Aggregates, Notation, Refusal};
use tokio_util::sync::CancellationToken;

use crate::log_side::LogSide;

pub enum Running {
    Here(Registry),
    Elsewhere(Outside),
}

impl Running {
    pub async fn start(
        definitions: Vec<Definition>,
        log: &LogSide,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self, AggregatorError> {
        let client = log.client();
        Ok(match log.membership() {
            None => Self::Here(Registry::start(definitions, client, clock, stop).await?),
            Some(members) => Self::Elsewhere(Outside::start(definitions, client, members, clock, stop).await?),
        })
    }

    pub fn all(&self) -> Vec<Shown> {
        match self {
            Self::Here(registry) => registry.all(),
            Self::Elsewhere(outside) => outside.all(),
        }
    }

    pub fn statuses(&self) -> Vec<Status> {
        match self {
            Self::Here(registry) => registry.statuses(),
            Self::Elsewhere(outside) => outside.statuses(),
        }
    }

    pub async fn join(&self) {
        match self {
            Self::Here(registry) => registry.join().await,
            Self::Elsewhere(outside) => outside.join().await,
        }
    }

    /// Every instance must know every aggregate: elsewhere only the settings say which there are.
    fn registry(&self) -> Result<&Registry, DeclareError> {
        match self {
            Self::Here(registry) => Ok(registry),
            Self::Elsewhere(_) => Err(DeclareError::Conflict(
                "on a remote cluster aggregates stand in the settings file of every instance".to_owned(),
            )),
        }
    }
}

/// `/v1/aggregates` of the HTTP gateway leads here.
pub struct Door(pub Arc<Running>);

#[async_trait]
impl Aggregates for Door {
    fn all(&self) -> Vec<Value> {
        self.0.all().iter().map(describe).collect()
    }

    async fn declare(&self, text: &str, notation: Notation) -> Result<(Value, bool), Refusal> {
        let definition = match notation {
            Notation::Sql => Definition::from_sql(text).map_err(|error| Refusal::Invalid(error.to_string()))?,
            Notation::Json => serde_json::from_str(text).map_err(|error| Refusal::Invalid(error.to_string()))?,
        };
        let name = definition.name.clone();
        let is_new = self.0.registry().map_err(refusal)?.declare(definition).await.map_err(refusal)?;
        let shown = self.0.all().into_iter().find(|shown| shown.definition.name == name);
        Ok((shown.as_ref().map(describe).unwrap_or_default(), is_new))
    }

    async fn remove(&self, name: &str) -> Result<(), Refusal> {
        self.0.registry().map_err(refusal)?.remove(name).await.map_err(refusal)
    }
}

/// The status with the definition.
fn describe(shown: &Shown) -> Value {
    let mut value = json!(shown.status.status());
    value["definition"] = json!(shown.definition);
    value["declared"] = json!(shown.declared);
    value
}

fn refusal(error: DeclareError) -> Refusal {
    let text = error.to_string();
    match error {
        DeclareError::Invalid(_) => Refusal::Invalid(text),
        DeclareError::Conflict(_) => Refusal::Conflict(text),
        DeclareError::Unknown(_) => Refusal::Unknown(text),
        DeclareError::Failed(_) => Refusal::Unavailable(text),
    }
}
