//! Members of a share group that read, acknowledge, give back, vanish and come again, chosen by a seed; the broker is killed
//! now and then. Holds: a record is held by one member at a time, one that was acknowledged is never given again, no record is
//! given more often than the limit, a start never goes back, and in the end every record was acknowledged or given up.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use tifo_coordinator::share::{
    Acknowledge, AcknowledgementBatch, Acquire, Change, Limits, LogBatch, RecordState, ShareKey, SharePartition,
    ShareStateRecord, ShareStates, Update,
};
use uuid::Uuid;

const MEMBERS: u64 = 4;
const RECORDS: i64 = 300;
const LIMITS: Limits = Limits { max_record_locks: 60, delivery_count: 3, lock_duration_ms: 1_000 };

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

struct Driver {
    random: Random,
    now_ms: i64,
    log: Vec<LogBatch>,
    partition: SharePartition,
    states: ShareStates,
    records: Vec<ShareStateRecord>,
    /// What each member thinks that it holds.
    held: BTreeMap<u64, BTreeSet<i64>>,
    acknowledged: BTreeSet<i64>,
    /// Since the last kill: what is not written is not counted on.
    given: BTreeMap<i64, i16>,
}

fn key() -> ShareKey {
    ShareKey { group: "g".into(), topic_id: Uuid::from_u128(7), partition: 3 }
}

impl Driver {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (mut log, mut next) = (Vec::new(), 0);
        while next < RECORDS {
            // Compaction has left holes.
            let first_offset = next + if random.one_in(5) { 3 } else { 0 };
            let last_offset = first_offset + i64::try_from(random.below(9)).unwrap();
            log.push(LogBatch { first_offset, last_offset, is_aborted: random.one_in(8) });
            next = last_offset + 1;
        }
        let (partition, states) = (SharePartition::new(0, &[]), ShareStates::default());
        let (held, acknowledged, given) = Default::default();
        Self { random, now_ms: 0, log, partition, states, records: Vec::new(), held, acknowledged, given }
    }

    fn end(&self) -> i64 {
        self.log.last().unwrap().last_offset + 1
    }

    fn keep(&mut self, change: Change) {
        if change.is_empty() {
            return self.partition.apply(change);
        }
        let before = self.partition.start_offset();
        let update = Update {
            start_offset: change.start_offset,
            delivery_complete_count: change.delivery_complete_count,
            leader_epoch: 0,
            batches: change.batches(),
        };
        let record = self.states.update(&key(), update, 5, self.now_ms);
        let (key, value) = record.encode();
        let record = ShareStateRecord::decode(&key, value.as_ref()).unwrap().unwrap();
        self.states.replay(&record);
        self.records.push(record);
        self.partition.apply(change);
        assert!(self.partition.start_offset() >= before, "the start went back");
    }

    fn acquire(&mut self, member: u64) {
        let from = self.partition.next_fetch_offset();
        let batches: Vec<LogBatch> =
            self.log.iter().filter(|batch| batch.last_offset >= from).take(4).copied().collect();
        let acquired = self.partition.acquire(&Acquire {
            member: member.to_string().into(),
            now_ms: self.now_ms,
            max_records: i64::try_from(1 + self.random.below(20)).unwrap(),
            batch_size: i64::try_from(1 + self.random.below(10)).unwrap(),
            limits: LIMITS,
            read_from: from,
            batches: &batches,
        });
        for records in acquired {
            for offset in records.first_offset..=records.last_offset {
                assert!(!self.acknowledged.contains(&offset), "{offset} was acknowledged, and is given again");
                assert!(records.delivery_count <= LIMITS.delivery_count, "{offset} is given too often");
                let aborted =
                    self.log.iter().any(|b| b.is_aborted && (b.first_offset..=b.last_offset).contains(&offset));
                assert!(!aborted, "{offset} was aborted");
                let count = self.given.entry(offset).or_default();
                *count += 1;
                assert!(*count <= records.delivery_count, "{offset} was given {count} times, told {records:?}");
                self.held.entry(member).or_default().insert(offset);
                let others = self.held.iter().filter(|(other, held)| **other != member && held.contains(&offset));
                assert_eq!(others.count(), 0, "{offset} is held twice");
            }
        }
    }

    fn acknowledge(&mut self, member: u64) {
        let held: Vec<i64> = self.held.get(&member).into_iter().flatten().copied().collect();
        let chosen: Vec<i64> = held.into_iter().filter(|_| !self.random.one_in(3)).collect();
        let types =
            [Acknowledge::Accept, Acknowledge::Accept, Acknowledge::Release, Acknowledge::Reject, Acknowledge::Gap];
        let said: Vec<(i64, Acknowledge)> =
            chosen.into_iter().map(|offset| (offset, types[usize::try_from(self.random.below(5)).unwrap()])).collect();
        let batches: Vec<AcknowledgementBatch> = said
            .iter()
            .map(|(offset, said)| AcknowledgementBatch {
                first_offset: *offset,
                last_offset: *offset,
                types: vec![*said],
            })
            .collect();
        assert!(AcknowledgementBatch::are_sound(&batches));
        let change =
            self.partition.acknowledge(&member.to_string(), &batches, &LIMITS).expect("what is held is one's own");
        self.keep(change);
        let held = self.held.entry(member).or_default();
        for (offset, said) in said {
            held.remove(&offset);
            if said != Acknowledge::Release {
                self.acknowledged.insert(offset);
            }
        }
    }

    /// Whoever does not hold it any more learns so.
    fn zombie(&mut self, member: u64) {
        let other = (member + 1) % MEMBERS;
        let Some(offset) = self.held.get(&other).and_then(|held| held.first()).copied() else { return };
        let batch =
            AcknowledgementBatch { first_offset: offset, last_offset: offset, types: vec![Acknowledge::Accept] };
        assert!(self.partition.acknowledge(&member.to_string(), &[batch], &LIMITS).is_err());
    }

    fn step(&mut self) {
        let member = self.random.below(MEMBERS);
        match self.random.below(12) {
            0..=4 => self.acquire(member),
            5..=8 => self.acknowledge(member),
            9 => {
                let change = self.partition.release(&member.to_string(), &LIMITS);
                self.keep(change);
                self.held.remove(&member);
            }
            10 => self.zombie(member),
            _ => self.pass(200),
        }
        if self.random.one_in(60) {
            self.kill();
        }
        self.check();
    }

    fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        let change = self.partition.expire(self.now_ms, &LIMITS);
        self.keep(change);
        let partition = &self.partition;
        for (member, held) in &mut self.held {
            held.retain(|offset| holder(partition, *offset).as_deref() == Some(member.to_string().as_str()));
        }
    }

    fn kill(&mut self) {
        let mut states = ShareStates::default();
        self.records.iter().for_each(|record| states.replay(record));
        assert_eq!(states, self.states, "replay differs from live");
        self.partition = match states.get(&key()) {
            Some(state) => SharePartition::new(state.start_offset, &state.batches),
            None => SharePartition::new(0, &[]),
        };
        self.held.clear();
        self.given.clear();
    }

    /// The runs have no holes, and what members hold is what the partition says.
    fn check(&self) {
        let mut next = self.partition.start_offset();
        for (first, last, _, _) in self.partition.in_flight() {
            assert_eq!(first, next, "a hole");
            next = last + 1;
        }
        assert_eq!(next, self.partition.end_offset());
        for (member, held) in &self.held {
            for offset in held {
                assert_eq!(holder(&self.partition, *offset).as_deref(), Some(member.to_string().as_str()), "{offset}");
            }
        }
    }

    /// Everybody works on until nothing is left.
    fn finish(&mut self) {
        for _ in 0..10_000 {
            if self.partition.start_offset() == self.end() {
                return;
            }
            for member in 0..MEMBERS {
                self.acquire(member);
                self.acknowledge(member);
            }
            self.pass(200);
            self.check();
        }
        panic!("records are lost: {:?}", self.partition);
    }
}

fn holder(partition: &SharePartition, offset: i64) -> Option<String> {
    let mut runs = partition.in_flight().filter(|(first, last, _, _)| (*first..=*last).contains(&offset));
    match runs.next()?.2 {
        RecordState::Acquired { member, .. } => Some(member.to_string()),
        _ => None,
    }
}

#[test]
fn whatever_members_do_no_record_is_lost_or_given_twice() {
    for seed in 1..=50 {
        println!("seed {seed}");
        let mut driver = Driver::new(seed);
        for _ in 0..400 {
            driver.step();
        }
        driver.finish();
    }
}
