//! The same for KIP-848: members that beat, commit, leave, pause, die and come back at random, topics that come and grow.
//!
//! Holds at every step: no partition has two holders; what came to one member in an epoch never came to another in the same;
//! offsets never go back once they were acknowledged; who does not hold a partition cannot commit for it.

use super::{Random, offset, shard::Shard};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tifo_coordinator::{
    ConsumerGroupSettings, GroupError, Record, Reply, Request,
    assignment::{Assignment, TopicMetadata, TopicsImage},
    group::{ConsumerHeartbeatReply, ConsumerHeartbeatRequest, OffsetCommitRequest},
    record::{ConsumerRecord, MemberAssignment},
};
use uuid::Uuid;

const CLIENTS: usize = 4;
const LONGEST_SLEEP: u64 = 15;
const SETTLING_ROUNDS: usize = 200;
const SETTINGS: ConsumerGroupSettings =
    ConsumerGroupSettings { session_timeout_ms: 10_000, heartbeat_interval_ms: 500, assignment_interval_ms: 700 };

pub fn run(seed: u64, steps: usize) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.random_step();
        world.check();
    }
    world.settle();
}

#[derive(Debug)]
struct Client {
    number: usize,
    /// Counts its lives; each has an id of its own.
    life: usize,
    epoch: i32,
    owned: Assignment,
    asleep: u64,
}

impl Client {
    fn id(&self) -> String {
        format!("c{}-{}", self.number, self.life)
    }

    /// The odd ones are static.
    fn instance_id(&self) -> Option<Arc<str>> {
        (self.number % 2 == 1).then(|| format!("i{}", self.number).into())
    }

    fn beat(&self, epoch: i32) -> ConsumerHeartbeatRequest {
        let joins = epoch == 0;
        ConsumerHeartbeatRequest {
            group: "g".into(),
            member_id: self.id(),
            epoch,
            instance_id: self.instance_id(),
            rack_id: None,
            rebalance_timeout_ms: joins.then_some(3_000),
            topic_names: joins.then(|| BTreeSet::from(["t".to_owned()])),
            topic_regex: (joins && self.number < 2).then(|| "u.*".into()),
            assignor: (self.number == 3).then(|| "range".to_owned()),
            owned: Some(if joins { Assignment::new() } else { self.owned.clone() }),
            client_id: format!("c{}", self.number),
            client_host: "/127.0.0.1".to_owned(),
            settings: SETTINGS,
        }
    }

    fn receive(&mut self, reply: &ConsumerHeartbeatReply) {
        match reply.error {
            None => {
                self.epoch = reply.epoch;
                if let Some(assignment) = &reply.assignment {
                    self.owned = assignment.clone();
                }
            }
            Some(GroupError::NotCoordinator | GroupError::UnreleasedInstanceId) => {}
            Some(GroupError::FencedInstanceId) => self.die(),
            Some(_) => self.begin_anew(),
        }
    }

    fn begin_anew(&mut self) {
        self.epoch = 0;
        self.owned.clear();
    }

    /// Another process starts in its place.
    fn die(&mut self) {
        self.life += 1;
        self.begin_anew();
    }
}

struct World {
    random: Random,
    shard: Shard,
    topics: Arc<TopicsImage>,
    clients: Vec<Client>,
    acknowledged: BTreeMap<i32, i64>,
    /// Which client a partition came to in which epoch.
    came_to: BTreeMap<(Uuid, i32, i32), String>,
    /// How many of the shard's records are in there.
    noted: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let client = |number| Client { number, life: 0, epoch: 0, owned: Assignment::new(), asleep: 0 };
        let mut world = Self {
            random: Random::new(seed),
            shard: Shard::new(),
            topics: Arc::default(),
            clients: (0..CLIENTS).map(client).collect(),
            acknowledged: BTreeMap::new(),
            came_to: BTreeMap::new(),
            noted: 0,
        };
        world.set_topics(&[("t", 6)]);
        world
    }

    fn random_step(&mut self) {
        let index = usize::try_from(self.random.below(CLIENTS as u64)).unwrap();
        match self.random.below(100) {
            0..60 => self.advance(index, false),
            60..66 => self.advance(index, true),
            66..76 => self.pass(400),
            76..78 => self.pass(12_000),
            78..86 => self.commit(index),
            86..88 => self.zombie_commit(index),
            88..90 => self.leave(index, -1),
            90..92 => self.leave(index, -2),
            92..94 => self.clients[index].die(),
            94..96 => self.clients[index].asleep = self.random.below(LONGEST_SLEEP),
            96..97 => self.restart(),
            97..98 => self.change_topics(),
            98..99 => self.shard.appends_fail = true,
            _ => self.shard.appends_fail = false,
        }
    }

    fn change_topics(&mut self) {
        let (t, u) = (6 + self.random.below(3), self.random.below(4));
        let partitions = |count| i32::try_from(count).unwrap();
        // Partitions are never taken from a topic that stays.
        let t = partitions(t).max(self.topics.topic("t").map_or(0, |topic| topic.partitions));
        match u {
            0 => self.set_topics(&[("t", t)]),
            u => self.set_topics(&[("t", t), ("u1", partitions(u))]),
        }
    }

    fn set_topics(&mut self, topics: &[(&str, i32)]) {
        let topic = |(name, count): &(&str, i32)| TopicMetadata::new((*name).into(), topic_id(name), *count);
        self.topics = Arc::new(TopicsImage::new(self.topics.version() + 1, topics.iter().map(topic)));
        self.shard.coordinator.set_topics(self.topics.clone());
    }

    fn advance(&mut self, index: usize, is_lost: bool) {
        if self.clients[index].asleep > 0 {
            self.clients[index].asleep -= 1;
            return;
        }
        let epoch = self.clients[index].epoch;
        let request = self.clients[index].beat(epoch);
        let Reply::ConsumerHeartbeat(reply) = self.call(Request::ConsumerHeartbeat(request)) else { panic!() };
        if !is_lost {
            self.clients[index].receive(&reply);
        }
    }

    fn leave(&mut self, index: usize, epoch: i32) {
        let client = &self.clients[index];
        if client.epoch > 0 && (epoch == -1 || client.instance_id().is_some()) {
            let request = client.beat(epoch);
            self.call(Request::ConsumerHeartbeat(request));
            self.clients[index].die();
        }
    }

    /// One further on each partition that it believes to have.
    fn commit(&mut self, index: usize) {
        let client = &self.clients[index];
        let owned = client.owned.get(&topic_id("t")).cloned().unwrap_or_default();
        let next = |partition: &i32| (*partition, self.acknowledged.get(partition).copied().unwrap_or(0) + 1);
        let offsets: Vec<(i32, i64)> = owned.iter().map(next).collect();
        if client.epoch <= 0 || offsets.is_empty() {
            return;
        }
        let request = commit(client, &offsets);
        let Reply::OffsetCommit(results) = self.call(request) else { panic!() };
        for ((partition, offset), result) in offsets.into_iter().zip(results) {
            match result.error {
                None => _ = self.acknowledged.insert(partition, offset),
                Some(GroupError::UnknownMemberId) => return self.clients[index].begin_anew(),
                Some(_) => {}
            }
        }
    }

    /// An old offset, for a partition that another holds: it must be refused.
    fn zombie_commit(&mut self, index: usize) {
        let client = &self.clients[index];
        let holders = self.holders();
        let other = holders.iter().find(|((topic, _), id)| *topic == topic_id("t") && **id != client.id());
        if let (1.., Some(((_, partition), _))) = (client.epoch, other) {
            let request = commit(client, &[(*partition, 0)]);
            let Reply::OffsetCommit(results) = self.call(request) else { panic!() };
            // A member that beats in the newest epoch may commit for anything, in Kafka too: the client never does.
            let is_newest =
                self.current(&self.clients[index].id()).is_some_and(|now| now.epoch == self.clients[index].epoch);
            assert!(is_newest || results.iter().all(|result| result.error.is_some()), "a zombie's commit was taken");
            if results[0].error.is_none() {
                self.acknowledged.insert(*partition, 0);
            }
        }
    }

    fn restart(&mut self) {
        let topics = self.topics.clone();
        self.shard.restart(|coordinator| coordinator.set_topics(topics));
        self.note();
    }

    fn pass(&mut self, elapsed_ms: i64) {
        self.shard.pass(elapsed_ms);
        self.note();
    }

    fn call(&mut self, request: Request) -> Reply {
        let asked = self.shard.send(request);
        self.note();
        let reply = self.shard.take_replies().into_iter().find(|(ticket, _)| *ticket == asked);
        reply.expect("an answer at once").1
    }

    fn note(&mut self) {
        let new = self.shard.records[self.noted..].iter().filter_map(|record| match record {
            Record::Consumer { fact: ConsumerRecord::Current(id, Some(current)), .. } => Some((id, current)),
            _ => None,
        });
        for (id, current) in new {
            // A static member's next life has what the one before had.
            let client = id.split('-').next().unwrap_or_default();
            for (topic, partitions) in &current.assigned {
                for (partition, since) in partitions {
                    let first = self.came_to.entry((*topic, *partition, *since)).or_insert_with(|| client.to_owned());
                    assert_eq!(first, client, "partition {partition} came to two members in epoch {since}");
                }
            }
        }
        self.noted = self.shard.records.len();
    }

    fn currents(&self) -> Vec<(String, MemberAssignment)> {
        let current = |record: Record| match record {
            Record::Consumer { fact: ConsumerRecord::Current(id, Some(current)), .. } => {
                Some((id.to_string(), current))
            }
            _ => None,
        };
        self.shard.coordinator.durable_records().into_iter().filter_map(current).collect()
    }

    fn current(&self, id: &str) -> Option<MemberAssignment> {
        self.currents().into_iter().find(|(other, _)| other == id).map(|(_, current)| current)
    }

    /// Who holds each partition; nobody shares one.
    fn holders(&self) -> BTreeMap<(Uuid, i32), String> {
        let mut holders = BTreeMap::new();
        for (id, current) in self.currents() {
            for (topic, partitions) in current.assigned.iter().chain(&current.revoking) {
                for partition in partitions.keys() {
                    let before = holders.insert((*topic, *partition), id.clone());
                    assert_eq!(before, None, "two members hold {partition}");
                }
            }
        }
        holders
    }

    fn check(&self) {
        self.holders();
        for (partition, acknowledged) in &self.acknowledged {
            let fetched = self.shard.coordinator.fetch_offsets("g", Some(&[("t".into(), vec![*partition])]));
            let committed = fetched[0].1[0].committed.as_ref().expect("an acknowledged offset is gone");
            assert!(committed.offset >= *acknowledged, "partition {partition} went back from {acknowledged}");
        }
    }

    /// Faults stop. After some time everybody has its share, and believes what the coordinator believes.
    fn settle(&mut self) {
        self.shard.appends_fail = false;
        for _ in 0..SETTLING_ROUNDS {
            (0..CLIENTS).for_each(|index| self.advance(index, false));
            self.pass(500);
            self.check();
        }
        assert_eq!(self.shard.replayed().durable_records(), self.shard.coordinator.durable_records());
        let group = self.shard.coordinator.describe_consumer_group("g").expect("a group");
        assert_eq!((group.state, group.members.len()), ("Stable", CLIENTS), "{:#?}", self.clients);
        let believed = self.clients.iter().flat_map(|client| {
            client.owned.iter().flat_map(|(topic, all)| all.iter().map(|partition| ((*topic, *partition), client.id())))
        });
        let believed: BTreeMap<_, _> = believed.collect();
        assert_eq!(believed, self.holders());
        let partitions: i32 = self.topics.iter().map(|topic| topic.partitions).sum();
        assert_eq!(believed.len(), usize::try_from(partitions).unwrap(), "every partition has an owner");
    }
}

fn topic_id(name: &str) -> Uuid {
    Uuid::from_u128(if name == "t" { 1 } else { 2 })
}

fn commit(client: &Client, offsets: &[(i32, i64)]) -> Request {
    Request::OffsetCommit(OffsetCommitRequest {
        group: "g".into(),
        generation: client.epoch,
        member_id: client.id(),
        instance_id: client.instance_id(),
        retention_ms: None,
        knows_member_epochs: true,
        offsets: offsets.iter().map(|(partition, committed)| offset(*partition, *committed)).collect(),
    })
}
