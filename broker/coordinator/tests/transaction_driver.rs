//! Producers that begin, write, end, die, come back and are fenced at random, over partitions whose markers may come late and a
//! coordinator that may restart at any moment.
//!
//! Holds at every step: a partition's open transaction is known to the coordinator, so it will be ended; no batch joins a transaction
//! that is decided; replay equals live. Holds at the end, when all that was decided is carried out and all that is open
//! times out: nothing is open, each transaction is committed on all its partitions or on none, and on all if that was acknowledged.
//! `TIFO_SEED=n cargo test --test transaction_driver` plays one seed again.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use tifo_coordinator::{
    TransactionConfig, TransactionCoordinator, TransactionError, TransactionRecord,
    transaction::{
        AddPartitionsRequest, ClientVersion, Decision, EndRequest, Ending, InitProducerIdRequest, Outcome, Producer,
        TopicPartition,
    },
};

const SEEDS: u64 = 40;
const STEPS: usize = 1_000;
const IDS: usize = 3;
const CLIENTS: usize = 6;
const PARTITIONS: i32 = 3;
const TIMEOUT_MS: i32 = 500;

#[test]
fn no_transaction_is_half_visible() {
    if let Ok(seed) = std::env::var("TIFO_SEED") {
        return World::new(seed.parse().unwrap()).run(STEPS * 10);
    }
    for seed in 1..=SEEDS {
        println!("seed {seed}");
        World::new(seed).run(STEPS);
    }
}

/// What a client wrote: whose it is, in which of his transactions.
type Value = (usize, u64);

/// One partition, as far as transactions go.
#[derive(Default)]
struct Partition {
    epochs: HashMap<i64, i16>,
    open: BTreeMap<i64, Vec<Value>>,
    committed: Vec<Value>,
}

#[derive(Clone, Default)]
struct Client {
    producer: Option<Producer>,
    transaction: u64,
    is_first_protocol: bool,
    /// Of the first protocol: what it has added to its transaction, which it must before it writes.
    added: BTreeSet<i32>,
}

struct World {
    random: u64,
    now_ms: i64,
    coordinator: TransactionCoordinator,
    records: Vec<TransactionRecord>,
    endings: Vec<Ending>,
    partitions: BTreeMap<i32, Partition>,
    clients: Vec<Client>,
    next_producer_id: i64,
    written: BTreeMap<Value, BTreeSet<i32>>,
    acknowledged: BTreeSet<Value>,
}

impl World {
    fn new(seed: u64) -> Self {
        let client = |index| Client { is_first_protocol: index % 3 == 0, ..Client::default() };
        Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now_ms: 1_000,
            coordinator: TransactionCoordinator::new(TransactionConfig::default()),
            records: Vec::new(),
            endings: Vec::new(),
            partitions: (0..PARTITIONS).map(|index| (index, Partition::default())).collect(),
            clients: (0..CLIENTS).map(client).collect(),
            next_producer_id: 100,
            written: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    /// xorshift64*
    fn pick(&mut self, below: usize) -> usize {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let drawn = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % below
    }

    fn run(mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
            self.check_open();
        }
        self.settle();
        self.check_end();
    }

    fn step(&mut self) {
        self.now_ms += i64::try_from(self.pick(20)).unwrap();
        let client = self.pick(CLIENTS);
        match self.pick(20) {
            0 => self.restart(),
            1 => self.expire(),
            2..=4 => self.write_markers(),
            5 | 6 => self.init(client),
            7..=14 => self.write(client),
            15..=17 => self.end(client, Outcome::Commit),
            _ => self.end(client, Outcome::Abort),
        }
    }

    fn id(&self, client: usize) -> Arc<str> {
        format!("id-{}", client % IDS).into()
    }

    fn fresh(&mut self, id: &str) -> Option<i64> {
        self.coordinator.needs_producer_id(id).then(|| {
            self.next_producer_id += 1;
            self.next_producer_id
        })
    }

    /// One append in twelve fails.
    fn take<R>(&mut self, decision: Decision<Result<R, TransactionError>>) -> Result<R, TransactionError> {
        if decision.record.is_some() && self.pick(12) == 0 {
            return Err(TransactionError::NotCoordinator);
        }
        self.append(decision.record.into_iter().collect());
        decision.reply
    }

    fn append(&mut self, records: Vec<TransactionRecord>) {
        records.iter().for_each(|record| self.coordinator.replay(record));
        self.records.extend(records);
        self.endings.extend(self.coordinator.take_prepared());
    }

    fn init(&mut self, client: usize) {
        let id = self.id(client);
        let current = self.clients[client].producer.filter(|_| self.pick(2) == 0);
        let request = InitProducerIdRequest {
            fresh_producer_id: self.fresh(&id),
            transactional_id: id,
            timeout_ms: TIMEOUT_MS,
            current,
        };
        let decision = self.coordinator.init_producer_id(&request, self.now_ms);
        if let Ok(producer) = self.take(decision) {
            self.clients[client].producer = Some(producer);
            self.begin_next(client);
        }
    }

    /// As the host does it: into an open transaction at once, else with the coordinator's leave, in one step.
    fn write(&mut self, client: usize) {
        let Some(producer) = self.clients[client].producer else { return };
        let index = i32::try_from(self.pick(3)).unwrap();
        let partition = &self.partitions[&index];
        let is_open = partition.open.contains_key(&producer.id) && partition.epochs[&producer.id] == producer.epoch;
        let must_add = self.clients[client].is_first_protocol && !self.clients[client].added.contains(&index);
        if (must_add || !is_open) && !self.admit(client, producer, index) {
            return;
        }
        self.clients[client].added.insert(index);
        let value = (client, self.clients[client].transaction);
        let partition = self.partitions.get_mut(&index).unwrap();
        let epoch = partition.epochs.entry(producer.id).or_insert(producer.epoch);
        if producer.epoch < *epoch {
            return;
        }
        *epoch = producer.epoch;
        partition.open.entry(producer.id).or_default().push(value);
        self.written.entry(value).or_default().insert(index);
    }

    fn admit(&mut self, client: usize, producer: Producer, index: i32) -> bool {
        let version = if self.clients[client].is_first_protocol { ClientVersion::V1 } else { ClientVersion::V2 };
        let request =
            AddPartitionsRequest { transactional_id: self.id(client), producer, partitions: vec![key(index)], version };
        let decision = self.coordinator.add_partitions(&request, self.now_ms);
        self.take(decision).is_ok()
    }

    fn end(&mut self, client: usize, outcome: Outcome) {
        let Some(producer) = self.clients[client].producer else { return };
        let id = self.id(client);
        let is_first = self.clients[client].is_first_protocol;
        let request = EndRequest {
            fresh_producer_id: self.fresh(&id),
            transactional_id: id,
            producer,
            outcome,
            version: if is_first { ClientVersion::V1 } else { ClientVersion::V2 },
        };
        let is_ongoing = self.coordinator.get(&request.transactional_id).is_some_and(|known| known.state.id() == 1);
        let decision = self.coordinator.end(&request, self.now_ms);
        let Ok(next) = self.take(decision) else { return };
        let value = (client, self.clients[client].transaction);
        if outcome == Outcome::Commit && is_ongoing {
            self.acknowledged.insert(value);
        }
        // Whoever lost the answer would ask again with what he has.
        self.clients[client].producer = Some(if is_first { producer } else { next });
        self.begin_next(client);
    }

    fn begin_next(&mut self, client: usize) {
        self.clients[client].transaction += 1;
        self.clients[client].added.clear();
    }

    /// Some of the markers that are due, each on its own; a transaction is complete when it has all of them.
    fn write_markers(&mut self) {
        if self.endings.is_empty() {
            return;
        }
        let at = self.pick(self.endings.len());
        let mut ending = self.endings.swap_remove(at);
        while let Some((_, index)) = ending.partitions.pop() {
            self.mark(&ending, index);
            if self.pick(3) == 0 {
                self.endings.push(ending);
                return;
            }
        }
        let record = self.coordinator.complete(&ending, self.now_ms);
        self.append(record.into_iter().collect());
    }

    fn mark(&mut self, ending: &Ending, index: i32) {
        let Producer { id, epoch } = ending.producer;
        let partition = self.partitions.get_mut(&index).unwrap();
        if partition.epochs.get(&id).is_some_and(|known| *known > epoch) {
            return;
        }
        partition.epochs.insert(id, epoch);
        let ended = partition.open.remove(&id).unwrap_or_default();
        if ending.outcome == Outcome::Commit {
            partition.committed.extend(ended);
        }
    }

    fn expire(&mut self) {
        let records = self.coordinator.expire(self.now_ms);
        if self.pick(4) == 0 {
            self.coordinator.postpone(&records, self.now_ms);
        } else {
            self.append(records);
        }
    }

    fn replayed(&self) -> TransactionCoordinator {
        let mut fresh = TransactionCoordinator::new(TransactionConfig::default());
        for record in &self.records {
            let (key, value) = record.encode();
            fresh.replay(&TransactionRecord::decode(&key, value.as_ref()).unwrap().unwrap());
        }
        fresh
    }

    /// kill -9: what was being written to partitions begins anew.
    fn restart(&mut self) {
        let fresh = self.replayed();
        assert_eq!(fresh.durable_records(), self.coordinator.durable_records(), "replay differs from live");
        self.coordinator = fresh;
        self.endings = self.coordinator.take_prepared();
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.now_ms += 1_000;
            self.restart();
            let records = self.coordinator.expire(self.now_ms);
            self.append(records);
            while !self.endings.is_empty() {
                self.write_markers();
            }
            if self.partitions.values().all(|partition| partition.open.is_empty()) {
                return;
            }
        }
        panic!("a transaction hangs");
    }

    fn check_open(&self) {
        for (index, partition) in &self.partitions {
            for id in partition.open.keys() {
                assert!(self.coordinator.coordinates(*id, &key(*index)), "producer {id} hangs on partition {index}");
            }
        }
    }

    fn check_end(&self) {
        for (value, partitions) in &self.written {
            let is_committed = |index: &&i32| self.partitions[*index].committed.contains(value);
            let committed = partitions.iter().filter(is_committed).count();
            assert!(committed == 0 || committed == partitions.len(), "{value:?} is half visible");
            if self.acknowledged.contains(value) {
                assert_eq!(committed, partitions.len(), "{value:?} was acknowledged");
            }
        }
        assert!(!self.acknowledged.is_empty(), "nothing was ever committed");
    }
}

fn key(index: i32) -> TopicPartition {
    ("p".into(), index)
}
