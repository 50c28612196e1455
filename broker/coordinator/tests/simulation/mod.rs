//! One random run; see `driver.rs`.

pub mod consumer;
mod member;
mod shard;

use member::{Doing, Member};
use shard::Shard;
use std::collections::BTreeMap;
use tifo_coordinator::{
    Reply, Request, Ticket,
    group::{DescribedGroup, OffsetCommitRequest, OffsetToCommit},
};
use uuid::Uuid;

const PARTITIONS: u8 = 6;
const MEMBERS: usize = 4;
/// Turns that a member may miss.
const LONGEST_SLEEP: u64 = 12;
const SETTLING_ROUNDS: usize = 400;

pub fn run(seed: u64, steps: usize) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.random_step();
        world.check();
    }
    world.settle();
}

/// xorshift64*: small, and the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

struct World {
    random: Random,
    shard: Shard,
    members: Vec<Member>,
    /// Who waits for which ticket; a member that hung up is not in here any more.
    waiting: BTreeMap<Ticket, usize>,
    /// What was acknowledged per partition: by which generation and which offset.
    acknowledged: BTreeMap<u8, i64>,
    committing: BTreeMap<Ticket, Vec<(u8, i64)>>,
    /// Which member was given which partition by which generation.
    owners: BTreeMap<(i32, u8), usize>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            shard: Shard::new(),
            members: (0..MEMBERS).map(Member::new).collect(),
            waiting: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            committing: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    fn random_step(&mut self) {
        let member = usize::try_from(self.random.below(MEMBERS as u64)).unwrap();
        match self.random.below(100) {
            0..60 => self.advance(member),
            60..70 => self.pass(300),
            70..72 => self.pass(12_000),
            72..80 => self.commit(member),
            80..84 => self.leave(member),
            84..90 => self.hang_up(member),
            90..92 => self.members[member].forget(),
            92..94 => self.members[member].asleep = self.random.below(LONGEST_SLEEP),
            94..96 => self.zombie_commit(member),
            96..97 => self.restart(),
            97..98 => self.shard.appends_fail = true,
            _ => self.shard.appends_fail = false,
        }
    }

    /// The member does what a client would do next, unless it is stopped (SIGSTOP, a long collection of garbage).
    fn advance(&mut self, index: usize) {
        if self.members[index].asleep > 0 {
            self.members[index].asleep -= 1;
            return;
        }
        let unique = Uuid::from_u128(u128::from(self.shard.next_ticket().0) + 1);
        if let Some(request) = self.members[index].next_request(unique, &mut self.random) {
            self.send(index, request);
        }
    }

    fn send(&mut self, index: usize, request: Request) {
        self.waiting.insert(self.shard.next_ticket(), index);
        self.shard.send(request);
        self.deliver_all();
    }

    fn pass(&mut self, elapsed_ms: i64) {
        self.shard.pass(elapsed_ms);
        self.deliver_all();
    }

    fn deliver_all(&mut self) {
        for (ticket, reply) in self.shard.take_replies() {
            self.deliver(ticket, reply);
        }
    }

    fn deliver(&mut self, ticket: Ticket, reply: Reply) {
        if let (Some(offsets), Reply::OffsetCommit(results)) = (self.committing.remove(&ticket), &reply) {
            for ((partition, offset), result) in offsets.into_iter().zip(results) {
                if result.error.is_none() {
                    self.acknowledged.insert(partition, offset);
                }
            }
        }
        if let Some(index) = self.waiting.remove(&ticket) {
            self.members[index].receive(&reply);
            self.note_owner(index);
        }
    }

    /// Commits one further on each partition that it believes to own.
    fn commit(&mut self, index: usize) {
        let Doing::Working { generation, owned } = self.members[index].doing.clone() else { return };
        let next = |partition: &u8| (*partition, self.acknowledged.get(partition).copied().unwrap_or(0) + 1);
        let offsets: Vec<(u8, i64)> = owned.iter().map(next).collect();
        self.committing.insert(self.shard.next_ticket(), offsets.clone());
        let request = self.members[index].commit(generation, &offsets);
        self.send(index, request);
    }

    /// One that was thrown out, or is of an older generation, writes an old offset: it must be refused.
    fn zombie_commit(&mut self, index: usize) {
        let current = self.described().map_or(0, |group| group.generation);
        let request = OffsetCommitRequest {
            group: "g".into(),
            generation: current - 1,
            member_id: self.members[index].id.clone(),
            instance_id: None,
            retention_ms: None,
            knows_member_epochs: true,
            offsets: vec![offset(0_u8, 0)],
        };
        if request.generation < 0 || request.member_id.is_empty() {
            return;
        }
        let now_ms = self.shard.now_ms;
        let output = self.shard.coordinator.handle(Ticket(u64::MAX), Request::OffsetCommit(request), now_ms);
        assert!(output.records.is_empty(), "a zombie's commit was taken");
    }

    fn leave(&mut self, index: usize) {
        if let Some(request) = self.members[index].leave() {
            self.send(index, request);
        }
    }

    /// The connection breaks: the reply, if one is on its way, is never seen.
    fn hang_up(&mut self, index: usize) {
        let tickets: Vec<Ticket> =
            self.waiting.iter().filter(|(_, waiting)| **waiting == index).map(|(ticket, _)| *ticket).collect();
        for ticket in tickets {
            self.waiting.remove(&ticket);
            self.shard.abandon("g", ticket);
        }
        self.deliver_all();
        self.members[index].disconnected();
    }

    fn restart(&mut self) {
        for index in 0..MEMBERS {
            self.members[index].disconnected();
        }
        self.waiting.clear();
        self.committing.clear();
        self.shard.restart(|_| ());
        self.deliver_all();
    }

    fn described(&self) -> Option<DescribedGroup> {
        self.shard.coordinator.describe("g")
    }

    fn check(&self) {
        for (partition, acknowledged) in &self.acknowledged {
            let fetched = self.shard.coordinator.fetch_offsets("g", Some(&[("t".into(), vec![i32::from(*partition)])]));
            let committed = fetched[0].1[0].committed.as_ref().expect("an acknowledged offset is gone");
            assert!(committed.offset >= *acknowledged, "partition {partition} went back from {acknowledged}");
        }
    }

    /// Over the whole run, restarts included: what a generation gave to one was never given to another.
    fn note_owner(&mut self, index: usize) {
        let Doing::Working { generation, owned } = &self.members[index].doing else { return };
        for partition in owned {
            let owner = *self.owners.entry((*generation, *partition)).or_insert(index);
            assert_eq!(owner, index, "two owners of {partition} in generation {generation}");
        }
    }

    /// Faults stop. Everybody goes on, and after some time all partitions are shared by all.
    fn settle(&mut self) {
        self.shard.appends_fail = false;
        for _ in 0..SETTLING_ROUNDS {
            for index in 0..MEMBERS {
                self.advance(index);
            }
            self.pass(500);
            self.check();
        }
        assert_eq!(self.shard.replayed().durable_records(), self.shard.coordinator.durable_records());
        let group = self.described().expect("a group");
        assert_eq!(
            (group.state, group.members.len()),
            ("Stable", MEMBERS),
            "nobody waits forever: {:#?}",
            self.members
        );
        let owned: usize = self.members.iter().map(|member| member.owned().len()).sum();
        assert_eq!(owned, usize::from(PARTITIONS), "every partition has an owner");
    }
}

pub fn offset(partition: impl Into<i32>, offset: i64) -> OffsetToCommit {
    OffsetToCommit {
        topic: "t".into(),
        partition: partition.into(),
        offset,
        leader_epoch: -1,
        metadata: String::new(),
        topic_id: Uuid::nil(),
    }
}
