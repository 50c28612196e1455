//! One task per stream that carries the buffer into the log.
//!
//! A flush takes what is queued and appends one batch per partition (more if they would be too large), partitions side
//! by side, batches of a partition in turn; only then comes the next flush. So committed requests that arrive meanwhile
//! share the next batch, and the order of a partition is the order of arrival. A log that is unavailable is tried again
//! until it answers; nothing is dropped except what the log refuses for good, and what the shutdown time-out cuts off.

use bytes::Bytes;
use futures::future::join_all;
use metrics::{counter, gauge, histogram};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tifo_broker::{ClientError, LogClient, client::TopicSpec, clock::Clock};
use tokio_util::sync::CancellationToken;

use crate::{
    buffer::{Entry, Fill, NotStored, Placed, Waiter},
    plan::{EventRef, PlannedBatch, plan},
    stream::Stream,
};

const FIRST_BACK_OFF: Duration = Duration::from_millis(10);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(1);

pub struct Batcher {
    pub stream: Arc<Stream>,
    pub client: Arc<dyn LogClient>,
    /// The shutdown time-out has passed: give up.
    pub abandon: CancellationToken,
}

/// What became of one batch.
struct Outcome {
    records: Vec<EventRef>,
    /// The partition, and each record's offset.
    result: Result<(i32, Vec<i64>), NotStored>,
}

impl Batcher {
    /// Runs until the buffer is closed and empty; returns how many events that were answered 202 were given up.
    pub async fn run(self) -> u64 {
        let mut lost = 0;
        if let Err(NotStored(reason)) = self.find_topic().await {
            tracing::error!(stream = self.stream.ingest.name, reason, "no topic for this stream");
        }
        while let Some(entries) = self.stream.buffer.next().await {
            lost += self.flush(entries).await;
        }
        lost
    }

    async fn flush(&self, mut entries: Vec<Entry>) -> u64 {
        // A caller who has gone will ask again: what nobody was promised need not be stored.
        let all: Fill = sum(&entries);
        entries.retain(|entry| !entry.is_abandoned());
        let began = Instant::now();
        let planned = plan(&entries, self.stream.partitions());
        let appends = planned.into_iter().map(|(partition, batches)| self.append_in_turn(&entries, partition, batches));
        let outcomes: Vec<Outcome> = join_all(appends).await.into_iter().flatten().collect();
        self.show_latency(&entries);
        let name = self.stream.ingest.name.clone();
        counter!("tifo_http_flushes_total", "stream" => name.clone()).increment(1);
        histogram!("tifo_http_flush_duration_seconds", "stream" => name.clone()).record(began.elapsed());
        counter!("tifo_http_flushed_events_total", "stream" => name)
            .increment(u64::try_from(all.events).unwrap_or(u64::MAX));
        let lost = self.answer(entries, outcomes);
        self.stream.buffer.release(all);
        self.show_fill();
        lost
    }

    async fn append_in_turn(&self, entries: &[Entry], partition: i32, batches: Vec<PlannedBatch>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(batches.len());
        for batch in batches {
            let wanted = || is_wanted(entries, &batch.records);
            let result = self.append(partition, batch.bytes, wanted).await;
            outcomes.push(Outcome { records: batch.records, result });
        }
        outcomes
    }

    /// Appends one batch, again and again while the log may come back. A topic that has gone is made anew.
    async fn append(
        &self,
        chosen: i32,
        batch: Bytes,
        is_wanted: impl Fn() -> bool,
    ) -> Result<(i32, Vec<i64>), NotStored> {
        let topic = &self.stream.ingest.topic;
        let (mut partition, mut back_off) = (chosen, FIRST_BACK_OFF);
        loop {
            let began = Instant::now();
            let error = match self.client.append_each(topic, partition, batch.clone()).await {
                Ok(offsets) => {
                    histogram!("tifo_http_append_duration_seconds").record(began.elapsed());
                    self.stream.set_trouble(None);
                    return Ok((partition, offsets));
                }
                Err(error) => error,
            };
            match error {
                ClientError::Unavailable(_) | ClientError::UnknownTopic(_) | ClientError::UnknownPartition { .. } => {}
                refused => return Err(NotStored(refused.to_string())),
            }
            tracing::warn!(topic, partition, %error, "append failed, trying again");
            self.stream.set_trouble(Some(error.to_string()));
            counter!("tifo_http_append_retries_total").increment(1);
            self.pause(&mut back_off).await.map_err(|()| NotStored(error.to_string()))?;
            if !is_wanted() {
                return Err(NotStored(format!("{error}; nobody waits for it any more")));
            }
            if !matches!(error, ClientError::Unavailable(_)) {
                self.find_topic().await?;
                partition = chosen % self.stream.partitions();
            }
        }
    }

    /// Sees to it that the raw topic exists and learns its number of partitions.
    async fn find_topic(&self) -> Result<(), NotStored> {
        let ingest = &self.stream.ingest;
        let settings = BTreeMap::new();
        let spec = TopicSpec { name: ingest.topic.clone(), partitions: ingest.partitions, settings };
        let mut back_off = FIRST_BACK_OFF;
        loop {
            let found = match self.client.ensure_topic(&spec).await {
                Ok(()) => self.client.partitions(&ingest.topic).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(partitions) => {
                    self.stream.topic_is_there(partitions);
                    self.stream.set_trouble(None);
                    return Ok(());
                }
                Err(ClientError::Unavailable(reason)) => {
                    tracing::warn!(topic = ingest.topic, reason, "the log does not answer, trying again");
                    self.stream.set_trouble(Some(reason.clone()));
                    self.pause(&mut back_off).await.map_err(|()| NotStored(reason))?;
                }
                Err(ClientError::UnknownTopic(topic)) => {
                    self.pause(&mut back_off).await.map_err(|()| NotStored(format!("topic {topic} vanished")))?;
                }
                Err(refused) => return Err(NotStored(refused.to_string())),
            }
        }
    }

    /// Err: there is no more time.
    async fn pause(&self, back_off: &mut Duration) -> Result<(), ()> {
        let pause = *back_off;
        *back_off = (pause * 2).min(LONGEST_BACK_OFF);
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.abandon.cancelled() => Err(()),
        }
    }

    /// Tells the callers; returns the number of events lost that nobody waits for.
    fn answer(&self, entries: Vec<Entry>, outcomes: Vec<Outcome>) -> u64 {
        let mut placed: Vec<Vec<Placed>> =
            entries.iter().map(|entry| vec![Placed { partition: 0, offset: 0 }; entry.events.len()]).collect();
        let mut refused: BTreeMap<usize, (NotStored, u64)> = BTreeMap::new();
        for outcome in outcomes {
            match outcome.result {
                Ok((partition, offsets)) => place(&mut placed, &outcome.records, partition, &offsets),
                Err(reason) => outcome.records.iter().for_each(|record| {
                    refused.entry(record.entry).or_insert_with(|| (reason.clone(), 0)).1 += 1;
                }),
            }
        }
        let mut lost = 0;
        for (number, (entry, placed)) in entries.into_iter().zip(placed).enumerate() {
            let refused = refused.remove(&number);
            match (entry.waiter, refused) {
                // The receiver may have gone meanwhile; then nobody asks.
                (Waiter::Committed(caller), Some((reason, _))) => drop(caller.send(Err(reason))),
                (Waiter::Committed(caller), None) => drop(caller.send(Ok(placed))),
                (Waiter::Nobody, Some((NotStored(reason), events))) => {
                    let stream = self.stream.ingest.name.clone();
                    tracing::error!(stream, reason, events, "the log refused events that were answered 202");
                    counter!("tifo_http_events_lost_total", "stream" => stream).increment(events);
                    lost += events;
                }
                (Waiter::Nobody, None) => {}
            }
        }
        lost
    }

    /// From the arrival of the flush's oldest event until all of the flush is in the log.
    fn show_latency(&self, entries: &[Entry]) {
        let Some(oldest_ms) = entries.iter().map(|entry| entry.received_ms).min() else { return };
        let waited_ms = u64::try_from(Clock::system().now_ms().saturating_sub(oldest_ms)).unwrap_or(0);
        histogram!("tifo_http_log_latency_seconds", "stream" => self.stream.ingest.name.clone())
            .record(Duration::from_millis(waited_ms));
    }

    fn show_fill(&self) {
        let fill = self.stream.buffer.fill();
        let name = &self.stream.ingest.name;
        gauge!("tifo_http_buffer_events", "stream" => name.clone()).set(as_f64(fill.events));
        gauge!("tifo_http_buffer_bytes", "stream" => name.clone()).set(as_f64(fill.bytes));
    }
}

/// Somebody was promised it, or still waits.
fn is_wanted(entries: &[Entry], records: &[EventRef]) -> bool {
    let mut owners = records.iter().filter_map(|record| entries.get(record.entry));
    owners.any(|entry| !entry.is_abandoned())
}

fn place(placed: &mut [Vec<Placed>], records: &[EventRef], partition: i32, offsets: &[i64]) {
    for (offset, record) in offsets.iter().zip(records) {
        if let Some(place) = placed.get_mut(record.entry).and_then(|events| events.get_mut(record.event)) {
            *place = Placed { partition, offset: *offset };
        }
    }
}

fn sum(entries: &[Entry]) -> Fill {
    entries
        .iter()
        .map(Entry::fill)
        .fold(Fill::default(), |all, one| Fill { events: all.events + one.events, bytes: all.bytes + one.bytes })
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
