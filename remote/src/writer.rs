//! Appending: an idempotent producer with acks=all, so that its own repetitions leave nothing twice and nothing out of
//! order.
//!
//! A record waits in the producer's queue as long as the cluster does not answer: whoever asked may stop waiting, but what
//! became of the record is never guessed.

use crate::{
    cluster::Cluster,
    errors,
    records::{owned_headers, unpack},
};
use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::{
    error::KafkaError,
    producer::{DeliveryFuture, FutureProducer, FutureRecord},
    types::RDKafkaErrorCode,
};
use std::time::Duration;
use tifo_broker::ClientError;
use tifo_storage::record_batch::Record;

/// A full queue (`queue.buffering.max.…`) is tried again after this.
const FULL_PAUSE: Duration = Duration::from_millis(5);

pub struct Writer {
    cluster: Cluster,
    /// Made anew after a fatal error.
    producer: Mutex<FutureProducer>,
}

impl Writer {
    pub fn new(cluster: &Cluster) -> Result<Self, ClientError> {
        Ok(Self { cluster: cluster.clone(), producer: Mutex::new(producer(cluster)?) })
    }

    /// The offsets of the batches' records, once every replica in sync has them.
    pub async fn append(&self, topic: &str, partition: i32, batches: Bytes) -> Result<Vec<i64>, ClientError> {
        let producer = self.producer.lock().clone();
        let mut deliveries = Vec::new();
        for record in unpack(batches)? {
            let sent = send(&producer, topic, partition, &record).await;
            deliveries.push(sent.map_err(|error| self.failed(topic, partition, &error))?);
        }
        let mut offsets = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let gone = || ClientError::Unavailable("the producer was closed".to_owned());
            let delivered = delivery.await.map_err(|_| gone())?;
            let delivered = delivered.map_err(|(error, _)| self.failed(topic, partition, &error))?;
            offsets.push(delivered.offset);
        }
        Ok(offsets)
    }

    fn failed(&self, topic: &str, partition: i32, error: &KafkaError) -> ClientError {
        if errors::is_fatal(error) {
            match producer(&self.cluster) {
                Ok(fresh) => *self.producer.lock() = fresh,
                Err(error) => tracing::error!(%error, "no new producer after a fatal error"),
            }
        }
        errors::about(topic, partition, error)
    }
}

fn producer(cluster: &Cluster) -> Result<FutureProducer, ClientError> {
    let own = [("enable.idempotence", "true"), ("acks", "all"), ("message.timeout.ms", "0")];
    let mut config = cluster.config(&[]);
    // What comes within a moment goes together; a user may set it otherwise.
    if config.get("linger.ms").is_none() {
        config.set("linger.ms", "1");
    }
    for (name, value) in own {
        config.set(name, value);
    }
    config.create().map_err(|error| errors::general(&error))
}

async fn send(
    producer: &FutureProducer,
    topic: &str,
    partition: i32,
    record: &Record,
) -> Result<DeliveryFuture, KafkaError> {
    loop {
        let mut message: FutureRecord<'_, [u8], [u8]> =
            FutureRecord::to(topic).partition(partition).timestamp(record.timestamp_ms);
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        message.headers = owned_headers(record);
        match producer.send_result(message) {
            Ok(delivery) => return Ok(delivery),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                tokio::time::sleep(FULL_PAUSE).await;
            }
            Err((error, _)) => return Err(error),
        }
    }
}
