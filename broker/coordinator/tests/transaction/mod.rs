//! Reads and plays one transcript of transactions; see `transaction_transcripts.rs` for the format.

use std::{collections::HashMap, sync::Arc};
use tifo_coordinator::{
    TransactionConfig, TransactionCoordinator, TransactionError, TransactionRecord,
    transaction::{
        AddPartitionsRequest, ClientVersion, Decision, EndRequest, Ending, InitProducerIdRequest, ListFilter, Outcome,
        Producer, TopicPartition, TransactionMetadata, TransactionState,
    },
};

const INDENT: &str = "    ";

/// The transcript with the lines that the coordinator brings about in place of those that were written.
pub fn play(written: &str) -> String {
    let mut player = Player::new();
    for line in written.lines().filter(|line| !line.starts_with(INDENT)) {
        player.said.push(line.to_owned());
        if !line.is_empty() && !line.starts_with('#') {
            player.step(&Line::parse(line));
        }
    }
    player.said.join("\n") + "\n"
}

struct Line {
    time_ms: i64,
    verb: String,
    fields: HashMap<String, String>,
}

impl Line {
    fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let time_ms = words.next().unwrap().parse().unwrap();
        let verb = words.next().unwrap().to_owned();
        let field = |word: &str| word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap();
        Self { time_ms, verb, fields: words.map(field).collect() }
    }

    fn text(&self, key: &str, default: &str) -> String {
        self.fields.get(key).cloned().unwrap_or_else(|| default.to_owned())
    }

    fn id(&self) -> Arc<str> {
        self.text("id", "t").into()
    }

    /// `producer=7/0`
    fn producer(&self) -> Option<Producer> {
        let (id, epoch) = self.fields.get("producer")?.split_once('/').unwrap();
        Some(Producer { id: id.parse().unwrap(), epoch: epoch.parse().unwrap() })
    }

    fn version(&self) -> ClientVersion {
        if self.text("v", "2") == "1" { ClientVersion::V1 } else { ClientVersion::V2 }
    }

    /// `partitions=a:0,b:1`
    fn partitions(&self) -> Vec<TopicPartition> {
        let one = |word: &str| {
            let (topic, partition) = word.split_once(':').unwrap();
            (topic.into(), partition.parse().unwrap())
        };
        self.text("partitions", "").split(',').filter(|word| !word.is_empty()).map(one).collect()
    }
}

struct Player {
    coordinator: TransactionCoordinator,
    config: TransactionConfig,
    records: Vec<TransactionRecord>,
    endings: Vec<Ending>,
    next_producer_id: i64,
    said: Vec<String>,
}

impl Player {
    fn new() -> Self {
        let config = TransactionConfig::default();
        Self {
            coordinator: TransactionCoordinator::new(config.clone()),
            config,
            records: Vec::new(),
            endings: Vec::new(),
            next_producer_id: 7,
            said: Vec::new(),
        }
    }

    fn step(&mut self, line: &Line) {
        self.pass_time(line.time_ms);
        match line.verb.as_str() {
            "init" => self.init(line),
            "add" => {
                let request = AddPartitionsRequest {
                    transactional_id: line.id(),
                    producer: line.producer().unwrap(),
                    partitions: line.partitions(),
                    version: line.version(),
                };
                let decision = self.coordinator.add_partitions(&request, line.time_ms);
                self.finish(decision, |()| "ok".to_owned());
            }
            "verify" => {
                let partition = &line.partitions()[0];
                let verified = self.coordinator.verify_partition(&line.id(), line.producer().unwrap(), partition);
                self.say(&format!("<- {}", outcome(verified, |()| "ok".to_owned())));
            }
            "commit" | "abort" => self.end(line),
            "markers-written" => self.complete(line.time_ms),
            "describe" => {
                let described = self.coordinator.describe(&line.id());
                self.say(&format!("<- {}", outcome(described, |metadata| value(&metadata))));
            }
            "list" => self.list(line),
            "restart" => self.restart(),
            "set-epoch" => self.set_epoch(line),
            "wait" => {}
            other => panic!("verb {other}"),
        }
        self.check_replay();
    }

    fn fresh_producer_id(&mut self, id: &str) -> Option<i64> {
        self.coordinator.needs_producer_id(id).then(|| {
            self.next_producer_id += 1;
            self.next_producer_id - 1
        })
    }

    fn init(&mut self, line: &Line) {
        let request = InitProducerIdRequest {
            fresh_producer_id: self.fresh_producer_id(&line.id()),
            transactional_id: line.id(),
            timeout_ms: line.text("timeout", "60000").parse().unwrap(),
            current: line.producer(),
        };
        let decision = self.coordinator.init_producer_id(&request, line.time_ms);
        self.finish(decision, producer);
    }

    fn end(&mut self, line: &Line) {
        let request = EndRequest {
            fresh_producer_id: self.fresh_producer_id(&line.id()),
            transactional_id: line.id(),
            producer: line.producer().unwrap(),
            outcome: if line.verb == "commit" { Outcome::Commit } else { Outcome::Abort },
            version: line.version(),
        };
        let decision = self.coordinator.end(&request, line.time_ms);
        self.finish(decision, producer);
    }

    fn list(&mut self, line: &Line) {
        let words = |key: &str| line.fields.get(key).map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>());
        let filter = ListFilter {
            states: words("states")
                .map(|names| names.iter().map(|name| TransactionState::from_name(name).unwrap()).collect()),
            producer_ids: words("producers").map(|ids| ids.iter().map(|id| id.parse().unwrap()).collect()),
            longer_than_ms: line.fields.get("longer").map(|longer| longer.parse().unwrap()),
        };
        for listed in self.coordinator.list(&filter, line.time_ms) {
            self.say(&format!("{} {} {}", listed.transactional_id, listed.producer_id, listed.state.name()));
        }
    }

    /// Near the end of its epochs, as after 32,000 transactions.
    fn set_epoch(&mut self, line: &Line) {
        let mut metadata = self.coordinator.get(&line.id()).unwrap().clone();
        metadata.producer.epoch = line.text("epoch", "").parse().unwrap();
        self.append("", vec![TransactionRecord { transactional_id: line.id(), value: Some(metadata) }]);
    }

    fn complete(&mut self, now_ms: i64) {
        for ending in std::mem::take(&mut self.endings) {
            let record = self.coordinator.complete(&ending, now_ms);
            self.append("", record.into_iter().collect());
        }
    }

    /// A new process: what is not in the records is lost.
    fn restart(&mut self) {
        self.coordinator = self.replayed();
        self.endings.clear();
        self.take_prepared("");
    }

    fn pass_time(&mut self, until_ms: i64) {
        while let Some(deadline) = self.coordinator.next_deadline().filter(|deadline| *deadline <= until_ms) {
            let records = self.coordinator.expire(deadline);
            self.append(&format!("@{deadline} "), records);
        }
    }

    fn finish<R>(&mut self, decision: Decision<Result<R, TransactionError>>, say: impl Fn(R) -> String) {
        self.append("", decision.record.into_iter().collect());
        self.say(&format!("<- {}", outcome(decision.reply, say)));
    }

    fn append(&mut self, prefix: &str, records: Vec<TransactionRecord>) {
        for record in &records {
            self.coordinator.replay(record);
            self.say(&match &record.value {
                Some(metadata) => format!("{prefix}+ {} {}", record.transactional_id, value(metadata)),
                None => format!("{prefix}- {}", record.transactional_id),
            });
        }
        self.records.extend(records);
        self.take_prepared(prefix);
    }

    fn take_prepared(&mut self, prefix: &str) {
        for ending in self.coordinator.take_prepared() {
            let Producer { id, epoch } = ending.producer;
            let all: Vec<String> = ending.partitions.iter().map(|(topic, index)| format!("{topic}-{index}")).collect();
            self.say(&format!("{prefix}markers: {:?} {id}/{epoch} [{}]", ending.outcome, all.join(", ")));
            self.endings.push(ending);
        }
    }

    fn say(&mut self, line: &str) {
        self.said.push(format!("{INDENT}{line}"));
    }

    /// A coordinator that knows only what was written, by way of the bytes.
    fn replayed(&self) -> TransactionCoordinator {
        let mut fresh = TransactionCoordinator::new(self.config.clone());
        for record in &self.records {
            let (key, value) = record.encode();
            fresh.replay(&TransactionRecord::decode(&key, value.as_ref()).unwrap().unwrap());
        }
        fresh
    }

    fn check_replay(&self) {
        let replayed = self.replayed();
        assert_eq!(replayed.durable_records(), self.coordinator.durable_records(), "replay differs from live");
        assert_eq!(replayed.next_deadline(), self.coordinator.next_deadline(), "deadlines after replay differ");
    }
}

fn producer(producer: Producer) -> String {
    format!("producer={}/{}", producer.id, producer.epoch)
}

fn outcome<R>(result: Result<R, TransactionError>, say: impl Fn(R) -> String) -> String {
    result.map_or_else(|error| format!("{error:?}"), say)
}

fn value(metadata: &TransactionMetadata) -> String {
    let pairs = metadata.partitions.iter();
    let all = pairs.flat_map(|(topic, partitions)| partitions.iter().map(move |index| format!("{topic}-{index}")));
    let next =
        if metadata.next_producer_id < 0 { String::new() } else { format!(" next={}", metadata.next_producer_id) };
    format!(
        "{} producer={}/{} last-epoch={} previous={}{next} [{}] start={}",
        metadata.state.name(),
        metadata.producer.id,
        metadata.producer.epoch,
        metadata.last_producer_epoch,
        metadata.previous_producer_id,
        all.collect::<Vec<_>>().join(", "),
        metadata.start_timestamp_ms,
    )
}
