//! Reading the source partitions: one outstanding long poll each, and what has been fetched but not yet processed.
//!
//! Holds at most one fetch ([`FETCH_BYTES`], or one batch) per partition. It knows where a partition's log ends and
//! since when nothing came; what follows from that is the task's decision.

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tifo_broker::{ClientError, LogClient, client::Fetched};
use tifo_storage::record_batch::{BatchError, RecordBatch, Records, batches};
use tokio::time::Instant;

pub const FETCH_BYTES: usize = 512 << 10;
/// Cap on what one batch of the raw topic may decompress to; a larger one goes to the bad topic as a whole.
pub const MAX_DECOMPRESSED_BYTES: usize = 256 << 20;
/// Longest poll; new partitions are found within this time even when nothing comes.
pub const MAX_POLL: Duration = Duration::from_secs(1);
/// Back-off of a partition whose fetch failed, or came back early with nothing.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

/// The answer to one poll.
#[derive(Debug)]
pub struct Polled {
    pub partition: usize,
    pub result: Result<Fetched, ClientError>,
    /// It came back long before it had to, so that an empty answer would make a busy loop.
    pub early: bool,
}

/// A batch whose records are being processed.
#[derive(Debug)]
pub struct OpenBatch {
    pub records: Records,
    /// Records that are done.
    pub done: usize,
    pub count: usize,
    /// The offset after its last record.
    pub end: i64,
}

impl OpenBatch {
    pub fn new(batch: &RecordBatch) -> Result<Self, BatchError> {
        batch.check_crc()?;
        let records = batch.open(MAX_DECOMPRESSED_BYTES)?;
        let count = usize::try_from(batch.header.record_count).unwrap_or(0);
        Ok(Self { records, done: 0, count, end: batch.header.last_offset() + 1 })
    }
}

/// One source partition's fetched data.
#[derive(Debug, Default)]
pub struct PartitionReader {
    batches: VecDeque<RecordBatch>,
    /// The batch in work.
    open: Option<OpenBatch>,
    polling: bool,
    back_off: Option<Duration>,
    /// Why the last fetch failed.
    pub error: Option<String>,
    pub high_watermark: i64,
    /// Since when the reader has been at the log end and nothing came; None: it is not, or no poll has been sent since.
    pub quiet_since_ms: Option<i64>,
}

impl PartitionReader {
    pub fn new(high_watermark: i64) -> Self {
        Self { high_watermark, ..Self::default() }
    }

    /// Something fetched is not processed yet.
    pub fn has_data(&self) -> bool {
        self.open.is_some() || !self.batches.is_empty()
    }

    /// More is in the log, or fetched, than has been processed.
    pub fn lags(&self, next: i64) -> bool {
        self.has_data() || next < self.high_watermark
    }

    pub fn has_open(&self) -> bool {
        self.open.is_some()
    }

    /// The batch in work; to be given back unless it is done.
    pub fn take_open(&mut self) -> Option<OpenBatch> {
        self.open.take()
    }

    pub fn put_open(&mut self, batch: OpenBatch) {
        self.open = Some(batch);
    }

    /// The next batch to open, once the one in work is done.
    pub fn next_batch(&mut self) -> Option<RecordBatch> {
        self.batches.pop_front()
    }

    /// Takes a poll's data in; false if there was none.
    pub fn accept(&mut self, fetched: Fetched) -> Result<bool, ClientError> {
        (self.back_off, self.error) = (None, None);
        self.high_watermark = fetched.high_watermark;
        for batch in batches(fetched.batches) {
            let batch = batch.map_err(|error| ClientError::Refused(error.to_string()))?;
            self.batches.push_back(batch);
        }
        Ok(!self.batches.is_empty())
    }

    pub fn back_off(&mut self) {
        let [first, longest] = BACK_OFF;
        self.back_off = Some(self.back_off.map_or(first, |before| (before * 2).min(longest)));
    }
}

/// The polls under way.
#[derive(Debug)]
pub struct Polls {
    client: Arc<dyn LogClient>,
    topic: String,
    under_way: FuturesUnordered<BoxFuture<'static, Polled>>,
}

impl Polls {
    pub fn new(client: Arc<dyn LogClient>, topic: String) -> Self {
        Self { client, topic, under_way: FuturesUnordered::new() }
    }

    /// Polls a partition from `offset` on, unless it has data left or a poll is under way.
    pub fn start(&self, partition: usize, reader: &mut PartitionReader, offset: i64, max_wait: Duration) {
        let Ok(number) = i32::try_from(partition) else { return };
        if reader.polling || reader.has_data() {
            return;
        }
        reader.polling = true;
        let (client, topic, back_off) = (Arc::clone(&self.client), self.topic.clone(), reader.back_off);
        let poll = async move {
            if let Some(back_off) = back_off {
                tokio::time::sleep(back_off).await;
            }
            let started = Instant::now();
            let result = client.fetch(&topic, number, offset, FETCH_BYTES, max_wait).await;
            Polled { partition, result, early: started.elapsed() < max_wait / 2 }
        };
        self.under_way.push(poll.boxed());
    }

    /// The next answer; never comes if nothing is under way.
    pub async fn next(&mut self) -> Polled {
        match self.under_way.next().await {
            Some(polled) => polled,
            None => std::future::pending().await,
        }
    }

    /// An answer that has come already.
    pub fn ready(&mut self) -> Option<Polled> {
        self.under_way.next().now_or_never().flatten()
    }
}

impl Polled {
    /// The reader may poll again.
    pub fn settle(&self, reader: &mut PartitionReader) {
        reader.polling = false;
    }
}
