//! Hosts the transaction coordinator: one shard per partition of `__transaction_state`.
//!
//! The way of a transaction: InitProducerId gives the producer its epoch; its first batch on a partition is let in by `admit`, which
//! knows or adds the partition; EndTxn writes the decision down, and `markers` carries it to every partition, again and again
//! until all have it, across restarts. Nothing in here decides; `tifo_coordinator::transaction` does.
//! Lock order: a shard's `state`, then a group shard's, then a partition's log.

mod config;
mod errors;
mod hanging;
mod markers;
mod shard;

pub use config::TransactionSettings;
pub use errors::{code, code_before_fenced, kind};
pub use markers::{Marker, Markers};

use crate::{
    coordination::{Hosted, InternalTopic},
    partition::{Partition, UntilDurable},
};
use shard::Shard;
use std::sync::Arc;
use tifo_coordinator::{
    TransactionCoordinator, TransactionError,
    transaction::{
        AddPartitionsRequest, ClientVersion, Decision, DescribedTransaction, EndRequest, InitProducerIdRequest,
        ListFilter, ListedTransaction, Producer, TopicPartition,
    },
};
use tokio::sync::Notify;

pub const STATE_TOPIC: &str = "__transaction_state";

/// All transactions of this broker.
#[derive(Debug)]
pub struct Transactions {
    topic: InternalTopic<Shard>,
    markers: Arc<Markers>,
    /// Wakes the timer task: a shard has a deadline that is earlier than what it sleeps for.
    earlier: Arc<Notify>,
}

/// Where a producer wants to write as part of its transaction.
#[derive(Debug, Clone)]
pub struct Admission {
    pub transactional_id: Arc<str>,
    pub producer: Producer,
    pub partitions: Vec<TopicPartition>,
    /// KIP-890: the partitions are added by this, all with one record. Else they must have been before.
    pub adds_partitions: bool,
}

/// What the coordinator says to each partition of an admission, in their order.
pub type Admitted = Vec<Result<(), TransactionError>>;

impl Transactions {
    pub fn new(settings: &TransactionSettings, markers: Markers) -> Arc<Self> {
        let (markers, earlier) = (Arc::new(markers), Arc::<Notify>::default());
        let shard = {
            let (config, markers, earlier) = (settings.transaction.clone(), markers.clone(), earlier.clone());
            move |partition: &Arc<Partition>| {
                let clock = markers.clock.clone();
                Shard::new(partition.clone(), config.clone(), clock, markers.clone(), earlier.clone())
            }
        };
        let topic = InternalTopic::new(markers.catalog.clone(), settings.state_topic(), shard);
        Arc::new(Self { topic, markers, earlier })
    }

    /// Begins to load what the last run left, to end what it left half-way, and to watch the clock.
    pub fn start(self: &Arc<Self>) {
        let transactions = self.clone();
        self.markers.spawn(async move {
            let Markers { clock, shutdown, .. } = &*transactions.markers;
            transactions.topic.watch_clock(clock, &transactions.earlier, shutdown).await;
        });
        if self.topic.exists() {
            let transactions = self.clone();
            self.markers.spawn(async move {
                match transactions.all_shards().await {
                    Ok(_) => transactions.abort_hanging().await,
                    Err(error) => tracing::error!(%error, "transactions could not be loaded"),
                }
            });
        }
    }

    /// Returns when the transactional id's requests can be answered here.
    pub async fn ready(&self, id: &str) -> Result<(), TransactionError> {
        self.shard(id).await.map(|_| ())
    }

    pub async fn init_producer_id(
        &self,
        id: Arc<str>,
        timeout_ms: i32,
        current: Option<Producer>,
    ) -> Result<Producer, TransactionError> {
        let shard = self.shard(&id).await?;
        let fresh_producer_id = self.fresh_producer_id(&shard, &id).await?;
        let request = InitProducerIdRequest { transactional_id: id, timeout_ms, current, fresh_producer_id };
        shard.decide(|coordinator, now_ms| coordinator.init_producer_id(&request, now_ms)).await
    }

    pub async fn add_partitions(&self, request: &AddPartitionsRequest) -> Result<(), TransactionError> {
        let shard = self.shard(&request.transactional_id).await?;
        shard.decide(|coordinator, now_ms| coordinator.add_partitions(request, now_ms)).await
    }

    /// Whether the partition is part of the producer's open transaction.
    pub async fn verify(
        &self,
        id: &str,
        producer: Producer,
        partition: &TopicPartition,
    ) -> Result<(), TransactionError> {
        self.shard(id).await?.read(|coordinator| coordinator.verify_partition(id, producer, partition))?
    }

    /// Returns when the markers were written once; what a sick partition did not take goes on in the background.
    pub async fn end(&self, mut request: EndRequest) -> Result<Producer, TransactionError> {
        let shard = self.shard(&request.transactional_id).await?;
        if request.version == ClientVersion::V2 {
            request.fresh_producer_id = self.fresh_producer_id(&shard, &request.transactional_id).await?;
        }
        shard.decide(|coordinator, now_ms| coordinator.end(&request, now_ms)).await
    }

    /// Lets `act` append to the partitions that are part of the producer's open transaction. What comes back is to be durable before
    /// an append is acknowledged.
    pub fn admit<T>(
        &self,
        admission: &Admission,
        act: impl FnOnce(Admitted) -> T,
    ) -> Result<(T, Option<UntilDurable>), TransactionError> {
        let id = &admission.transactional_id;
        let hosted = self.topic.current();
        let shard = hosted.as_ref().and_then(|hosted| hosted.shard_of(id)).filter(|shard| shard.is_loaded());
        let shard = shard.ok_or(TransactionError::CoordinatorNotAvailable)?;
        let (done, finished) = shard.admit(|coordinator, now_ms| admission.decide(coordinator, now_ms), act)?;
        Ok((done, finished.until_durable()))
    }

    pub async fn describe(&self, id: &str) -> Result<DescribedTransaction, TransactionError> {
        self.shard(id).await?.read(|coordinator| coordinator.describe(id))?
    }

    pub async fn list(&self, filter: &ListFilter) -> Result<Vec<ListedTransaction>, TransactionError> {
        let mut listed = Vec::new();
        if self.topic.exists() {
            let now_ms = self.markers.clock.now_ms();
            for shard in &self.all_shards().await?.shards {
                listed.extend(shard.read(|coordinator| coordinator.list(filter, now_ms))?);
            }
        }
        Ok(listed)
    }

    /// Who writes markers, also for tools that ask for one.
    pub fn markers(&self) -> &Arc<Markers> {
        &self.markers
    }

    /// The shard of a transactional id, loaded.
    async fn shard(&self, id: &str) -> Result<Arc<Shard>, TransactionError> {
        let hosted = self.hosted().await?;
        let shard = hosted.shard_of(id).ok_or(TransactionError::CoordinatorNotAvailable)?;
        shard.loaded().await?;
        Ok(shard.clone())
    }

    async fn all_shards(&self) -> Result<Arc<Hosted<Shard>>, TransactionError> {
        let hosted = self.hosted().await?;
        for shard in &hosted.shards {
            shard.loaded().await?;
        }
        Ok(hosted)
    }

    async fn hosted(&self) -> Result<Arc<Hosted<Shard>>, TransactionError> {
        self.topic.hosted().await.map_err(|_| TransactionError::CoordinatorNotAvailable)
    }

    /// A producer id that nobody had, if the next step of this transactional id may take one.
    async fn fresh_producer_id(&self, shard: &Shard, id: &str) -> Result<Option<i64>, TransactionError> {
        if !shard.read(|coordinator| coordinator.needs_producer_id(id))? {
            return Ok(None);
        }
        let catalog = self.markers.catalog.clone();
        // Now and then it writes to the metadata log, which may have to be synced.
        let fresh = tokio::task::spawn_blocking(move || catalog.next_producer_id()).await;
        match fresh {
            Ok(Ok(id)) => Ok(Some(id)),
            Ok(Err(error)) => {
                tracing::error!(%error, "no producer id can be given out");
                Err(TransactionError::CoordinatorNotAvailable)
            }
            Err(_) => Err(TransactionError::CoordinatorNotAvailable),
        }
    }
}

impl Admission {
    fn decide(&self, coordinator: &TransactionCoordinator, now_ms: i64) -> Decision<Admitted> {
        if self.adds_partitions {
            let request = AddPartitionsRequest {
                transactional_id: self.transactional_id.clone(),
                producer: self.producer,
                partitions: self.partitions.clone(),
                version: ClientVersion::V2,
            };
            let Decision { record, reply } = coordinator.add_partitions(&request, now_ms);
            return Decision { record, reply: self.partitions.iter().map(|_| reply).collect() };
        }
        let verify = |partition| coordinator.verify_partition(&self.transactional_id, self.producer, partition);
        Decision { record: None, reply: self.partitions.iter().map(verify).collect() }
    }
}
