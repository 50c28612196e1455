//! What is known of one transactional id, all of it durable, and the steps from one such state to the next.
//!
//! Every step is a function from the present metadata to the next one. `previous_producer_id` is always the producer id that the
//! step before had, as Kafka writes it: a retry across a change of producer ids is recognised by it.

use super::{TopicPartition, TransactionalId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(crate) const NO_PRODUCER_ID: i64 = -1;
pub(crate) const NO_EPOCH: i16 = -1;
const NO_TIMESTAMP: i64 = -1;

/// Kafka's states; the number is the one in the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i8)]
pub enum TransactionState {
    Empty = 0,
    Ongoing = 1,
    PrepareCommit = 2,
    PrepareAbort = 3,
    CompleteCommit = 4,
    CompleteAbort = 5,
}

const STATES: [TransactionState; 6] = [
    TransactionState::Empty,
    TransactionState::Ongoing,
    TransactionState::PrepareCommit,
    TransactionState::PrepareAbort,
    TransactionState::CompleteCommit,
    TransactionState::CompleteAbort,
];

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Commit,
    Abort,
}

/// What the client's protocol makes of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientVersion {
    /// The producer adds its partitions, and keeps its epoch from one transaction to the next.
    V1,
    /// KIP-890: partitions are added as they are written to; each end bumps the epoch, so that nothing late joins the next.
    V2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionMetadata {
    pub producer: Producer,
    pub previous_producer_id: i64,
    /// Prepare states only: the producer id that the end of this transaction brings, its epochs being used up; else -1.
    pub next_producer_id: i64,
    /// The epoch before the last bump, should the producer ask again because the answer was lost; -1: it may not.
    pub last_producer_epoch: i16,
    pub timeout_ms: i32,
    pub state: TransactionState,
    pub partitions: BTreeMap<Arc<str>, BTreeSet<i32>>,
    /// -1: none began yet.
    pub start_timestamp_ms: i64,
    pub last_update_timestamp_ms: i64,
    /// `transaction.version` of the client, 0 or 2.
    pub client_version: i16,
}

impl TransactionState {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    pub fn id(self) -> i8 {
        self as i8
    }

    pub fn from_id(id: i8) -> Option<Self> {
        STATES.into_iter().find(|state| state.id() == id)
    }

    /// The outcome is written down, the markers are not all there yet.
    pub fn prepared(self) -> Option<Outcome> {
        match self {
            Self::PrepareCommit => Some(Outcome::Commit),
            Self::PrepareAbort => Some(Outcome::Abort),
            _ => None,
        }
    }
}

impl ClientVersion {
    pub fn level(self) -> i16 {
        match self {
            Self::V1 => 0,
            Self::V2 => 2,
        }
    }
}

/// No further epoch may be given to a producer of this one.
pub(crate) fn is_exhausted(epoch: i16) -> bool {
    epoch >= i16::MAX - 1
}

impl TransactionMetadata {
    /// A transactional id that was never seen; its first epoch is still to be given out.
    pub(super) fn new(producer_id: i64) -> Self {
        Self {
            producer: Producer { id: producer_id, epoch: NO_EPOCH },
            previous_producer_id: producer_id,
            next_producer_id: NO_PRODUCER_ID,
            last_producer_epoch: NO_EPOCH,
            timeout_ms: 0,
            state: TransactionState::Empty,
            partitions: BTreeMap::new(),
            start_timestamp_ms: NO_TIMESTAMP,
            last_update_timestamp_ms: NO_TIMESTAMP,
            client_version: ClientVersion::V1.level(),
        }
    }

    pub fn contains(&self, (topic, partition): &TopicPartition) -> bool {
        self.partitions.get(topic).is_some_and(|partitions| partitions.contains(partition))
    }

    pub fn partition_count(&self) -> usize {
        self.partitions.values().map(BTreeSet::len).sum()
    }

    fn step(&self, now_ms: i64) -> Self {
        Self { previous_producer_id: self.producer.id, last_update_timestamp_ms: now_ms, ..self.clone() }
    }

    /// No transaction, under this producer.
    pub(super) fn initialized(&self, producer: Producer, last_epoch: i16, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer,
            last_producer_epoch: last_epoch,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeMap::new(),
            start_timestamp_ms: NO_TIMESTAMP,
            ..self.step(now_ms)
        }
    }

    pub(super) fn with_partitions(&self, added: &[TopicPartition], version: ClientVersion, now_ms: i64) -> Self {
        let mut next = self.step(now_ms);
        if self.state != TransactionState::Ongoing {
            next.start_timestamp_ms = now_ms;
        }
        next.state = TransactionState::Ongoing;
        next.client_version = version.level();
        for (topic, partition) in added {
            next.partitions.entry(topic.clone()).or_default().insert(*partition);
        }
        next
    }

    /// Decided: from here on there is one way only. `next_producer_id` is given where the epochs are used up.
    pub(super) fn prepared(
        &self,
        outcome: Outcome,
        version: ClientVersion,
        next_producer_id: Option<i64>,
        now_ms: i64,
    ) -> Self {
        let mut next = self.step(now_ms);
        next.state = match outcome {
            Outcome::Commit => TransactionState::PrepareCommit,
            Outcome::Abort => TransactionState::PrepareAbort,
        };
        if version == ClientVersion::V2 {
            next.bump_epoch();
        }
        // An abort of nothing has no beginning of its own.
        if self.state != TransactionState::Ongoing {
            next.start_timestamp_ms = now_ms;
        }
        next.next_producer_id = next_producer_id.unwrap_or(NO_PRODUCER_ID);
        next.client_version = version.level();
        next
    }

    /// The transaction is aborted against the producer's will (a time-out, or its successor has come): its epoch is over.
    pub(super) fn fenced(&self, now_ms: i64) -> Self {
        self.prepared(Outcome::Abort, ClientVersion::V2, None, now_ms)
    }

    fn bump_epoch(&mut self) {
        self.last_producer_epoch = self.producer.epoch;
        self.producer.epoch = self.producer.epoch.saturating_add(1);
    }

    /// All markers are written. None: nothing was prepared.
    pub(super) fn completed(&self, now_ms: i64) -> Option<Self> {
        let mut next = self.step(now_ms);
        next.state = match self.state.prepared()? {
            Outcome::Commit => TransactionState::CompleteCommit,
            Outcome::Abort => TransactionState::CompleteAbort,
        };
        next.producer = self.producer_after();
        next.next_producer_id = NO_PRODUCER_ID;
        next.partitions.clear();
        Some(next)
    }

    /// Who goes on once this transaction is complete.
    pub fn producer_after(&self) -> Producer {
        match self.next_producer_id {
            NO_PRODUCER_ID => self.producer,
            id => Producer { id, epoch: 0 },
        }
    }

    /// When something is to be done without a request: a transaction times out, an id that nobody uses expires.
    pub(super) fn deadline_ms(&self, id_expiration_ms: i64) -> Option<i64> {
        match self.state {
            TransactionState::Ongoing => Some(self.start_timestamp_ms.saturating_add(i64::from(self.timeout_ms))),
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => None,
            TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort => {
                Some(self.last_update_timestamp_ms.saturating_add(id_expiration_ms))
            }
        }
    }
}

/// One durable fact of `__transaction_state`; `None` as value forgets the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRecord {
    pub transactional_id: TransactionalId,
    pub value: Option<TransactionMetadata>,
}
