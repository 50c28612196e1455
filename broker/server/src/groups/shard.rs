//! One shard: a state machine, the partition that keeps its records, and the requests that wait for their replies.
//!
//! Everything that the state machine puts out is finished under the shard's lock: appended, replayed, answered. So records lie
//! in the log in the order in which they were decided, and nobody sees a state that is not in the log. Where the topic's durability is
//! `fsync`, the answers alone wait for the sync, without the lock.

use super::share::{self, ShareHost};
use crate::{
    catalog::Catalog,
    clock::Clock,
    coordination::{self, NEVER_MS, encode, loading},
    durability::patience,
    partition::{Partition, UntilDurable},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};
use tifo_coordinator::{
    DecodeError, GroupConfig, GroupCoordinator, GroupError, Output, Record, Reply, Request, Ticket,
    group::GroupId,
    share::{ShareGroupRecord, ShareGroups},
    transaction::Producer,
};
use tifo_storage::{
    Origin,
    record_batch::{BatchHeader, EndTransactionMarker, TransactionResult},
};
use tokio::sync::{Notify, OnceCell, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Requests of one shard that wait for a reply (JoinGroup, SyncGroup). More are refused; clients come again.
const MAX_WAITING: usize = 100_000;

#[derive(Debug)]
pub struct Shard {
    pub(super) partition: Arc<Partition>,
    /// Consumer groups are assigned what topics there are.
    catalog: Arc<Catalog>,
    pub(super) clock: Clock,
    loaded: OnceCell<()>,
    pub(super) state: Mutex<State>,
    /// Requests that wait for `state` because a disk stalls under the partition.
    pub(super) stalled: AtomicUsize,
    /// The state machine's next deadline, for the timer to read without the lock.
    deadline_ms: AtomicI64,
    earlier: Arc<Notify>,
    /// Says that a group of this shard may have changed, to those who look at one.
    changed: watch::Sender<()>,
    /// What share groups need to know of this broker.
    pub(super) share: ShareHost,
}

#[derive(Debug)]
pub(super) struct State {
    pub coordinator: GroupCoordinator,
    /// Share groups (KIP-932) of the same partition.
    pub share: ShareGroups,
    waiting: HashMap<Ticket, oneshot::Sender<Reply>>,
}

impl Shard {
    pub fn new(
        partition: Arc<Partition>,
        catalog: Arc<Catalog>,
        config: GroupConfig,
        share: ShareHost,
        clock: Clock,
        earlier: Arc<Notify>,
    ) -> Self {
        let state = State {
            coordinator: GroupCoordinator::new(config),
            share: ShareGroups::new(share.max_size()),
            waiting: HashMap::new(),
        };
        Self {
            partition,
            catalog,
            clock,
            loaded: OnceCell::new(),
            state: Mutex::new(state),
            stalled: AtomicUsize::new(0),
            deadline_ms: AtomicI64::new(NEVER_MS),
            earlier,
            changed: watch::Sender::new(()),
            share,
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
        state.share = ShareGroups::new(self.share.max_size());
        let count = loading::load(&self.partition, &mut Loading(&mut state)).map_err(|error| {
            tracing::error!(topic = %self.partition.topic, partition = self.partition.index, %error, "groups could not be loaded");
            GroupError::CoordinatorNotAvailable
        })?;
        self.share_loaded(&mut state);
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

    pub(super) fn begin(&self, ticket: Ticket, request: Request) -> Result<oneshot::Receiver<Reply>, GroupError> {
        let (sender, receiver) = oneshot::channel();
        let state = patience::lock_in_turn(&self.state, &self.stalled);
        let mut state = state.ok_or(GroupError::CoordinatorNotAvailable)?;
        if state.waiting.len() >= MAX_WAITING {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        if let Some(error) = share::refuses(&state.share, &request) {
            let _ = sender.send(request.refused(error));
            return Ok(receiver);
        }
        state.waiting.insert(ticket, sender);
        if state.coordinator.wants_topics(&request) {
            state.coordinator.set_topics(self.catalog.topics_image());
        }
        let output = state.coordinator.handle(ticket, request, self.clock.now_ms());
        self.finish(&mut state, output);
        Ok(receiver)
    }

    /// Looks without changing anything. Refused when a disk stalls and too many wait before.
    pub fn read<T>(&self, look: impl FnOnce(&GroupCoordinator) -> T) -> Result<T, GroupError> {
        let state = patience::lock_in_turn(&self.state, &self.stalled);
        state.map(|state| look(&state.coordinator)).ok_or(GroupError::CoordinatorNotAvailable)
    }

    /// The same, with the topics as they are now.
    pub fn read_with_topics<T>(&self, look: impl FnOnce(&GroupCoordinator) -> T) -> Result<T, GroupError> {
        let state = patience::lock_in_turn(&self.state, &self.stalled);
        let mut state = state.ok_or(GroupError::CoordinatorNotAvailable)?;
        state.coordinator.set_topics(self.catalog.topics_image());
        Ok(look(&state.coordinator))
    }

    /// Wakes after every step that may have changed a group of this shard, from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn note_change(&self) {
        // Nobody who looks: nobody to wake.
        let _ = self.changed.send(());
    }

    pub fn forget_topic(&self, topic: &str) {
        let mut state = patience::lock(&self.state);
        let output = state.coordinator.forget_topic(topic);
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
        let Output { records, replies, transaction } = output;
        match self.append(&records, transaction) {
            Ok(until_durable) => {
                records.iter().for_each(|record| match transaction {
                    None => state.coordinator.replay(record),
                    Some(producer) => state.coordinator.replay_in_transaction(record, producer.id),
                });
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
        self.note_deadline(state);
    }

    /// When it wants to be woken.
    pub(super) fn note_deadline(&self, state: &State) {
        let deadlines = [state.coordinator.next_deadline(), state.share.next_deadline()];
        let deadline_ms = deadlines.into_iter().flatten().min().unwrap_or(NEVER_MS);
        if deadline_ms < self.deadline_ms.swap(deadline_ms, Ordering::AcqRel) {
            self.earlier.notify_one();
        }
        self.note_change();
    }

    fn append(&self, records: &[Record], transaction: Option<Producer>) -> Result<Option<UntilDurable>, GroupError> {
        self.append_encoded(records.iter().map(Record::encode), transaction)
    }

    pub(super) fn append_encoded(
        &self,
        records: impl ExactSizeIterator<Item = (Bytes, Option<Bytes>)>,
        transaction: Option<Producer>,
    ) -> Result<Option<UntilDurable>, GroupError> {
        let count = records.len();
        if count == 0 {
            return Ok(None);
        }
        let now_ms = self.clock.now_ms();
        let batches = encode(records, transaction, now_ms);
        let appended = self.partition.append(&batches, Origin::Internal, now_ms);
        metrics::counter!("tifo_coordinator_records_total").increment(u64::try_from(count).unwrap_or(0));
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

/// What is in the log goes into the state machine.
struct Loading<'a>(&'a mut State);

impl loading::Replay for Loading<'_> {
    fn record(&mut self, batch: &BatchHeader, key: &Bytes, value: Option<&Bytes>) -> Result<(), DecodeError> {
        match Record::decode(key, value)? {
            Some(record) if batch.is_transactional() => {
                self.0.coordinator.replay_in_transaction(&record, batch.producer_id);
            }
            Some(record) => self.0.coordinator.replay(&record),
            None => ShareGroupRecord::decode(key, value)?.iter().for_each(|record| self.0.share.replay(record)),
        }
        Ok(())
    }

    fn marker(&mut self, producer_id: i64, marker: EndTransactionMarker) {
        self.0.coordinator.replay_marker(producer_id, marker.result == TransactionResult::Commit);
    }
}

impl coordination::Shard for Shard {
    fn deadline_ms(&self) -> i64 {
        self.deadline_ms.load(Ordering::Acquire)
    }

    fn expire(&self) {
        let mut state = patience::lock(&self.state);
        self.expire_share_members(&mut state);
        state.coordinator.set_topics(self.catalog.topics_image());
        let now_ms = self.clock.now_ms();
        loop {
            let output = state.coordinator.expire(now_ms);
            self.finish(&mut state, output);
            if state.coordinator.next_deadline().is_none_or(|deadline_ms| deadline_ms > now_ms) {
                return;
            }
        }
    }

    /// Who waits is told to look for the coordinator again.
    fn close(&self) {
        patience::lock(&self.state).waiting.clear();
        self.deadline_ms.store(NEVER_MS, Ordering::Release);
        self.note_change();
    }
}
