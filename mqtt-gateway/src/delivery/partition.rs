//! One partition of an aggregate topic: fetch, normalise, publish, commit, in this order.

use super::{
    Delivery,
    normalise::{Mood, Row, moods},
    topic::stream_topic,
};
use crate::message::{Message, Origin};
use std::{
    collections::VecDeque,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tifo_broker::{
    client::{ClientError, Fetched},
    clock::Clock,
};
use tifo_storage::record_batch::{BatchError, Record, RecordBatch, batches};

const FETCH_MAX_BYTES: usize = 1024 * 1024;
const FETCH_MAX_WAIT: Duration = Duration::from_millis(500);
/// Offsets that wait for their commit to become due; beyond it the newest are due together.
const MAX_PENDING_COMMITS: usize = 4_096;

#[derive(Debug)]
pub struct PartitionDelivery {
    shared: Delivery,
    partition: i32,
    /// Next offset to read.
    position: i64,
    /// Accepted by the hub at this moment, up to this offset.
    pending: VecDeque<(Instant, i64)>,
    /// This partition's share of `Counters::lag`.
    lag: i64,
}

impl PartitionDelivery {
    pub fn new(shared: Delivery, partition: i32) -> Self {
        Self { shared, partition, position: 0, pending: VecDeque::new(), lag: 0 }
    }

    /// Runs until shutdown, then commits all that the hub has accepted.
    pub async fn run(mut self) {
        if self.work().await.is_none() {
            let (group, topic) = (self.shared.group(), self.shared.stream.aggregate_topic.clone());
            if let Some((_, offset)) = self.pending.pop_back()
                && let Err(error) = self.shared.client.commit(&group, &topic, &[(self.partition, offset)]).await
            {
                tracing::warn!(group, %error, "last commit failed: a restart sends some messages again");
            }
        }
        self.see_lag(0);
    }

    async fn work(&mut self) -> Option<()> {
        self.position = self.start().await?;
        loop {
            let fetched = self.fetch().await?;
            self.deliver(&fetched).await?;
            self.see_lag(fetched.high_watermark.saturating_sub(self.position).max(0));
            self.commit_due().await;
        }
    }

    /// The committed offset, else the log start.
    async fn start(&self) -> Option<i64> {
        let (group, topic) = (self.shared.group(), &self.shared.stream.aggregate_topic);
        let committed = loop {
            match self.shared.client.committed(&group, topic).await {
                Ok(offsets) => break offsets.get(&self.partition).copied(),
                Err(error) => tracing::warn!(group, %error, "cannot read the committed offset: trying again"),
            }
            self.shared.pause().await?;
        };
        match committed {
            Some(offset) => {
                self.shared.wait(self.shared.settings.restart_grace).await?;
                Some(offset)
            }
            None => self.log_start().await,
        }
    }

    async fn log_start(&self) -> Option<i64> {
        loop {
            match self.shared.client.offsets(&self.shared.stream.aggregate_topic, self.partition).await {
                Ok((start, _)) => return Some(start),
                Err(error) => {
                    tracing::warn!(stream = self.shared.stream.name, %error, "cannot read the log start: trying again")
                }
            }
            self.shared.pause().await?;
        }
    }

    /// The next batches; a position that retention has passed moves to the log start.
    async fn fetch(&mut self) -> Option<Fetched> {
        loop {
            let (client, topic) = (&self.shared.client, &self.shared.stream.aggregate_topic);
            let fetch = client.fetch(topic, self.partition, self.position, FETCH_MAX_BYTES, FETCH_MAX_WAIT);
            let error = tokio::select! {
                () = self.shared.shutdown.cancelled() => return None,
                fetched = fetch => match fetched {
                    Ok(fetched) => return Some(fetched),
                    Err(error) => error,
                },
            };
            tracing::warn!(topic, partition = self.partition, %error, "fetch failed: trying again");
            if let ClientError::OffsetOutOfRange { start, end, .. } = error {
                metrics::counter!("tifo_mqtt_delivery_skips_total", "reason" => "offset_out_of_range").increment(1);
                self.position = self.position.clamp(start, end.max(start));
            }
            self.shared.pause().await?;
        }
    }

    async fn deliver(&mut self, fetched: &Fetched) -> Option<()> {
        for batch in batches(fetched.batches.clone()) {
            match batch {
                Ok(batch) => self.deliver_batch(&batch).await?,
                Err(error) => {
                    self.unreadable(&error);
                    return self.shared.pause().await;
                }
            }
        }
        Some(())
    }

    async fn deliver_batch(&mut self, batch: &RecordBatch) -> Option<()> {
        let next = batch.header.base_offset + i64::from(batch.header.last_offset_delta) + 1;
        if next <= self.position {
            return Some(());
        }
        let rows = if batch.is_control() { Vec::new() } else { self.rows(batch) };
        self.publish(moods(&self.shared.stream.name, rows, self.shared.stream.top_n)).await?;
        self.position = next;
        self.due_later(next);
        Some(())
    }

    /// The batch's rows; what is no row is counted and left out, it was never a window.
    fn rows(&self, batch: &RecordBatch) -> Vec<Row> {
        match batch.records(self.shared.settings.max_decompressed_bytes) {
            Ok(records) => records.iter().filter_map(|record| self.row(record)).collect(),
            Err(error) => {
                self.unreadable(&error);
                Vec::new()
            }
        }
    }

    fn row(&self, record: &Record) -> Option<Row> {
        let value = record.value.as_ref()?;
        serde_json::from_slice(value)
            .inspect_err(|error| {
                metrics::counter!("tifo_mqtt_delivery_skips_total", "reason" => "not_a_row").increment(1);
                tracing::warn!(topic = self.shared.stream.aggregate_topic, offset = record.offset, %error, "not a row");
            })
            .ok()
    }

    fn unreadable(&self, error: &BatchError) {
        metrics::counter!("tifo_mqtt_delivery_skips_total", "reason" => "unreadable_batch").increment(1);
        let (topic, partition, position) = (&self.shared.stream.aggregate_topic, self.partition, self.position);
        tracing::error!(topic, partition, position, %error, "unreadable record batch");
    }

    /// Tries until the hub has accepted all of them.
    async fn publish(&self, moods: Vec<Mood>) -> Option<()> {
        let messages: Vec<Message> = moods.iter().filter_map(|mood| self.message(mood)).collect();
        if messages.is_empty() {
            return Some(());
        }
        while let Err(error) = self.shared.publisher.publish(&messages).await {
            tracing::warn!(stream = self.shared.stream.name, %error, "publish failed: trying again");
            self.shared.pause().await?;
        }
        self.published(&moods, messages.len() as u64);
        Some(())
    }

    fn message(&self, mood: &Mood) -> Option<Message> {
        let Some(topic) = stream_topic(&mood.stream, &mood.channel_id, self.shared.settings.max_channel_bytes) else {
            metrics::counter!("tifo_mqtt_delivery_skips_total", "reason" => "channel_id_too_long").increment(1);
            return None;
        };
        // Strings and finite numbers only: serialising does not fail.
        let payload = serde_json::to_vec(mood).ok()?;
        let origin = Origin { time_ms: Clock::system().now_ms(), ..Origin::default() };
        Some(Message { topic: topic.into(), payload: payload.into(), retain: true, origin })
    }

    fn published(&self, moods: &[Mood], count: u64) {
        self.shared.counters.published.fetch_add(count, Ordering::Relaxed);
        let stream = self.shared.stream.name.clone();
        metrics::counter!("tifo_mqtt_messages_published_total", "stream" => stream.clone()).increment(count);
        let now_ms = Clock::system().now_ms();
        for mood in moods {
            let latency_ms = now_ms.saturating_sub(mood.window_end).max(0);
            metrics::histogram!("tifo_mqtt_publish_latency_seconds", "stream" => stream.clone())
                .record(latency_ms as f64 / 1_000.0);
        }
    }

    fn due_later(&mut self, offset: i64) {
        if self.pending.len() >= MAX_PENDING_COMMITS {
            // Its offset is due with the next one: later than it could be, never earlier.
            self.pending.pop_back();
        }
        self.pending.push_back((Instant::now(), offset));
    }

    async fn commit_due(&mut self) {
        let mut due = None;
        while let Some((accepted, offset)) = self.pending.front().copied()
            && accepted.elapsed() >= self.shared.settings.commit_delay
        {
            self.pending.pop_front();
            due = Some((accepted, offset));
        }
        let Some((accepted, offset)) = due else { return };
        let (group, topic) = (self.shared.group(), &self.shared.stream.aggregate_topic);
        if let Err(error) = self.shared.client.commit(&group, topic, &[(self.partition, offset)]).await {
            tracing::warn!(group, %error, "commit failed: trying again");
            self.pending.push_front((accepted, offset));
        }
    }

    fn see_lag(&mut self, lag: i64) {
        self.shared.counters.move_lag(self.lag, lag);
        self.lag = lag;
    }
}
