//! One partition of an aggregate topic: fetch, understand, publish, commit, in this order.
//!
//! A start behind a committed offset first reads some rows before it without publishing them: they bring back the newest state of each channel,
//! which goes out as retained messages, and the history that scores need.

use super::{
    Delivery,
    channels::{Channels, Skip},
    normalise::Mood,
    outbox::Outbox,
    publishing::{Publishing, count_skip},
    row::Record,
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};
use tifo_broker::client::{ClientError, Fetched};
use tifo_storage::record_batch::{BatchError, RecordBatch, batches};

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
    channels: Channels,
    outbox: Outbox,
    publishing: Publishing,
    /// Accepted by the hub at this moment, up to this offset.
    pending: VecDeque<(Instant, i64)>,
    /// This partition's share of `Counters::lag`.
    lag: i64,
}

impl PartitionDelivery {
    pub fn new(shared: Delivery, partition: i32) -> Self {
        let settings = &shared.settings;
        Self {
            partition,
            position: 0,
            channels: Channels::new(shared.stream.rules(settings.max_channels)),
            outbox: Outbox::new(Duration::from_millis(shared.stream.min_interval_ms), settings.max_channels),
            publishing: Publishing::new(shared.clone()),
            pending: VecDeque::new(),
            lag: 0,
            shared,
        }
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
        let start = self.log_start().await?;
        match self.committed().await? {
            Some(committed) => {
                self.position = committed.saturating_sub(self.shared.settings.restored_rows).max(start);
                self.restore(committed).await?;
                self.position = committed;
                self.shared.wait(self.shared.settings.restart_grace).await?;
            }
            None => self.position = start,
        }
        loop {
            let fetched = self.fetch().await?;
            self.deliver(&fetched).await?;
            self.publish_due().await?;
            self.see_lag(fetched.high_watermark.saturating_sub(self.position).max(0));
            self.commit_due().await;
        }
    }

    /// Reads up to `committed` and publishes the newest state of each channel.
    async fn restore(&mut self, committed: i64) -> Option<()> {
        let mut newest = BTreeMap::new();
        while self.position < committed {
            let (fetched, before) = (self.fetch().await?, self.position);
            for batch in batches(fetched.batches) {
                let Ok(batch) = batch else { break };
                // What comes from here on is news.
                if batch.header.base_offset >= committed {
                    self.position = committed;
                    break;
                }
                let moods = self.moods(&batch).unwrap_or_default();
                newest.extend(moods.into_iter().map(|mood| (mood.channel_id.clone(), mood)));
                if newest.len() > self.shared.settings.max_channels {
                    newest.pop_first();
                }
            }
            // The end of the log, or what cannot be read.
            if self.position <= before {
                break;
            }
        }
        self.publishing.restore(newest.into_values().collect()).await
    }

    async fn committed(&self) -> Option<Option<i64>> {
        let (group, topic) = (self.shared.group(), &self.shared.stream.aggregate_topic);
        loop {
            match self.shared.client.committed(&group, topic).await {
                Ok(offsets) => return Some(offsets.get(&self.partition).copied()),
                Err(error) => tracing::warn!(group, %error, "cannot read the committed offset: trying again"),
            }
            self.shared.pause().await?;
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

    /// The next batches; a position that retention has passed moves to the log start. Comes back without any when a message
    /// that waits is due.
    async fn fetch(&mut self) -> Option<Fetched> {
        loop {
            let wait =
                self.outbox.next_due().map_or(FETCH_MAX_WAIT, |due| due.saturating_duration_since(Instant::now()));
            let (client, topic) = (&self.shared.client, &self.shared.stream.aggregate_topic);
            let fetch = client.fetch(topic, self.partition, self.position, FETCH_MAX_BYTES, wait.min(FETCH_MAX_WAIT));
            let error = tokio::select! {
                () = self.shared.shutdown.cancelled() => return None,
                fetched = fetch => match fetched {
                    Ok(fetched) => return Some(fetched),
                    Err(error) => error,
                },
            };
            tracing::warn!(topic, partition = self.partition, %error, "fetch failed: trying again");
            if let ClientError::OffsetOutOfRange { start, end, .. } = error {
                count_skip("offset_out_of_range");
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
        let base = self.position;
        let Some(moods) = self.moods(batch) else { return Some(()) };
        let now = Instant::now();
        let moods = moods.into_iter().filter_map(|mood| self.outbox.offer(mood, base, now)).collect();
        self.publishing.publish(moods).await?;
        self.due_later();
        Some(())
    }

    async fn publish_due(&mut self) -> Option<()> {
        let due = self.outbox.take_due(Instant::now());
        if !due.is_empty() {
            self.publishing.publish(due).await?;
            self.due_later();
        }
        Some(())
    }

    /// The batch's moods, and the position behind it; `None`: it was read before.
    fn moods(&mut self, batch: &RecordBatch) -> Option<Vec<Mood>> {
        let next = batch.header.base_offset + i64::from(batch.header.last_offset_delta) + 1;
        if next <= self.position {
            return None;
        }
        let rows = if batch.is_control() { Vec::new() } else { self.rows(batch) };
        self.position = next;
        let skipped = |skip| {
            count_skip(match skip {
                Skip::Older => "older_window",
                Skip::Unknown => "correction_of_unknown_window",
            });
        };
        Some(self.channels.apply(rows, skipped))
    }

    /// The batch's rows; what is no row is counted and left out, it was never a window.
    fn rows(&self, batch: &RecordBatch) -> Vec<(i64, Record)> {
        let records = match batch.records(self.shared.settings.max_decompressed_bytes) {
            Ok(records) => records,
            Err(error) => {
                self.unreadable(&error);
                return Vec::new();
            }
        };
        let mut rows = Vec::with_capacity(records.len());
        for record in &records {
            let Some(value) = &record.value else { continue };
            match self.channels.rules().format.read(value) {
                Ok(row) => rows.push((record.offset, row)),
                Err(error) => {
                    count_skip("not_a_row");
                    tracing::warn!(topic = self.shared.stream.aggregate_topic, offset = record.offset, %error, "not a row");
                }
            }
        }
        rows
    }

    fn unreadable(&self, error: &BatchError) {
        count_skip("unreadable_batch");
        let (topic, partition, position) = (&self.shared.stream.aggregate_topic, self.partition, self.position);
        tracing::error!(topic, partition, position, %error, "unreadable record batch");
    }

    /// All below the position is accepted, but for what waits in the outbox.
    fn due_later(&mut self) {
        let accepted = self.outbox.lowest_offset().map_or(self.position, |waiting| waiting.min(self.position));
        if self.pending.len() >= MAX_PENDING_COMMITS {
            // Its offset is due with the next one: later than it could be, never earlier.
            self.pending.pop_back();
        }
        self.pending.push_back((Instant::now(), accepted));
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
