//! One shard: a state machine, the partition that keeps its records, and the requests that wait for their replies.
//!
//! Everything that the state machine puts out is finished under the shard's lock: appended, replayed, answered. So records lie
//! in the log in the order in which they were decided, and nobody sees a state that is not in the log. Where the topic's durability is
//! `fsync`, the answers alone wait for the sync, without the lock.

use super::loading;
use crate::{
    clock::Clock,
    durability::patience,
    partition::{Partition, UntilDurable},
};
use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Instant,
};
use tifo_coordinator::{
    GroupConfig, GroupCoordinator, GroupError, Output, Record, Reply, Request, Ticket, group::GroupId,
};
use tifo_storage::{
    Origin,
    record_batch::{BatchBuilder, Compression},
};
use tokio::sync::{Notify, OnceCell, oneshot};
use tokio_util::sync::CancellationToken;

/// Records of one step are cut into batches of about this size, so that any client may read the topic.
const BATCH_BYTES: usize = 512 << 10;
/// Requests of one shard that wait for a reply (JoinGroup, SyncGroup). More are refused; clients come again.
const MAX_WAITING: usize = 100_000;
/// No deadline.
const NEVER_MS: i64 = i64::MAX;

#[derive(Debug)]
pub struct Shard {
    partition: Arc<Partition>,
    clock: Clock,
    loaded: OnceCell<()>,
    state: Mutex<State>,
    /// The state machine's next deadline, for the timer to read without the lock.
    deadline_ms: AtomicI64,
    earlier: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    coordinator: GroupCoordinator,
    waiting: HashMap<Ticket, oneshot::Sender<Reply>>,
}

impl Shard {
    pub fn new(partition: Arc<Partition>, config: GroupConfig, clock: Clock, earlier: Arc<Notify>) -> Self {
        Self {
            partition,
            clock,
            loaded: OnceCell::new(),
            state: Mutex::new(State { coordinator: GroupCoordinator::new(config), waiting: HashMap::new() }),
            deadline_ms: AtomicI64::new(NEVER_MS),
            earlier,
        }
    }

    /// Returns when the shard knows what its partition holds.
    pub async fn loaded(self: &Arc<Self>) -> Result<(), GroupError> {
        let load = || async {
            let shard = self.clone();
            let loaded = tokio::task::spawn_blocking(move || shard.load()).await;
            loaded.unwrap_or(Err(GroupError::CoordinatorNotAvailable))
        };
        self.loaded.get_or_try_init(load).await.map(|_| ())
    }

    fn load(&self) -> Result<(), GroupError> {
        let started = Instant::now();
        let mut state = patience::lock(&self.state);
        // A fresh machine: an earlier attempt may have failed half-way.
        state.coordinator = GroupCoordinator::new(state.coordinator.config().clone());
        let count = loading::load(&self.partition, &mut state.coordinator).map_err(|error| {
            tracing::error!(topic = %self.partition.topic, partition = self.partition.index, %error, "groups could not be loaded");
            GroupError::CoordinatorNotAvailable
        })?;
        let output = state.coordinator.loaded(self.clock.now_ms());
        self.finish(&mut state, output);
        metrics::histogram!("tifo_coordinator_load_seconds").record(started.elapsed().as_secs_f64());
        if count > 0 {
            tracing::debug!(partition = self.partition.index, records = count, "groups loaded");
        }
        Ok(())
    }

    /// Hands a request to the state machine and waits for its reply. The first part happens before the first await.
    pub async fn call(
        self: &Arc<Self>,
        request: Request,
        tickets: &AtomicU64,
        shutdown: &CancellationToken,
    ) -> Result<Reply, GroupError> {
        let group = request.group().clone();
        let ticket = Ticket(tickets.fetch_add(1, Ordering::Relaxed));
        let mut reply = self.begin(ticket, request)?;
        if let Ok(reply) = reply.try_recv() {
            return Ok(reply);
        }
        let _guard = Waiting { shard: self.clone(), group, ticket };
        tokio::select! {
            reply = reply => reply.map_err(|_| GroupError::CoordinatorNotAvailable),
            () = shutdown.cancelled() => Err(GroupError::CoordinatorNotAvailable),
        }
    }

    fn begin(&self, ticket: Ticket, request: Request) -> Result<oneshot::Receiver<Reply>, GroupError> {
        let (sender, receiver) = oneshot::channel();
        let mut state = patience::lock(&self.state);
        if state.waiting.len() >= MAX_WAITING {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        state.waiting.insert(ticket, sender);
        let output = state.coordinator.handle(ticket, request, self.clock.now_ms());
        self.finish(&mut state, output);
        Ok(receiver)
    }

    /// The topic is gone: who waits is told to look for the coordinator again.
    pub fn close(&self) {
        patience::lock(&self.state).waiting.clear();
        self.deadline_ms.store(NEVER_MS, Ordering::Release);
    }

    /// Looks without changing anything.
    pub fn read<T>(&self, look: impl FnOnce(&GroupCoordinator) -> T) -> T {
        look(&patience::lock(&self.state).coordinator)
    }

    pub fn forget_topic(&self, topic: &str) {
        let mut state = patience::lock(&self.state);
        let output = state.coordinator.forget_topic(topic);
        self.finish(&mut state, output);
    }

    /// When [`Self::expire`] is due.
    pub fn deadline_ms(&self) -> i64 {
        self.deadline_ms.load(Ordering::Acquire)
    }

    pub fn expire(&self) {
        let mut state = patience::lock(&self.state);
        let output = state.coordinator.expire(self.clock.now_ms());
        self.finish(&mut state, output);
    }

    fn abandon(&self, group: &str, ticket: Ticket) {
        let mut state = patience::lock(&self.state);
        if state.waiting.remove(&ticket).is_none() {
            return;
        }
        let output = state.coordinator.abandon(group, ticket, self.clock.now_ms());
        self.finish(&mut state, output);
    }

    /// Appends, replays, answers; then says when it wants to be woken.
    fn finish(&self, state: &mut State, output: Output) {
        let Output { records, replies } = output;
        match self.append(&records) {
            Ok(until_durable) => {
                records.iter().for_each(|record| state.coordinator.replay(record));
                match until_durable {
                    None => state.answer(replies),
                    Some(until_durable) => state.answer_when(until_durable, replies),
                }
            }
            Err(error) => {
                state.answer(replies.into_iter().map(|(ticket, reply)| (ticket, reply.failed(error))).collect());
                let more = state.coordinator.append_failed(&records, self.clock.now_ms());
                // What starts over writes nothing: there are members.
                state.answer(more.replies);
            }
        }
        let deadline_ms = state.coordinator.next_deadline().unwrap_or(NEVER_MS);
        if deadline_ms < self.deadline_ms.swap(deadline_ms, Ordering::AcqRel) {
            self.earlier.notify_one();
        }
    }

    fn append(&self, records: &[Record]) -> Result<Option<UntilDurable>, GroupError> {
        if records.is_empty() {
            return Ok(None);
        }
        let now_ms = self.clock.now_ms();
        let appended = self.partition.append(&encode(records, now_ms), Origin::Internal, now_ms);
        metrics::counter!("tifo_coordinator_records_total").increment(u64::try_from(records.len()).unwrap_or(0));
        appended.map(|accepted| accepted.until_durable).map_err(|error| {
            tracing::error!(topic = %self.partition.topic, partition = self.partition.index, %error, "records of groups were not taken");
            // As Kafka does for a failed disk: the client looks for the coordinator again, and comes back.
            GroupError::NotCoordinator
        })
    }
}

impl State {
    /// Whoever is gone does not hear it.
    fn answer(&mut self, replies: Vec<(Ticket, Reply)>) {
        for (ticket, reply) in replies {
            if let Some(sender) = self.waiting.remove(&ticket) {
                let _ = sender.send(reply);
            }
        }
    }

    /// The same, once the records are durable; should they never be, the client looks for the coordinator again.
    fn answer_when(&mut self, until_durable: UntilDurable, replies: Vec<(Ticket, Reply)>) {
        let answers = replies.into_iter().filter_map(|(ticket, reply)| Some((self.waiting.remove(&ticket)?, reply)));
        let answers: Vec<_> = answers.collect();
        if answers.is_empty() {
            return;
        }
        tokio::spawn(async move {
            let synced = until_durable.reached().await;
            for (sender, reply) in answers {
                let reply = if synced.is_ok() { reply } else { reply.failed(GroupError::NotCoordinator) };
                let _ = sender.send(reply);
            }
        });
    }
}

/// A request that waits; dropped when it was answered, or when its client has hung up.
struct Waiting {
    shard: Arc<Shard>,
    group: GroupId,
    ticket: Ticket,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shard.abandon(&self.group, self.ticket);
    }
}

fn encode(records: &[Record], now_ms: i64) -> Bytes {
    let mut batches = BytesMut::new();
    let mut batch = BatchBuilder::new(Compression::None);
    for record in records {
        let (key, value) = record.encode();
        batch.push(now_ms, Some(&key), value.as_deref(), &[]);
        if batch.size_bytes() >= BATCH_BYTES {
            let full = std::mem::replace(&mut batch, BatchBuilder::new(Compression::None));
            batches.put(full.build());
        }
    }
    batches.put(batch.build());
    batches.freeze()
}
