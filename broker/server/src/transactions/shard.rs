//! One shard of the transaction coordinator: the state machine, the partition that keeps its records, and the endings under way.
//!
//! What the state machine decides is appended and replayed under the shard's lock; so is the first batch of a transaction on a
//! partition (`admit`). An end of the transaction is decided under the same lock: so no batch comes behind its transaction's marker. Where
//! the topic's durability is `fsync`, answers and markers wait for the sync, without the lock.

use super::markers::Markers;
use crate::{
    clock::Clock,
    coordination::{self, NEVER_MS, encode, loading},
    durability::patience,
    partition::{Partition, UntilDurable},
};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tifo_coordinator::{
    DecodeError, TransactionConfig, TransactionCoordinator, TransactionError, TransactionRecord,
    transaction::{Decision, Ending},
};
use tifo_storage::{
    Origin,
    record_batch::{BatchHeader, EndTransactionMarker},
};
use tokio::sync::{Notify, OnceCell, oneshot};

/// Markers that could not be written are tried again after this long, then after twice as long, and so on …
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// … up to this.
const LAST_RETRY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Shard {
    /// For the tasks that write its markers.
    this: std::sync::Weak<Shard>,
    partition: Arc<Partition>,
    config: TransactionConfig,
    clock: Clock,
    markers: Arc<Markers>,
    loaded: OnceCell<()>,
    state: Mutex<TransactionCoordinator>,
    /// Requests that wait for `state` because a disk stalls under the partition.
    stalled: AtomicUsize,
    /// The state machine's next deadline, for the timer to read without the lock.
    deadline_ms: AtomicI64,
    earlier: Arc<Notify>,
}

/// What is still to be waited for before a request is answered.
#[derive(Debug, Default)]
pub struct Finished {
    until_durable: Option<UntilDurable>,
    /// The first try at the markers of each transaction that was ended.
    endings: Vec<oneshot::Receiver<()>>,
}

impl Finished {
    /// Returns when the answer may be sent.
    pub async fn answerable(self) -> Result<(), TransactionError> {
        if let Some(until_durable) = self.until_durable {
            until_durable.reached().await.map_err(|_| TransactionError::NotCoordinator)?;
        }
        for ending in self.endings {
            ending.await.map_err(|_| TransactionError::NotCoordinator)?;
        }
        Ok(())
    }

    /// The same where no transaction was ended: what else must become durable.
    pub fn until_durable(self) -> Option<UntilDurable> {
        self.until_durable
    }
}

impl Shard {
    pub fn new(
        partition: Arc<Partition>,
        config: TransactionConfig,
        clock: Clock,
        markers: Arc<Markers>,
        earlier: Arc<Notify>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            partition,
            clock,
            markers,
            loaded: OnceCell::new(),
            state: Mutex::new(TransactionCoordinator::new(config.clone())),
            stalled: AtomicUsize::new(0),
            config,
            deadline_ms: AtomicI64::new(NEVER_MS),
            earlier,
        })
    }

    /// Returns when the shard knows what its partition holds.
    pub async fn loaded(self: &Arc<Self>) -> Result<(), TransactionError> {
        let load = || async {
            let shard = self.clone();
            let loaded = tokio::task::spawn_blocking(move || shard.load()).await;
            loaded.unwrap_or(Err(TransactionError::CoordinatorNotAvailable))
        };
        self.loaded.get_or_try_init(load).await.map(|_| ())
    }

    pub fn is_loaded(&self) -> bool {
        self.loaded.initialized()
    }

    /// Endings that the last run left half-way go on from here.
    fn load(&self) -> Result<(), TransactionError> {
        let mut state = patience::lock(&self.state);
        // A fresh machine: an earlier attempt may have failed half-way.
        *state = TransactionCoordinator::new(self.config.clone());
        let count = loading::load(&self.partition, &mut Loading(&mut state)).map_err(|error| {
            tracing::error!(topic = %self.partition.topic, partition = self.partition.index, %error, "transactions could not be loaded");
            TransactionError::CoordinatorNotAvailable
        })?;
        self.finish(&mut state, &[])?;
        if count > 0 {
            tracing::debug!(partition = self.partition.index, records = count, "transactions loaded");
        }
        Ok(())
    }

    /// Lets the state machine decide; answers once that is in the log and, of an end, the markers were written once.
    pub async fn decide<R>(
        &self,
        decide: impl FnOnce(&TransactionCoordinator, i64) -> Decision<Result<R, TransactionError>>,
    ) -> Result<R, TransactionError> {
        let (reply, finished) = self.decide_now(decide)?;
        finished.answerable().await?;
        reply
    }

    fn decide_now<R>(
        &self,
        decide: impl FnOnce(&TransactionCoordinator, i64) -> Decision<R>,
    ) -> Result<(R, Finished), TransactionError> {
        let mut state = self.in_turn()?;
        let Decision { record, reply } = decide(&state, self.clock.now_ms());
        let finished = self.finish(&mut state, record.as_slice())?;
        Ok((reply, finished))
    }

    /// Lets `act` follow the decision before anything else of this shard is decided.
    pub fn admit<R, T>(
        &self,
        decide: impl FnOnce(&TransactionCoordinator, i64) -> Decision<R>,
        act: impl FnOnce(R) -> T,
    ) -> Result<(T, Finished), TransactionError> {
        let mut state = self.in_turn()?;
        let Decision { record, reply } = decide(&state, self.clock.now_ms());
        let finished = self.finish(&mut state, record.as_slice())?;
        Ok((act(reply), finished))
    }

    /// Looks without changing anything.
    pub fn read<T>(&self, look: impl FnOnce(&TransactionCoordinator) -> T) -> Result<T, TransactionError> {
        let state = self.in_turn()?;
        Ok(look(&state))
    }

    /// What clients ask for is refused when a disk stalls and too many wait before.
    fn in_turn(&self) -> Result<MutexGuard<'_, TransactionCoordinator>, TransactionError> {
        patience::lock_in_turn(&self.state, &self.stalled).ok_or(TransactionError::CoordinatorNotAvailable)
    }

    /// Appends and replays; sets going what was decided; says when it wants to be woken.
    fn finish(
        &self,
        state: &mut TransactionCoordinator,
        records: &[TransactionRecord],
    ) -> Result<Finished, TransactionError> {
        let until_durable = self.append(records);
        if until_durable.is_ok() {
            records.iter().for_each(|record| state.replay(record));
        } else {
            state.postpone(records, self.clock.now_ms());
        }
        let deadline_ms = state.next_deadline().unwrap_or(NEVER_MS);
        if deadline_ms < self.deadline_ms.swap(deadline_ms, Ordering::AcqRel) {
            self.earlier.notify_one();
        }
        let until_durable = until_durable?;
        let mut endings = state.take_prepared();
        let Some(last) = endings.pop() else { return Ok(Finished { until_durable, endings: Vec::new() }) };
        // At most one is waited for: a request ends one transaction. What recovery finds is durable.
        let mut begun: Vec<_> = endings.into_iter().map(|ending| self.begin_ending(ending, None)).collect();
        begun.push(self.begin_ending(last, until_durable));
        Ok(Finished { until_durable: None, endings: begun })
    }

    fn append(&self, records: &[TransactionRecord]) -> Result<Option<UntilDurable>, TransactionError> {
        if records.is_empty() {
            return Ok(None);
        }
        let now_ms = self.clock.now_ms();
        let batches = encode(records.iter().map(TransactionRecord::encode), None, now_ms);
        let appended = self.partition.append(&batches, Origin::Internal, now_ms);
        metrics::counter!("tifo_coordinator_records_total").increment(u64::try_from(records.len()).unwrap_or(0));
        appended.map(|accepted| accepted.until_durable).map_err(|error| {
            tracing::error!(topic = %self.partition.topic, partition = self.partition.index, %error, "records of transactions were not taken");
            TransactionError::NotCoordinator
        })
    }

    /// Goes on until it is done or the broker stops, whether or not somebody waits for it.
    fn begin_ending(&self, ending: Ending, until_durable: Option<UntilDurable>) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        if let Some(shard) = self.this.upgrade() {
            self.markers.spawn(async move { shard.end(ending, until_durable, sender).await });
        }
        receiver
    }

    async fn end(self: Arc<Self>, ending: Ending, until_durable: Option<UntilDurable>, first_try: oneshot::Sender<()>) {
        // Nothing of it may be seen before the decision is safe. Should it never be, recovery finds out what there is.
        if let Some(until_durable) = until_durable
            && until_durable.reached().await.is_err()
        {
            return;
        }
        let (mut first_try, mut wait) = (Some(first_try), FIRST_RETRY);
        let mut left = ending.partitions.clone();
        loop {
            left = self.markers.write(&ending, left).await;
            let is_complete = left.is_empty() && self.complete(&ending).await;
            first_try.take().map(|first_try| first_try.send(()));
            if is_complete || !self.markers.pause(wait).await {
                return;
            }
            wait = (wait * 2).min(LAST_RETRY);
        }
    }

    async fn complete(&self, ending: &Ending) -> bool {
        let finished = {
            let mut state = patience::lock(&self.state);
            let record = state.complete(ending, self.clock.now_ms());
            self.finish(&mut state, record.as_slice())
        };
        match finished {
            Ok(finished) => finished.answerable().await.is_ok(),
            Err(_) => false,
        }
    }
}

/// What is in the log goes into the state machine.
struct Loading<'a>(&'a mut TransactionCoordinator);

impl loading::Replay for Loading<'_> {
    fn record(&mut self, _: &BatchHeader, key: &Bytes, value: Option<&Bytes>) -> Result<(), DecodeError> {
        if let Some(record) = TransactionRecord::decode(key, value)? {
            self.0.replay(&record);
        }
        Ok(())
    }

    fn marker(&mut self, _: i64, _: EndTransactionMarker) {}
}

impl coordination::Shard for Shard {
    fn deadline_ms(&self) -> i64 {
        self.deadline_ms.load(Ordering::Acquire)
    }

    fn expire(&self) {
        let mut state = patience::lock(&self.state);
        let records = state.expire(self.clock.now_ms());
        // What could not be written comes again; nobody waits for the rest.
        let _ = self.finish(&mut state, &records);
    }

    fn close(&self) {
        self.deadline_ms.store(NEVER_MS, Ordering::Release);
    }
}
