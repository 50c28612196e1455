//! Where the log is: in a broker of this process, or in a cluster elsewhere. The parts only see its door.

use anyhow::Context;
use std::sync::Arc;
use tifo_broker::{Broker, LogClient, client::Membership, clock::Clock};
use tifo_remote::{Cluster, RemoteLog};

use crate::config::Settings;

pub enum LogSide {
    Here(Broker),
    Elsewhere { bootstrap: String, log: Arc<RemoteLog> },
}

impl LogSide {
    /// Answers when this returns.
    pub async fn start(settings: &Settings, clock: Clock) -> anyhow::Result<Self> {
        match &settings.bootstrap {
            None => Ok(Self::Here(Broker::start(settings.broker_config(), clock).await?)),
            Some(bootstrap) => {
                let cluster = Cluster::new(bootstrap, settings.cluster.clone());
                let log = RemoteLog::connect(cluster).await.context("the cluster of `bootstrap`")?;
                Ok(Self::Elsewhere { bootstrap: bootstrap.clone(), log: Arc::new(log) })
            }
        }
    }

    pub fn client(&self) -> Arc<dyn LogClient> {
        match self {
            Self::Here(broker) => broker.client(),
            Self::Elsewhere { log, .. } => Arc::clone(log) as Arc<dyn LogClient>,
        }
    }

    /// Groups of a cluster that several processes share.
    pub fn membership(&self) -> Option<Arc<dyn Membership>> {
        match self {
            Self::Here(_) => None,
            Self::Elsewhere { log, .. } => Some(Arc::clone(log) as Arc<dyn Membership>),
        }
    }

    pub fn broker(&self) -> Option<&Broker> {
        match self {
            Self::Here(broker) => Some(broker),
            Self::Elsewhere { .. } => None,
        }
    }

    /// Where Kafka's clients reach it.
    pub fn kafka_addr(&self) -> String {
        match self {
            Self::Here(broker) => broker.kafka_addr().to_string(),
            Self::Elsewhere { bootstrap, .. } => bootstrap.clone(),
        }
    }

    pub async fn shutdown(self) {
        if let Self::Here(broker) = self {
            broker.shutdown().await;
        }
    }
}
