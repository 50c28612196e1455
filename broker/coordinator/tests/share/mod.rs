//! Reads and plays one transcript; see `share_transcripts.rs` for the format.

use std::{collections::BTreeMap, fmt::Write as _};
use tifo_coordinator::{
    ShareError,
    record::ShareGroupRecord,
    share::{
        Acknowledge, AcknowledgementBatch, Acquire, Change, Decision, HeartbeatRequest, Latest, Limits, LogBatch,
        RecordState, ShareGroups, ShareKey, SharePartition, ShareStateRecord, ShareStates, TopicImage, Update,
    },
};
use uuid::Uuid;

const INDENT: &str = "    ";
const SESSION_TIMEOUT_MS: i64 = 45_000;
const UPDATES_PER_SNAPSHOT: usize = 3;

/// The transcript with the lines that the machines bring about in place of those that were written.
pub fn play(written: &str) -> String {
    let mut world = World::default();
    let mut played = String::new();
    for line in written.lines().filter(|line| !line.starts_with(INDENT)) {
        writeln!(played, "{line}").unwrap();
        world.step(line);
        world.said.drain(..).for_each(|said| writeln!(played, "{INDENT}{said}").unwrap());
    }
    played
}

#[derive(Default)]
struct Topics(BTreeMap<String, (Uuid, i32)>);

impl TopicImage for Topics {
    fn topic(&self, name: &str) -> Option<(Uuid, i32)> {
        self.0.get(name).copied()
    }
}

struct World {
    topics: Topics,
    groups: ShareGroups,
    group_log: Vec<ShareGroupRecord>,
    partition: SharePartition,
    states: ShareStates,
    state_log: Vec<ShareStateRecord>,
    limits: Limits,
    said: Vec<String>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            topics: Topics::default(),
            groups: ShareGroups::new(3),
            group_log: Vec::new(),
            partition: SharePartition::new(0, &[]),
            states: ShareStates::default(),
            state_log: Vec::new(),
            limits: Limits { max_record_locks: 20, delivery_count: 2, lock_duration_ms: 30_000 },
            said: Vec::new(),
        }
    }
}

fn key() -> ShareKey {
    ShareKey { group: "g".into(), topic_id: Uuid::from_u128(1), partition: 0 }
}

/// `0-4` or `7`
fn range(word: &str) -> (i64, i64) {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    (first.parse().unwrap(), last.parse().unwrap())
}

impl World {
    fn step(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let Some(time) = words.next().filter(|word| !word.starts_with('#')) else { return };
        let now_ms: i64 = time.parse().expect("a time in ms");
        self.pass_time(now_ms);
        let verb = words.next().expect("a verb");
        let words: Vec<&str> = words.collect();
        let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let number = |name: &str, default: i64| value(name).map_or(default, |value| value.parse().unwrap());
        match verb {
            "topics" => self.set_topics(&words),
            "limits" => {
                self.limits.max_record_locks = number("locks", self.limits.max_record_locks);
                let count = number("deliveries", self.limits.delivery_count.into());
                self.limits.delivery_count = i16::try_from(count).unwrap();
            }
            "heartbeat" => {
                let request = HeartbeatRequest {
                    group: value("group").unwrap_or("g").into(),
                    member_id: value("member").unwrap_or("").to_owned(),
                    member_epoch: i32::try_from(number("epoch", 0)).unwrap(),
                    rack_id: value("rack").map(str::to_owned),
                    client_id: "client".to_owned(),
                    client_host: "/127.0.0.1".to_owned(),
                    subscribed: value("topics").map(|topics| topics.split(',').map(str::to_owned).collect()),
                    session_timeout_ms: SESSION_TIMEOUT_MS,
                };
                let Decision { records, reply } = self.groups.heartbeat(&request, &self.topics, now_ms);
                self.keep_group("", records);
                self.said.push(match reply {
                    Ok(reply) => {
                        let told = reply.assignment.map(|assigned| format!(" {}", assignment(&assigned)));
                        format!("<- epoch {}{}", reply.member_epoch, told.unwrap_or_default())
                    }
                    Err(error) => format!("<- {error:?}"),
                });
            }
            "describe" => {
                let described = self.groups.describe(value("group").unwrap_or("g"));
                let told = described.map(|group| {
                    let members = group.members.iter().map(|member| {
                        format!(" {}@{} {}", member.member_id, member.epoch, assignment(&member.assigned))
                    });
                    let epochs = format!("epoch {} assigned {}", group.epoch, group.assignment_epoch);
                    format!("<- {} {epochs}{}", group.state, members.collect::<String>())
                });
                self.said.push(told.unwrap_or("<- none".to_owned()));
            }
            "delete" => {
                let Decision { records, reply } = self.groups.delete(value("group").unwrap_or("g"));
                self.keep_group("", records);
                self.said.push(format!("<- {reply:?}"));
            }
            "acquire" => self.acquire(now_ms, &value, &number),
            "acknowledge" => self.acknowledge(&words),
            "release" => {
                let change = self.partition.release(value("member").unwrap(), &self.limits);
                self.keep("", change, now_ms);
            }
            "log-start" => self.partition.log_starts_at(words[0].parse().unwrap()),
            "restart" => self.restart(now_ms),
            other => panic!("verb {other}"),
        }
        if matches!(verb, "acquire" | "acknowledge" | "release" | "log-start" | "restart") {
            self.say_in_flight();
        }
        self.check_replay();
    }

    fn set_topics(&mut self, words: &[&str]) {
        self.topics.0.clear();
        for (word, id) in words.iter().zip(1..) {
            let (name, count) = word.split_once('=').unwrap();
            self.topics.0.insert(name.to_owned(), (Uuid::from_u128(id), count.parse().unwrap()));
        }
    }

    /// `log=0-4,5-9!`: batches of the log, those with a mark being aborted.
    fn acquire<'a>(
        &mut self,
        now_ms: i64,
        value: &impl Fn(&str) -> Option<&'a str>,
        number: &impl Fn(&str, i64) -> i64,
    ) {
        let batch = |word: &str| {
            let (first_offset, last_offset) = range(word.trim_end_matches('!'));
            LogBatch { first_offset, last_offset, is_aborted: word.ends_with('!') }
        };
        let from = self.partition.next_fetch_offset();
        let all: Vec<LogBatch> = value("log").unwrap().split(',').map(batch).collect();
        let batches: Vec<LogBatch> = all.into_iter().filter(|batch| batch.last_offset >= from).collect();
        let acquired = self.partition.acquire(&Acquire {
            member: value("member").unwrap().into(),
            now_ms,
            max_records: number("max", 500),
            batch_size: number("batch", 500),
            limits: self.limits,
            read_from: from,
            batches: &batches,
        });
        let told =
            acquired.iter().map(|one| format!(" {}-{}x{}", one.first_offset, one.last_offset, one.delivery_count));
        self.said.push(format!("<-{}", told.collect::<String>()));
    }

    /// `member=a 0-4:accept 5-6:accept,gap`
    fn acknowledge(&mut self, words: &[&str]) {
        let member = words[0].strip_prefix("member=").unwrap();
        let said = |word: &str| match word {
            "accept" => Acknowledge::Accept,
            "release" => Acknowledge::Release,
            "reject" => Acknowledge::Reject,
            "gap" => Acknowledge::Gap,
            other => panic!("acknowledgement {other}"),
        };
        let batch = |word: &&str| {
            let (offsets, types) = word.split_once(':').unwrap();
            let (first_offset, last_offset) = range(offsets);
            AcknowledgementBatch { first_offset, last_offset, types: types.split(',').map(said).collect() }
        };
        let batches: Vec<AcknowledgementBatch> = words[1..].iter().map(batch).collect();
        let change = match AcknowledgementBatch::are_sound(&batches) {
            true => self.partition.acknowledge(member, &batches, &self.limits),
            false => Err(ShareError::InvalidRequest),
        };
        match change {
            Ok(change) => self.keep("", change, 0),
            Err(error) => self.said.push(format!("<- {error:?}")),
        }
    }

    /// What the server does with a change.
    fn keep(&mut self, prefix: &str, change: Change, now_ms: i64) {
        if !change.is_empty() {
            let update = Update {
                start_offset: change.start_offset,
                delivery_complete_count: change.delivery_complete_count,
                leader_epoch: 0,
                batches: change.batches(),
            };
            let record = self.states.update(&key(), update, UPDATES_PER_SNAPSHOT, now_ms);
            self.said.push(format!("{prefix}+ {}", state_record(&record)));
            let (key, value) = record.encode();
            let record = ShareStateRecord::decode(&key, value.as_ref()).unwrap().unwrap();
            self.states.replay(&record);
            self.state_log.push(record);
        }
        self.partition.apply(change);
    }

    fn keep_group(&mut self, prefix: &str, records: Vec<ShareGroupRecord>) {
        for record in records {
            let (key, value) = record.encode();
            let record = ShareGroupRecord::decode(&key, value.as_ref()).unwrap().unwrap();
            self.said.push(format!("{prefix}{}", group_record(&record)));
            self.groups.replay(&record);
            self.group_log.push(record);
        }
    }

    fn pass_time(&mut self, until_ms: i64) {
        loop {
            let deadlines = [self.groups.next_deadline(), self.partition.next_deadline_ms()];
            let Some(due) = deadlines.into_iter().flatten().min().filter(|due| *due <= until_ms) else { return };
            if self.partition.next_deadline_ms() == Some(due) {
                let change = self.partition.expire(due, &self.limits);
                self.keep(&format!("@{due} "), change, due);
            }
            while let Some(records) = self.groups.expire(&self.topics, due) {
                self.keep_group(&format!("@{due} "), records);
            }
        }
    }

    /// A new process: what is not in the records is lost.
    fn restart(&mut self, now_ms: i64) {
        let (groups, states) = self.replayed();
        (self.groups, self.states) = (groups, states);
        self.groups.loaded(|_| SESSION_TIMEOUT_MS, now_ms);
        if let Some(state) = self.states.get(&key()) {
            self.partition = SharePartition::new(state.start_offset, &state.batches);
        }
    }

    fn replayed(&self) -> (ShareGroups, ShareStates) {
        let (mut groups, mut states) = (ShareGroups::new(self.groups.max_size()), ShareStates::default());
        self.group_log.iter().for_each(|record| groups.replay(record));
        self.state_log.iter().for_each(|record| states.replay(record));
        (groups, states)
    }

    fn check_replay(&self) {
        let (groups, states) = self.replayed();
        assert_eq!(groups.durable_records(), self.groups.durable_records(), "replay differs from live");
        assert_eq!(states, self.states, "replay differs from live");
    }

    fn say_in_flight(&mut self) {
        let (start, end) = (self.partition.start_offset(), self.partition.end_offset());
        let one = |(first, last, state, count): (i64, i64, &RecordState, i16)| {
            let state = match state {
                RecordState::Available => "available".to_owned(),
                RecordState::Acquired { member, .. } => format!("held-by-{member}"),
                RecordState::Acknowledged => "acknowledged".to_owned(),
                RecordState::Archived => "archived".to_owned(),
            };
            format!(" {first}-{last}:{state}x{count}")
        };
        let told: String = self.partition.in_flight().map(one).collect();
        self.said.push(format!("= {start}..{end}{told}"));
    }
}

fn assignment(assigned: &tifo_coordinator::share::Assignment) -> String {
    let topic = |(id, partitions): (&Uuid, &std::collections::BTreeSet<i32>)| {
        let partitions: Vec<String> = partitions.iter().map(i32::to_string).collect();
        format!("{}:{}", id.as_u128(), partitions.join(","))
    };
    format!("[{}]", assigned.iter().map(topic).collect::<Vec<_>>().join(" "))
}

fn group_record(record: &ShareGroupRecord) -> String {
    match record {
        ShareGroupRecord::Metadata { value: Some(value), .. } => format!("+ group epoch {}", value.epoch),
        ShareGroupRecord::Metadata { .. } => "- group".to_owned(),
        ShareGroupRecord::Member { member, value: Some(value), .. } => {
            format!("+ member {member} {} {:?}", value.subscribed.join(","), value.rack_id)
        }
        ShareGroupRecord::Member { member, .. } => format!("- member {member}"),
        ShareGroupRecord::TargetMetadata { value: Some(value), .. } => format!("+ target epoch {}", value.epoch),
        ShareGroupRecord::TargetMetadata { .. } => "- target epoch".to_owned(),
        ShareGroupRecord::TargetMember { member, value: Some(value), .. } => {
            format!("+ target {member} {}", assignment(value))
        }
        ShareGroupRecord::TargetMember { member, .. } => format!("- target {member}"),
        ShareGroupRecord::Current { member, value: Some(value), .. } => {
            format!("+ current {member} {}<-{} {}", value.epoch, value.previous_epoch, assignment(&value.assigned))
        }
        ShareGroupRecord::Current { member, .. } => format!("- current {member}"),
        ShareGroupRecord::StatePartitions { value: Some(value), .. } => {
            let topics = value.initialized.iter().map(|(id, topic)| (*id, topic.partitions.clone())).collect();
            format!("+ states {}", assignment(&topics))
        }
        ShareGroupRecord::StatePartitions { .. } => "- states".to_owned(),
    }
}

fn state_record(record: &ShareStateRecord) -> String {
    let (kind, start, done, batches) = match &record.value {
        Latest::Snapshot(state) => (
            format!("snapshot {}", state.snapshot_epoch),
            state.start_offset,
            state.delivery_complete_count,
            &state.batches,
        ),
        Latest::Update { snapshot_epoch, update } => {
            (format!("update {snapshot_epoch}"), update.start_offset, update.delivery_complete_count, &update.batches)
        }
        Latest::Deleted => return "deleted".to_owned(),
    };
    let batch = |batch: &tifo_coordinator::share::StateBatch| {
        format!(" {}-{}:{}x{}", batch.first_offset, batch.last_offset, batch.delivery_state, batch.delivery_count)
    };
    format!("{kind} start {start} done {done}{}", batches.iter().map(batch).collect::<String>())
}
