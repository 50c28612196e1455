//! Where the cluster is, and how every client to it is set up.

use rdkafka::{ClientConfig, ClientContext, consumer::ConsumerContext, error::KafkaError, types::RDKafkaErrorCode};
use std::{collections::BTreeMap, time::Duration};

/// How long one question to the cluster may take.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The end of a partition is no error, though librdkafka tells it as one.
pub fn client_says(error: &KafkaError, reason: &str) {
    if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
        tracing::warn!(%error, reason, "librdkafka");
    }
}

/// Says what a client has to say of itself in our words.
pub struct Says;

impl ClientContext for Says {
    fn error(&self, error: KafkaError, reason: &str) {
        client_says(&error, reason);
    }
}

impl ConsumerContext for Says {}

/// An Apache Kafka cluster (or a Tifo) that is reached over the network.
#[derive(Debug, Clone)]
pub struct Cluster {
    bootstrap: String,
    properties: BTreeMap<String, String>,
}

impl Cluster {
    /// `properties` are librdkafka's, by their own names; what the door depends on cannot be set by them.
    pub fn new(bootstrap: &str, properties: BTreeMap<String, String>) -> Self {
        Self { bootstrap: bootstrap.to_owned(), properties }
    }

    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The settings of one client: the user's, then those that the caller depends on.
    pub fn config(&self, own: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "tifo");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.bootstrap);
        for (name, value) in own {
            config.set(*name, *value);
        }
        config
    }
}
