//! Reads and plays one transcript; see `transcripts.rs` for the format.

mod render;
mod step;

use std::{collections::BTreeMap, sync::Arc};
use step::{Line, topic_id};
use tifo_coordinator::{GroupConfig, GroupCoordinator, GroupError, Output, Record, Ticket};
use tifo_coordinator::{
    MigrationPolicy,
    assignment::{TopicMetadata, TopicsImage},
};

const INDENT: &str = "    ";

/// The transcript with the lines that the coordinator brings about in place of those that were written.
pub fn play(written: &str) -> String {
    let mut player = Player::new();
    for line in written.lines() {
        if line.starts_with(INDENT) {
            continue;
        }
        player.said.push(line.to_owned());
        if let Some(line) = Line::parse(line) {
            player.step(&line);
        }
    }
    player.said.join("\n") + "\n"
}

/// What lies in the partition.
enum Logged {
    Plain(Record),
    InTransaction(i64, Record),
    Marker { producer_id: i64, is_commit: bool },
}

struct Player {
    coordinator: GroupCoordinator,
    config: GroupConfig,
    log: Vec<Logged>,
    actors: BTreeMap<Ticket, String>,
    next_ticket: u64,
    topics: Arc<TopicsImage>,
    /// Ids that JoinGroup made up, as `client#number`.
    joins: u128,
    said: Vec<String>,
}

impl Player {
    fn new() -> Self {
        let config = GroupConfig::default();
        let mut coordinator = GroupCoordinator::new(config.clone());
        coordinator.loaded(0);
        Self {
            coordinator,
            config,
            log: Vec::new(),
            actors: BTreeMap::new(),
            next_ticket: 0,
            topics: Arc::default(),
            joins: 0,
            said: Vec::new(),
        }
    }

    fn step(&mut self, line: &Line) {
        self.pass_time(line.time_ms);
        match line.verb.as_str() {
            "set" => self.set(line),
            "topics" => self.set_topics(line),
            "restart" => self.restart(line.time_ms),
            "describe" => self.say(render::described(self.coordinator.describe(line.get("group")).as_ref())),
            "describe-consumer" => {
                let described = self.coordinator.describe_consumer_group(line.get("group"));
                self.say(render::described_consumer(described.as_ref()));
            }
            "list" => {
                let filter =
                    |key| line.get(key).split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
                let (states, types): (Vec<_>, Vec<_>) = (filter("states"), filter("types"));
                self.say(render::listed(&self.coordinator.list(&states, &types)));
            }
            "fetch" => {
                let topics = line.topics("topics");
                let fetched = self.coordinator.fetch_offsets(line.get("group"), topics.as_deref());
                self.say(render::fetched(&fetched));
            }
            "forget-topic" => {
                let output = self.coordinator.forget_topic(line.get("topic"));
                self.finish(output, None, false, line.time_ms);
            }
            "abandon" => {
                let actor = line.actor.as_str();
                let ticket = *self.actors.iter().find(|(_, name)| *name == actor).unwrap().0;
                self.actors.remove(&ticket);
                let output = self.coordinator.abandon(line.get("group"), ticket, line.time_ms);
                self.finish(output, None, false, line.time_ms);
            }
            "marker" => self.marker(line),
            "wait" => {}
            _ => self.request(line),
        }
        self.check_replay();
    }

    fn request(&mut self, line: &Line) {
        if line.verb == "join" {
            self.joins += 1;
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.actors.insert(ticket, line.actor.clone());
        let output = self.coordinator.handle(ticket, line.request(self.joins), line.time_ms);
        self.finish(output, None, line.append_fails, line.time_ms);
    }

    /// The transaction coordinator ends a transaction.
    fn marker(&mut self, line: &Line) {
        let (producer_id, is_commit) = (line.producer().id, line.get("end") == "commit");
        self.coordinator.replay_marker(producer_id, is_commit);
        self.log.push(Logged::Marker { producer_id, is_commit });
    }

    /// `t=3 u=1`: the topics that there are from now on, with their partitions.
    fn set_topics(&mut self, line: &Line) {
        let topic = |(name, partitions): &(String, String)| {
            TopicMetadata::new(name.as_str().into(), topic_id(name), partitions.parse().expect("partitions"))
        };
        self.topics = Arc::new(TopicsImage::new(self.topics.version() + 1, line.fields.iter().map(topic)));
        self.coordinator.set_topics(self.topics.clone());
    }

    fn set(&mut self, line: &Line) {
        let number = |value: &str| value.parse::<i64>().unwrap();
        for (key, value) in &line.fields {
            match key.as_str() {
                "group.max.size" => self.config.max_size = usize::try_from(number(value)).unwrap(),
                "group.initial.rebalance.delay.ms" => {
                    self.config.initial_rebalance_delay_ms = i32::try_from(number(value)).unwrap();
                }
                "group.consumer.max.size" => {
                    self.config.consumer.max_size = usize::try_from(number(value)).unwrap();
                }
                "group.consumer.assignment.interval.ms" => {
                    self.config.consumer.settings.assignment_interval_ms = i32::try_from(number(value)).unwrap();
                }
                "group.consumer.migration.policy" => {
                    let is = |names: [&str; 2]| names.contains(&value.as_str());
                    let policy = MigrationPolicy {
                        upgrades: is(["upgrade", "bidirectional"]),
                        downgrades: is(["downgrade", "bidirectional"]),
                    };
                    self.config.consumer.migration_policy = policy;
                }
                "offsets.retention.ms" => self.config.offsets_retention_ms = number(value),
                "offset.metadata.max.bytes" => {
                    self.config.offset_metadata_max_bytes = usize::try_from(number(value)).unwrap();
                }
                other => panic!("setting {other}"),
            }
        }
        self.coordinator.set_config(self.config.clone());
    }

    /// A new process: what is not in the records is lost, and so are the connections.
    fn restart(&mut self, now_ms: i64) {
        self.actors.clear();
        self.coordinator = self.replayed();
        self.coordinator.set_topics(self.topics.clone());
        let output = self.coordinator.loaded(now_ms);
        self.finish(output, None, false, now_ms);
    }

    fn pass_time(&mut self, until_ms: i64) {
        while let Some(deadline) = self.coordinator.next_deadline().filter(|deadline| *deadline <= until_ms) {
            let output = self.coordinator.expire(deadline);
            self.finish(output, Some(deadline), false, deadline);
        }
    }

    /// What the server does with an output.
    fn finish(&mut self, output: Output, deadline: Option<i64>, append_fails: bool, now_ms: i64) {
        let prefix = deadline.map(|deadline| format!("@{deadline} ")).unwrap_or_default();
        if append_fails {
            for (ticket, reply) in output.replies {
                self.say_reply(&prefix, ticket, &reply.failed(GroupError::NotCoordinator));
            }
            let more = self.coordinator.append_failed(&output.records, now_ms);
            return self.finish(more, deadline, false, now_ms);
        }
        for record in output.records {
            let part_of = output.transaction.map(|producer| format!(" (transaction of {})", producer.id));
            self.said.push(format!("{INDENT}{prefix}{}{}", render::record(&record), part_of.unwrap_or_default()));
            let logged = match output.transaction {
                None => Logged::Plain(record),
                Some(producer) => Logged::InTransaction(producer.id, record),
            };
            replay(&mut self.coordinator, &logged);
            self.log.push(logged);
        }
        for (ticket, reply) in output.replies {
            self.say_reply(&prefix, ticket, &reply);
        }
    }

    fn say_reply(&mut self, prefix: &str, ticket: Ticket, reply: &tifo_coordinator::Reply) {
        let actor = self.actors.remove(&ticket).unwrap_or_else(|| "(gone)".to_owned());
        self.said.push(format!("{INDENT}{prefix}{actor} <- {}", render::reply(reply)));
    }

    fn say(&mut self, lines: Vec<String>) {
        self.said.extend(lines.into_iter().map(|line| format!("{INDENT}{line}")));
    }

    /// A coordinator that knows only what was written.
    fn replayed(&self) -> GroupCoordinator {
        let mut fresh = GroupCoordinator::new(self.config.clone());
        self.log.iter().for_each(|logged| replay(&mut fresh, logged));
        fresh
    }

    fn check_replay(&self) {
        let replayed = self.replayed();
        assert_eq!(replayed.durable_records(), self.coordinator.durable_records(), "replay differs from live");
        assert_eq!(replayed.pending_records(), self.coordinator.pending_records(), "replay differs from live");
    }
}

/// By way of the bytes.
fn replay(coordinator: &mut GroupCoordinator, logged: &Logged) {
    let decoded = |record: &Record| {
        let (key, value) = record.encode();
        Record::decode(&key, value.as_ref()).unwrap().unwrap()
    };
    match logged {
        Logged::Plain(record) => coordinator.replay(&decoded(record)),
        Logged::InTransaction(producer_id, record) => coordinator.replay_in_transaction(&decoded(record), *producer_id),
        Logged::Marker { producer_id, is_commit } => coordinator.replay_marker(*producer_id, *is_commit),
    }
}
