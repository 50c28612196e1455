//! Delivery: from the aggregate topic to the hub, as the ordinary group `tifo-mqtt-<stream>`.
//!
//! One task per partition reads batches in order. The aggregator writes all rows of a window in one record batch, so a batch
//! that has been read whole is whole windows: [`row`] understands them, [`channels`] knows each channel's newest window,
//! [`normalise`] makes one mood per channel and window, [`outbox`] keeps the pace, [`publishing`] sends [`payload`]s, one in
//! flight per channel. The hub accepts them, then the offset becomes due for commit; it is committed a little later (`commit_delay_ms`), because what the hub has accepted may not have reached
//! the sockets when the process dies. So a crash repeats messages, with the same content, and leaves no hole.
//!
//! Never: publish an older state of a channel after a newer one, skip a batch because the hub is down (it is being started again; delivery waits), or wait for subscribers (the hub
//! absorbs their pace).

mod channels;
mod normalise;
mod outbox;
mod partition;
mod payload;
mod publishing;
mod row;
mod topic;

use crate::{config::StreamConfig, hub::Publisher};
use partition::PartitionDelivery;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use tifo_broker::LogClient;
use tokio_util::sync::CancellationToken;

/// Between two tries of what failed: the log or the hub not there, the topic not yet created.
const RETRY_BACKOFF: Duration = Duration::from_millis(200);
/// Partitions of one aggregate topic that are read.
const MAX_PARTITIONS: i32 = 1_024;

/// What every partition task of one stream shares.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub stream: StreamConfig,
    pub client: Arc<dyn LogClient>,
    pub publisher: Arc<dyn Publisher>,
    pub counters: Arc<Counters>,
    pub settings: Settings,
    pub shutdown: CancellationToken,
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// This node's name, the first of each message's path.
    pub node: String,
    pub commit_delay: Duration,
    pub restart_grace: Duration,
    pub max_channel_bytes: usize,
    /// Channels of one partition that are known at a time.
    pub max_channels: usize,
    /// Rows before the committed offset that a start reads again, to know the channels' state.
    pub restored_rows: i64,
    pub max_decompressed_bytes: usize,
}

/// Numbers for the status page.
#[derive(Debug, Default)]
pub struct Counters {
    pub published: AtomicU64,
    /// Records of the aggregate topics not yet read, all streams and partitions; each partition keeps its share up to date.
    pub lag: AtomicI64,
}

impl Delivery {
    pub fn group(&self) -> String {
        format!("tifo-mqtt-{}", self.stream.name)
    }

    /// Runs until shutdown.
    pub async fn run(self) {
        let Some(partitions) = self.partitions().await else { return };
        if partitions > MAX_PARTITIONS {
            tracing::error!(
                topic = self.stream.aggregate_topic,
                partitions,
                "only the first {MAX_PARTITIONS} are read"
            );
        }
        let tasks =
            (0..partitions.min(MAX_PARTITIONS)).map(|partition| tokio::spawn(self.clone().supervise(partition)));
        for task in tasks.collect::<Vec<_>>() {
            let _ = task.await;
        }
    }

    /// Starts a partition again if it panics.
    async fn supervise(self, partition: i32) {
        loop {
            let task = tokio::spawn(PartitionDelivery::new(self.clone(), partition).run());
            match task.await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(stream = self.stream.name, partition, %error, "delivery died: starting it again")
                }
            }
            if self.pause().await.is_none() {
                return;
            }
        }
    }

    /// Waits for the topic to be there; `None` at shutdown.
    async fn partitions(&self) -> Option<i32> {
        loop {
            match self.client.partitions(&self.stream.aggregate_topic).await {
                Ok(partitions) => return Some(partitions),
                Err(error) => tracing::debug!(stream = self.stream.name, %error, "waiting for the aggregate topic"),
            }
            self.pause().await?;
        }
    }

    /// Waits a little; `None` at shutdown.
    async fn pause(&self) -> Option<()> {
        self.wait(RETRY_BACKOFF).await
    }

    async fn wait(&self, duration: Duration) -> Option<()> {
        tokio::select! {
            () = self.shutdown.cancelled() => None,
            () = tokio::time::sleep(duration) => Some(()),
        }
    }
}

impl Counters {
    pub fn move_lag(&self, from: i64, to: i64) {
        self.lag.fetch_add(to.saturating_sub(from), Ordering::Relaxed);
    }
}
